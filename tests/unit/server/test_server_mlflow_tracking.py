"""Experiments and runs of MLflow's REST API: what clients rely on, checked against MLflow 3.18's own server by hand."""

from __future__ import annotations

import pytest
from mlflow_rest import Refused, Rest

from tidegate.records.run import RunState
from tidegate.server import create_app
from tidegate.workspace import Workspace


def refusal(ask, *arguments, **fields) -> Refused:
    with pytest.raises(Refused) as found:
        ask(*arguments, **fields)
    return found.value


def test_experiment_zero_is_there_and_ids_are_text(rest: Rest) -> None:
    found = rest.get("experiments/get", experiment_id="0")["experiment"]
    assert found["experiment_id"] == "0"
    assert found["name"] == "Default"
    assert found["artifact_location"] == "mlflow-artifacts:/0"
    assert found["lifecycle_stage"] == "active"
    assert "tags" not in found
    assert rest.get("experiments/get-by-name", experiment_name="Default")["experiment"] == found


def test_an_own_experiment_called_default_answers_to_zero(workspace: Workspace) -> None:
    made = workspace.store.experiments.create("Default", at=1)
    rest = Rest(create_app(workspace))
    assert rest.get("experiments/get", experiment_id="0")["experiment"]["experiment_id"] == str(made.id)
    run = rest.run("0")
    assert len(rest.post("runs/search", experiment_ids=["0"])["runs"]) == 1
    assert rest.get("runs/get", run_id=run)["run"]["info"]["experiment_id"] == str(made.id)


def test_an_experiment_from_birth_to_death_and_back(rest: Rest) -> None:
    number = rest.post("experiments/create", name="e", tags=[{"key": "a", "value": "1"}])["experiment_id"]
    rest.post("experiments/update", experiment_id=number, new_name="f")
    rest.post("experiments/set-experiment-tag", experiment_id=number, key="b", value="2")
    rest.post("experiments/delete-experiment-tag", experiment_id=number, key="a")
    found = rest.get("experiments/get", experiment_id=number)["experiment"]
    assert (found["name"], found["tags"]) == ("f", [{"key": "b", "value": "2"}])
    run = rest.run(number)
    rest.post("experiments/delete", experiment_id=number)
    assert rest.get("experiments/get", experiment_id=number)["experiment"]["lifecycle_stage"] == "deleted"
    assert rest.get("runs/get", run_id=run)["run"]["info"]["lifecycle_stage"] == "deleted"
    assert refusal(rest.post, "experiments/delete", experiment_id=number).code == "RESOURCE_DOES_NOT_EXIST"
    assert refusal(rest.post, "experiments/update", experiment_id=number, new_name="g").code == "INVALID_STATE"
    taken = refusal(rest.post, "experiments/create", name="f")
    assert (taken.status, taken.code) == (400, "RESOURCE_ALREADY_EXISTS")
    assert "must be in the 'active' state" in refusal(rest.run, number).message
    rest.post("experiments/restore", experiment_id=number)
    assert rest.get("runs/get", run_id=run)["run"]["info"]["lifecycle_stage"] == "active"
    assert refusal(rest.post, "experiments/restore", experiment_id=number).status == 404


def test_a_location_that_the_user_gave_is_kept(rest: Rest) -> None:
    number = rest.post("experiments/create", name="e", artifact_location="s3://place/x?region=1")["experiment_id"]
    run = rest.run(number)
    uri = rest.get("runs/get", run_id=run)["run"]["info"]["artifact_uri"]
    assert uri == f"s3://place/x/{run}/artifacts?region=1"


