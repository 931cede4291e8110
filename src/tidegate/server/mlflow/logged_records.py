"""Logged models in the store: a document each, files in the artifact index under the model's id, metrics in documents beside it."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from tidegate import digest as digests
from tidegate.server.mlflow.model_records import amend
from tidegate.server.mlflow.protocol import MlflowError, missing
from tidegate.server.mlflow.views import MS, finite
from tidegate.store.ports import Document
from tidegate.workspace import Workspace

if TYPE_CHECKING:
    from tidegate.server.mlflow.metrics import LinkedMetric

LOGGED = "logged-model"
METRICS = "logged-model-metrics"
"""Kinds of the documents. Metrics have the model's id as subject: one document is what one request said about it."""

PENDING, READY, FAILED = STATUSES = ("LOGGED_MODEL_PENDING", "LOGGED_MODEL_READY", "LOGGED_MODEL_UPLOAD_FAILED")
ACTIVE, DELETED = "active", "deleted"
ID = re.compile(r"m-[0-9a-f]{32}")


class About(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a logged model. Times are microseconds UTC."""

    name: str
    experiment: str
    """The experiment's number as text."""
    location: str
    status: str = PENDING
    model_type: str = ""
    source_run_id: str = ""
    params: dict[str, str] = {}
    tags: dict[str, str] = {}
    created_at: int
    updated_at: int


class Logged(NamedTuple):
    """A logged model: ``m-`` and 32 hexadecimal digits, and what is known of it."""

    id: str
    about: About

    @property
    def artifact_uri(self) -> str:
        """Where a client finds and puts its files."""
        return self.about.location


class Point(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """One value of a metric of a logged model; times as the client gave them, in milliseconds."""

    key: str
    value: float | None
    """None is NaN."""
    timestamp: int
    step: int
    run_id: str
    dataset_name: str = ""
    dataset_digest: str = ""

    @property
    def number(self) -> float:
        """The value."""
        return math.nan if self.value is None else self.value


def find_logged(workspace: Workspace, model_id: str, *, deleted: bool = False) -> Logged | None:
    """A logged model, or None; deleted ones are only found when they are asked for."""
    document = workspace.store.documents.find(LOGGED, model_id) if ID.fullmatch(model_id) else None
    if document is None or (document.state == DELETED and not deleted):
        return None
    return _logged(document)


def get_logged(workspace: Workspace, model_id: str, *, deleted: bool = False) -> Logged:
    """A logged model.

    Raises:
        MlflowError: there is none.
    """
    found = find_logged(workspace, model_id, deleted=deleted)
    if found is None:
        raise missing(f"Logged model with ID '{model_id[:100]}' not found.")
    return found


def list_logged(workspace: Workspace, experiment: str) -> list[Logged]:
    """The logged models of an experiment that are not deleted, newest first."""
    return [_logged(document) for document in workspace.store.documents.list(LOGGED, subject=experiment, state=ACTIVE)]


def logged_by_run(workspace: Workspace, experiment: str, run_id: str) -> list[Logged]:
    """The models that a run logged, newest first."""
    return [logged for logged in list_logged(workspace, experiment) if logged.about.source_run_id == run_id]


def add_logged(workspace: Workspace, logged: Logged) -> None:
    """Adds a logged model.

    Raises:
        MlflowError: there is one of that id, which is as good as impossible.
    """
    if not workspace.store.documents.add(_document(logged, ACTIVE)):
        raise MlflowError("RESOURCE_ALREADY_EXISTS", f"Logged model with ID '{logged.id}' already exists.")


def amend_logged(workspace: Workspace, model_id: str, change: Callable[[About], About], *, state: str = "") -> Logged:
    """Changes what is known of a logged model; of several at once none is lost. An empty ``state`` leaves it as it is.

    Raises:
        MlflowError: there is none, also when it is deleted meanwhile.
    """

    def edit(found: Document | None) -> Document:
        if found is None:
            raise missing(f"Logged model with ID '{model_id[:100]}' not found.")
        before = _logged(found)
        about = msgspec.structs.replace(change(before.about), updated_at=workspace.clock.now())
        return _document(Logged(model_id, about), state or found.state)

    return _logged(amend(workspace, LOGGED, model_id, edit))


def note_metrics(workspace: Workspace, run_id: str, metrics: Iterable[LinkedMetric]) -> None:
    """Keeps metrics of one request of a run for the logged models that they name; the same request twice is kept once.

    Raises:
        MlflowError: there is no such logged model.
    """
    by_model: dict[str, list[Point]] = {}
    for metric in metrics:
        point = Point(
            key=metric.key,
            value=None if math.isnan(metric.value) else finite(metric.value),
            timestamp=metric.at // MS,
            step=metric.step,
            run_id=run_id,
            dataset_name=metric.dataset_name,
            dataset_digest=metric.dataset_digest,
        )
        by_model.setdefault(metric.model_id, []).append(point)
    for model_id in by_model:
        get_logged(workspace, model_id, deleted=True)
    for model_id, points in by_model.items():
        body: dict[str, Any] = {"points": msgspec.to_builtins(points)}
        key = f"{model_id}-{digests.of_bytes(msgspec.json.encode(points))[:32]}"
        workspace.store.documents.add(Document(METRICS, key, model_id, "", workspace.clock.now(), body, 1))


def read_metrics(workspace: Workspace, model_id: str) -> list[Point]:
    """Every point of a logged model in the order in which they were logged, each (metric, time, step, run) once."""
    found: dict[tuple[str, int, int, str], Point] = {}
    for document in reversed(workspace.store.documents.list(METRICS, subject=model_id)):
        for point in msgspec.convert(document.body["points"], list[Point]):
            found[point.key, point.timestamp, point.step, point.run_id] = point
    return list(found.values())


def latest_of(points: Iterable[Point]) -> dict[str, float]:
    """The last value of each metric: that of the greatest step, then time, then value."""
    newest: dict[str, Point] = {}
    for point in points:
        known = newest.get(point.key)
        if known is None or _age(point) >= _age(known):
            newest[point.key] = point
    return {key: point.number for key, point in newest.items()}


def _age(point: Point) -> tuple[int, int, float]:
    return (point.step, point.timestamp, -math.inf if point.value is None else point.value)


def _logged(document: Document) -> Logged:
    return Logged(document.id, msgspec.convert(document.body, About))


def _document(logged: Logged, state: str) -> Document:
    return Document(
        LOGGED, logged.id, logged.about.experiment, state, logged.about.created_at, msgspec.to_builtins(logged.about), 1
    )
