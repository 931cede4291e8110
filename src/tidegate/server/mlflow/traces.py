"""Traces: what one request did, step by step. Version 3 of the API; ``traces_v2.py`` has the older one.

Source: ``_start_trace_v3`` and its neighbours in ``mlflow/server/handlers.py`` of MLflow 3.18.
"""

from __future__ import annotations

from typing import Any

from starlette.routing import Route

from tidegate.errors import NotFoundError
from tidegate.server.mlflow.assessments import add_assessment, assessment_of
from tidegate.server.mlflow.protocol import Call, absent, both, invalid, missing, offset_of, paged, route, wrong
from tidegate.server.mlflow.trace_records import (
    BLOCKED_TAGS,
    FINALIZED,
    KIND,
    STATES,
    Trace,
    add_trace,
    change_trace,
    check_trace_id,
    complete_spans,
    duration_ms,
    experiment_number,
    experiment_of,
    find_trace,
    get_trace,
    info_view,
    new_tags,
    remove_trace,
    spans_of,
    texts_of,
    time_ms,
    trace_of,
)
from tidegate.server.mlflow.trace_search import search_traces
from tidegate.workspace import Workspace

MAX_RESULTS = 500
MAX_LINKS = 100
MAX_KEY, MAX_TAG, MAX_METADATA = 250, 4096, 8000
DEFAULT_RESULTS = 100
_PATIENCE = 3.0
_MS = 1000


def routes(workspace: Workspace) -> list[Route]:
    """The addresses of traces."""
    found: list[Route] = []

    def add(method: str, path: str, handler: Any, *versions: str) -> None:
        found.extend(route(method, each, handler, workspace) for version in versions for each in both(path, version))

    add("POST", "traces", _start, "3.0")
    add("POST", "traces/search", _search, "3.0")
    add("GET", "traces/get", _get_whole, "3.0")
    add("GET", "traces/batchGet", _batch_get, "3.0")
    add("POST", "traces/batchGetInfos", _batch_get_infos, "3.0")
    add("POST", "traces/delete-traces", _delete, "2.0", "3.0")
    add("POST", "traces/link-to-run", _link_to_run, "2.0", "3.0")
    add("POST", "traces/link-prompts", _link_prompts, "2.0", "3.0")
    add("GET", "traces/{trace_id}", _get, "3.0")
    add("PATCH", "traces/{trace_id}/tags", _set_tag, "2.0", "3.0")
    add("DELETE", "traces/{trace_id}/tags", _delete_tag, "2.0", "3.0")
    return found


def _start(call: Call) -> dict[str, Any]:
    """Takes in a trace that has ended, as its client tells it; the spans come by themselves."""
    given = call.fields.get("trace")
    info = given.get("trace_info") if isinstance(given, dict) else None  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType] - JSON
    if not isinstance(info, dict):
        raise absent("trace")
    trace = _told(call, info)  # pyright: ignore[reportUnknownArgumentType] - JSON
    if not add_trace(call.workspace, trace):
        trace = change_trace(call.workspace, trace.id, lambda known: _merge(known, trace))
    return {"trace": {"trace_info": info_view(trace)}}


def _told(call: Call, info: dict[str, Any]) -> Trace:
    location = info.get("trace_location") or {}
    experiment_id = (location.get("mlflow_experiment") or {}).get("experiment_id") if isinstance(location, dict) else None  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType] - JSON
    if not isinstance(experiment_id, str) or not experiment_id:
        raise absent("trace.trace_info.trace_location.mlflow_experiment.experiment_id")
    experiment = experiment_of(call.workspace, experiment_id)
    trace_id = check_trace_id(str(info.get("trace_id") or ""))
    state = info.get("state") or "STATE_UNSPECIFIED"
    if state not in STATES:
        raise wrong("state", state)
    now = call.workspace.clock.now() // _MS
    metadata = {
        key[:MAX_KEY]: value[:MAX_METADATA] for key, value in texts_of(info.get("trace_metadata"), "trace_metadata").items()
    }
    tags = {key[:MAX_KEY]: value[:MAX_TAG] for key, value in texts_of(info.get("tags"), "tags").items()}
    trace = Trace(
        id=trace_id,
        experiment=experiment_id,
        request_time=time_ms(info["request_time"], "request_time") if info.get("request_time") else now,
        duration=duration_ms(info.get("execution_duration")),
        state=state,
        client_request_id=_optional(info, "client_request_id"),
        request_preview=_optional(info, "request_preview"),
        response_preview=_optional(info, "response_preview"),
        metadata=metadata | {FINALIZED: "true"},
        tags=new_tags(experiment, trace_id, tags),
    )
    for assessment in info.get("assessments") or []:
        add_assessment(trace, assessment_of(assessment, trace_id, now))
    return trace


