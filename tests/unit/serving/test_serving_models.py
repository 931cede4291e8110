"""Several models in one process, and versions that can be asked by their number."""

from __future__ import annotations

import json

import pytest
from serving_shop import NOW, NoCatalog, call, tensors

from tidegate import frames
from tidegate.clock import Clock
from tidegate.models import Candidate, Models
from tidegate.monitoring import PredictionLog
from tidegate.records.ledger import Promoted
from tidegate.records.policy import ServingPolicy
from tidegate.records.receipt import Baseline
from tidegate.release.ledger import append
from tidegate.serving.app import App
from tidegate.serving.follow import Follower
from tidegate.serving.log import LogQueue

BODY = {"inputs": tensors()}


def error(answer):
    return answer[0], json.loads(answer[2]).get("error") or json.loads(answer[2])["message"]


@pytest.fixture
def two(shop, estimators):
    """A second model beside delay, promoted as well."""
    table, trained = estimators
    models = Models(shop.bucket, NoCatalog(), Clock.replay(NOW))
    version = models.register(Candidate("cancel", trained[1], table, "binary"))
    event = Promoted(version=1, digest=version.digest, receipt="r", previous=Baseline())
    append(shop.bucket, "cancel", lambda _state: event, clock=Clock.replay(NOW), actor="ana")
    return shop


@pytest.fixture
def app(two):
    followers = {name: Follower(two.bucket, name) for name in ("delay", "cancel")}
    policies = {"cancel": ServingPolicy(max_rows=1)}
    return App(followers, LogQueue(lambda rows: None), clock=Clock.replay(NOW), policies=policies)


def test_each_model_answers_at_its_path_with_its_limits(app):
    labels = {
        name: json.loads(call(app, f"/v2/models/{name}/infer", BODY)[2])["outputs"][1]["data"] for name in ("delay", "cancel")
    }
    assert labels["delay"] != labels["cancel"]
    twice = {"inputs": tensors([1.0, 2.0], [1, 2], ["UA", "AA"])}
    assert call(app, "/v2/models/delay/infer", twice)[0] == 200
    assert call(app, "/v2/models/cancel/infer", twice)[0] == 413
    assert json.loads(call(app, "/v1/models")[2]) == {"models": ["cancel", "delay"]}
    index = json.loads(call(app, "/v2/repository/index", {})[2])
    assert [(each["name"], each["version"], each["state"]) for each in index] == [
        ("cancel", "1", "READY"),
        ("delay", "1", "READY"),
    ]
    assert [each["name"] for each in json.loads(call(app, "/health")[2])["models"]] == ["delay", "cancel"]


def test_where_the_path_names_no_model_a_header_or_the_query_does(app):
    body = {"inputs": {"wind": [1.0], "seats": [100], "carrier": ["UA"]}}
    status, told = error(call(app, "/invocations", body))
    assert (status, "model-not-named" in told, "cancel, delay" in told) == (400, True, True)
    json_type = (b"content-type", b"application/json")
    for header, ref in ((b"cancel", b"cancel@1"), (b"delay", b"delay@1"), (b"delay@1", b"delay@1")):
        status, headers, _ = call(app, "/invocations", body, headers=[json_type, (b"x-model", header)])
        assert (status, headers[b"x-model"]) == (200, ref)
    assert error(call(app, "/invocations", body, headers=[json_type, (b"x-model", b"delay@7")]))[0] == 404
    assert error(call(app, "/invocations", body, headers=[json_type, (b"x-model", b"dela")]))[0] == 404
    status, headers, _ = call(app, "/invocations", body, query=b"model=cancel")
    assert (status, headers[b"x-model"]) == (200, b"cancel@1")


def test_versions_are_those_that_are_loaded(shop):
    follower = Follower(shop.bucket, "delay", pins=(2,))
    assert follower.served() == ["1", "2"]
    app = App({"delay": follower}, LogQueue(lambda rows: None), clock=Clock.replay(NOW))

    def label(version):
        return json.loads(call(app, f"/v2/models/delay/versions/{version}/infer", BODY)[2])["outputs"][1]["data"]

    assert label(1) != label(2)
    assert json.loads(call(app, "/v2/models/delay/versions/2")[2])["versions"] == ["1", "2"]
    assert json.loads(call(app, "/v2/models/delay/versions/2/ready")[2])["ready"] is True
    status, told = error(call(app, "/v2/models/delay/versions/3/infer", BODY))
    assert (status, "--pin delay@N" in told) == (404, True)


def test_the_version_before_is_ready_after_a_start_and_after_a_swap(shop):
    before, after = shop.versions
    event = Promoted(version=2, digest=after.digest, receipt="r", previous=Baseline(version=1, digest=before.digest))
    append(shop.bucket, "delay", lambda _state: event, clock=Clock.replay(NOW), actor="ana")
    follower = Follower(shop.bucket, "delay")
    assert follower.served() == ["2"]
    follower._load_previous()
    assert follower.served() == ["1", "2"]
    shop.promote(before)
    follower.look()
    assert (follower.handle.number, follower.served()) == ("1", ["1", "2"])


def test_a_process_serves_several_models_and_logs_each(two, server):
    running = server("--pin", "delay@2", models=["delay", "cancel"])
    assert running.line.startswith("serving delay@1, cancel@1 on http://")
    body = json.dumps(BODY)
    for path in ("delay", "delay/versions/2", "cancel"):
        assert running.request("POST", f"/v2/models/{path}/infer", body, {"content-type": "application/json"})[0] == 200
    assert running.stop() == (0, "")
    with frames.connect() as con:
        counts = {name: PredictionLog(two.bucket, name).read(con, 0, 2**53).shape[0] for name in ("delay", "cancel")}
    assert counts == {"delay": 2, "cancel": 1}


def test_the_command_line_refuses_models_that_do_not_fit(two, server):
    for extra, models, code in (
        ((), ["delay", "delay"], "bad-models"),
        (("--pin", "cancel@1"), ["delay"], "bad-models"),
        (("--pin", "delay"), ["delay"], "version-not-wanted"),
        (("--pin", "delay@9"), ["delay"], "no-such-version"),
        ((), ["delay", "other"], "nothing-promoted"),
    ):
        with pytest.raises(AssertionError, match=code):
            server(*extra, models=models)


def test_vertex_and_sagemaker_start_it_their_way(shop, server):
    environment = {"AIP_HTTP_PORT": "0", "AIP_HEALTH_ROUTE": "/up", "AIP_PREDICT_ROUTE": "/v1/endpoints/7:predict"}
    running = server(models=["delay", "serve"], environment=environment)
    assert running.line.startswith("serving delay@1 on http://")
    assert running.get("/up")[0] == 200
    body = json.dumps({"instances": [{"wind": None, "seats": 100, "carrier": "UA"}] * 2})
    status, answer = running.request("POST", "/v1/endpoints/7:predict", body, {"content-type": "application/json"})
    rows = json.loads(answer)["predictions"]
    assert (status, [list(row) for row in rows]) == (200, [["probability", "label", "prediction_id"]] * 2)
    assert len({row["prediction_id"] for row in rows}) == 2