@pytest.mark.parametrize(
    ("path", "fields", "words"),
    [
        ("experiments/create", {}, "Missing value for required parameter 'name'"),
        ("experiments/create", {"name": 5}, "Invalid value 5 for parameter 'name'"),
        ("experiments/create", {"name": " "}, "Invalid experiment name"),
        ("experiments/create", {"name": "x" * 501}, "'name' exceeds the maximum length of 500"),
        ("experiments/create", {"name": "a", "tags": 3}, "Invalid value 3 for parameter 'tags'"),
        ("experiments/create", {"name": "a", "tags": [3]}, "for parameter 'tags'"),
        ("experiments/create", {"name": "a", "artifact_location": "runs:/x"}, "cannot be a runs:/ URI"),
        ("experiments/delete", {"experiment_id": "x"}, "Experiment ID must be a valid integer"),
        ("experiments/set-experiment-tag", {"experiment_id": "0", "key": "../x"}, "would resolve to"),
        ("experiments/set-experiment-tag", {"experiment_id": "0", "key": "k", "value": "v" * 20_001}, "maximum length"),
        ("runs/create", {"experiment_id": "0", "start_time": "x"}, "Invalid value \"x\" for parameter 'start_time'"),
        ("runs/create", {"experiment_id": "0", "start_time": 2**62}, "a time in milliseconds"),
        ("runs/search", {"experiment_ids": ["0"], "max_results": 0}, "It must be a positive integer"),
        ("runs/search", {"experiment_ids": ["0"], "max_results": 50_001}, "It must be at most 50000"),
        ("runs/search", {"experiment_ids": ["0"], "page_token": "zzz"}, "Invalid page token"),
        ("runs/search", {"experiment_ids": ["0"], "filter": "metrics."}, ""),
        ("runs/search", {"experiment_ids": ["0"], "run_view_type": "SOME"}, "run_view_type"),
    ],
)
def test_what_is_wrong_is_told_as_400(rest: Rest, path: str, fields: dict, words: str) -> None:
    found = refusal(rest.post, path, **fields)
    assert (found.status, found.code) == (400, "INVALID_PARAMETER_VALUE")
    assert words in found.message


def test_experiments_are_searched_sorted_and_paged(rest: Rest) -> None:
    for name in ("a1", "a2", "b1"):
        rest.post("experiments/create", name=name, tags=[{"key": "team", "value": name[0]}])

    def names(**fields) -> list[str]:
        return [item["name"] for item in rest.post("experiments/search", **{"max_results": 10} | fields).get("experiments", [])]

    assert names() == ["b1", "a2", "a1", "Default"]
    assert names(filter="name LIKE 'a%' AND tags.team = 'a'", order_by=["name ASC"]) == ["a1", "a2"]
    assert names(filter="name ILIKE 'A_'", order_by=["experiment_id DESC"]) == ["a2", "a1"]
    assert names(filter="tags.team IS NULL") == ["Default"]
    assert names(filter="experiment_id IN ('0', '1')", order_by=["experiment_id"]) == ["Default", "a1"]
    assert names(filter="creation_time > 0 AND name != 'Default'", view_type="ALL", order_by=["name DESC"]) == ["b1", "a2", "a1"]
    assert names(filter="name = 'a1' OR name = 'b1'", order_by=["name"]) == ["a1", "b1"]
    assert names(filter="name = 'none'") == []
    first = rest.get("experiments/search", max_results=3)
    assert isinstance(first["next_page_token"], str)
    rest_of = rest.get("experiments/search", max_results=3, page_token=first["next_page_token"])
    assert [item["name"] for item in rest_of["experiments"]] == ["Default"]
    assert "next_page_token" not in rest_of
    for text in (
        "name",
        "name = 3",
        "nothing = 'x'",
        "tags.a > 'x'",
        "experiment_id = 'x'",
        "(",
        "name = 'a' AND",
    ):
        assert refusal(rest.post, "experiments/search", filter=text, max_results=3).code == "INVALID_PARAMETER_VALUE", text
    assert refusal(rest.post, "experiments/search", order_by=["name SIDEWAYS"], max_results=3).status == 400


def test_a_run_as_clients_see_it(rest: Rest) -> None:
    made = rest.post("runs/create", experiment_id="0", user_id="ana", start_time=1_700_000_000_123, run_name="first")["run"]
    run = made["info"]["run_id"]
    assert made["info"] == {
        "run_id": run,
        "run_uuid": run,
        "run_name": "first",
        "experiment_id": "0",
        "user_id": "ana",
        "status": "RUNNING",
        "start_time": 1_700_000_000_123,
        "artifact_uri": f"mlflow-artifacts:/0/{run}/artifacts",
        "lifecycle_stage": "active",
    }
    assert made["data"] == {"tags": [{"key": "mlflow.runName", "value": "first"}]}
    assert rest.get("runs/get", run_uuid=run)["run"] == made
    ended = rest.post("runs/update", run_id=run, status="FINISHED", end_time=1_700_000_001_456)["run_info"]
    assert (ended["status"], ended["end_time"]) == ("FINISHED", 1_700_000_001_456)


