import dataclasses
import threading
import time

import pytest

from tidegate.clock import Clock
from tidegate.errors import ConflictError, UnavailableError
from tidegate.records.run import Artifact, RunState
from tidegate.store.journal import Journal, Opening
from tidegate.tracking import Runs, intake
from tidegate.tracking.intake import Intake, dispose, remove_folder


@pytest.fixture
def run_id(store, tmp_path):
    with Runs(store, Clock(), journals=tmp_path / "other", project=tmp_path).start("delay") as run:
        pass
    store.runs.change_state(run.id, RunState.RUNNING, 1)
    return run.id


@pytest.fixture
def folder(store, run_id):
    return store.root / "journal" / run_id


def written(folder, *, writer="w", points=100, owner=True, at=0):
    journal = Journal(folder / f"{writer}.journal", Opening(1, 1, folder.name, writer, "host", 5, owner))
    for step in range(points):
        journal.points(step, at + step, {"loss": step / 3})
        if step % 10 == 0:
            journal.note(params={f"{writer}{step}": "x"}, tags={"last": str(step)})
    return journal


def steps(store, run_id):
    return store.series.points(run_id, "loss").steps.tolist()


class Failing:
    """A port that fails every other call, before or after it has done its work."""

    def __init__(self, port):
        self._port = port
        self._calls = 0

    def __getattr__(self, name):
        call = getattr(self._port, name)
        if name not in {"ingest", "annotate", "change_state", "put"}:
            return call

        def failing(*arguments, **named):
            self._calls += 1
            if self._calls % 4 == 1:
                raise UnavailableError("database-unavailable", "before")
            result = call(*arguments, **named)
            if self._calls % 4 == 3:
                raise UnavailableError("database-unavailable", "after")
            return result

        return failing


def test_whatever_fails_between_two_steps_every_point_comes_once(store, run_id, folder, monkeypatch):
    monkeypatch.setattr(intake, "_CHUNK_FRAMES", 7)
    journal = written(folder)
    journal.end(RunState.FINISHED, 50)
    journal.close()
    shaky = dataclasses.replace(store, runs=Failing(store.runs), series=Failing(store.series))
    failures = 0
    for _ in range(200):
        try:
            taken = Intake(shaky, folder).take()
        except UnavailableError:
            failures += 1
            continue
        break
    else:
        pytest.fail("it never came through")
    assert failures > 10
    assert [(item.whole, item.finished, item.damaged, item.ended) for item in taken] == [(True, True, False, True)]
    assert steps(store, run_id) == list(range(100))
    found = store.runs.get(run_id)
    assert (found.metrics["loss"].count, found.tags["last"], len(found.params), found.state) == (100, "90", 10, RunState.FINISHED)


def test_two_who_take_the_same_folder_take_everything_once(store, run_id, folder):
    journals = [written(folder, writer=f"w{number}", points=300, owner=number == 0, at=number * 1000) for number in range(3)]
    for journal in journals:
        journal.aside(10**6, 1, {journal.path.name: 1.0})
    ended = threading.Event()

    def take():
        mine = Intake(store, folder)
        while not ended.is_set():
            mine.take()

    threads = [threading.Thread(target=take) for _ in range(3)]
    for thread in threads:
        thread.start()
    for number, journal in enumerate(journals):
        for step in range(300, 500):
            journal.points(step, number, {"loss": 1.0})
    deadline = time.monotonic() + 30
    while sum(store.series.taken(run_id).values()) < sum(journal.seq for journal in journals) and time.monotonic() < deadline:
        time.sleep(0.02)
    ended.set()
    for thread in threads:
        thread.join()
    for journal in journals:
        journal.close()
    assert store.runs.get(run_id).metrics["loss"].count == len(steps(store, run_id)) == 3 * 500


def test_a_deadline_stops_between_two_chunks_and_the_rest_comes_later(store, run_id, folder, monkeypatch):
    monkeypatch.setattr(intake, "_CHUNK_FRAMES", 7)
    written(folder).close()
    taken = Intake(store, folder).take(deadline=time.monotonic() - 1)
    assert [(item.whole, item.finished) for item in taken] == [(False, False)]
    assert 0 < len(steps(store, run_id)) < 100
    assert [item.whole for item in Intake(store, folder).take()] == [True]
    assert steps(store, run_id) == list(range(100))


def test_a_deleted_run_takes_nothing_and_its_journal_stays(store, run_id, folder):
    written(folder).close()
    store.runs.delete([run_id], at=1)
    (taken,) = Intake(store, folder).take()
    assert isinstance(taken.problem, ConflictError)
    assert dispose(taken) == []
    assert taken.path.exists()


def test_only_what_is_whole_and_abandoned_is_removed(store, run_id, folder):
    journal = written(folder)
    (taken,) = Intake(store, folder).take()
    assert dispose(taken) == []
    assert taken.path.exists()
    journal.points(1000, 1, {"loss": 1.0})
    journal.close()
    assert dispose(taken) == []
    assert taken.path.exists(), "it has grown since it was read"
    (taken,) = Intake(store, folder).take()
    remove_folder(folder)
    assert folder.exists()
    dispose(taken)
    remove_folder(folder)
    assert not folder.exists()


def test_bytes_that_were_changed_beside_the_journal_are_told(store, run_id, folder):
    journal = written(folder)
    (folder / "objects/sha256/aa").mkdir(parents=True)
    (folder / "objects/sha256/aa" / ("a" * 62)).write_bytes(b"other bytes")
    journal.note(artifacts=[Artifact(path="x", digest="a" * 64, size=1)])
    journal.close()
    (taken,) = Intake(store, folder).take()
    assert taken.problem is not None
    assert taken.problem.code == "object-changed"
    assert store.runs.get(run_id).artifacts == {}
