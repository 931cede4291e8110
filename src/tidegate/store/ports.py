"""What the rooms ask of the store. Each port has one conformance suite in ``tidegate.testing``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from tidegate.records.pipeline import StepRun
from tidegate.records.run import Environment, MetricPoint, Run, RunState


class Blob(NamedTuple):
    """Bytes and the tag that names this state of them in a compare-and-swap."""

    data: bytes
    etag: str


class Bucket(Protocol):
    """Named bytes. Keys are relative POSIX paths like ``models/delay/current.json``.

    Any number of threads and processes may use one bucket at once. A write that returned is durable: bytes and name
    have been synced. Nobody ever sees half a value. Errors: ``UsageError`` for a key that leaves the bucket,
    ``UnavailableError`` when the disk is full or the place cannot be reached; then nothing has changed.
    """

    def find(self, key: str) -> Blob | None:
        """The value of ``key``, or None."""
        ...

    def put_if_absent(self, key: str, source: bytes | Path) -> bool:
        """Writes ``key`` unless it exists; tells whether this call wrote it. A ``Path`` is copied, never moved."""
        ...

    def compare_and_swap(self, key: str, data: bytes, expected: str | None) -> str:
        """Writes ``key`` if its etag is ``expected`` (None: if it is absent) and returns the new etag.

        Raises:
            ConflictError: the key's state is another one; nothing was written.
        """
        ...

    def keys(self, prefix: str) -> Iterator[str]:
        """All keys that start with the folder ``prefix`` (it ends in ``/``), sorted."""
        ...

    def local(self, key: str) -> Path:
        """A local file with the value of ``key``, to be read and left alone.

        Raises:
            NotFoundError: no such key.
        """
        ...

    def delete(self, key: str) -> None:
        """Removes ``key``; fine if it is absent. For garbage collection alone."""
        ...


class CatalogEntry(NamedTuple):
    """One row of the index of what is in the bucket. ``number`` is 0 for things without versions."""

    kind: str
    name: str
    number: int
    key: str
    digest: str
    created_at: int
    summary: dict[str, Any]


class Catalog(Protocol):
    """An index of bucket things (datasets, models, receipts), rebuilt by ``store reindex``. Never the truth.

    Safe to use from several threads and processes. Errors: ``UnavailableError`` when the database cannot be used.
    """

    def put(self, entry: CatalogEntry) -> None:
        """Adds or replaces the row of (kind, name, number, digest)."""
        ...

    def list(self, kind: str, name: str = "", *, limit: int | None = None) -> list[CatalogEntry]:
        """Rows of a kind, or of one name of it, newest first; all of them without a limit."""
        ...

    def clear(self) -> None:
        """Empties the index."""
        ...


class RunStore(Protocol):
    """Runs, parameters, tags, metrics. Every write is committed when it returns; safe from threads and processes.

    Errors: ``NotFoundError`` for an unknown run, ``ConflictError`` for a parameter that changes its value or a state that
    cannot follow, ``UnavailableError`` when the database cannot be used.
    """

    def create(self, run: Run) -> None:
        """Adds a run."""
        ...

    def get(self, run_id: str) -> Run:
        """The run with its parameters, tags, metric summaries and artifacts."""
        ...

    def annotate(
        self,
        run_id: str,
        *,
        params: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
        artifacts: Mapping[str, str] | None = None,
        environment: Environment | None = None,
    ) -> None:
        """Adds to a run. A parameter may be repeated with the same value; tags and artifacts may be replaced."""
        ...

    def ingest(self, run_id: str, writer: str, seq: int, points: Sequence[MetricPoint]) -> None:
        """Adds points, once per (run, writer, seq): a batch that was already taken is dropped."""
        ...

    def points(self, run_id: str, metric: str) -> list[MetricPoint]:
        """All points of one metric by step, then time."""
        ...

    def finish(self, run_id: str, state: RunState, ended_at: int) -> None:
        """Ends a running run."""
        ...

    def search(self, *, experiment: str = "", where: str = "", order_by: str = "", limit: int = 100) -> list[Run]:
        """Runs that match a filter such as ``metrics.loss < 0.3 and params.depth = '6'``, newest first by default.

        Raises:
            UsageError: the filter cannot be parsed.
        """
        ...


class StepStore(Protocol):
    """Executions of pipeline steps: the cache's index and the memory of ``why``. Safe from threads and processes."""

    def record(self, step_run: StepRun) -> None:
        """Adds or replaces the execution of (run, step)."""
        ...

    def find_done(self, key: str) -> StepRun | None:
        """The newest successful execution with this fingerprint digest."""
        ...

    def latest(self, pipeline: str, step: str, *, before_run: str = "") -> StepRun | None:
        """The newest successful or cached execution of a step, of another run than ``before_run``."""
        ...

    def of_run(self, run_id: str) -> list[StepRun]:
        """All steps of a run in the order of their start."""
        ...


class Document(NamedTuple):
    """A record of its own kind with a revision that grows with every change."""

    kind: str
    id: str
    subject: str
    state: str
    at: int
    body: dict[str, Any]
    revision: int


class Documents(Protocol):
    """Primary records that are no bucket things: alerts, decisions, uses of evaluation sets. Safe from threads and processes."""

    def add(self, document: Document) -> bool:
        """Adds it unless (kind, id) exists; tells whether this call added it."""
        ...

    def update(self, document: Document) -> Document:
        """Replaces the body and state if the stored revision is ``document.revision``; returns it with the new revision.

        Raises:
            ConflictError: somebody else changed it since.
        """
        ...

    def find(self, kind: str, key: str) -> Document | None:
        """One document, or None."""
        ...

    def list(self, kind: str, *, subject: str = "", state: str = "", limit: int | None = None) -> list[Document]:
        """Documents of a kind, newest first; all of them without a limit."""
        ...


class OnlineRow(NamedTuple):
    """The newest values of one entity in one feature view."""

    entity: str
    event_at: int
    written_at: int
    values: dict[str, Any]


class OnlineStore(Protocol):
    """One wide row per entity and feature view, keyed by view and definition digest. Safe from threads and processes."""

    def put(self, view: str, definition: str, rows: Iterable[OnlineRow]) -> int:
        """Writes rows whose ``event_at`` is not older than the stored one; returns how many were written."""
        ...

    def get(self, view: str, definition: str, entities: Sequence[str]) -> dict[str, OnlineRow]:
        """The rows of these entities; an entity without one is absent from the answer."""
        ...