def test_a_run_without_a_name_gets_one(rest: Rest) -> None:
    info = rest.post("runs/create", experiment_id="0")["run"]["info"]
    assert len(info["run_name"].split("-")) == 3
    assert info["start_time"] > 1_600_000_000_000
    clash = refusal(rest.run, run_name="a", tags=[{"key": "mlflow.runName", "value": "b"}])
    assert "with different values" in clash.message
    assert rest.get("runs/get", run_id=rest.run(tags=[{"key": "mlflow.runName", "value": "b"}]))["run"]["info"]["run_name"] == "b"


def test_a_run_may_end_again_and_resume(rest: Rest, workspace: Workspace) -> None:
    run = rest.run()

    def update(**fields) -> tuple[str, int | None]:
        info = rest.post("runs/update", run_id=run, **fields)["run_info"]
        return info["status"], info.get("end_time")

    assert update(status="FINISHED", end_time=50) == ("FINISHED", 50)
    assert update(status="FINISHED", end_time=60) == ("FINISHED", 60)
    assert update(status=4, end_time=70) == ("FAILED", 70)
    assert update(status="RUNNING") == ("RUNNING", None)
    assert update(status="KILLED")[0] == "KILLED"
    assert refusal(update, status="BROKEN").code == "INVALID_PARAMETER_VALUE"
    rest.post("runs/update", run_id=run, run_name="new")
    info = rest.get("runs/get", run_id=run)["run"]
    assert info["info"]["run_name"] == "new"
    assert {"key": "mlflow.runName", "value": "new"} in info["data"]["tags"]
    workspace.store.runs.change_state(run, RunState.RUNNING, 1)
    workspace.store.runs.change_state(run, RunState.CRASHED, 2)
    crashed = rest.get("runs/get", run_id=run)["run"]
    assert crashed["info"]["status"] == "FAILED"
    assert {"key": "tidegate.state", "value": "CRASHED"} in crashed["data"]["tags"]


def test_parameters_are_set_once(rest: Rest) -> None:
    run = rest.run()
    rest.post("runs/log-parameter", run_id=run, key="depth", value="6")
    rest.post("runs/log-parameter", run_id=run, key="depth", value="6")
    changed = refusal(rest.post, "runs/log-parameter", run_id=run, key="depth", value="7")
    assert (changed.status, changed.code) == (400, "INVALID_PARAMETER_VALUE")
    assert "Param with key='depth' was already logged with value='6'" in changed.message
    rest.post("runs/log-parameter", run_id=run, key="long", value="x" * 7000)
    rest.post("runs/set-tag", run_id=run, key="long", value="y" * 9000)
    rest.post("runs/log-parameter", run_id=run, key="empty")
    params = {item["key"]: item["value"] for item in rest.data(run)["params"]}
    assert (params["depth"], len(params["long"]), params["empty"]) == ("6", 6000, "")
    assert {len(item["value"]) for item in rest.data(run)["tags"] if item["key"] == "long"} == {8000}
    for key in ("", "a/../b", "/a", "a//b", "sm\u00f6r&g", "k" * 251):
        assert refusal(rest.post, "runs/log-parameter", run_id=run, key=key, value="1").status == 400


def test_tags_are_set_renamed_and_dropped(rest: Rest) -> None:
    run = rest.run()
    rest.post("runs/set-tag", run_id=run, key="a", value="1")
    rest.post("runs/set-tag", run_id=run, key="a", value="2")
    rest.post("runs/set-tag", run_id=run, key="mlflow.runName", value="named")
    assert rest.get("runs/get", run_id=run)["run"]["info"]["run_name"] == "named"
    rest.post("runs/delete-tag", run_id=run, key="a")
    assert rest.data(run)["tags"] == [{"key": "mlflow.runName", "value": "named"}]
    assert refusal(rest.post, "runs/delete-tag", run_id=run, key="a").status == 404


