"""The clients that people have, against a server process: Triton's over HTTP and gRPC."""

from __future__ import annotations

import gzip
import json

import numpy as np
import pytest

ROWS = {
    "wind": np.array([12.5, np.nan, 3.0]),
    "seats": np.array([100, 200, 51], dtype=np.int64),
    "carrier": np.array(["UA", "AA", "??"], dtype=object),
}
DATATYPES = {"wind": "FP64", "seats": "INT64", "carrier": "BYTES"}


def expected(shop):
    import pandas as pd

    return shop.estimator.predict_proba(pd.DataFrame(ROWS))[:, 1]


def inputs(kind, **options):
    found = []
    for name, values in ROWS.items():
        tensor = kind.InferInput(name, [len(values)], DATATYPES[name])
        tensor.set_data_from_numpy(values, **options)
        found.append(tensor)
    return found


@pytest.fixture
def over_http(server):
    http = pytest.importorskip("tritonclient.http")
    running = server()
    with http.InferenceServerClient(f"127.0.0.1:{running.port}") as client:
        yield http, client


@pytest.fixture
def over_grpc(server):
    grpc = pytest.importorskip("tritonclient.grpc")
    running = server("--grpc-port", "0")
    with grpc.InferenceServerClient(f"127.0.0.1:{running.grpc_port}") as client:
        yield grpc, client, running


def test_tritonclient_over_http_sees_the_server_and_the_model(over_http):
    _, client = over_http
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("delay")
    assert client.is_model_ready("delay", "1")
    assert client.get_server_metadata()["extensions"] == ["binary_tensor_data", "model_repository"]
    metadata = client.get_model_metadata("delay")
    assert metadata["versions"] == ["1"]
    assert [(each["name"], each["datatype"]) for each in metadata["inputs"]] == list(DATATYPES.items())
    assert client.get_model_repository_index() == [{"name": "delay", "version": "1", "state": "READY", "reason": ""}]


def test_tritonclient_over_http_predicts_with_binary_tensors(shop, over_http):
    http, client = over_http
    for packing in (None, "gzip", "deflate"):
        answer = client.infer(
            "delay",
            inputs(http),
            request_id="my-7",
            request_compression_algorithm=packing,
            response_compression_algorithm=packing,
        )
        np.testing.assert_allclose(answer.as_numpy("probability"), expected(shop), atol=1e-5)
        assert answer.as_numpy("label").dtype == np.int64
        told = answer.get_response()
        assert (told["id"], told["model_version"]) == ("my-7", "1")
        assert len(told["parameters"]["prediction_ids"]) == 3


def test_tritonclient_over_http_mixes_json_and_binary(shop, over_http):
    http, client = over_http
    sent = inputs(http)
    for tensor in sent:
        if tensor.name() != "wind":  # its JSON has no word for NaN
            tensor.set_data_from_numpy(ROWS[tensor.name()], binary_data=False)
    wanted = [http.InferRequestedOutput("probability", binary_data=False), http.InferRequestedOutput("label")]
    answer = client.infer("delay", sent, outputs=wanted, model_version="1", parameters={"event_time": "2013-06-01"})
    np.testing.assert_allclose(answer.as_numpy("probability"), expected(shop), atol=1e-5)
    assert "data" in answer.get_output("probability")
    assert answer.get_output("label")["parameters"]["binary_data_size"] == 24


def test_tritonclient_over_http_is_told_what_is_wrong(over_http):
    http, client = over_http
    from tritonclient.utils import InferenceServerException

    with pytest.raises(InferenceServerException, match="missing-feature"):
        client.infer("delay", inputs(http)[:2])
    with pytest.raises(InferenceServerException, match="model-not-served"):
        client.infer("dela", inputs(http))
    with pytest.raises(InferenceServerException, match="repository-closed"):
        client.load_model("delay")
    with pytest.raises(InferenceServerException, match="repository-closed"):
        client.unload_model("delay")