def _optional(info: dict[str, Any], name: str) -> str | None:
    value = info.get(name)
    if value is not None and not isinstance(value, str):
        raise wrong(name, value)
    return value


def _merge(known: Trace, told: Trace) -> None:
    """What the client tells about a trace counts more than what was learnt from its spans."""
    if known.experiment != told.experiment:
        raise invalid(f"Trace with ID '{told.id}' already exists in another experiment.")
    known.request_time, known.duration, known.state = told.request_time, told.duration, told.state
    known.client_request_id = told.client_request_id
    known.request_preview = told.request_preview if told.request_preview is not None else known.request_preview
    known.response_preview = told.response_preview if told.response_preview is not None else known.response_preview
    known.metadata |= told.metadata
    known.tags |= told.tags
    for assessment in told.assessments:
        add_assessment(known, assessment)


def _get(call: Call) -> dict[str, Any]:
    return {"trace": {"trace_info": info_view(get_trace(call.workspace, call.text("trace_id")))}}


def _get_whole(call: Call) -> dict[str, Any]:
    """A trace with its spans. If its client announced more than there are, they are on their way: they are waited for."""
    trace_id = call.text("trace_id")
    partial = str(call.fields.get("allow_partial", "false")).lower() == "true"
    trace = find_trace(call.workspace, trace_id)
    if trace is None:
        raise missing(f"Trace with ID {trace_id} is not found.")
    spans = spans_of(call.workspace, trace_id) if partial else complete_spans(call.workspace, trace, patience=_PATIENCE)
    if spans is None:
        raise missing(f"Trace with ID {trace_id} is not fully exported yet, please try again later.")
    return {"trace": _whole(trace, spans)}


def _whole(trace: Trace, spans: list[dict[str, Any]]) -> dict[str, Any]:
    return {"trace_info": info_view(trace), "spans": spans} if spans else {"trace_info": info_view(trace)}


def _batch_get(call: Call) -> dict[str, Any]:
    whole = [(trace, complete_spans(call.workspace, trace)) for trace in _named(call)]
    return _filled({"traces": [_whole(trace, spans) for trace, spans in whole if spans is not None]})


def _batch_get_infos(call: Call) -> dict[str, Any]:
    return _filled({"trace_infos": [info_view(trace) for trace in _named(call)]})


def _named(call: Call) -> list[Trace]:
    """The traces that a request names, each once; those that are not there are left out."""
    names = call.texts("trace_ids")
    if not names:
        raise absent("trace_ids")
    within = set(call.texts("experiment_ids")) if "experiment_ids" in call.fields else None
    found = [find_trace(call.workspace, name) for name in dict.fromkeys(names)]
    return [trace for trace in found if trace is not None and (within is None or trace.experiment in within)]


def _search(call: Call) -> dict[str, Any]:
    if call.fields.get("locations") is None:
        raise absent("locations")
    experiments: list[str] = []
    for location in call.records("locations"):
        inside = location.get("mlflow_experiment")
        if isinstance(inside, dict):
            experiments.append(str(inside.get("experiment_id") or ""))  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType] - JSON
    found, token = search_page(call, experiments)
    return _filled({"traces": [info_view(trace) for trace in found], "next_page_token": token})


