"""Spans as OpenTelemetry sends them: ``POST /v1/traces``, protocol buffers or JSON, gzip or deflate.

Source: https://opentelemetry.io/docs/specs/otlp/#otlphttp and ``mlflow/server/otel_api.py`` of MLflow 3.18.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Mapping
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tidegate.errors import missing_extra
from tidegate.server.mlflow.protocol import MAX_BODY, Call, MlflowError, answered, body_of, in_thread, invalid
from tidegate.server.mlflow.trace_records import (
    BLOCKED_TAGS,
    FINALIZED,
    SPANS_LOCATION,
    Trace,
    add_spans,
    add_trace,
    change_trace,
    experiment_of,
    find_trace,
    new_tags,
)
from tidegate.workspace import Workspace

PROTOBUF = "application/x-protobuf"
JSON = "application/json"
REQUEST_ID = "mlflow.traceRequestId"
MAX_SPANS = 100_000
_TAG_PREFIX = "mlflow.traceTag."
_INPUTS, _OUTPUTS = "mlflow.spanInputs", "mlflow.spanOutputs"
_PREVIEW = 1000
_MS = 1_000_000
_DEEPEST = 100
_NUMBERS = {"int_value": int, "double_value": float, "bool_value": bool}


def routes(workspace: Workspace) -> list[Route]:
    """The address to which spans are sent."""

    async def endpoint(request: Request) -> Response:
        async def handle(call: Call) -> Response:
            return await _export(call, await body_of(request))

        return await answered(workspace, request, handle, reads_body=False)

    return [Route("/v1/traces", endpoint, methods=["POST"])]


async def _export(call: Call, body: bytes) -> Response:
    headers = call.request.headers
    experiment = headers.get("x-mlflow-experiment-id")
    if not experiment:
        found = {"type": "missing", "loc": ["header", "x-mlflow-experiment-id"], "msg": "Field required", "input": None}
        return JSONResponse({"detail": [found]}, status_code=422)
    kind = headers.get("content-type", "").split(";")[0].strip()
    if kind not in {PROTOBUF, JSON}:
        return JSONResponse({"detail": f"Invalid Content-Type: {kind}. Expected: {PROTOBUF} or {JSON}"}, status_code=400)
    try:
        spans = await in_thread(_received, body, headers.get("content-encoding", "").lower(), kind)
    except _UnreadableError as error:
        return JSONResponse({"detail": str(error)}, status_code=400)
    await in_thread(log_spans, call.workspace, experiment, spans, headers.get("x-mlflow-run-id", ""))
    return Response(b"{}" if kind == JSON else b"", media_type=kind)


class _UnreadableError(Exception):
    """The body is not what its headers say."""


def log_spans(workspace: Workspace, experiment_id: str, spans: list[dict[str, Any]], run_id: str = "") -> None:
    """Keeps spans and what they tell about their traces; a trace that is not known yet begins with them.

    Raises:
        MlflowError: the experiment is not there, or a trace belongs to another one.
    """
    by_trace: dict[str, list[dict[str, Any]]] = {}
    for span in spans:
        by_trace.setdefault(f"tr-{base64.b64decode(span['trace_id']).hex()}", []).append(span)
    known = {trace_id: find_trace(workspace, trace_id) for trace_id in by_trace}
    for trace_id, trace in known.items():
        if trace is not None and trace.experiment != experiment_id:
            raise invalid(f"Trace with ID '{trace_id}' already exists in another experiment.")
    experiment = experiment_of(workspace, experiment_id)
    for trace_id, found in by_trace.items():
        add_spans(workspace, trace_id, found, at=workspace.clock.now())
        if known[trace_id] is None:
            start = min(span["start_time_unix_nano"] for span in found) // _MS
            tags = new_tags(experiment, trace_id, {})
            add_trace(workspace, Trace(id=trace_id, experiment=experiment_id, request_time=start, state="IN_PROGRESS", tags=tags))
        change_trace(workspace, trace_id, lambda trace, found=found: _learn(trace, found, run_id))


def _learn(trace: Trace, spans: list[dict[str, Any]], run_id: str) -> None:
    """Takes over into a trace what its spans tell. What the client said about the trace itself counts more."""
    trace.tags[SPANS_LOCATION] = "TRACKING_STORE"
    end = max(span["end_time_unix_nano"] for span in spans) // _MS
    if FINALIZED not in trace.metadata:
        before = trace.request_time + (trace.duration or 0)
        trace.request_time = min(trace.request_time, *(span["start_time_unix_nano"] // _MS for span in spans))
        trace.duration = max(before, end) - trace.request_time
    root = next((span for span in spans if "parent_span_id" not in span), None)
    if root is None:
        return
    if run_id and run_id not in trace.runs:
        trace.runs.append(run_id)
    if trace.state in {"IN_PROGRESS", "STATE_UNSPECIFIED"}:
        trace.state = "ERROR" if root["status"].get("code") == "STATUS_CODE_ERROR" else "OK"
    attributes = {item["key"]: _plain(item["value"]) for item in root.get("attributes", [])}
    if trace.request_preview is None and _INPUTS in attributes:
        trace.request_preview = _preview(attributes[_INPUTS])
    if trace.response_preview is None and _OUTPUTS in attributes:
        trace.response_preview = _preview(attributes[_OUTPUTS])
    for key, value in attributes.items():
        name = key.removeprefix(_TAG_PREFIX)
        if name != key and name not in BLOCKED_TAGS and isinstance(value, str):
            trace.tags[name] = value


def _preview(value: Any) -> str:
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return text if len(text) <= _PREVIEW else text[: _PREVIEW - 3] + "..."


def _received(body: bytes, encoding: str, kind: str) -> list[dict[str, Any]]:
    """The spans of a request, as they are sent again."""
    body = _unpacked(body, encoding)
    spans = _from_json(body) if kind == JSON else _from_protobuf(body)
    if not spans:
        raise _UnreadableError("Invalid OpenTelemetry format - no spans found")
    if len(spans) > MAX_SPANS:
        raise MlflowError("BAD_REQUEST", f"One request holds at most {MAX_SPANS} spans.", status=413)
    return spans


def _unpacked(body: bytes, encoding: str) -> bytes:
    if encoding in {"", "identity"}:
        return body
    windows = {"gzip": 31, "deflate": 15}
    if encoding not in windows:
        raise _UnreadableError(f"Unsupported Content-Encoding: {encoding}")
    unpacker = zlib.decompressobj(windows[encoding])
    try:
        found = unpacker.decompress(body, MAX_BODY + 1)
    except zlib.error as error:
        raise _UnreadableError(f"Failed to decompress {encoding} payload: {error}") from None
    if len(found) > MAX_BODY:
        raise MlflowError("BAD_REQUEST", f"The unpacked request is larger than {MAX_BODY} bytes.", status=413)
    if not unpacker.eof:
        raise _UnreadableError(f"Failed to decompress {encoding} payload: it ends too early")
    return found


def _from_protobuf(body: bytes) -> list[dict[str, Any]]:
    try:
        from google.protobuf.message import DecodeError
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
    except ImportError as error:
        raise missing_extra("server", error.name or "opentelemetry-proto", "taking in traces of OpenTelemetry") from None
    request = ExportTraceServiceRequest()
    try:
        request.ParseFromString(body)
    except DecodeError:
        raise _UnreadableError("Invalid OpenTelemetry format") from None
    return [
        _span_of_message(span) for resource in request.resource_spans for scope in resource.scope_spans for span in scope.spans
    ]


def _span_of_message(span: Any) -> dict[str, Any]:
    from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

    found: dict[str, Any] = {
        "trace_id": base64.b64encode(span.trace_id).decode(),
        "span_id": base64.b64encode(span.span_id).decode(),
        "parent_span_id": base64.b64encode(span.parent_span_id).decode(),
        "name": span.name,
        "kind": Span.SpanKind.Name(span.kind) if span.kind in Span.SpanKind.values() else "SPAN_KIND_UNSPECIFIED",
        "start_time_unix_nano": span.start_time_unix_nano,
        "end_time_unix_nano": span.end_time_unix_nano,
        "attributes": _attributes(span.attributes),
        "events": [
            _filled({"time_unix_nano": event.time_unix_nano, "name": event.name, "attributes": _attributes(event.attributes)})
            for event in span.events
        ],
        "links": [
            _filled(
                {
                    "trace_id": base64.b64encode(link.trace_id).decode(),
                    "span_id": base64.b64encode(link.span_id).decode(),
                    "attributes": _attributes(link.attributes),
                }
            )
            for link in span.links
        ],
        "status": _filled(
            {
                "message": span.status.message,
                "code": Status.StatusCode.Name(span.status.code) if span.status.code in {1, 2} else "",
            }
        ),
    }
    return _checked(found)


def _attributes(attributes: Any) -> list[dict[str, Any]]:
    return [{"key": item.key, "value": _value_of_message(item.value)} for item in attributes]


def _value_of_message(value: Any) -> dict[str, Any]:
    """One value of an attribute, in the JSON of protocol buffers."""
    which = value.WhichOneof("value")
    match which:
        case "array_value":
            return {which: _filled({"values": [_value_of_message(item) for item in value.array_value.values]})}
        case "kvlist_value":
            return {which: _filled({"values": _attributes(value.kvlist_value.values)})}
        case "bytes_value":
            return {which: base64.b64encode(value.bytes_value).decode()}
        case "double_value":
            return {which: _double(value.double_value)}
        case None:
            return {}
        case _:
            return {which: getattr(value, which)}


def _double(value: float) -> float | str:
    if value != value:  # noqa: PLR0124 - NaN alone differs from itself
        return "NaN"
    return value if abs(value) != float("inf") else ("Infinity" if value > 0 else "-Infinity")


def _from_json(body: bytes) -> list[dict[str, Any]]:
    try:
        request = msgspec.json.decode(body, type=dict[str, Any])
        return [
            _span_of_json(span)
            for resource in request.get("resourceSpans", [])
            for scope in resource.get("scopeSpans", [])
            for span in scope.get("spans", [])
        ]
    except (msgspec.MsgspecError, AttributeError, KeyError, TypeError, ValueError, OverflowError, RecursionError):
        raise _UnreadableError("Invalid OpenTelemetry format") from None


def _span_of_json(span: Mapping[str, Any]) -> dict[str, Any]:
    status: Mapping[str, Any] = span.get("status") or {}
    found: dict[str, Any] = {
        "trace_id": _hex(span["traceId"]),
        "span_id": _hex(span["spanId"]),
        "parent_span_id": _hex(span.get("parentSpanId") or ""),
        "name": str(span.get("name", "")),
        "kind": _named(span.get("kind", 0), _KINDS),
        "start_time_unix_nano": int(span["startTimeUnixNano"]),
        "end_time_unix_nano": int(span.get("endTimeUnixNano", 0)),
        "attributes": _attributes_of_json(span),
        "events": [
            _filled(
                {
                    "time_unix_nano": int(event.get("timeUnixNano", 0)),
                    "name": str(event.get("name", "")),
                    "attributes": _attributes_of_json(event),
                }
            )
            for event in span.get("events") or []
        ],
        "links": [
            _filled({"trace_id": _hex(link["traceId"]), "span_id": _hex(link["spanId"]), "attributes": _attributes_of_json(link)})
            for link in span.get("links") or []
        ],
        "status": _filled({"message": str(status.get("message", "")), "code": _named(status.get("code", 0), _CODES)}),
    }
    return _checked(found)


_KINDS = [f"SPAN_KIND_{name}" for name in ("UNSPECIFIED", "INTERNAL", "SERVER", "CLIENT", "PRODUCER", "CONSUMER")]
_CODES = ["", "STATUS_CODE_OK", "STATUS_CODE_ERROR"]


def _named(value: Any, names: list[str]) -> str:
    if isinstance(value, str):
        return value if value in names else names[0]
    return names[value] if isinstance(value, int) and 0 <= value < len(names) else names[0]


def _hex(text: str) -> str:
    return base64.b64encode(bytes.fromhex(text)).decode()


def _attributes_of_json(holder: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{"key": str(item["key"]), "value": _value_of_json(item["value"], 0)} for item in holder.get("attributes") or []]


def _value_of_json(value: Mapping[str, Any], depth: int) -> dict[str, Any]:
    if depth > _DEEPEST:
        raise ValueError
    for name, found in value.items():
        match name:
            case "stringValue":
                return {"string_value": str(found)}
            case "bytesValue":
                return {"bytes_value": base64.b64encode(base64.b64decode(found, validate=True)).decode()}
            case "arrayValue":
                return {"array_value": _filled({"values": [_value_of_json(item, depth + 1) for item in found.get("values", [])]})}
            case "kvlistValue":
                pairs = [{"key": str(item["key"]), "value": _value_of_json(item["value"], depth + 1)} for item in found["values"]]
                return {"kvlist_value": _filled({"values": pairs})}
            case "boolValue" | "intValue" | "doubleValue":
                key = f"{name.removesuffix('Value')}_value"
                return {key: _NUMBERS[key](found)}
            case _:
                continue
    return {}


def _plain(value: Mapping[str, Any]) -> Any:
    """An attribute's value as Python has it."""
    for name, found in value.items():
        if name == "array_value":
            return [_plain(item) for item in found.get("values", [])]
        if name == "kvlist_value":
            return {item["key"]: _plain(item["value"]) for item in found.get("values", [])}
        return found
    return None


def _checked(span: dict[str, Any]) -> dict[str, Any]:
    """The span without empty fields, and with the id under which MLflow knows its trace.

    Raises:
        _UnreadableError: it has no ids.
    """
    trace_id = base64.b64decode(span["trace_id"])
    if len(trace_id) != 16 or len(base64.b64decode(span["span_id"])) != 8 or span["start_time_unix_nano"] < 0:
        raise _UnreadableError("Invalid OpenTelemetry format: a span needs a trace id of 16 bytes and a span id of 8")
    attributes = {item["key"]: item["value"] for item in span["attributes"]}
    attributes[REQUEST_ID] = {"string_value": f"tr-{trace_id.hex()}"}  # not what the client says: it follows from the trace's id
    span["attributes"] = [{"key": key, "value": value} for key, value in attributes.items()]
    span["status"] = span["status"] or {}
    always = {"start_time_unix_nano", "end_time_unix_nano", "status"}
    return {key: value for key, value in span.items() if value or key in always}


def _filled(fields: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in fields.items() if value or (value == 0 and key.endswith("nano"))}
