"""Logged models: what clients 3.x keep of a model before it has a version."""

import math
from concurrent.futures import ThreadPoolExecutor

import pytest
from registry_house import FILES, Refused, RegistryHouse

from tidegate.workspace import Workspace


@pytest.fixture
def house(tmp_path):
    workspace = Workspace.open(tmp_path, actor="ana")
    yield RegistryHouse(workspace)
    workspace.store.close()


def get(house, model_id, **fields):
    return house.ask("GET", f"logged-models/{model_id}", **fields)["model"]


def search(house, **fields):
    found = house.ask("POST", "logged-models/search", **{"experiment_ids": ["0"], **fields})
    return [model["info"]["name"] for model in found.get("models", [])]


def pairs(items):
    return {item["key"]: item["value"] for item in items}


def test_a_logged_model_is_kept_with_its_files(house):
    run_id = house.run()
    tags, params = [{"key": "t", "value": "1"}], [{"key": "p", "value": "2"}]
    model_id = house.logged("forest", run_id, tags=tags, params=params, model_type="agent")
    found = get(house, model_id)
    info = found["info"]
    assert (len(model_id), model_id[:2]) == (34, "m-")
    assert (info["name"], info["status"], info["source_run_id"], info["experiment_id"], info["model_type"]) == (
        "forest", "LOGGED_MODEL_PENDING", run_id, "0", "agent",
    )  # fmt: skip
    assert info["artifact_uri"] == f"mlflow-artifacts:/0/models/{model_id}/artifacts"
    assert (pairs(info["tags"]), pairs(found["data"]["params"])) == ({"t": "1"}, {"p": "2"})
    listed = house.ask("GET", f"logged-models/{model_id}/artifacts/directories")
    assert [file["path"] for file in listed["files"]] == sorted(FILES)
    assert listed["root_uri"] == info["artifact_uri"]


def test_who_gives_no_name_gets_one(house):
    model_id = house.ask("POST", "logged-models", experiment_id="0")["model"]["info"]["model_id"]
    assert get(house, model_id)["info"]["name"]
    assert get(house, model_id)["data"] == {}


@pytest.mark.parametrize("name", ["a/b", "a:b", "a.b", "a%b", 'a"b', "a'b"])
def test_names_that_mlflow_refuses(house, name):
    with pytest.raises(Refused, match="cannot contain"):
        house.ask("POST", "logged-models", experiment_id="0", name=name)


def test_what_is_not_there(house):
    for model_id in ("m-nope", "m-" + "0" * 32, "x"):
        for method, path, fields in [
            ("GET", "", {}), ("PATCH", "", {"status": 2}), ("DELETE", "", {}), ("PATCH", "/tags", {"tags": []}),
            ("POST", "/params", {"params": []}), ("GET", "/artifacts/directories", {}),
        ]:  # fmt: skip
            with pytest.raises(Refused, match="not found") as caught:
                house.ask(method, f"logged-models/{model_id}{path}", **fields)
            assert caught.value.status == 404
    with pytest.raises(Refused) as caught:
        house.ask("POST", "logged-models", experiment_id="77")
    assert caught.value.status == 404


@pytest.mark.parametrize(("sent", "kept"), [("LOGGED_MODEL_READY", "READY"), (3, "UPLOAD_FAILED"), ("2", "READY")])
def test_it_is_finalized_by_word_or_number(house, sent, kept):
    model_id = house.logged()
    house.ask("PATCH", f"logged-models/{model_id}", model_id=model_id, status=sent)
    assert get(house, model_id)["info"]["status"] == f"LOGGED_MODEL_{kept}"
    for bad in ("READY", 9, 0):
        with pytest.raises(Refused):
            house.ask("PATCH", f"logged-models/{model_id}", status=bad)


def test_tags_and_params(house):
    model_id = house.logged(params=[{"key": "a", "value": "1"}])
    at = f"logged-models/{model_id}"
    house.ask("PATCH", f"{at}/tags", tags=[{"key": "x/y", "value": "1"}, {"key": "z", "value": "2"}])
    house.ask("DELETE", f"{at}/tags/x/y")
    assert pairs(get(house, model_id)["info"]["tags"]) == {"z": "2"}
    with pytest.raises(Refused, match="No tag with key") as caught:
        house.ask("DELETE", f"{at}/tags/nope")
    assert caught.value.status == 404
    house.ask("POST", f"{at}/params", params=[{"key": "a", "value": "1"}, {"key": "b", "value": "2"}])
    with pytest.raises(Refused, match="Changing param values is not allowed"):
        house.ask("POST", f"{at}/params", params=[{"key": "c", "value": "3"}, {"key": "a", "value": "9"}])
    assert pairs(get(house, model_id)["data"]["params"]) == {"a": "1", "b": "2"}


def test_changes_of_many_clients_at_once_are_all_kept(house):
    model_id = house.logged()
    with ThreadPoolExecutor(8) as pool:
        list(
            pool.map(
                lambda n: house.ask("PATCH", f"logged-models/{model_id}/tags", tags=[{"key": f"k{n}", "value": "v"}]), range(24)
            )
        )
    assert len(get(house, model_id)["info"]["tags"]) == 24


def test_a_deleted_one_is_only_seen_by_who_asks_for_it(house):
    model_id = house.logged()
    house.ask("DELETE", f"logged-models/{model_id}")
    with pytest.raises(Refused) as caught:
        get(house, model_id)
    assert caught.value.status == 404
    assert get(house, model_id, allow_deleted="true")["info"]["model_id"] == model_id
    assert search(house) == []


