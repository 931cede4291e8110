from __future__ import annotations

import json
import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_shop import NOW, call, tensors

from tidegate.clock import parse_time
from tidegate.errors import TidegateError
from tidegate.serving import body as body_module
from tidegate.serving.protocols.oip import OipProtocol

INFER = "/v2/models/delay/infer"


@pytest.fixture
def app(shop):
    return shop.app()[0]


def error_of(answer):
    status, headers, body = answer
    assert headers[b"content-type"] == b"application/json"
    told = json.loads(body)
    assert list(told) == ["error"]
    assert "Traceback" not in told["error"]
    return status, re.search(r"\[([a-z-]+)\]$", told["error"])[1], told["error"]


def test_a_row_is_answered_as_the_estimator_would(shop, app):
    wind, seats, carrier = [12.5, None, 3.0], [100, 200, 51], ["UA", "AA", "??"]
    status, _, body = call(app, INFER, {"id": "my-7", "inputs": tensors(wind, seats, carrier)})
    answer = json.loads(body)
    assert status == 200
    assert list(answer) == ["model_name", "model_version", "id", "parameters", "outputs"]
    assert (answer["model_name"], answer["model_version"], answer["id"]) == ("delay", "1", "my-7")
    assert len(set(answer["parameters"]["prediction_ids"])) == 3
    probability, label = answer["outputs"]
    assert (probability["name"], probability["datatype"], probability["shape"]) == ("probability", "FP32", [3])
    frame = pd.DataFrame({"wind": [12.5, np.nan, 3.0], "seats": seats, "carrier": carrier})
    expected = shop.estimator.predict_proba(frame)[:, 1]
    np.testing.assert_allclose(probability["data"], expected, atol=1e-5)
    assert label["data"] == (expected > 0.5).astype(int).tolist()


def test_versions_are_addressable_and_outputs_can_be_chosen(app):
    body = {"inputs": tensors(), "outputs": [{"name": "label"}]}
    status, _, answer = call(app, "/v2/models/delay/versions/1/infer", body)
    assert status == 200
    assert [output["name"] for output in json.loads(answer)["outputs"]] == ["label"]
    assert "id" not in json.loads(answer)
    assert error_of(call(app, "/v2/models/delay/versions/2/infer", body))[:2] == (404, "version-not-served")
    assert error_of(call(app, INFER, body | {"outputs": [{"name": "lable"}]}))[:2] == (422, "unknown-output")


@pytest.mark.parametrize("slash", ["", "/"])
def test_what_the_protocol_asks_for_is_there(app, slash):
    def get(path):
        status, _, body = call(app, path + slash)
        return status, json.loads(body)

    assert get("/v2")[1]["name"] == "tidegate"
    assert get("/v2/health/live") == (200, {"live": True})
    assert get("/v2/health/ready") == (200, {"live": True, "ready": True})
    status, metadata = get("/v2/models/delay")
    assert (status, metadata["versions"], metadata["platform"]) == (200, ["1"], "onnx")
    assert metadata["inputs"] == [
        {"name": "wind", "datatype": "FP64", "shape": [-1, 1]},
        {"name": "seats", "datatype": "INT64", "shape": [-1, 1]},
        {"name": "carrier", "datatype": "BYTES", "shape": [-1, 1]},
    ]
    assert get("/v2/models/delay/versions/1") == (status, metadata)
    assert get("/v2/models/delay/ready") == get("/v2/models/delay/versions/1/ready") == (200, {"name": "delay", "ready": True})


def test_draining_is_told_before_the_door_closes(app):
    app.draining = True
    assert call(app, "/v2/health/ready")[0] == 503
    assert call(app, "/v2/models/delay/ready")[0] == 503
    assert call(app, "/v2/health/live")[0] == call(app, "/v2/health/live", method="HEAD")[0] == 200
    status, headers, _ = call(app, INFER, {"inputs": tensors()})
    assert (status, headers[b"connection"]) == (200, b"close")


GOOD = {"inputs": tensors()}


