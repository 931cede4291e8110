"""Which traces fit a filter, and in which order: newest first, then by id."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec

from tidegate.server.mlflow.protocol import invalid
from tidegate.server.mlflow.trace_filter import PROMPTS, SOURCE_RUN, Clause, Order, parse_filter, parse_order
from tidegate.server.mlflow.trace_records import KIND, Trace, spans_of, trace_of
from tidegate.store.filter import Comparison, matches
from tidegate.store.ports import Document
from tidegate.store.regex import matching
from tidegate.workspace import Workspace

Test = Callable[[Any], bool]
_SPAN_STATUS = {"STATUS_CODE_OK": "OK", "STATUS_CODE_ERROR": "ERROR"}


def search_traces(
    workspace: Workspace, experiments: Sequence[str], *, where: str, order_by: Sequence[str], limit: int, offset: int
) -> list[Trace]:
    """At most ``limit`` traces of these experiments from ``offset`` on.

    Raises:
        MlflowError: the filter or the order cannot be understood.
    """
    clauses = parse_filter(where)
    orders = [parse_order(text) for text in order_by]
    if len({(order.space, order.key) for order in orders}) < len(orders):
        raise invalid(f"`order_by` contains duplicate fields: {list(order_by)}")
    if clauses or orders:
        found = [trace_of(document) for name in experiments for document in workspace.store.documents.list(KIND, subject=name)]
    else:
        found = [trace for name in experiments for trace in _newest(workspace, name, offset + limit)]
    found = _fitting(workspace, found, clauses)
    found.sort(key=lambda trace: (-trace.request_time, trace.id))
    for order in reversed(orders):
        known = [(value, trace) for trace in found for value in [_ordered_by(trace, order)] if value is not None]
        known.sort(key=lambda pair: pair[0], reverse=not order.ascending)
        unknown = [trace for trace in found if _ordered_by(trace, order) is None]
        found = [trace for _, trace in known] + unknown
    return found[offset : offset + limit]


def _newest(workspace: Workspace, experiment: str, count: int) -> list[Trace]:
    """The newest ``count`` traces of an experiment, and those that started in the same moment as the last of them."""
    asked = count
    while True:
        documents: list[Document] = workspace.store.documents.list(KIND, subject=experiment, limit=asked + 1)
        if len(documents) <= asked or documents[-1].at < documents[count - 1].at:
            return [trace_of(document) for document in documents]
        asked *= 2


def _ordered_by(trace: Trace, order: Order) -> Any:
    if order.space == "tag":
        return trace.tags.get(order.key)
    if order.space == "metadata":
        return trace.metadata.get(order.key)
    return int(trace.experiment) if order.key == "experiment_id" else _attribute(trace, order.key)


def _attribute(trace: Trace, key: str) -> Any:
    match key:
        case "timestamp_ms":
            return trace.request_time
        case "execution_time_ms":
            return trace.duration
        case "end_time_ms":
            return trace.request_time + (trace.duration or 0)
        case "status":
            return trace.state
        case "request_id":
            return trace.id
        case _:
            return trace.client_request_id


def _fitting(workspace: Workspace, traces: list[Trace], clauses: Sequence[Clause]) -> list[Trace]:
    """The traces that fit all clauses. Those about spans come last, on what the others left: spans are read one by one."""
    for clause in clauses:
        if clause.space != "span":
            traces = _fit(traces, clause)
    spanned = [clause for clause in clauses if clause.space == "span"]
    if not spanned or not traces:
        return traces
    spans = {trace.id: spans_of(workspace, trace.id) for trace in traces}
    tests = [(clause, _test(clause, _values(spans, clause.key))) for clause in spanned]
    return [
        trace
        for trace in traces
        if any(all(test(_of_span(span, clause.key)) for clause, test in tests) for span in spans[trace.id])
    ]


def _values(spans: dict[str, list[dict[str, Any]]], key: str) -> Iterable[str | None]:
    return (_of_span(span, key) for found in spans.values() for span in found)


def _fit(traces: list[Trace], clause: Clause) -> list[Trace]:
    """The traces that fit one clause about anything but spans."""
    space, key, operator, value = clause
    if (space, key) == ("tag", PROMPTS):
        return [trace for trace in traces if value in trace.prompts]
    if (space, key, operator) == ("metadata", SOURCE_RUN, "="):
        return [trace for trace in traces if trace.metadata.get(key) == value or value in trace.runs]
    if space == "issue":
        return [trace for trace in traces if any("issue" in one and one["assessment_name"] == value for one in trace.assessments)]
    if space in {"feedback", "expectation"}:
        return _assessed(traces, clause)
    read = _reader(space, key)
    if operator in {"IS NULL", "IS NOT NULL"}:
        return [trace for trace in traces if (read(trace) is None) == (operator == "IS NULL")]
    test = _test(clause, (read(trace) for trace in traces))
    return [trace for trace in traces if test(read(trace))]


def _reader(space: str, key: str) -> Callable[[Trace], Any]:
    if space == "tag":
        return lambda trace: trace.tags.get(key)
    if space == "metadata":
        return lambda trace: trace.metadata.get(key)
    return lambda trace: _attribute(trace, key)


def _assessed(traces: list[Trace], clause: Clause) -> list[Trace]:
    """The traces with a valid assessment of that name whose value fits."""
    values = {trace.id: [_assessed_value(one) for one in trace.assessments if _about(one, clause)] for trace in traces}
    if clause.operator in {"IS NULL", "IS NOT NULL"}:
        return [trace for trace in traces if (not values[trace.id]) == (clause.operator == "IS NULL")]
    if isinstance(clause.value, int | float):
        test = _test(clause, [])
        return [
            trace
            for trace in traces
            if any(isinstance(value, int | float) and not isinstance(value, bool) and test(value) for value in values[trace.id])
        ]
    texts = {name: [value if isinstance(value, str) else _json(value) for value in found] for name, found in values.items()}
    test = _test(clause, (text for found in texts.values() for text in found))
    return [trace for trace in traces if any(test(text) for text in texts[trace.id])]


def _about(assessment: dict[str, Any], clause: Clause) -> bool:
    return clause.space in assessment and assessment["assessment_name"] == clause.key and assessment.get("valid", True)


def _assessed_value(assessment: dict[str, Any]) -> Any:
    value = assessment.get("feedback", assessment.get("expectation", {}))
    return value.get("value", value.get("serialized_value", {}).get("value"))


def _of_span(span: dict[str, Any], key: str) -> str | None:
    """What a filter compares of a span, as text."""
    if key == "name":
        return span.get("name", "")
    if key == "status":
        return _SPAN_STATUS.get(span.get("status", {}).get("code", ""), "UNSET")
    if key == "content":
        return _json(span)
    name = "mlflow.spanType" if key == "type" else key.removeprefix("attributes.").strip("`")
    for attribute in span.get("attributes", []):
        if attribute["key"] == name:
            value = attribute["value"]
            return value["string_value"] if "string_value" in value else _json(next(iter(value.values()), None))
    return None


def _test(clause: Clause, values: Iterable[str | None]) -> Test:
    """Whether one value fits; ``values`` are all that will be asked about, for what is looked at together."""
    value: Any = clause.value
    match clause.operator:
        case "=":
            return lambda found: found == value
        case "!=":
            return lambda found: found is not None and found != value
        case "<" | "<=" | ">" | ">=":
            return _compared(clause.operator, value)
        case "IN":
            return lambda found: found in value
        case "NOT IN":
            return lambda found: found is not None and found not in value
        case "RLIKE":
            fit = set(matching(value, sorted({text for text in values if text is not None})))
            return lambda found: found in fit
        case _:
            comparison = Comparison("", "", clause.operator.lower(), value)
            return lambda found: found is not None and matches(comparison, lambda _space, _name: found)


def _compared(operator: str, value: float) -> Test:
    match operator:
        case "<":
            return lambda found: found is not None and found < value
        case "<=":
            return lambda found: found is not None and found <= value
        case ">":
            return lambda found: found is not None and found > value
        case _:
            return lambda found: found is not None and found >= value


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()