def test_a_new_run_may_have_tags_of_any_name(rest: Rest) -> None:
    run = rest.run(tags=[{"key": "a&b/../c", "value": "1"}, {"key": "long", "value": "x" * 9000}])
    tags = {item["key"]: item["value"] for item in rest.data(run)["tags"]}
    assert (tags["a&b/../c"], len(tags["long"])) == ("1", 8000)
    for tags in ([{"value": "x"}], [{"key": 1}], [{"key": "k" * 251}], [{"key": "k", "value": 1}]):
        assert refusal(rest.run, tags=tags).status == 400
    assert refusal(rest.post, "experiments/create", name="e", tags=[{"key": "k", "value": "x" * 20_001}]).status == 400


def test_a_deleted_run_takes_nothing(rest: Rest) -> None:
    run = rest.run()
    rest.post("runs/delete", run_id=run)
    for path, fields in {
        "runs/log-metric": {"key": "m", "value": 1, "timestamp": 1},
        "runs/log-batch": {},
        "runs/log-parameter": {"key": "p", "value": "1"},
        "runs/set-tag": {"key": "t", "value": "1"},
        "runs/update": {"status": "FINISHED"},
        "runs/log-inputs": {"datasets": []},
        "runs/outputs": {"models": [{"model_id": "m-1"}]},
    }.items():
        found = refusal(rest.post, path, run_id=run, **fields)
        assert (found.status, found.code) == (400, "INVALID_PARAMETER_VALUE"), path
        assert found.message == f"The run {run} must be in the 'active' state. Current state is deleted.", path
    assert rest.post("runs/search", experiment_ids=["0"]) == {}
    assert len(rest.post("runs/search", experiment_ids=["0"], run_view_type="DELETED_ONLY")["runs"]) == 1
    rest.post("runs/restore", run_id=run)
    assert len(rest.post("runs/search", experiment_ids=["0"], run_view_type="ALL")["runs"]) == 1


def test_an_unknown_run_is_404_everywhere(rest: Rest) -> None:
    for path, fields in {
        "runs/log-metric": {"key": "m", "value": 1, "timestamp": 1},
        "runs/log-batch": {},
        "runs/log-parameter": {"key": "p", "value": "1"},
        "runs/set-tag": {"key": "t", "value": "1"},
        "runs/delete-tag": {"key": "t"},
        "runs/update": {"status": "FINISHED"},
        "runs/delete": {},
        "runs/restore": {},
        "runs/log-inputs": {},
    }.items():
        found = refusal(rest.post, path, run_id="nobody", **fields)
        assert (found.status, found.code, found.message) == (404, "RESOURCE_DOES_NOT_EXIST", "Run with id=nobody not found"), path


def test_runs_are_searched_over_experiments_and_paged(rest: Rest) -> None:
    other = rest.post("experiments/create", name="other")["experiment_id"]
    for number in range(3):
        run = rest.run("0", start_time=1000 + number, run_name=f"r{number}")
        rest.post("runs/log-metric", run_id=run, key="loss", value=number, timestamp=1)
    rest.run(other, start_time=2000, run_name="o")

    def names(**fields) -> list[str]:
        return [item["info"]["run_name"] for item in rest.post("runs/search", **fields).get("runs", [])]

    assert names(experiment_ids=["0"]) == ["r2", "r1", "r0"]
    assert names(experiment_ids=["0", other]) == ["o", "r2", "r1", "r0"]
    assert names(experiment_ids=["99"]) == []
    assert names(experiment_ids=[]) == []
    assert names(experiment_ids=["0"], filter="metrics.loss < 1.5") == ["r1", "r0"]
    assert names(experiment_ids=["0"], order_by=["metrics.loss ASC"]) == ["r0", "r1", "r2"]
    first = rest.post("runs/search", experiment_ids=["0"], max_results=2)
    again = rest.post("runs/search", experiment_ids=["0"], max_results=2, page_token=first["next_page_token"])
    assert [item["info"]["run_name"] for item in again["runs"]] == ["r0"]
    assert "next_page_token" not in again