def test_tritonclient_over_grpc_sees_the_server_and_the_model(over_grpc):
    _, client, running = over_grpc
    assert running.line == f"serving delay@1 on http://127.0.0.1:{running.port} and grpc://127.0.0.1:{running.grpc_port}"
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("delay")
    assert client.get_server_metadata().name == "tidegate"
    metadata = client.get_model_metadata("delay", as_json=True)
    assert (metadata["platform"], metadata["versions"]) == ("onnx", ["1"])
    assert metadata["inputs"][1] == {"name": "seats", "datatype": "INT64", "shape": ["-1", "1"]}


def test_tritonclient_over_grpc_predicts(shop, over_grpc):
    grpc, client, running = over_grpc
    answer = client.infer("delay", inputs(grpc), request_id="my-7", parameters={"event_time": "2013-06-01T05:00:00Z"})
    np.testing.assert_allclose(answer.as_numpy("probability"), expected(shop), atol=1e-5)
    told = answer.get_response()
    assert (told.id, told.model_version) == ("my-7", "1")
    assert len(told.parameters["prediction_ids"].string_param.split(",")) == 3
    only = client.infer("delay", inputs(grpc), model_version="1", outputs=[grpc.InferRequestedOutput("label")])
    assert only.as_numpy("probability") is None
    text = running.get("/metrics")[1].decode()
    assert 'model_predictions_total{model="delay",status="ok",version="1"} 2.0' in text


def test_errors_over_grpc_have_a_status(over_grpc):
    grpc, client, running = over_grpc
    import grpc as plain
    from tritonclient.utils import InferenceServerException

    def status(*arguments, **options):
        with pytest.raises(InferenceServerException) as caught:
            client.infer(*arguments, **options)
        return caught.value.status(), caught.value.message()

    assert status("dela", inputs(grpc))[0] == "StatusCode.NOT_FOUND"
    assert status("delay", inputs(grpc), model_version="7")[0] == "StatusCode.NOT_FOUND"
    code, text = status("delay", inputs(grpc)[:2])
    assert (code, "[missing-feature]" in text) == ("StatusCode.INVALID_ARGUMENT", True)
    many = grpc.InferInput("seats", [20_000], "INT64")
    many.set_data_from_numpy(np.zeros(20_000, dtype=np.int64))
    others = [tensor for tensor in inputs(grpc) if tensor.name() != "seats"]
    assert status("delay", [*others, many])[0] in {"StatusCode.INVALID_ARGUMENT", "StatusCode.RESOURCE_EXHAUSTED"}
    odd = grpc.InferInput("é" * 20_000, [1], "INT64")  # what is told of it fits into a trailer
    odd.set_data_from_numpy(np.zeros(1, dtype=np.int64))
    code, text = status("delay", [*others, odd])
    assert (code, "[unknown-feature]" in text) == ("StatusCode.INVALID_ARGUMENT", True)
    with plain.insecure_channel(f"127.0.0.1:{running.grpc_port}") as channel:
        call = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
        with pytest.raises(plain.RpcError) as caught:
            call(b"\xff" * 20)
    assert (caught.value.code().name, caught.value.details()) == (
        "INVALID_ARGUMENT",
        "the message is no ModelInferRequest [bad-request]",
    )


def test_a_server_with_both_doors_ends_in_order(over_grpc):
    grpc, client, running = over_grpc
    client.infer("delay", inputs(grpc))
    assert running.stop() == (0, "")


def test_a_large_answer_is_packed_where_the_client_takes_it(server):
    running = server()
    rows = 2000
    body = json.dumps({"instances": [{"wind": 1.5, "seats": 100, "carrier": "UA"}] * rows})
    headers = {"content-type": "application/json"}
    status, plain = running.request("POST", "/v1/models/delay:predict", body, headers)
    again, packed = running.request("POST", "/v1/models/delay:predict", body, headers | {"accept-encoding": "br, gzip;q=0.5"})
    assert (status, again) == (200, 200)
    assert len(packed) < len(plain) / 3
    assert json.loads(gzip.decompress(packed))["predictions"] == json.loads(plain)["predictions"]
