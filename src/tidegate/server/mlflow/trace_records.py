"""Traces in the store: what is known about one is a document, its spans are documents beside it, its files are artifacts.

A trace's document has the id that the client gave it, the experiment's number as subject, its state, and its start as time.
Spans come in batches, in any order and more than once; a batch is stored under the digest of its bytes, so that what is sent
again changes nothing, and of a span that was sent twice the later one counts.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec

from tidegate import digest
from tidegate.clock import to_us
from tidegate.errors import ConflictError, NotFoundError
from tidegate.records.run import Experiment
from tidegate.server.mlflow.protocol import MlflowError, invalid, missing
from tidegate.store.ports import Document
from tidegate.workspace import Workspace

KIND = "trace"
SPANS = "trace-spans"
ARTIFACT_LOCATION = "mlflow.artifactLocation"
SPANS_LOCATION = "mlflow.trace.spansLocation"
BLOCKED_TAGS = {ARTIFACT_LOCATION, SPANS_LOCATION, "mlflow.trace.archiveLocation", "mlflow.trace.archivalFailure"}
"""Tags that only the server sets."""
FINALIZED = "mlflow.trace.infoFinalized"
SIZE_STATS = "mlflow.trace.sizeStats"
STATES = {"STATE_UNSPECIFIED", "OK", "ERROR", "IN_PROGRESS"}
_MS = 1000
_TRIES = 100
_ID_LENGTH = 250


class Trace(msgspec.Struct, kw_only=True):
    """What is known about a trace but its spans. Times are milliseconds since 1970, as MLflow keeps them."""

    id: str
    experiment: str
    request_time: int
    duration: int | None = None
    state: str = "STATE_UNSPECIFIED"
    client_request_id: str | None = None
    request_preview: str | None = None
    response_preview: str | None = None
    metadata: dict[str, str] = {}
    tags: dict[str, str] = {}
    assessments: list[dict[str, Any]] = []
    """As they are sent: see ``assessments.py``."""
    runs: list[str] = []
    """Runs that it was linked to afterwards."""
    prompts: list[str] = []
    """Versions of prompts that it was linked to, as ``name/version``."""


def trace_of(document: Document) -> Trace:
    """The trace in a document."""
    return msgspec.convert(document.body, Trace)


def find_trace(workspace: Workspace, trace_id: str) -> Trace | None:
    """A trace, or None."""
    document = workspace.store.documents.find(KIND, trace_id)
    return trace_of(document) if document else None


def get_trace(workspace: Workspace, trace_id: str) -> Trace:
    """A trace.

    Raises:
        MlflowError: there is none of that id.
    """
    found = find_trace(workspace, trace_id)
    if found is None:
        raise missing(f"Trace with ID '{trace_id}' not found.")
    return found


def add_trace(workspace: Workspace, trace: Trace) -> bool:
    """Adds a trace unless its id is taken; tells whether this call added it."""
    return workspace.store.documents.add(_document(trace))


def change_trace(workspace: Workspace, trace_id: str, change: Callable[[Trace], None]) -> Trace:
    """Changes a trace, again and again while others change it too; ``change`` gets it as it stands and may refuse by raising.

    Raises:
        MlflowError: there is none of that id, or others never let go.
    """
    for _ in range(_TRIES):
        document = workspace.store.documents.find(KIND, trace_id)
        if document is None:
            raise missing(f"Trace with ID '{trace_id}' not found.")
        trace = trace_of(document)
        change(trace)
        try:
            workspace.store.documents.update(_document(trace)._replace(revision=document.revision))
        except ConflictError:
            continue
        return trace
    raise MlflowError("REQUEST_LIMIT_EXCEEDED", f"Trace with ID '{trace_id}' is being changed by too many at once.")


def remove_trace(workspace: Workspace, trace_id: str) -> None:
    """Removes a trace with its spans and files. The files' bytes go with the next garbage collection."""
    store = workspace.store
    for document in store.documents.list(SPANS, subject=trace_id):
        store.documents.remove(SPANS, document.id)
    store.artifacts.remove(trace_id, [item.path for item in store.artifacts.list(trace_id)])
    store.documents.remove(KIND, trace_id)


