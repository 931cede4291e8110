"""Rows, tables and files over HTTP: KServe's version 1, MLflow, SageMaker and Vertex, straight into the application."""

from __future__ import annotations

import json
import re

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_shop import call

from tidegate import frames, settings
from tidegate.clock import parse_time
from tidegate.errors import TidegateError
from tidegate.records.model import Signature, Tensor
from tidegate.serving.protocols.invocations import InvocationsProtocol
from tidegate.serving.protocols.table import from_csv, from_parquet

JSON = (b"content-type", b"application/json")
CSV = (b"content-type", b"text/csv")
ROW = {"wind": 12.5, "seats": 100, "carrier": "UA"}
MATRIX = Signature(inputs=[Tensor(name="X", dtype="float32", shape=[-1, 3], nullable=True)], outputs=[])


@pytest.fixture
def app(shop):
    return shop.app()[0]


def answered(answer):
    status, headers, body = answer
    assert status == 200, body
    return headers, json.loads(body)


def code(answer):
    return answer[0], re.search(rb"\[([a-z-]+)\]", answer[2])[1].decode()


@pytest.mark.parametrize(
    "body",
    [
        {"instances": [ROW]},
        {"instances": [[12.5, 100, "UA"]]},
        {"dataframe_records": [ROW]},
        {"dataframe_split": {"columns": ["carrier", "wind", "seats"], "data": [["UA", 12.5, 100]]}},
        {"dataframe_split": {"index": [9], "columns": ["wind", "seats", "carrier"], "data": [[12.5, 100.0, "UA"]]}},
        {"inputs": {name: [value] for name, value in ROW.items()}},
        {"inputs": [ROW]},
        {"inputs": [[12.5, 100, "UA"]], "params": {"event_time": "2013-06-01"}},
        b"wind,seats,carrier\n12.5,100,UA\n",
        b"carrier,seats,wind\r\nUA,100,12.5\r\n",
        b"12.5,100,UA",
        b'\xef\xbb\xbf12.5,100,"UA"\n\n',
    ],
    ids=str,
)
def test_a_row_in_every_way_of_writing_it(shop, app, body):
    headers, told = answered(call(app, "/invocations", body, headers=[CSV if isinstance(body, bytes) else JSON]))
    expected = json.loads(call(app, "/v1/models/delay:predict", {"instances": [ROW]})[2])["predictions"]
    assert told["predictions"] == expected
    assert list(expected[0]) == ["probability", "label"]
    assert (headers[b"x-model"], headers[b"x-prediction-id"].decode()) == (b"delay@1", told["prediction_ids"][0])


def test_many_rows_have_one_id_with_numbers(app):
    headers, told = answered(call(app, "/v1/models/delay:predict", {"instances": [ROW] * 3}))
    base = headers[b"x-prediction-id"].decode()
    assert told["prediction_ids"] == [f"{base}-{row}" for row in range(3)]


def test_csv_comes_back_as_csv(app):
    status, headers, body = call(app, "/invocations", b"12.5,100,UA\n,50,AA\n", headers=[CSV, (b"accept", b"text/csv")])
    assert (status, headers[b"content-type"]) == (200, b"text/csv; charset=utf-8")
    rows = json.loads(call(app, "/invocations", b"12.5,100,UA\n,50,AA\n", headers=[CSV])[2])["predictions"]
    assert [line.split(",") for line in body.decode().splitlines()] == [
        [str(row["probability"]), str(row["label"])] for row in rows
    ]