def search_page(call: Call, experiments: list[str]) -> tuple[list[Trace], str]:
    """One page of a search, by the fields ``filter``, ``order_by``, ``max_results`` and ``page_token``, and the next one's token.

    Raises:
        MlflowError: one of them cannot be understood.
    """
    limit = call.integer("max_results", default=DEFAULT_RESULTS)
    if limit > MAX_RESULTS:
        raise wrong("max_results", limit)
    if limit < 1:
        raise invalid(f"Invalid value {limit} for parameter 'max_results' supplied. It must be a positive integer")
    offset = offset_of(call.text("page_token", default=""))
    names = list(dict.fromkeys(str(experiment_number(name)) for name in experiments))
    where = call.text("filter", default="")
    found = search_traces(call.workspace, names, where=where, order_by=call.texts("order_by"), limit=limit + 1, offset=offset)
    return paged(found, limit, offset)


def _delete(call: Call) -> dict[str, Any]:
    """Removes traces by id, or the oldest of those that are old enough."""
    experiment = str(experiment_number(call.text("experiment_id")))
    names = call.texts("request_ids")
    until = call.integer("max_timestamp_millis") if call.fields.get("max_timestamp_millis") is not None else None
    most = call.integer("max_traces") if call.fields.get("max_traces") is not None else None
    if until is None and not names:
        raise invalid("Either `max_timestamp_millis` or `trace_ids` must be specified.")
    if until is not None and names:
        raise invalid("Only one of `max_timestamp_millis` and `trace_ids` can be specified.")
    if names and most is not None:
        raise invalid("`max_traces` can't be specified if `trace_ids` is specified.")
    if most is not None and most <= 0:
        raise invalid(f"`max_traces` must be a positive integer, received {most}.")
    if names:
        chosen = [trace for name in dict.fromkeys(names) for trace in [find_trace(call.workspace, name)] if trace is not None]
        chosen = [trace for trace in chosen if trace.experiment == experiment]
    else:
        traces = [trace_of(document) for document in call.workspace.store.documents.list(KIND, subject=experiment)]
        chosen = sorted(
            (trace for trace in traces if trace.request_time <= (until or 0)), key=lambda one: (one.request_time, one.id)
        )
    chosen = chosen[:most]
    for trace in chosen:
        remove_trace(call.workspace, trace.id)
    return {"traces_deleted": len(chosen)}


def _set_tag(call: Call) -> dict[str, Any]:
    key = _tag_key(call, "set")
    value = call.fields.get("value", "")
    if not isinstance(value, str):
        raise wrong("value", value)
    change_trace(call.workspace, call.text("trace_id"), lambda trace: trace.tags.update({key: value[:MAX_TAG]}))
    return {}


def _delete_tag(call: Call) -> dict[str, Any]:
    key = _tag_key(call, "deleted")
    trace_id = call.text("trace_id")

    def change(trace: Trace) -> None:
        if trace.tags.pop(key, None) is None:
            raise missing(f"No trace tag with key '{key}' for trace with ID '{trace_id}'")

    change_trace(call.workspace, trace_id, change)
    return {}


def _tag_key(call: Call, operation: str) -> str:
    key = call.text("key")
    if key in BLOCKED_TAGS:
        raise invalid(f"Tag '{key}' is immutable and cannot be {operation} on a trace.")
    if len(key) > MAX_KEY:
        raise invalid(f"'key' exceeds the maximum length of {MAX_KEY} characters")
    return key


def _link_to_run(call: Call) -> dict[str, Any]:
    names = call.texts("trace_ids")
    run_id = call.text("run_id")
    if not names:
        raise absent("trace_ids")
    if len(names) > MAX_LINKS:
        raise invalid(f"Cannot link more than {MAX_LINKS} traces to a run in a single request. Provided {len(names)} traces.")
    try:
        call.workspace.store.runs.get(run_id)
    except NotFoundError:
        raise missing(f"Run with id={run_id} not found") from None
    for name in names:
        if find_trace(call.workspace, name) is not None:
            change_trace(call.workspace, name, lambda trace: _link(trace.runs, [run_id]))
    return {}


def _link_prompts(call: Call) -> dict[str, Any]:
    versions = call.records("prompt_versions")
    if not versions:
        raise absent("prompt_versions")
    names = [f"{version.get('name', '')}/{version.get('version', '')}" for version in versions]
    change_trace(call.workspace, call.text("trace_id"), lambda trace: _link(trace.prompts, names))
    return {}


def _link(links: list[str], names: list[str]) -> None:
    links.extend(name for name in names if name not in links)


def _filled(fields: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in fields.items() if value}