def add_spans(workspace: Workspace, trace_id: str, spans: list[dict[str, Any]], *, at: int) -> None:
    """Keeps spans of a trace; ``at`` is when they came, in microseconds."""
    body = {"spans": spans}
    key = f"{trace_id}/{digest.of_bytes(msgspec.json.encode(body))[:32]}"
    workspace.store.documents.add(Document(SPANS, key, trace_id, "", at, body, 0))


def spans_of(workspace: Workspace, trace_id: str) -> list[dict[str, Any]]:
    """The spans of a trace, as they are sent: the root first, then by their start."""
    found: dict[str, dict[str, Any]] = {}
    for document in reversed(workspace.store.documents.list(SPANS, subject=trace_id)):
        found.update({span["span_id"]: span for span in document.body["spans"]})
    return sorted(found.values(), key=lambda span: ("parent_span_id" in span, span["start_time_unix_nano"]))


def complete_spans(workspace: Workspace, trace: Trace, *, patience: float = 0.0) -> list[dict[str, Any]] | None:
    """The spans of a trace once all that it announces are there, or None; waits ``patience`` seconds for them."""
    deadline = time.monotonic() + patience
    while True:
        spans = spans_of(workspace, trace.id)
        if spans and len(spans) >= announced_spans(trace):
            return spans
        if time.monotonic() >= deadline:
            return None
        time.sleep(0.1)


def announced_spans(trace: Trace) -> int:
    """How many spans the client said that the trace has; 0 if it did not."""
    try:
        return int(msgspec.json.decode(trace.metadata.get(SIZE_STATS, "{}"), type=dict[str, Any]).get("num_spans", 0))
    except (msgspec.MsgspecError, TypeError, ValueError):
        return 0


def experiment_of(workspace: Workspace, experiment_id: str) -> Experiment:
    """The experiment that a trace is to go to.

    Raises:
        MlflowError: there is none of that id, or it is deleted.
    """
    try:
        found = workspace.store.experiments.get(experiment_number(experiment_id))
    except NotFoundError:
        raise missing(f"No Experiment with id={experiment_id} exists") from None
    if found.deleted_at is not None:
        raise invalid(f"The experiment {experiment_id} must be in the 'active' state.\n Current state is deleted.")
    return found


def experiment_number(experiment_id: str) -> int:
    """An experiment's id as a number.

    Raises:
        MlflowError: it is none.
    """
    if not (experiment_id.isascii() and experiment_id.isdigit() and len(experiment_id) < 10):
        raise invalid(f"Invalid experiment ID: {experiment_id!r}. Must be an integer.")
    return int(experiment_id)


def artifact_location(experiment: Experiment, trace_id: str) -> str:
    """Where clients keep the files of a trace."""
    return f"{(experiment.location or f'mlflow-artifacts:/{experiment.id}').rstrip('/')}/traces/{trace_id}/artifacts"


def check_trace_id(trace_id: str) -> str:
    """A new trace's id, which becomes part of an address.

    Raises:
        MlflowError: it cannot.
    """
    wrong = not trace_id or trace_id in {".", ".."} or len(trace_id) > _ID_LENGTH
    if wrong or any(letter in "%?#/\\" or ord(letter) < 32 or ord(letter) == 127 for letter in trace_id):
        raise invalid(f"Invalid value {trace_id!r} for parameter 'trace_id' supplied.")
    return trace_id


def new_tags(experiment: Experiment, trace_id: str, tags: dict[str, str]) -> dict[str, str]:
    """A new trace's tags: what the client sent, but for those that only the server sets."""
    kept = {key: value for key, value in tags.items() if key not in BLOCKED_TAGS}
    return kept | {ARTIFACT_LOCATION: artifact_location(experiment, trace_id)}


