"""What the rooms ask of the store. Each port has one conformance suite in ``tidegate.testing``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

from tidegate.errors import TidegateError
from tidegate.records.pipeline import StepRun
from tidegate.records.run import Artifact, Bucketed, Environment, Experiment, Run, RunInput, RunState, Series
from tidegate.store.paging import Value


class Blob(NamedTuple):
    """Bytes and the tag that names this state of them in a compare-and-swap."""

    data: bytes
    etag: str


Progress = Callable[[int], None]
"""Is told how many bytes were just sent or received."""


class Bucket(Protocol):
    """Named bytes. Keys are relative POSIX paths like ``models/delay/current.json``.

    Any number of threads and processes may use one bucket at once. A write that returned is durable: bytes and name
    have been synced. Nobody ever sees half a value. Errors: ``UsageError`` for a key that leaves the bucket,
    ``UnavailableError`` when the disk is full or the place cannot be reached; then nothing has changed.
    """

    def find(self, key: str) -> Blob | None:
        """The value of ``key``, or None."""
        ...

    def put_if_absent(self, key: str, source: bytes | Path, *, sha256: str = "", progress: Progress | None = None) -> bool:
        """Writes ``key`` unless it exists; tells whether this call wrote it. A ``Path`` is copied, never moved.

        With ``sha256`` the key is content-addressed: bytes with another digest are never visible under it, and a large file
        may be sent in parts; then each of several who send the same bytes at once may be told that it wrote.

        Raises:
            IntegrityError: the bytes are not those of ``sha256``; nothing was written.
        """
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

    def local(self, key: str, *, progress: Progress | None = None) -> Path:
        """A local file with the value of ``key``, to be read and left alone.

        Raises:
            NotFoundError: no such key.
        """
        ...

    def delete(self, key: str) -> None:
        """Removes ``key``; fine if it is absent. For garbage collection alone."""
        ...

    def sweep(self, before_us: int) -> int:
        """Removes what writers that died before ``before_us`` left unfinished, where it can be seen; returns the bytes."""
        ...


class Stored(NamedTuple):
    """A key, the bytes under it, and when they were last written or found to be there by a put (microseconds UTC)."""

    key: str
    size: int
    at: int


@runtime_checkable
class Collectable(Protocol):
    """What garbage collection asks of a bucket that it can work on, beside ``Bucket``."""

    least_grace_us: int
    """A put of content-addressed bytes that are there already keeps them for at least this long; a shorter grace is not safe."""

    def stored(self, prefix: str) -> Iterator[Stored]:
        """What is stored below the folder ``prefix``, in any order."""
        ...

    def discard(self, key: str, *, before: int) -> bool:
        """Removes ``key`` if nobody has put it since ``before``; tells whether. Never between a put and its answer."""
        ...


@runtime_checkable
class Copying(Protocol):
    """A bucket whose ``local`` hands out copies that it keeps, beside ``Bucket``."""

    def forget(self, copy: Path) -> None:
        """Removes a copy that turned out to be damaged: the next ``local`` fetches it anew."""
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


class Experiments(Protocol):
    """Named series of runs. Safe from threads and processes.

    Errors: ``NotFoundError`` for an unknown experiment, ``ConflictError`` for a name that is taken (also by a deleted one),
    ``UnavailableError`` when the database cannot be used.
    """

    def create(
        self, name: str, *, at: int, location: str = "", tags: Mapping[str, str] | None = None, number: int | None = None
    ) -> Experiment:
        """Adds an experiment; the database picks its number, if none is given."""
        ...

    def get(self, number: int) -> Experiment:
        """One experiment, deleted or not."""
        ...

    def find(self, name: str) -> Experiment | None:
        """The experiment of that name, deleted or not."""
        ...

    def list(self) -> list[Experiment]:
        """All experiments, deleted ones too, newest first."""
        ...

    def change(
        self, number: int, *, at: int, name: str = "", tags: Mapping[str, str] | None = None, drop_tags: Sequence[str] = ()
    ) -> None:
        """Renames it, adds or replaces tags, drops tags."""
        ...

    def delete(self, number: int, *, at: int | None) -> None:
        """Marks it, and its runs that are not deleted yet, as deleted at ``at``; None brings back what that took."""
        ...


class RunStore(Protocol):
    """Runs with parameters, tags and inputs. Every write is committed when it returns; safe from threads and processes.

    Errors: ``NotFoundError`` for an unknown run, ``ConflictError`` for a parameter that changes its value, for a state that
    cannot follow, and for any addition to a deleted run; ``UnavailableError`` when the database cannot be used.
    """

    def create(self, run: Run) -> None:
        """Adds a run, and its experiment if there is none of that name. The same run again changes nothing.

        Raises:
            ConflictError: the experiment is deleted, or another run has that id.
        """
        ...

    def get(self, run_id: str) -> Run:
        """The run, deleted or not, with everything that is known about it but its series."""
        ...

    def annotate(
        self,
        run_id: str,
        *,
        name: str = "",
        params: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
        drop_tags: Sequence[str] = (),
        inputs: Sequence[RunInput] = (),
        environment: Environment | None = None,
    ) -> None:
        """Adds to a run, all or nothing. A parameter may be repeated with the same value; tags may be replaced and dropped."""
        ...

    def change_state(self, run_id: str, state: RunState, at: int) -> None:
        """Ends a run at ``at``, or resumes one that has ended. Ending it again in the same state changes nothing.

        Raises:
            ConflictError: it has ended otherwise already, unless it was taken for crashed.
        """
        ...

    def hear(self, run_id: str, at: int) -> None:
        """Notes that the run's process lives at ``at`` (the system's time); a run that was taken for crashed runs again."""
        ...

    def delete(self, run_ids: Sequence[str], *, at: int | None) -> None:
        """Marks runs as deleted at ``at``; None brings them back."""
        ...

    def purge(self, run_ids: Sequence[str]) -> None:
        """Removes deleted runs with everything that hangs on them, for good. Runs that are not deleted are left alone."""
        ...

    def search(
        self,
        *,
        experiments: Sequence[str] = (),
        where: str = "",
        order_by: str = "",
        limit: int | None = 100,
        offset: int = 0,
        since: Value | None = None,
        deleted: bool | None = False,
    ) -> list[Run]:
        """Runs of these experiments (none named: of all) that match a filter (see ``tidegate.store.filter``).

        Newest first by default and after ``order_by``; missing values come last in both directions, NaN just before them.
        ``offset`` counts from the first run whose value of the leading order is not before ``since`` (None: from the first run):
        that makes a far page as cheap as the first, see ``tidegate.store.paging``. ``deleted`` None takes deleted and other runs.

        Raises:
            UsageError: the filter or the order cannot be understood.
        """
        ...


class Batch(NamedTuple):
    """Points of one run from one writer. A ``seq`` of 0 has no memory; else a batch up to the last taken one is dropped."""

    run_id: str
    writer: str
    seq: int
    series: Sequence[Series]


class SeriesStore(Protocol):
    """Metric series. Every write is committed when it returns; safe from threads and processes.

    A point is (step, time, value): exactly the same one twice is one point. Steps may come in any order.
    Errors: ``NotFoundError`` for an unknown run, ``UnavailableError`` when the database cannot be used.
    """

    def ingest(self, batches: Sequence[Batch]) -> list[TidegateError | None]:
        """Takes batches in one transaction, each whole or not at all; answers for each batch what forbade it.

        That is a ``NotFoundError`` for an unknown run and a ``ConflictError`` for a deleted one.
        """
        ...

    def seal(self, run_id: str) -> None:
        """Packs the loose points of a run, such as one that has ended; they read the same afterwards."""
        ...

    def points(self, run_id: str, metric: str, *, first: int | None = None, last: int | None = None) -> Series:
        """All points of one metric with steps from ``first`` to ``last``, by step, time and value; empty if there are none."""
        ...

    def envelope(self, run_id: str, metric: str, *, pixels: int, first: int | None = None, last: int | None = None) -> Bucketed:
        """The curve for about ``pixels`` columns: the points themselves where they fit, else exact stretches of them."""
        ...

    def taken(self, run_id: str) -> dict[str, int]:
        """How far each writer's journal was taken in."""
        ...


class ArtifactIndex(Protocol):
    """Which files belong to a run, a logged model or a trace. The bytes are objects in the bucket. Safe from threads and processes."""

    def put(self, owner: str, artifacts: Sequence[Artifact]) -> None:
        """Adds artifacts or replaces those of the same path."""
        ...

    def list(self, owner: str) -> list[Artifact]:
        """All artifacts of an owner by path."""
        ...

    def find(self, owner: str, path: str) -> Artifact | None:
        """One artifact, or None."""
        ...

    def remove(self, owner: str, paths: Sequence[str]) -> None:
        """Forgets artifacts; what is absent is fine."""
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

    def remove(self, kind: str, key: str) -> None:
        """Removes a document; fine if it is absent."""
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
