"""Traces as clients before MLflow 3 tell them: begun, then ended, with the spans as a file of the trace.

Source: ``_deprecated_start_trace_v2`` and its neighbours in ``mlflow/server/handlers.py`` of MLflow 3.18.
"""

from __future__ import annotations

import secrets
from typing import Any

from starlette.routing import Route

from tidegate.server.mlflow.protocol import Call, absent, both, route, wrong
from tidegate.server.mlflow.trace_records import (
    BLOCKED_TAGS,
    Trace,
    add_trace,
    change_trace,
    experiment_of,
    get_trace,
    info_view_2,
    new_tags,
    pairs_of,
)
from tidegate.server.mlflow.traces import search_page
from tidegate.workspace import Workspace

_STATES = {"TRACE_STATUS_UNSPECIFIED": "STATE_UNSPECIFIED", "OK": "OK", "ERROR": "ERROR", "IN_PROGRESS": "IN_PROGRESS"}


def routes(workspace: Workspace) -> list[Route]:
    """The addresses of version 2."""
    handlers = [
        ("POST", "traces", _start),
        ("GET", "traces", _search),
        ("PATCH", "traces/{trace_id}", _end),
        ("GET", "traces/{trace_id}/info", _get),
    ]
    return [route(method, each, handler, workspace) for method, path, handler in handlers for each in both(path)]


def _start(call: Call) -> dict[str, Any]:
    experiment_id = call.text("experiment_id")
    experiment = experiment_of(call.workspace, experiment_id)
    trace_id = secrets.token_hex(16)
    trace = Trace(
        id=trace_id,
        experiment=experiment_id,
        request_time=call.integer("timestamp_ms", default=0),
        state="IN_PROGRESS",
        metadata=pairs_of(call.records("request_metadata"), "request_metadata"),
        tags=new_tags(experiment, trace_id, pairs_of(call.records("tags"), "tags")),
    )
    add_trace(call.workspace, trace)
    return {"trace_info": info_view_2(trace)}


def _end(call: Call) -> dict[str, Any]:
    status = call.fields.get("status") or "TRACE_STATUS_UNSPECIFIED"
    if status not in _STATES:
        raise wrong("status", status)
    ended = call.integer("timestamp_ms", default=0)
    metadata = pairs_of(call.records("request_metadata"), "request_metadata")
    tags = pairs_of(call.records("tags"), "tags")

    def change(trace: Trace) -> None:
        trace.duration = ended - trace.request_time
        trace.state = _STATES[status]
        trace.metadata |= metadata
        trace.tags |= {key: value for key, value in tags.items() if key not in BLOCKED_TAGS}

    return {"trace_info": info_view_2(change_trace(call.workspace, call.text("trace_id"), change))}


def _get(call: Call) -> dict[str, Any]:
    return {"trace_info": info_view_2(get_trace(call.workspace, call.text("trace_id")))}


def _search(call: Call) -> dict[str, Any]:
    experiments = call.texts("experiment_ids")
    if not experiments:
        raise absent("experiment_ids")
    found, token = search_page(call, experiments)
    view: dict[str, Any] = {"traces": [info_view_2(trace) for trace in found], "next_page_token": token}
    return {key: value for key, value in view.items() if value}