def info_view(trace: Trace) -> dict[str, Any]:
    """A trace as version 3 of the API sends it."""
    view: dict[str, Any] = {
        "trace_id": trace.id,
        "client_request_id": trace.client_request_id,
        "trace_location": {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": trace.experiment}},
        "request_preview": trace.request_preview,
        "response_preview": trace.response_preview,
        "request_time": rfc3339(trace.request_time),
        "execution_duration": None if trace.duration is None else duration_text(trace.duration),
        "state": trace.state,
        "trace_metadata": trace.metadata or None,
        "tags": trace.tags or None,
        "assessments": sorted(trace.assessments, key=lambda item: item["create_time"]) or None,
    }
    return {key: value for key, value in view.items() if value is not None}


def info_view_2(trace: Trace) -> dict[str, Any]:
    """A trace as version 2 of the API sends it."""
    view: dict[str, Any] = {
        "request_id": trace.id,
        "experiment_id": trace.experiment,
        "timestamp_ms": trace.request_time,
        "execution_time_ms": trace.duration or 0,
        "status": "TRACE_STATUS_UNSPECIFIED" if trace.state == "STATE_UNSPECIFIED" else trace.state,
        "request_metadata": _pairs(trace.metadata) or None,
        "tags": _pairs(trace.tags) or None,
    }
    return {key: value for key, value in view.items() if value is not None}


def rfc3339(ms: int) -> str:
    """Milliseconds since 1970 as protocol buffers write a time in JSON."""
    seconds, rest = divmod(ms, 1000)
    moment = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{moment}.{rest:03d}Z" if rest else f"{moment}Z"


def time_ms(value: Any, name: str) -> int:
    """A time as protocol buffers write it in JSON, in milliseconds since 1970.

    Raises:
        MlflowError: it is none.
    """
    try:
        moment = datetime.fromisoformat(value)
        return to_us(moment if moment.tzinfo else moment.replace(tzinfo=UTC)) // _MS
    except (TypeError, ValueError, OverflowError):
        raise invalid(f"Invalid value {value!r} for parameter '{name}' supplied.") from None


def duration_ms(value: Any) -> int | None:
    """A duration as protocol buffers write it in JSON, such as ``0.031s``, in milliseconds.

    Raises:
        MlflowError: it is none.
    """
    if value is None:
        return None
    try:
        found = Decimal(value.removesuffix("s")) * 1000
        if not value.endswith("s") or not abs(found) < 2**53:
            raise ValueError  # noqa: TRY301 - one sentence for everything that is no duration
        return math.floor(found)
    except (AttributeError, InvalidOperation, ValueError):
        raise invalid(f"Invalid value {value!r} for parameter 'execution_duration' supplied.") from None


def duration_text(ms: int) -> str:
    """Milliseconds as protocol buffers write a duration in JSON."""
    sign, ms = ("-" if ms < 0 else ""), abs(ms)
    return f"{sign}{ms // 1000}.{ms % 1000:03d}s" if ms % 1000 else f"{sign}{ms // 1000}s"


def texts_of(value: Any, name: str) -> dict[str, str]:
    """A mapping of texts out of JSON.

    Raises:
        MlflowError: it is none.
    """
    try:
        return msgspec.convert(value or {}, dict[str, str])
    except msgspec.ValidationError:
        raise invalid(f"Invalid value {str(value)[:200]!r} for parameter '{name}' supplied.") from None


def pairs_of(items: Iterable[dict[str, Any]], name: str) -> dict[str, str]:
    """A mapping out of ``[{key, value}]``.

    Raises:
        MlflowError: it is none.
    """
    return texts_of({str(item.get("key") or ""): item.get("value") or "" for item in items}, name)


def _pairs(texts: dict[str, str]) -> list[dict[str, str]]:
    return [{"key": key, "value": value} for key, value in texts.items()]


def _document(trace: Trace) -> Document:
    body = msgspec.to_builtins(trace)
    return Document(KIND, trace.id, trace.experiment, trace.state, trace.request_time * _MS, body, 0)