def test_parquet_is_read_beside_the_loop(app, tmp_path):
    frame = pl.DataFrame({"wind": [12.5, None], "seats": [100, 50], "carrier": ["UA", "AA"]})
    frame.write_parquet(tmp_path / "rows.parquet")
    data = (tmp_path / "rows.parquet").read_bytes()
    parquet = (b"content-type", b"application/vnd.apache.parquet")
    _, told = answered(call(app, "/invocations", data, headers=[parquet]))
    rows = [dict(zip(frame.columns, row, strict=True)) for row in frame.rows()]
    assert told["predictions"] == answered(call(app, "/invocations", {"dataframe_records": rows}))[1]["predictions"]
    assert code(call(app, "/invocations", data[:-20], headers=[parquet])) == (422, "bad-parquet")
    assert code(call(app, "/invocations", b"PAR1", headers=[parquet])) == (422, "bad-parquet")
    for odd, error in (
        (frame.drop("wind"), "missing-feature"),
        (frame.with_columns(wind=pl.Series([[1.0, 2.0], [3.0, 4.0]])), "wrong-shape"),
        (frame.with_columns(carrier=pl.Series([["UA"], ["AA"]])), "wrong-type"),
        (frame.with_columns(carrier=pl.Series([{"a": 1}, {"a": 2}])), "wrong-type"),
        (frame.with_columns(carrier=pl.Series([b"\xff", b"\xfe"])), "wrong-type"),
    ):
        odd.write_parquet(tmp_path / "rows.parquet")
        assert code(call(app, "/invocations", (tmp_path / "rows.parquet").read_bytes(), headers=[parquet])) == (422, error)


@pytest.mark.parametrize("width", [20_000, 100_000])
def test_a_small_file_that_holds_much_is_not_unpacked(tmp_path, width):
    """A text that stands once in the file, and in every row."""
    path = tmp_path / "rows.parquet"
    with frames.connect() as con:
        con.sql(f"SELECT repeat('x', {width}) AS carrier FROM range(9_999)").write_parquet(str(path), compression="zstd")
    signature = Signature(
        inputs=[Tensor(name="carrier", dtype="string", shape=[-1, 1])], outputs=[Tensor(name="y", dtype="float64", shape=[-1])]
    )
    assert path.stat().st_size < 100_000
    with pytest.raises(TidegateError) as caught:
        from_parquet(path.read_bytes(), signature, 10_000)
    assert caught.value.code in {"bad-parquet", "body-too-large"}  # DuckDB is not given the memory, or says how much it would be


def test_a_matrix_may_be_a_column_of_lists(tmp_path):
    path = tmp_path / "rows.parquet"
    pl.DataFrame({"X": [[1.0, 2.0, 3.0], [4.0, 5.0, 6.5]]}).write_parquet(path)
    assert from_parquet(path.read_bytes(), MATRIX, 10)["X"].tolist() == [[1.0, 2.0, 3.0], [4.0, 5.0, 6.5]]
    pl.DataFrame({"a": [1], "b": [2]}).write_parquet(path)
    with pytest.raises(TidegateError, match="wrong-shape"):
        from_parquet(path.read_bytes(), MATRIX, 10)