def changed(place, **changes):
    inputs = tensors()
    inputs[place] = inputs[place] | changes
    return {"inputs": inputs}


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 400, "bad-json"),
        (b'{"inputs": [', 400, "bad-json"),
        (b'{"inputs": [{"name": "\xff"}]}', 400, "bad-json"),
        (b"[" * 100_000, 400, "bad-request"),
        (b'{"id": ' + b"[" * 100_000, 400, "bad-request"),
        (b'{"inputs": [{"data": ' + b"[" * 100_000, 400, "bad-json"),
        (b'{"x": ' + b"[" * 100_000, 400, "bad-request"),
        ([], 400, "bad-request"),
        ({}, 400, "bad-request"),
        ({"inputs": {}}, 400, "bad-request"),
        ({"inputs": []}, 422, "missing-feature"),
        (GOOD | {"extra": 1}, 400, "bad-request"),
        ({"instances": [[1]]}, 400, "bad-request"),
        ({"inputs": tensors()[:2]}, 422, "missing-feature"),
        ({"inputs": [*tensors(), tensors()[0]]}, 422, "repeated-feature"),
        (changed(0, name="wimd"), 422, "unknown-feature"),
        (changed(0, datatype="FP128"), 400, "bad-request"),
        (changed(0, datatype="BYTES"), 422, "wrong-type"),
        (changed(0, data=["12.5"]), 422, "wrong-type"),
        (changed(0, data=[True]), 422, "wrong-type"),
        (changed(0, data=[[[1.0]]]), 422, "wrong-type"),
        (changed(0, data=12.5), 422, "wrong-type"),
        (changed(0, data={"a": 1}), 422, "wrong-type"),
        (changed(0, data=[]), 422, "wrong-shape"),
        (changed(0, data=[1.0, 2.0]), 422, "wrong-shape"),
        (changed(0, shape=[2], data=[1.0, 2.0]), 422, "wrong-shape"),
        (changed(0, shape=[0], data=[]), 422, "wrong-shape"),
        (changed(0, shape=[-1]), 422, "wrong-shape"),
        (changed(0, shape=[1, 2], data=[1.0, 2.0]), 422, "wrong-shape"),
        (changed(0, shape=[]), 422, "wrong-shape"),
        (changed(1, data=[[1, 2]]), 422, "wrong-shape"),
        (changed(1, data=[1.5]), 422, "wrong-type"),
        (changed(1, data=[None]), 422, "wrong-type"),
        (changed(1, data=[2**80]), 422, "wrong-type"),
        (changed(2, data=[3]), 422, "wrong-type"),
        (GOOD | {"parameters": {"event_time": "yesterday"}}, 400, "bad-time"),
        (GOOD | {"parameters": {"event_time": 1.5}}, 400, "bad-time"),
        (GOOD | {"parameters": {"event_time": -1}}, 400, "bad-time"),
        (GOOD | {"parameters": {"event_time": True}}, 400, "bad-time"),
        (GOOD | {"parameters": {"event_time": 10**20}}, 400, "bad-time"),
    ],
)
def test_a_wrong_request_gets_a_clear_answer(app, body, status, code):
    assert error_of(call(app, INFER, body))[:2] == (status, code)
    assert call(app, INFER, GOOD)[0] == 200


def test_the_nearest_name_is_given(app):
    assert "'wind'" in error_of(call(app, INFER, changed(0, name="wimd")))[2]
    status, code, text = error_of(call(app, "/v2/models/dela/infer", GOOD))
    assert (status, code) == (404, "model-not-served")
    assert "'delay'" in text


@pytest.mark.parametrize(
    ("path", "method", "status", "code"),
    [
        ("/", "GET", 404, "no-such-path"),
        ("/v2/models", "GET", 404, "no-such-path"),
        ("/v2/models/delay/explain", "POST", 404, "no-such-path"),
        ("/v2/models/delay/versions/1/x", "GET", 404, "no-such-path"),
        (INFER, "GET", 405, "wrong-method"),
        ("/v2/health/live", "POST", 405, "wrong-method"),
        ("/metrics", "DELETE", 405, "wrong-method"),
        ("/v2/models/delay/versions/x/infer", "POST", 404, "version-not-served"),
    ],
)
def test_a_wrong_path_or_method(app, path, method, status, code):
    assert error_of(call(app, path, method=method))[:2] == (status, code)


@pytest.mark.parametrize(
    "header",
    [
        (b"content-type", b"text/csv"),
        (b"content-type", b"application/x-www-form-urlencoded"),
    ],
)
def test_a_wrong_content_type(app, header):
    assert error_of(call(app, INFER, GOOD, headers=[header]))[:2] == (415, "wrong-content-type")
    assert call(app, INFER, GOOD, headers=[])[0] == 200


def test_text_that_is_not_utf8_is_the_clients_fault(app):
    body = json.dumps(GOOD).encode().replace(b'"UA"', b'"\xed\xa0\x80"')
    assert error_of(call(app, INFER, body))[:2] == (422, "wrong-type")


def test_limits(shop):
    app, _, _ = shop.app(max_rows=2, max_body_bytes=500)
    three = {"inputs": tensors([1.0] * 3, [1] * 3, ["UA"] * 3)}
    assert error_of(call(app, INFER, three))[:2] == (413, "too-many-rows")
    claimed = call(app, INFER, GOOD, headers=[(b"content-length", b"501")])
    assert error_of(claimed)[:2] == (413, "body-too-large")
    assert b"connection" not in claimed[1]
    assert error_of(call(app, INFER, pieces=[b" " * 300, b" " * 300, b"x"]))[:2] == (413, "body-too-large")
    assert error_of(call(app, INFER, b" " * 600))[:2] == (413, "body-too-large")


def test_a_body_in_pieces_a_slow_one_and_one_that_never_comes(app, monkeypatch):
    data = json.dumps(GOOD).encode()
    assert call(app, INFER, pieces=[data[:50], data[50:]])[0] is None  # the client left before the end
    monkeypatch.setattr(body_module, "BODY_SECONDS", 0.05)
    assert error_of(call(app, INFER, pieces=[data[:50], 0.5, b""]))[:2] == (408, "slow-body")


