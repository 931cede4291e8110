import threading

import pytest

from tidegate.errors import ConflictError
from tidegate.records.pipeline import Fingerprint, StepRun, StepState
from tidegate.store.ports import CatalogEntry, Document, OnlineRow


def test_the_catalog_lists_newest_first_and_replaces(store):
    for number in (1, 2, 1):
        store.catalog.put(CatalogEntry("dataset", "flights", number, f"k{number}", f"d{number}", number, {"rows": number}))
    assert [entry.number for entry in store.catalog.list("dataset")] == [2, 1]
    assert store.catalog.list("dataset", "flights", limit=1)[0].summary == {"rows": 2}
    assert store.catalog.list("model") == []
    store.catalog.clear()
    assert store.catalog.list("dataset") == []


def document(key="a", state="OPEN", revision=1):
    return Document("decision", key, "delay", state, 5, {"text": "ü"}, revision)


def test_a_document_is_added_once(store):
    assert store.documents.add(document())
    assert not store.documents.add(document(state="OTHER"))
    assert store.documents.find("decision", "a") == document()
    assert store.documents.find("alert", "a") is None


def test_a_stale_update_is_refused(store):
    store.documents.add(document())
    changed = store.documents.update(document(state="TRAINED"))
    assert (changed.revision, changed.state) == (2, "TRAINED")
    with pytest.raises(ConflictError, match="changed by somebody else"):
        store.documents.update(document(state="LOST"))
    assert store.documents.list("decision", state="TRAINED") == [changed]
    assert store.documents.list("decision", subject="other") == []


def test_of_many_updates_one_wins(store):
    store.documents.add(document())
    barrier, wins = threading.Barrier(8), []

    def update(number):
        barrier.wait()
        try:
            wins.append(store.documents.update(document(state=str(number))).state)
        except ConflictError:
            return

    threads = [threading.Thread(target=update, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [store.documents.find("decision", "a").state] == wins


def step(run, key, state=StepState.DONE, at=1):
    fingerprint = Fingerprint(code={"f": key}, inputs={}, packages={})
    return StepRun(run=run, pipeline="train", step="fit", state=state, key=key, fingerprint=fingerprint, started_at=at)


def test_only_what_was_done_is_found_by_its_key(store):
    store.steps.record(step("r1", "k", StepState.FAILED, 1))
    assert store.steps.find_done("k") is None
    store.steps.record(step("r2", "k", StepState.DONE, 2))
    store.steps.record(step("r3", "k", StepState.CACHED, 3))
    assert store.steps.find_done("k") == step("r2", "k", StepState.DONE, 2)


def test_the_latest_execution_of_another_run(store):
    store.steps.record(step("r1", "a", at=1))
    store.steps.record(step("r2", "b", at=2))
    assert store.steps.latest("train", "fit").run == "r2"
    assert store.steps.latest("train", "fit", before_run="r2").run == "r1"
    assert store.steps.latest("train", "other") is None
    assert [item.key for item in store.steps.of_run("r1")] == ["a"]


def test_an_online_row_never_goes_back_in_time(store):
    store.online.put("weather", "d1", [OnlineRow("JFK", 10, 1, {"temp": 3.5, "wind": None})])
    assert store.online.put("weather", "d1", [OnlineRow("JFK", 9, 2, {"temp": 0.0}), OnlineRow("LGA", 1, 2, {"temp": 1.0})]) == 1
    found = store.online.get("weather", "d1", ["JFK", "LGA", "EWR"])
    assert found["JFK"] == OnlineRow("JFK", 10, 1, {"temp": 3.5, "wind": None})
    assert set(found) == {"JFK", "LGA"}
    assert store.online.get("weather", "d2", ["JFK"]) == {}


def test_of_two_rows_of_one_entity_the_newer_stays(store):
    rows = [OnlineRow("JFK", 5, 1, {"temp": 5}), OnlineRow("JFK", 7, 1, {"temp": 7}), OnlineRow("JFK", 6, 1, {"temp": 6})]
    store.online.put("weather", "d", rows)
    assert store.online.get("weather", "d", ["JFK"])["JFK"].values == {"temp": 7}