@pytest.mark.parametrize(
    ("path", "body", "status", "error"),
    [
        ("/invocations", b"{", 400, "bad-json"),
        ("/invocations", b'{"instances": NaN', 400, "bad-json"),
        ("/invocations", b'{"instances": ' + b"[" * 100_000, 400, "bad-json"),
        ("/invocations", b'{"instances": NaN' + b"[" * 100_000, 400, "bad-json"),
        ("/invocations", b'{"instances": [[NaN, 1, "\xff"]]}', 400, "bad-json"),
        ("/invocations", b'{"instances": [[NaN, 1, "\\ud800"]]}', 400, "bad-json"),
        ("/invocations", b'{"\\udfff": NaN}', 400, "bad-json"),
        ("/invocations", {"inputs": {"w" * 1_000_000: [1]}}, 422, "unknown-feature"),
        # Too many rows are refused before anything is done for each, so whatever they hold.
        ("/invocations", {"instances": [[]] * 10_001}, 413, "too-many-rows"),
        ("/invocations", {"dataframe_split": {"columns": [], "data": [{}] * 10_001}}, 413, "too-many-rows"),
        ("/invocations", {"dataframe_records": [{}] * 10_001}, 413, "too-many-rows"),
        ("/invocations", {"inputs": {"wind": [1], "seats": [None] * 10_001, "carrier": [1]}}, 413, "too-many-rows"),
        (
            "/v2/models/delay/infer",
            {"inputs": [{"name": "x", "shape": [60_000], "datatype": "FP64", "data": [{}] * 60_000}]},
            413,
            "too-many-rows",
        ),
        ("/invocations", [], 400, "bad-request"),
        ("/invocations", {}, 400, "bad-request"),
        ("/invocations", {"instances": [ROW], "inputs": [ROW]}, 400, "bad-request"),
        ("/invocations", {"columns": ["wind"], "data": [[1]]}, 400, "bad-request"),
        ("/invocations", {"dataframe_split": {"columns": ["wind"]}}, 400, "bad-request"),
        ("/invocations", {"dataframe_split": [1]}, 400, "bad-request"),
        ("/invocations", {"dataframe_split": {"columns": ["wind"], "data": [[1, 2]]}}, 400, "bad-request"),
        ("/invocations", {"dataframe_split": {"columns": ["wind"], "data": [[1]]}}, 422, "missing-feature"),
        ("/invocations", {"dataframe_records": {}}, 400, "bad-request"),
        ("/invocations", {"dataframe_records": [ROW, [1]]}, 400, "bad-request"),
        ("/invocations", {"dataframe_records": [ROW, {"wind": 1}]}, 422, "missing-feature"),
        ("/invocations", {"inputs": {"wind": 1}}, 422, "missing-feature"),
        ("/invocations", {"inputs": ROW}, 400, "bad-request"),
        ("/invocations", {"inputs": {"wind": [1], "seats": [1, 2], "carrier": ["x"]}}, 422, "wrong-shape"),
        ("/invocations", {"instances": [ROW], "params": [1]}, 400, "bad-request"),
        ("/invocations", {"instances": [ROW], "params": {"event_time": "soon"}}, 400, "bad-time"),
        ("/v1/models/delay:predict", {}, 400, "bad-request"),
        ("/v1/models/delay:predict", {"instances": []}, 400, "bad-request"),
        ("/v1/models/delay:predict", {"instances": [[1, 2]]}, 422, "wrong-shape"),
        ("/v1/models/delay:predict", {"instances": [ROW | {"wimd": 1}]}, 422, "unknown-feature"),
        ("/v1/models/delay:predict", {"instances": [ROW | {"wind": "12.5"}]}, 422, "wrong-type"),
        ("/v1/models/delay:predict", {"instances": [ROW | {"wind": True}]}, 422, "wrong-type"),
        ("/v1/models/delay:predict", {"instances": [ROW | {"seats": 1.5}]}, 422, "wrong-type"),
        ("/v1/models/delay:predict", {"instances": [ROW | {"seats": None}]}, 422, "wrong-type"),
        ("/v1/models/delay:predict", {"instances": [ROW | {"seats": [1, 2]}]}, 422, "wrong-shape"),
        ("/v1/models/delay:predict", {"instances": [ROW | {"carrier": 3}]}, 422, "wrong-type"),
        ("/v1/models/delay:predict", {"instances": [ROW | {"carrier": {"a": 1}}]}, 422, "wrong-type"),
        ("/v1/models/delay:predict", {"instances": [ROW], "extra": 1}, 400, "bad-request"),
        ("/v1/models/other:predict", {"instances": [ROW]}, 404, "model-not-served"),
    ],
)
def test_what_is_wrong_is_told(app, path, body, status, error):
    assert code(call(app, path, body)) == (status, error)


def test_mlflow_reads_errors_its_own_way(app):
    told = json.loads(call(app, "/invocations", {"instances": [{"wind": 1}]})[2])
    assert list(told) == ["error_code", "message"]
    assert told["error_code"] == "BAD_REQUEST"
    assert list(json.loads(call(app, "/v1/models/delay:predict", {})[2])) == ["error"]