def test_a_bug_is_a_plain_500(shop, caplog):
    app, follower, _ = shop.app()

    class Broken:
        signature = follower.handle.signature

        def predict(self, columns):
            raise RuntimeError("secret path")

    object.__setattr__(follower.handle, "predictor", Broken())
    status, code, text = error_of(call(app, INFER, GOOD))
    assert (status, code) == (500, "internal")
    assert "secret" not in text
    assert "secret" in caplog.text
    assert 'model_predictions_total{model="delay",status="failed",version="1"} 1.0' in call(app, "/metrics")[2].decode()


def test_a_large_request_is_predicted_beside_the_loop(app):
    status, _, body = call(app, INFER, {"inputs": tensors([1.0] * 1000, [100] * 1000, ["UA"] * 1000)})
    assert status == 200
    assert len(json.loads(body)["parameters"]["prediction_ids"]) == 1000


def test_what_was_served_is_logged_with_the_time_it_is_about(shop):
    parts = []
    app, _, log = shop.app(append=parts.append)
    answers = [
        call(app, INFER, GOOD | {"parameters": {"event_time": "2013-06-01T05:00:00Z"}}),
        call(app, INFER, GOOD | {"parameters": {"event_time": 1_370_000_000_000_000}}),
        call(app, INFER, {"inputs": tensors([None], [7], ["AA"])}),
        call(app, INFER, changed(0, data=["x"])),
    ]
    log.flush()
    ids = [json.loads(body)["parameters"]["prediction_ids"][0] for status, _, body in answers if status == 200]
    (written,) = parts
    assert (written.model, written.version, written.ids) == ("delay", 1, ids)
    assert written.event_at.tolist() == [parse_time("2013-06-01T05:00:00Z"), 1_370_000_000_000_000, NOW]
    assert set(written.served_at.tolist()) == {NOW}
    np.testing.assert_array_equal(written.inputs["wind"], [12.5, 12.5, np.nan])
    assert written.inputs["seats"].tolist() == [100, 100, 7]
    assert written.inputs["carrier"].tolist() == ["UA", "UA", "AA"]
    assert set(written.outputs) == {"probability", "label"}
    assert all(0 < seconds < 60 for seconds in written.seconds)


def test_metrics_count_by_outcome(app):
    for body in (GOOD, GOOD, changed(0, data=["x"])):
        call(app, INFER, body)
    text = call(app, "/metrics")[2].decode()
    for line in (
        'model_predictions_total{model="delay",status="ok",version="1"} 2.0',
        'model_predictions_total{model="delay",status="refused",version="1"} 1.0',
        'model_request_duration_seconds_count{model="delay",version="1"} 3.0',
        'model_pointer_behind{model="delay"} 0.0',
        "model_prediction_log_rows_total 0.0",
        "model_prediction_log_dropped_rows_total 0.0",
    ):
        assert line in text
    assert re.search(r'model_info\{digest="[0-9a-f]{64}",format="onnx",model="delay",version="1"\} 1.0', text)
    assert 'le="0.00025"' in text


def test_health_says_what_serves(shop, app):
    health = json.loads(call(app, "/health")[2])
    assert health["status"] == "ok"
    assert health["models"] == [
        {
            "name": "delay",
            "version": 1,
            "digest": shop.versions[0].digest,
            "format": "onnx",
            "device": "cpu",
            "pointer": 1,
            "problem": "",
        }
    ]


LEAF = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5)
WORDS = st.sampled_from(["inputs", "name", "shape", "datatype", "data", "wind", "FP64", "BYTES", "id", "parameters", "outputs"])
VALUES = st.recursive(
    LEAF | WORDS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORDS, inner, max_size=5), max_leaves=20
)
TENSOR = st.fixed_dictionaries({
    "name": st.sampled_from(["wind", "seats", "carrier", "x"]), "shape": st.lists(st.integers(-2, 4), max_size=3),
    "datatype": st.sampled_from(["FP64", "INT64", "BYTES", "BOOL"]), "data": VALUES,
})  # fmt: skip


@given(VALUES | st.fixed_dictionaries({"inputs": st.lists(TENSOR, max_size=4)}))
def test_no_json_whatever_it_is_gets_more_than_an_expected_error(estimators, value):
    from tidegate.records.model import Signature, Tensor

    signature = Signature(
        inputs=[
            Tensor(name="wind", dtype="float64", shape=[-1, 1], nullable=True),
            Tensor(name="seats", dtype="int64", shape=[-1, 1]),
            Tensor(name="carrier", dtype="string", shape=[-1, 1]),
        ],
        outputs=[],
    )
    try:
        request = OipProtocol().decode(json.dumps(value).encode(), {}, signature, 100)
    except TidegateError as error:
        outcome = error.http_status
    else:
        outcome = set(request.columns)
    assert outcome in (400, 422, {"wind", "seats", "carrier"})