def test_what_a_run_read_and_made(rest: Rest) -> None:
    run = rest.run()
    dataset = {"name": "d", "digest": "g", "source_type": "local", "source": "{}", "schema": "s"}
    tags = [{"key": "mlflow.data.context", "value": "training"}]
    rest.post("runs/log-inputs", run_id=run, datasets=[{"dataset": dataset, "tags": tags}], models=[{"model_id": "m-1"}])
    rest.post("runs/log-inputs", run_id=run, datasets=[{"dataset": dataset | {"source": "later"}}])
    rest.post("runs/outputs", run_id=run, models=[{"model_id": "m-2", "step": 3}])
    found = rest.get("runs/get", run_id=run)["run"]
    assert found["inputs"] == {"dataset_inputs": [{"dataset": dataset, "tags": tags}], "model_inputs": [{"model_id": "m-1"}]}
    assert found["outputs"] == {"model_outputs": [{"model_id": "m-2", "step": 3}]}
    summaries = rest.post("experiments/search-datasets", experiment_ids=["0"])["dataset_summaries"]
    assert summaries == [{"experiment_id": "0", "name": "d", "digest": "g", "context": "training"}]
    assert rest.post("experiments/search-datasets", experiment_ids=["7"]) == {}
    assert refusal(rest.post, "runs/log-inputs", run_id=run, datasets=[{"dataset": {"name": "d"}}]).status == 400
    assert refusal(rest.post, "experiments/search-datasets", experiment_ids=["1"] * 21).status == 400


def test_models_of_old_clients_stay_in_a_tag(rest: Rest) -> None:
    run = rest.run()
    model = '{"artifact_path": "model", "flavors": {"sklearn": {"config": 1, "code": 2}}, "utc_time_created": "t", "run_id": "r", "x": 1}'
    rest.post("runs/log-model", run_id=run, model_json=model)
    rest.post("runs/log-model", run_id=run, model_json=model)
    tags = {item["key"]: item["value"] for item in rest.data(run)["tags"]}
    entry = '{"run_id":"r","artifact_path":"model","utc_time_created":"t","flavors":{"sklearn":{"code":2}}}'
    assert tags["mlflow.log-model.history"] == f"[{entry},{entry}]"
    assert "missing mandatory fields" in refusal(rest.post, "runs/log-model", run_id=run, model_json="{}").message
    assert refusal(rest.post, "runs/log-model", run_id=run, model_json="[").status == 400


def test_native_runs_are_there_for_clients(rest: Rest, workspace: Workspace) -> None:
    with workspace.runs.start("delay", params={"depth": 6}) as run:
        run.log(loss=0.5)
        run.artifact(b"hello", "notes/a.txt")
    number = rest.get("experiments/get-by-name", experiment_name="delay")["experiment"]["experiment_id"]
    found = rest.post("runs/search", experiment_ids=[number])["runs"][0]
    assert found["info"]["status"] == "FINISHED"
    assert found["data"]["metrics"][0]["value"] == 0.5
    assert found["data"]["params"] == [{"key": "depth", "value": "6"}]
    assert rest.get("artifacts/list", run_id=run.id, path="notes")["files"] == [
        {"path": "notes/a.txt", "is_dir": False, "file_size": 5}
    ]


def test_the_server_says_what_it_is(rest: Rest) -> None:
    assert rest.client.send("GET", "/health").text == "OK"
    assert rest.client.send("GET", "/version").text.count(".") == 2
    for prefix in ("/api", "/ajax-api"):
        assert rest.client.send("GET", f"{prefix}/3.0/mlflow/server-info").json["multipart_uploads_enabled"] is False
    for path in ("/api/2.0/mlflow/nothing", "/api/3.0/mlflow/nothing", "/ajax-api/2.0/x", "/api/2.0/mlflow/runs/create"):
        answer = rest.client.send("GET", path)
        assert (answer.status, answer.json["error_code"]) == (404, "ENDPOINT_NOT_FOUND"), path