@pytest.mark.parametrize(
    ("body", "status", "error"),
    [
        (b"", 422, "wrong-shape"),
        (b"wind,seats,carrier\n", 422, "wrong-shape"),
        (b"12.5,100\n", 422, "wrong-shape"),
        (b"12.5,100,UA\n1,2\n", 422, "wrong-shape"),
        (b"wimd,seats,carrier\n1,2,UA\n", 422, "unknown-feature"),
        (b"wind,seats,seats\n1,2,UA\n", 422, "missing-feature"),
        (b"wind,seats,carrier\nfast,2,UA\n", 422, "wrong-type"),
        (b"wind,seats,carrier\n1,2.5,UA\n", 422, "wrong-type"),
        (b"wind,seats,carrier\n1,,UA\n", 422, "wrong-type"),
        (b"wind,seats,carrier\n1_0,2,UA\n", 422, "wrong-type"),
        (b'12.5,100,"UA', 400, "bad-csv"),
        (b"12.5,100,\xff", 400, "bad-csv"),
        (b"9" * 100_000 + b"x,2,UA\n", 422, "unknown-feature"),  # looked at once, not once for each digit
        (b"1\n" * 4_000_000, 413, "too-many-rows"),
    ],
)
def test_csv_that_does_not_fit(app, body, status, error):
    assert code(call(app, "/invocations", body, headers=[CSV])) == (status, error)
    typed = (b"content-type", b"application/xml")
    assert code(call(app, "/invocations", body, headers=[typed])) == (415, "wrong-content-type")


def test_what_the_header_says_about_a_header_counts(shop):
    app, _, _ = shop.app()
    absent = (b"content-type", b"text/csv; header=absent; charset=utf-8")
    assert code(call(app, "/invocations", b"wind,seats,carrier\n1,2,UA\n", headers=[absent])) == (422, "wrong-type")
    present = (b"content-type", b"text/csv;header=present")
    assert code(call(app, "/invocations", b"1,2,UA\n1,2,UA", headers=[present])) == (422, "unknown-feature")


def test_a_matrix_is_rows_lists_or_columns_of_any_name():
    expected = np.array([[1, 2, 3], [4, np.nan, 6]], dtype=np.float32)
    for document in (
        {"instances": [[1, 2, 3], [4, None, 6]]},
        {"instances": [{"X": [1, 2, 3]}, {"X": [4, None, 6]}]},
        {"inputs": {"X": [[1, 2, 3], [4, None, 6]]}},
        {"inputs": [[1, 2, 3], [4, None, 6]]},
        {"dataframe_split": {"columns": [0, 1, 2], "data": [[1, 2, 3], [4, None, 6]]}},
        {"dataframe_records": [{"a": 1, "b": 2, "c": 3}, {"a": 4, "b": None, "c": 6}]},
    ):
        found = InvocationsProtocol().decode(json.dumps(document).encode(), {}, MATRIX, 10)
        np.testing.assert_array_equal(found.columns["X"], expected)
    for text in (b"1,2,3\n4,,6", b"a,b,c\n1,2,3\n4,,6\n"):
        np.testing.assert_array_equal(from_csv(text, MATRIX, header=None, max_rows=5)["X"], expected)
    with pytest.raises(TidegateError, match="wrong-shape"):
        InvocationsProtocol().decode(b'{"instances": [[1, 2]]}', {}, MATRIX, 10)
    with pytest.raises(TidegateError, match="too-many-rows"):
        from_csv(b"1,2,3\n" * 20, MATRIX, header=False, max_rows=5)


