"""Traces, their spans and what is said about them, as clients of MLflow send and search them."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from server_client import Answer, Client
from starlette.applications import Starlette

from tidegate.server.mlflow import assessments, spans, traces, traces_v2
from tidegate.server.mlflow.protocol import MlflowError
from tidegate.server.mlflow.trace_filter import Clause, Order, parse_filter, parse_order
from tidegate.server.mlflow.trace_records import KIND, SPANS, duration_ms, duration_text, rfc3339, time_ms
from tidegate.workspace import Workspace

V2, V3 = "/api/2.0/mlflow/traces", "/api/3.0/mlflow/traces"
PLACE = [{"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": "1"}}]


class House:
    """A store with one experiment, and its trace routes."""

    def __init__(self, folder: Path) -> None:
        self.workspace = Workspace.open(folder)
        self.workspace.store.experiments.create("one", at=1)
        nouns = (traces, traces_v2, assessments, spans)
        self.client = Client(Starlette(routes=[route for noun in nouns for route in noun.routes(self.workspace)]))

    def ask(self, method: str, path: str, fields: Any = None, **headers: str) -> Answer:
        body = b"" if fields is None else json.dumps(fields).encode()
        return self.client.send(method, path, body, **({"content_type": "application/json"} | headers))

    def start(self, name: str, at: int = 1000, **info: Any) -> str:
        trace = {"trace_id": name, "trace_location": PLACE[0], "request_time": rfc3339(at), "state": "OK"} | info
        answer = self.ask("POST", V3, {"trace": {"trace_info": trace}})
        assert answer.status == 200, answer.text
        return name

    def found(self, where: str = "", **fields: Any) -> list[str]:
        answer = self.ask("POST", f"{V3}/search", {"locations": PLACE, "filter": where} | fields)
        assert answer.status == 200, answer.text
        return [item["trace_id"] for item in answer.json.get("traces", [])]


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    made = House(tmp_path)
    yield made
    made.workspace.store.close()


def span(trace: str = "ab", number: int = 1, parent: int = 0, **fields: Any) -> dict[str, Any]:
    made = {
        "traceId": trace * 16,
        "spanId": f"{number:016x}",
        "name": f"span {number}",
        "startTimeUnixNano": str(1_000_000_000 + number),
        "endTimeUnixNano": "3000000000",
    }
    return made | ({"parentSpanId": f"{parent:016x}"} if parent else {}) | fields


def batch(*found: dict[str, Any]) -> dict[str, Any]:
    return {"resourceSpans": [{"scopeSpans": [{"spans": list(found)}]}]}


def test_what_was_told_about_a_trace_is_told_again(house: House) -> None:
    house.start("tr-1", 1234, execution_duration="0.031s", tags={"a": "b"}, trace_metadata={"m": "n"}, request_preview="asked")
    info = house.ask("GET", f"{V3}/tr-1").json["trace"]["trace_info"]
    assert info["request_time"] == "1970-01-01T00:00:01.234Z"
    assert info["execution_duration"] == "0.031s"
    assert info["tags"] == {"a": "b", "mlflow.artifactLocation": "mlflow-artifacts:/1/traces/tr-1/artifacts"}
    assert info["trace_metadata"] == {"m": "n", "mlflow.trace.infoFinalized": "true"}
    assert info["request_preview"] == "asked"


def test_a_trace_that_is_told_twice_is_one_and_its_tags_are_merged(house: House) -> None:
    house.start("tr-1", tags={"a": "1", "kept": "x"})
    house.start("tr-1", tags={"a": "2"}, state="ERROR")
    info = house.ask("GET", f"{V3}/tr-1").json["trace"]["trace_info"]
    assert (info["tags"]["a"], info["tags"]["kept"], info["state"]) == ("2", "x", "ERROR")
    assert house.found() == ["tr-1"]


@pytest.mark.parametrize("name", ["", "..", "a/b", "a\\b", "a?b", "a#b", "a%2fb", "a\nb", "x" * 251])
def test_a_trace_cannot_be_named_so_that_its_address_leaves_its_place(house: House, name: str) -> None:
    trace = {"trace_id": name, "trace_location": PLACE[0]}
    assert house.ask("POST", V3, {"trace": {"trace_info": trace}}).status == 400
    assert house.found() == []


def test_tags_that_only_the_server_sets_cannot_be_sent(house: House) -> None:
    house.start("tr-1", tags={"mlflow.artifactLocation": "s3://elsewhere", "mlflow.trace.spansLocation": "x"})
    tags = house.ask("GET", f"{V3}/tr-1").json["trace"]["trace_info"]["tags"]
    assert tags == {"mlflow.artifactLocation": "mlflow-artifacts:/1/traces/tr-1/artifacts"}
    assert house.ask("PATCH", f"{V2}/tr-1/tags", {"key": "mlflow.artifactLocation", "value": "x"}).status == 400


def test_spans_come_in_any_order_and_more_than_once_and_are_the_same(house: House) -> None:
    root, child = span(number=1), span(number=2, parent=1)
    for sent in ([child], [root], [root, child], [child]):
        assert house.ask("POST", "/v1/traces", batch(*sent), x_mlflow_experiment_id="1").status == 200
    trace = house.ask("GET", f"{V3}/get?trace_id=tr-{'ab' * 16}").json["trace"]
    assert [one["name"] for one in trace["spans"]] == ["span 1", "span 2"]
    assert trace["trace_info"]["state"] == "OK"
    assert trace["trace_info"]["execution_duration"] == "2s"


def test_what_the_client_says_about_a_trace_counts_more_than_its_spans(house: House) -> None:
    trace_id = f"tr-{'ab' * 16}"
    failing = span(status={"code": 2, "message": "no"})
    house.ask("POST", "/v1/traces", batch(failing), x_mlflow_experiment_id="1")
    assert house.ask("GET", f"{V3}/{trace_id}").json["trace"]["trace_info"]["state"] == "ERROR"
    house.start(trace_id, 77, state="OK")
    house.ask("POST", "/v1/traces", batch(span(number=2, parent=1)), x_mlflow_experiment_id="1")
    info = house.ask("GET", f"{V3}/{trace_id}").json["trace"]["trace_info"]
    assert (info["state"], info["request_time"]) == ("OK", "1970-01-01T00:00:00.077Z")


def test_spans_as_protocol_buffers_are_what_they_are_as_json(house: House) -> None:
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    request = ExportTraceServiceRequest()
    one = request.resource_spans.add().scope_spans.add().spans.add()
    one.trace_id, one.span_id, one.name = b"\xab" * 16, (1).to_bytes(8), "span 1"
    one.start_time_unix_nano, one.end_time_unix_nano = 1_000_000_001, 3_000_000_000
    one.status.code = 1
    for key, value in {"s": "text", "i": -7, "f": 0.5, "b": True, "n": float("nan")}.items():
        kind = {str: "string_value", bool: "bool_value", int: "int_value", float: "double_value"}[type(value)]
        setattr(one.attributes.add(key=key).value, kind, value)
    one.attributes.add(key="l").value.array_value.values.add(string_value="x")
    one.attributes.add(key="d").value.kvlist_value.values.add(key="k").value.int_value = 3
    body = gzip.compress(request.SerializeToString())
    headers = {"content_type": "application/x-protobuf", "content_encoding": "gzip", "x_mlflow_experiment_id": "1"}
    assert house.client.send("POST", "/v1/traces", body, **headers).status == 200
    sent = house.ask("GET", f"{V3}/get?trace_id=tr-{'ab' * 16}").json["trace"]["spans"][0]
    assert {item["key"]: item["value"] for item in sent["attributes"]} == {
        "s": {"string_value": "text"},
        "i": {"int_value": -7},
        "f": {"double_value": 0.5},
        "b": {"bool_value": True},
        "n": {"double_value": "NaN"},
        "l": {"array_value": {"values": [{"string_value": "x"}]}},
        "d": {"kvlist_value": {"values": [{"key": "k", "value": {"int_value": 3}}]}},
        "mlflow.traceRequestId": {"string_value": f"tr-{'ab' * 16}"},
    }
    assert sent["status"] == {"code": "STATUS_CODE_OK"}


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"xx", {"content_type": "application/x-protobuf"}, 400),
        (b"", {"content_type": "application/x-protobuf"}, 400),
        (b"{", {"content_type": "application/json"}, 400),
        (b'{"resourceSpans": 7}', {"content_type": "application/json"}, 400),
        (b"{}", {"content_type": "text/csv"}, 400),
        (b"{}", {"content_type": "application/json", "content_encoding": "br"}, 400),
        (b"no gzip", {"content_type": "application/json", "content_encoding": "gzip"}, 400),
        (gzip.compress(b"{}", mtime=0)[:-6], {"content_type": "application/json", "content_encoding": "gzip"}, 400),
        (zlib.compress(b" " * 80_000_000), {"content_type": "application/json", "content_encoding": "deflate"}, 413),
        (json.dumps(batch(span(traceId="ab"))).encode(), {"content_type": "application/json"}, 400),
        (json.dumps(batch(span(startTimeUnixNano="-1"))).encode(), {"content_type": "application/json"}, 400),
    ],
)
def test_what_are_no_spans_is_refused(house: House, body: bytes, headers: dict[str, str], status: int) -> None:
    assert house.client.send("POST", "/v1/traces", body, x_mlflow_experiment_id="1", **headers).status == status
    assert house.workspace.store.documents.list(SPANS) == []


def test_spans_go_to_an_experiment_that_is_there_and_stay_there(house: House) -> None:
    assert house.ask("POST", "/v1/traces", batch(span())).status == 422
    assert house.ask("POST", "/v1/traces", batch(span()), x_mlflow_experiment_id="77").status == 404
    assert house.workspace.store.documents.list(SPANS) == []
    house.workspace.store.experiments.create("two", at=1)
    house.ask("POST", "/v1/traces", batch(span()), x_mlflow_experiment_id="1")
    assert house.ask("POST", "/v1/traces", batch(span(number=9)), x_mlflow_experiment_id="2").status == 400


def test_a_trace_is_not_whole_before_all_announced_spans_are_there(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traces, "_PATIENCE", 0.0)
    trace_id = f"tr-{'ab' * 16}"
    house.start(trace_id, trace_metadata={"mlflow.trace.sizeStats": '{"num_spans": 2}'})
    house.ask("POST", "/v1/traces", batch(span()), x_mlflow_experiment_id="1")
    assert house.ask("GET", f"{V3}/get?trace_id={trace_id}").status == 404
    assert house.ask("GET", f"{V3}/batchGet?trace_ids={trace_id}").json == {}
    assert len(house.ask("GET", f"{V3}/get?trace_id={trace_id}&allow_partial=true").json["trace"]["spans"]) == 1
    house.ask("POST", "/v1/traces", batch(span(number=2, parent=1)), x_mlflow_experiment_id="1")
    assert len(house.ask("GET", f"{V3}/batchGet?trace_ids={trace_id}").json["traces"][0]["spans"]) == 2


def test_the_newest_come_first_and_of_one_moment_the_smallest_id(house: House) -> None:
    for number in range(9):
        house.start(f"tr-{number}", 1000 + number // 4)
    assert house.found() == ["tr-8", "tr-4", "tr-5", "tr-6", "tr-7", "tr-0", "tr-1", "tr-2", "tr-3"]
    assert house.found(max_results=2) == ["tr-8", "tr-4"]


def test_pages_hold_everything_once(house: House) -> None:
    names = {house.start(f"tr-{number}", 1000 + number // 3) for number in range(11)}
    seen: list[str] = []
    token = ""
    while True:
        page = house.ask("POST", f"{V3}/search", {"locations": PLACE, "max_results": 3, "page_token": token}).json
        seen += [item["trace_id"] for item in page["traces"]]
        token = page.get("next_page_token", "")
        if not token:
            break
    assert len(seen) == 11
    assert set(seen) == names


def test_a_moved_start_moves_the_trace_in_the_order(house: House) -> None:
    house.start("tr-a", 1000)
    house.start("tr-b", 2000)
    house.start("tr-a", 3000)
    assert house.found(max_results=1) == ["tr-a"]


@pytest.mark.parametrize(
    ("where", "found"),
    [
        ("trace.status = 'OK'", ["tr-2", "tr-1"]),
        ("status IN ('ERROR', 'x')", ["tr-3"]),
        ("tags.team LIKE 'b%' AND timestamp_ms < 3000", ["tr-1"]),
        ('tags.`team` = "blue"', ["tr-3", "tr-1"]),
        ("tags.team IS NULL", ["tr-2"]),
        ("name RLIKE '^(a|b)'", ["tr-2", "tr-1"]),
        ("name ILIKE 'A%'", ["tr-1"]),
        ("run_id = 'r1'", ["tr-2"]),
        ("execution_time > 15", ["tr-2"]),
        ("end_time <= 1010", ["tr-1"]),
        ("client_request_id != 'c1'", ["tr-2"]),
        ("feedback.good = 'true'", ["tr-1"]),
        ("feedback.score >= 0.5", ["tr-1"]),
        ("feedback.score IS NULL", ["tr-3", "tr-2"]),
        ("metadata.note = 'it''s'", ["tr-3"]),
    ],
)
def test_filters_find(house: House, where: str, found: list[str]) -> None:
    good = {"assessment_name": "good", "feedback": {"value": True}}
    score = {"assessment_name": "score", "feedback": {"value": 0.5}}
    house.start(
        "tr-1", 1000, execution_duration="0.010s", tags={"team": "blue", "mlflow.traceName": "alpha"}, client_request_id="c1",
        assessments=[good, score],
    )  # fmt: skip
    house.start(
        "tr-2", 2000, execution_duration="0.020s", tags={"mlflow.traceName": "beta"}, client_request_id="c2",
        trace_metadata={"mlflow.sourceRun": "r1"},
    )  # fmt: skip
    house.start("tr-3", 3000, state="ERROR", tags={"team": "blue"}, trace_metadata={"note": "it's"})
    assert house.found(where) == found


def test_filters_look_into_spans_and_all_of_them_mean_the_same_span(house: House) -> None:
    tool = [{"key": "mlflow.spanType", "value": {"stringValue": "TOOL"}}]
    found = [span(number=1, name="plan", attributes=tool), span(number=2, parent=1, name="act")]
    house.ask("POST", "/v1/traces", batch(*found), x_mlflow_experiment_id="1")
    assert len(house.found("span.name = 'plan' AND span.type = 'TOOL'")) == 1
    assert house.found("span.name = 'act' AND span.type = 'TOOL'") == []
    assert len(house.found("trace.text LIKE '%plan%'")) == 1
    assert house.found("span.status = 'ERROR'") == []


@pytest.mark.parametrize(
    "where",
    [
        "foo", "foo = 'x'", "status", "status = OK", "status > 'OK'", "timestamp_ms = 'x'", "tags.a = 1", "tags.a IN ('x')",
        "status = 'OK' OR status = 'OK'", "status = 'OK' AND", "AND status = 'OK'", "(status = 'OK')", "span.foo = 'x'",
        "status = 'OK", "prompt = 'x'", "feedback.x > 'y'", "name RLIKE '('", "tags. = 'x'", "status = 'OK' x", "issue.x = 'y'",
        "name = ''' ' '", "\0", "status IN ()", "status NOT 'x'", " AND ".join(["status = 'OK'"] * 101),
    ],
)  # fmt: skip
def test_filters_that_cannot_be_read_are_refused(house: House, where: str) -> None:
    house.start("tr-1")
    answer = house.ask("POST", f"{V3}/search", {"locations": PLACE, "filter": where})
    assert (answer.status, answer.json["error_code"]) == (400, "INVALID_PARAMETER_VALUE")


@given(st.text(max_size=60))
def test_no_filter_breaks_the_parser(text: str) -> None:
    try:
        assert all(isinstance(clause, Clause) for clause in parse_filter(text))
    except MlflowError as error:
        status = error.status
    else:
        status = 400
    assert status == 400


@given(st.text(alphabet="abc'\"\\ %", max_size=20))
def test_a_quoted_text_comes_out_as_it_went_in(text: str) -> None:
    if "\\" in text:
        return
    quoted = "'" + text.replace("'", "''") + "'"
    assert parse_filter(f"tags.a = {quoted}") == [Clause("tag", "a", "=", text)]


def test_orders_are_read() -> None:
    assert parse_order("timestamp desc") == Order("attribute", "timestamp_ms", ascending=False)
    assert parse_order("tags.team") == Order("tag", "team", ascending=True)
    for text in ("", "foo", "timestamp foo", "span.name", "client_request_id"):
        with pytest.raises(MlflowError):
            parse_order(text)


def test_what_is_missing_comes_last_in_both_directions(house: House) -> None:
    house.start("tr-1", 1000, tags={"k": "a"})
    house.start("tr-2", 2000)
    house.start("tr-3", 3000, tags={"k": "b"})
    assert house.found(order_by=["tags.k"]) == ["tr-1", "tr-3", "tr-2"]
    assert house.found(order_by=["tags.k DESC"]) == ["tr-3", "tr-1", "tr-2"]


@given(st.integers(0, 4_000_000_000_000))
def test_times_survive_the_wire(ms: int) -> None:
    assert time_ms(rfc3339(ms), "x") == ms


@given(st.integers(-10_000_000, 10_000_000_000))
def test_durations_survive_the_wire(ms: int) -> None:
    assert duration_ms(duration_text(ms)) == ms


@pytest.mark.parametrize("text", ["", "1", "s", "1e400s", "nans", 7, "1m"])
def test_what_is_no_duration_is_refused(text: Any) -> None:
    with pytest.raises(MlflowError):
        duration_ms(text)


def test_assessments_are_added_changed_overridden_and_deleted(house: House) -> None:
    house.start("tr-1")
    path = f"{V3}/tr-1/assessments"
    first = {"assessment_name": "good", "source": {"source_type": "HUMAN", "source_id": "ada"}, "feedback": {"value": True}}
    one = house.ask("POST", path, {"assessment": first | {"metadata": {"a": "b"}}}).json["assessment"]
    change = {"assessment": {"feedback": {"value": False}, "metadata": {"c": "d"}}, "update_mask": "feedback,metadata"}
    changed = house.ask("PATCH", f"{path}/{one['assessment_id']}", change).json["assessment"]
    assert (changed["feedback"], changed["metadata"]) == ({"value": False}, {"a": "b", "c": "d"})
    other = house.ask("POST", path, {"assessment": first | {"overrides": one["assessment_id"]}}).json["assessment"]
    assert house.ask("GET", f"{path}/{one['assessment_id']}").json["assessment"]["valid"] is False
    assert house.ask("DELETE", f"{path}/{other['assessment_id']}").status == 200
    assert house.ask("GET", f"{path}/{one['assessment_id']}").json["assessment"]["valid"] is True
    assert house.ask("GET", f"{path}/{other['assessment_id']}").status == 404
    assert house.ask("DELETE", f"{path}/{other['assessment_id']}").status == 200


@pytest.mark.parametrize(
    "assessment",
    [{}, {"assessment_name": "x"}, {"feedback": {"value": 1}}, {"assessment_name": "x", "feedback": {}, "expectation": {}}, 7],
)
def test_what_is_no_assessment_is_refused(house: House, assessment: Any) -> None:
    house.start("tr-1")
    assert house.ask("POST", f"{V3}/tr-1/assessments", {"assessment": assessment}).status == 400


def test_nothing_is_lost_when_many_change_one_trace_at_once(house: House) -> None:
    house.start("tr-1")
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda n: house.ask("PATCH", f"{V2}/tr-1/tags", {"key": f"k{n}", "value": str(n)}), range(40)))
    assert {answer.status for answer in answers} == {200}
    tags = house.ask("GET", f"{V3}/tr-1").json["trace"]["trace_info"]["tags"]
    assert {key: value for key, value in tags.items() if key[0] == "k"} == {f"k{n}": str(n) for n in range(40)}


def test_deleting_takes_spans_along_and_old_ones_first(house: House) -> None:
    for number in range(4):
        house.start(f"tr-{number}", 1000 + number)
    house.ask("POST", "/v1/traces", batch(span()), x_mlflow_experiment_id="1")
    path = f"{V2}/delete-traces"
    gone = {"experiment_id": "1", "request_ids": [f"tr-{'ab' * 16}", "tr-none"]}
    assert house.ask("POST", path, gone).json == {"traces_deleted": 1}
    assert house.workspace.store.documents.list(SPANS) == []
    assert (
        house.ask("POST", path, {"experiment_id": "1", "max_timestamp_millis": 1002, "max_traces": 2}).json["traces_deleted"] == 2
    )
    assert house.found() == ["tr-3", "tr-2"]
    for wrong in ({}, {"request_ids": ["x"], "max_timestamp_millis": 1}, {"max_timestamp_millis": 1, "max_traces": 0}):
        assert house.ask("POST", path, {"experiment_id": "1"} | wrong).status == 400


def test_clients_of_version_2_begin_and_end_a_trace(house: House) -> None:
    begun = {"experiment_id": "1", "timestamp_ms": 100, "request_metadata": [{"key": "m", "value": "n"}], "tags": []}
    trace = house.ask("POST", V2, begun).json["trace_info"]
    assert trace["status"] == "IN_PROGRESS"
    ended = {"timestamp_ms": 150, "status": "OK", "tags": [{"key": "a", "value": "b"}]}
    assert house.ask("PATCH", f"{V2}/{trace['request_id']}", ended).json["trace_info"]["execution_time_ms"] == 50
    info = house.ask("GET", f"{V2}/{trace['request_id']}/info").json["trace_info"]
    assert {"key": "a", "value": "b"} in info["tags"]
    assert [item["request_id"] for item in house.ask("GET", f"{V2}?experiment_ids=1").json["traces"]] == [trace["request_id"]]
    assert house.found("status = 'OK'") == [trace["request_id"]]
    assert house.ask("GET", f"{V2}?max_results=1").status == 400


def test_links_to_runs_and_prompts_are_found(house: House) -> None:
    house.start("tr-1")
    assert house.ask("POST", f"{V2}/link-to-run", {"trace_ids": ["tr-1"], "run_id": "none"}).status == 404
    prompts = {"trace_id": "tr-1", "prompt_versions": [{"name": "p", "version": "2"}]}
    assert house.ask("POST", f"{V2}/link-prompts", prompts).status == 200
    assert house.found("prompt = 'p/2'") == ["tr-1"]
    assert house.found("prompt = 'p/1'") == []


@settings(max_examples=20)
@given(
    body=st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["trace", "trace_info", "trace_id", "assessments", "tags", "locations", "trace_location"]),
                inner,
                max_size=4,
            )
        ),
        max_leaves=12,
    )
)
def test_no_body_is_a_bug(house_once: House, body: Any) -> None:
    for path in (V3, f"{V3}/search", f"{V3}/tr-1/assessments", V2, f"{V2}/delete-traces", "/v1/traces"):
        answer = house_once.ask("POST", path, body, x_mlflow_experiment_id="1")
        assert answer.status < 500, (path, body, answer.text)


@pytest.fixture(scope="module")
def house_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    made = House(tmp_path_factory.mktemp("hostile"))
    made.start("tr-1")
    yield made
    made.workspace.store.close()


def test_the_kind_of_a_trace_is_its_own(house: House) -> None:
    house.start("tr-1")
    document = house.workspace.store.documents.find(KIND, "tr-1")
    assert document is not None
    assert (document.subject, document.state, document.at) == ("1", "OK", 1_000_000)