def test_metrics_of_a_run_that_name_the_model_are_the_models_too(house):
    run_id = house.run()
    model_id = house.logged(run_id=run_id)
    first = {"run_id": run_id, "key": "acc", "value": 0.5, "timestamp": 5, "step": 1, "model_id": model_id, "dataset_name": "ds",
             "dataset_digest": "dg"}  # fmt: skip
    for _ in range(2):  # a client that repeats itself
        house.ask("POST", "runs/log-metric", **first)
    batch = [
        {"key": "acc", "value": 0.7, "timestamp": 6, "step": 2, "model_id": model_id},
        {"key": "f1", "value": "NaN", "timestamp": 6, "step": 2, "model_id": model_id},
        {"key": "alone", "value": 1.0, "timestamp": 6, "step": 2},
    ]
    house.ask("POST", "runs/log-batch", run_id=run_id, metrics=batch)
    metrics = get(house, model_id)["data"]["metrics"]
    assert [(item["key"], item["value"], item["step"]) for item in metrics] == [
        ("acc", 0.5, 1),
        ("acc", 0.7, 2),
        ("f1", "NaN", 2),
    ]
    assert metrics[0] == {
        "key": "acc", "value": 0.5, "timestamp": 5, "step": 1, "dataset_name": "ds", "dataset_digest": "dg", "model_id": model_id,
        "run_id": run_id,
    }  # fmt: skip
    run = house.ask("GET", "runs/get", run_id=run_id)["run"]["data"]
    assert {item["key"] for item in run["metrics"]} == {"acc", "f1", "alone"}


@pytest.fixture
def shelf(house):
    """Three models: a is best, c has no metric; b was measured on another dataset."""
    run_id = house.run()
    for name, accuracy, dataset in [("a", 0.9, "ds"), ("b", 0.7, "other"), ("c", None, "")]:
        model_id = house.logged(name, run_id, params=[{"key": "depth", "value": name}], tags=[{"key": "team", "value": "ops"}])
        for step, value in enumerate([] if accuracy is None else [0.99, accuracy]):
            house.ask("POST", "runs/log-metric", run_id=run_id, key="acc", value=value, timestamp=1, step=step, model_id=model_id,
                      dataset_name=dataset, dataset_digest="d")  # fmt: skip
    house.ask("PATCH", f"logged-models/{model_id}", status=2)
    return house


def test_search_filters_as_mlflow_does(shelf):
    assert sorted(search(shelf)) == ["a", "b", "c"]
    assert search(shelf, filter="metrics.acc > 0.8") == ["a"]  # the last value counts, not the best one
    assert search(shelf, filter="metrics.acc > 0.1 AND metrics.acc < 0.8") == ["b"]
    assert search(shelf, filter="params.depth = 'b'") == ["b"]
    assert search(shelf, filter="tags.team = 'ops' AND name = 'c'") == ["c"]
    assert search(shelf, filter="status = 'READY'") == ["c"]
    assert sorted(search(shelf, filter="status != 'READY'")) == ["a", "b"]
    assert sorted(search(shelf, filter="attributes.name IN ('a', 'b')")) == ["a", "b"]
    assert sorted(search(shelf, filter="creation_timestamp > 0")) == ["a", "b", "c"]
    assert search(shelf, filter="name = 'a'", experiment_ids=["9"]) == []
    assert search(shelf, datasets=[{"dataset_name": "ds"}]) == ["a"]
    assert search(shelf, datasets=[{"dataset_name": "ds", "dataset_digest": "x"}]) == []
    assert search(shelf, filter="metrics.acc > 0", datasets=[{"dataset_name": "other", "dataset_digest": "d"}]) == ["b"]


def test_search_orders_with_the_missing_last_in_both_directions(shelf):
    assert search(shelf, order_by=[{"field_name": "metrics.acc"}]) == ["b", "a", "c"]
    assert search(shelf, order_by=[{"field_name": "metrics.acc", "ascending": False}]) == ["a", "b", "c"]
    assert search(shelf, order_by=[{"field_name": "metrics.acc", "dataset_name": "other"}])[0] == "b"
    assert search(shelf, order_by=[{"field_name": "name", "ascending": False}]) == ["c", "b", "a"]


def test_search_pages(shelf):
    order = [{"field_name": "name"}]
    first = shelf.ask("POST", "logged-models/search", experiment_ids=["0"], max_results=2, order_by=order)
    assert [model["info"]["name"] for model in first["models"]] == ["a", "b"]
    assert search(shelf, max_results=2, order_by=order, page_token=first["next_page_token"]) == ["c"]


@pytest.mark.parametrize(
    "fields",
    [{"experiment_ids": []}, {"filter": "foo = 'x'"}, {"filter": "metrics.acc > 'x'"}, {"order_by": [{"field_name": "params.x"}]},
     {"order_by": [{"field_name": "nope"}]}, {"datasets": [{"dataset_digest": "x"}]}, {"page_token": "?"}, {"max_results": -1}],
)  # fmt: skip
def test_searches_that_mean_nothing_are_refused(house, fields):
    with pytest.raises(Refused) as caught:
        search(house, **fields)
    assert caught.value.code == "INVALID_PARAMETER_VALUE"


def test_a_metric_of_a_model_that_is_not_there_is_refused(house):
    run_id = house.run()
    with pytest.raises(Refused) as caught:
        house.ask("POST", "runs/log-metric", run_id=run_id, key="a", value=math.pi, timestamp=1, model_id="m-" + "0" * 32)
    assert caught.value.status == 404