@given(
    st.lists(
        st.tuples(st.floats(allow_nan=False, allow_infinity=False), st.integers(-(2**63), 2**63 - 1), st.booleans()), min_size=1
    )
)
def test_numbers_survive_csv(rows):
    signature = Signature(
        inputs=[Tensor(name=name, dtype=name, shape=[-1, 1]) for name in ("float64", "int64", "bool")], outputs=[]
    )
    text = "\n".join(",".join(map(str, row)) for row in rows).encode()
    found = from_csv(text, signature, header=None, max_rows=1000)
    assert [list(each) for each in zip(*(column.tolist() for column in found.values()), strict=True)] == [
        list(row) for row in rows
    ]


@pytest.mark.parametrize("path", ["/invocations", "/v1/models/delay:predict"])
def test_the_time_that_it_is_about_is_logged(shop, path):
    put = []
    app, _, log = shop.app(append=put.append)
    moment = parse_time("2013-06-01T05:00:00Z")
    field = "params" if path == "/invocations" else "parameters"
    for body, headers in (
        ({"instances": [ROW], field: {"event_time": "2013-06-01T05:00:00Z"}}, [JSON]),
        ({"instances": [ROW], field: {"event_time": moment}}, [JSON]),
        ({"instances": [ROW]}, [JSON, (b"x-event-time", b"2013-06-01T05:00:00Z")]),
        ({"instances": [ROW]}, [JSON, (b"x-event-time", str(moment).encode())]),
    ):
        answered(call(app, path, body, headers=headers))
    log.flush()
    assert [moment] * 4 == [at for columns in put for at in columns.event_at.tolist()]
    assert code(call(app, path, {"instances": [ROW]}, headers=[(b"x-event-time", b"soon")])) == (400, "bad-time")


def test_the_small_paths(app):
    assert call(app, "/ping")[::2] == (200, b"\n")
    assert call(app, "/version")[0] == 200
    assert json.loads(call(app, "/v1/models/delay")[2]) == {"name": "delay", "ready": True}
    app.draining = True
    assert call(app, "/ping")[0] == 503
    assert json.loads(call(app, "/v1/models/delay")[2]) == {"name": "delay", "ready": False}


def test_a_requests_id_comes_back(app):
    for path, body in (("/invocations", {"instances": [ROW]}), ("/ping", None), ("/nowhere", None)):
        assert call(app, path, body, headers=[JSON, (b"x-request-id", b"r-7")])[1][b"x-request-id"] == b"r-7"
    assert b"x-request-id" not in call(app, "/ping", headers=[(b"x-request-id", b"r" * 201)])[1]


def test_vertex_tells_its_port_and_paths(monkeypatch):
    assert settings.vertex() == (0, "", "")
    for name, value in (("HTTP_PORT", "7070"), ("HEALTH_ROUTE", "/up"), ("PREDICT_ROUTE", "/p")):
        monkeypatch.setenv(f"AIP_{name}", value)
    assert settings.vertex() == (7070, "/up", "/p")


@pytest.mark.parametrize("data", [[6.8, 2.8, 4.8, 6.0, 3.4, 4.5], [[6.8, 2.8, 4.8], [6.0, 3.4, 4.5]]], ids=["flat", "nested"])
def test_iris_as_kserve_writes_it(data):
    """The shapes of KServe's own examples: version 2 flat and nested, version 1 as rows."""
    from tidegate.serving.protocols.kserve import KserveProtocol
    from tidegate.serving.protocols.oip import OipProtocol

    second = {"id": "42", "inputs": [{"name": "X", "shape": [2, 3], "datatype": "FP32", "data": data}]}
    first = {"instances": [[6.8, 2.8, 4.8], [6.0, 3.4, 4.5]]}
    requests = [
        OipProtocol().decode(json.dumps(second).encode(), {}, MATRIX, 10),
        KserveProtocol().decode(json.dumps(first).encode(), {b"content-type": b"application/json; charset=utf-8"}, MATRIX, 10),
    ]
    for request in requests:
        np.testing.assert_array_equal(request.columns["X"], np.array(first["instances"], dtype=np.float32))
        assert request.rows == 2
    assert requests[0].id == "42"
