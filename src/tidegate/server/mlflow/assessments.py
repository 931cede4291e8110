"""What people, programs and models say about a trace: feedback, expectations and references to issues.

An assessment is kept as it is sent. A later one may override an earlier one, which is not valid any more then.

Source: ``_create_assessment`` and its neighbours in ``mlflow/server/handlers.py`` of MLflow 3.18.
"""

from __future__ import annotations

import secrets
from typing import Any

import msgspec
from starlette.routing import Route

from tidegate.server.mlflow.protocol import Call, absent, both, invalid, missing, route, wrong
from tidegate.server.mlflow.trace_records import Trace, change_trace, find_trace, get_trace, rfc3339, texts_of, time_ms
from tidegate.workspace import Workspace

MOST = 10_000
_KINDS = ("feedback", "expectation", "issue")
_TEXTS = ("assessment_name", "span_id", "rationale", "overrides")
_MS = 1000


def routes(workspace: Workspace) -> list[Route]:
    """The addresses of assessments."""
    many, one = "traces/{trace_id}/assessments", "traces/{trace_id}/assessments/{assessment_id}"
    handlers = [("POST", many, _create), ("GET", one, _get), ("PATCH", one, _update), ("DELETE", one, _delete)]
    return [route(method, each, handler, workspace) for method, path, handler in handlers for each in both(path, "3.0")]


def assessment_of(fields: Any, trace_id: str, now: int) -> dict[str, Any]:
    """A new assessment out of a request; ``now`` is in milliseconds.

    Raises:
        MlflowError: it is no assessment.
    """
    if not isinstance(fields, dict):
        raise wrong("assessment", fields)
    given: dict[str, Any] = fields  # pyright: ignore[reportUnknownVariableType] - JSON
    kinds = [kind for kind in _KINDS if isinstance(given.get(kind), dict)]
    if len(kinds) != 1:
        raise invalid("An assessment is either feedback, an expectation, or a reference to an issue.")
    if not given.get("assessment_name"):
        raise absent("assessment_name")
    found: dict[str, Any] = {
        "assessment_id": given.get("assessment_id") or f"a-{secrets.token_hex(16)}",
        "trace_id": trace_id,
        "source": _source(given.get("source")),
        "create_time": rfc3339(time_ms(given["create_time"], "create_time") if given.get("create_time") else now),
        "last_update_time": rfc3339(
            time_ms(given["last_update_time"], "last_update_time") if given.get("last_update_time") else now
        ),
        kinds[0]: given[kinds[0]],
        "valid": True,
    }
    for name in ("assessment_id", *_TEXTS):
        value = given.get(name)
        if value:
            if not isinstance(value, str):
                raise wrong(name, value)
            found[name] = value
    if given.get("metadata"):
        found["metadata"] = texts_of(given["metadata"], "metadata")
    return found


def add_assessment(trace: Trace, assessment: dict[str, Any]) -> None:
    """Adds an assessment to a trace, or replaces the one with its id; the one that it overrides is not valid any more.

    Raises:
        MlflowError: what it overrides is not there, or the trace has too many.
    """
    overridden = assessment.get("overrides")
    if overridden:
        _of(trace, overridden)["valid"] = False
    trace.assessments = [one for one in trace.assessments if one["assessment_id"] != assessment["assessment_id"]]
    if len(trace.assessments) >= MOST:
        raise invalid(f"A trace has at most {MOST} assessments.")
    trace.assessments.append(assessment)


def _create(call: Call) -> dict[str, Any]:
    if not call.fields.get("assessment"):
        raise absent("assessment")
    trace_id = call.text("trace_id")
    assessment = assessment_of(call.fields["assessment"], trace_id, call.workspace.clock.now() // _MS)
    change_trace(call.workspace, trace_id, lambda trace: add_assessment(trace, dict(assessment)))
    return {"assessment": assessment}


def _get(call: Call) -> dict[str, Any]:
    trace = find_trace(call.workspace, call.text("trace_id"))
    if trace is None:
        raise missing(f"Trace with request_id '{call.text('trace_id')}' not found")
    return {"assessment": _of(trace, call.text("assessment_id"))}


def _update(call: Call) -> dict[str, Any]:
    given = call.fields.get("assessment")
    mask = call.fields.get("update_mask")
    if not isinstance(given, dict) or not given:
        raise absent("assessment")
    if not isinstance(mask, str) or not mask:
        raise absent("update_mask")
    paths = {_snake(path.strip()) for path in mask.split(",")}
    now = rfc3339(call.workspace.clock.now() // _MS)
    changed: dict[str, Any] = {}

    def change(trace: Trace) -> None:
        one = _of(trace, call.text("assessment_id"))
        for path in paths:
            _change(one, path, given)  # pyright: ignore[reportUnknownArgumentType] - JSON
        one["last_update_time"] = now
        changed.update(one)

    change_trace(call.workspace, call.text("trace_id"), change)
    return {"assessment": changed}


def _change(one: dict[str, Any], path: str, given: dict[str, Any]) -> None:
    """Takes one field of an update over. The source and the span stay what they are."""
    value = given.get(path)
    if path in {"feedback", "expectation"}:
        if path not in one:
            other = "Expectation" if path == "feedback" else "Feedback"
            raise invalid(f"Cannot update {path} value on {'an' if other[0] == 'E' else 'a'} {other} assessment.")
        if not isinstance(value, dict):
            raise wrong(path, value)
        one[path] = value
    elif path == "metadata":
        one["metadata"] = one.get("metadata", {}) | texts_of(value, path)
    elif path in {"assessment_name", "rationale"}:
        if not isinstance(value, str) or not value:
            raise wrong(path, value)
        one[path] = value


def _delete(call: Call) -> dict[str, Any]:
    wanted = call.text("assessment_id")
    if all(one["assessment_id"] != wanted for one in get_trace(call.workspace, call.text("trace_id")).assessments):
        return {}

    def change(trace: Trace) -> None:
        gone = [one for one in trace.assessments if one["assessment_id"] == wanted]
        restored = {one.get("overrides") for one in gone}
        trace.assessments = [one for one in trace.assessments if one["assessment_id"] != wanted]
        for one in trace.assessments:
            if one["assessment_id"] in restored:
                one["valid"] = True

    change_trace(call.workspace, call.text("trace_id"), change)
    return {}


def _of(trace: Trace, assessment_id: str) -> dict[str, Any]:
    for one in trace.assessments:
        if one["assessment_id"] == assessment_id:
            return one
    raise missing(f"Assessment with ID '{assessment_id}' not found for trace '{trace.id}'")


def _source(value: Any) -> dict[str, str]:
    try:
        found = msgspec.convert(value or {}, dict[str, str])
    except msgspec.ValidationError:
        raise wrong("source", value) from None
    return {"source_type": found.get("source_type", "SOURCE_TYPE_UNSPECIFIED"), "source_id": found.get("source_id", "default")}


def _snake(path: str) -> str:
    """``assessmentName``, as protocol buffers write a mask in JSON, as ``assessment_name``."""
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in path)
