"""Garbage collection: what was deleted, and what nothing refers to any more, is removed for good.

``find_garbage`` plans and changes nothing, ``explain`` tells the plan, ``collect`` carries it out. What is needed is never in
a plan, because it is found from the other side:

- An object is kept if its digest stands anywhere: in any text of the database, in any document of the bucket (manifests,
  snapshots, receipts, ledgers), in any journal that waits. Whoever wrote it there need not be known here.
- A document that cannot be read, or one that the index knows and the bucket lacks, ends the collection before anything is
  removed: nobody knows what it refers to.
- An object that was written, or found to be there by a put, within the grace period is kept, referred to or not: its writer
  may be about to say what it is for. So the grace must be longer than the longest write (a snapshot of a large folder, an
  offline run that still has to be sent). Only where nobody else writes may it be shorter.

Runs go before objects, so a collection that dies in between leaves unneeded objects and never a reference to nothing; the
next one goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from tidegate.clock import DAY, HOUR, Clock, format_time
from tidegate.errors import IntegrityError, RefusedError, UsageError
from tidegate.store.objects import OBJECTS, object_digest, object_key
from tidegate.store.place import Store
from tidegate.store.ports import Collectable
from tidegate.store.sql.database import Database
from tidegate.store.sql.garbage import (
    DIGEST,
    digests_in,
    expired_experiments,
    expired_runs,
    give_back,
    remove_experiments,
    remove_orphans,
)

GRACE_US = 7 * DAY
SAFE_GRACE_US = HOUR
"""A shorter grace is for a store that nobody else writes to."""

_BINARY = (".parquet", ".arrow", ".html")
_CHUNK = 200

Advance = Callable[[], None]


class DeletedRun(msgspec.Struct, frozen=True, kw_only=True):
    """A run whose time to be restored is over."""

    id: str
    experiment: str
    deleted_at: int
    points: int


class DeletedExperiment(msgspec.Struct, frozen=True, kw_only=True):
    """An experiment whose time to be restored is over; its name becomes free."""

    id: int
    name: str
    deleted_at: int


class LooseObject(msgspec.Struct, frozen=True, kw_only=True):
    """An object that nothing refers to: digest, bytes, and when it was last put."""

    digest: str
    size: int
    at: int


class Garbage(msgspec.Struct, frozen=True, kw_only=True):
    """What would be removed, and what is kept. Sizes are bytes, times microseconds UTC."""

    grace_us: int
    before: int
    """Deleted or last put before this time."""
    runs: list[DeletedRun]
    experiments: list[DeletedExperiment]
    objects: list[LooseObject]
    kept_objects: int
    kept_bytes: int
    young_objects: int
    """Not referred to, but too young to be removed."""
    waiting_runs: int
    """Deleted runs that can still be restored."""

    @property
    def bytes(self) -> int:
        """The size of the objects that would be removed."""
        return sum(item.size for item in self.objects)

    def __bool__(self) -> bool:
        return bool(self.runs or self.experiments or self.objects)


class Collected(msgspec.Struct, frozen=True, kw_only=True):
    """What was removed. The bytes are those of the files of database and bucket, measured before and after."""

    runs: int
    experiments: int
    objects: int
    object_bytes: int
    unfinished_bytes: int
    """Left by writers that died."""
    database_before: int
    database_after: int
    notes: list[str]


def find_garbage(store: Store, clock: Clock, *, grace_us: int = GRACE_US, advance: Advance = lambda: None) -> Garbage:
    """The plan of a collection. Changes nothing.

    Raises:
        UsageError: the grace is negative, or too short for this kind of bucket.
        RefusedError: a server stands before the store: collect where the store is.
        IntegrityError: something that may refer to objects cannot be read.
    """
    database, bucket = _places(store, grace_us)
    before = clock.now() - grace_us
    expired = expired_runs(database, before)
    ids = [run_id for run_id, *_ in expired]
    # The objects are listed before the references are read: what is put and referred to in between is not in the list.
    objects_before = _objects_before(clock, grace_us)
    listed = list(bucket.stored(OBJECTS))
    kept = _references(store, database, advance, without_runs=ids)
    named = [(digest, item) for item in listed if (digest := object_digest(item.key))]
    loose = [(digest, item) for digest, item in named if digest not in kept]
    return Garbage(
        grace_us=grace_us,
        before=before,
        runs=[DeletedRun(id=item[0], experiment=item[1], deleted_at=item[2], points=item[3]) for item in expired],
        experiments=[
            DeletedExperiment(id=number, name=name, deleted_at=at)
            for number, name, at in expired_experiments(database, before, without_runs=ids)
        ],
        objects=[LooseObject(digest=digest, size=item.size, at=item.at) for digest, item in loose if item.at < objects_before],
        kept_objects=len(named) - len(loose),
        kept_bytes=sum(item.size for digest, item in named if digest in kept),
        young_objects=sum(item.at >= objects_before for _, item in loose),
        waiting_runs=len(expired_runs(database, clock.now() + 1)) - len(expired),
    )


def explain(garbage: Garbage) -> list[str]:
    """The plan in sentences."""
    lines = [
        f"run {run.id} of {run.experiment}, {run.points} points: deleted {format_time(run.deleted_at)}"
        for run in garbage.runs[:20]
    ]
    if len(garbage.runs) > 20:
        lines.append(f"... and {len(garbage.runs) - 20} more runs")
    lines += [
        f"experiment {item.name!r}: deleted {format_time(item.deleted_at)}; its name becomes free" for item in garbage.experiments
    ]
    if garbage.objects:
        largest = max(garbage.objects, key=lambda item: item.size)
        lines.append(
            f"{len(garbage.objects)} objects, {readable(garbage.bytes)}: nothing refers to them; the largest is {largest.digest[:12]} "
            f"({readable(largest.size)})"
        )
    lines.append(f"kept: {garbage.kept_objects} objects, {readable(garbage.kept_bytes)}, that something refers to")
    if garbage.young_objects:
        lines.append(f"kept: {garbage.young_objects} objects that nothing refers to, younger than the grace period")
    if garbage.waiting_runs:
        lines.append(f"kept: {garbage.waiting_runs} deleted runs that can still be restored")
    return lines


def collect(store: Store, clock: Clock, garbage: Garbage, *, advance: Advance = lambda: None) -> Collected:
    """Removes what the plan names, unless it is needed again meanwhile, and gives the room back.

    Raises:
        IntegrityError: something that may refer to objects cannot be read; no object was removed.
    """
    database, bucket = _places(store, garbage.grace_us)
    size_before = _database_bytes(store)
    ids = [run.id for run in garbage.runs]
    still = {run_id for run_id, *_ in expired_runs(database, garbage.before)}
    ids = [run_id for run_id in ids if run_id in still]
    for start in range(0, len(ids), _CHUNK):
        store.runs.purge(ids[start : start + _CHUNK])
        advance()
    experiments = remove_experiments(database, [item.id for item in garbage.experiments], before=garbage.before)
    orphans = remove_orphans(database)
    removed = removed_bytes = 0
    if garbage.objects:
        kept = _references(store, database, advance)
        objects_before = min(_objects_before(clock, garbage.grace_us), max(item.at for item in garbage.objects) + 1)
        for item in garbage.objects:
            if item.digest not in kept and bucket.discard(object_key(item.digest), before=objects_before):
                removed += 1
                removed_bytes += item.size
            advance()
    unfinished = store.bucket.sweep(Clock().now() - max(garbage.grace_us, DAY))
    note = give_back(database) if ids or orphans or experiments else ""
    return Collected(
        runs=len(ids),
        experiments=experiments,
        objects=removed,
        object_bytes=removed_bytes,
        unfinished_bytes=unfinished,
        database_before=size_before,
        database_after=_database_bytes(store),
        notes=[f"the database's file keeps its size for now: {note}"] if note else [],
    )


def readable(size: int) -> str:
    """Bytes as people read them: ``12.3 MB``."""
    value = float(size)
    for unit in ("bytes", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "bytes" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"


def _places(store: Store, grace_us: int) -> tuple[Database, Collectable]:
    bucket: Any = store.bucket
    if store.database is None or not isinstance(bucket, Collectable):
        raise RefusedError(
            "gc-remote",
            "garbage cannot be collected through a server",
            why="it needs the database and the bucket themselves",
            fix="run tidegate store gc on the machine that has the store",
        )
    if grace_us < bucket.least_grace_us:
        raise UsageError(
            "grace-too-short",
            "the grace period is too short",
            why=f"what is put into this kind of bucket again counts as young for {bucket.least_grace_us // HOUR} hours",
            fix=f"take at least --grace {bucket.least_grace_us // HOUR or 0}h",
        )
    return store.database, bucket


def _objects_before(clock: Clock, grace_us: int) -> int:
    """Objects carry the time of the system, whatever the store's clock says."""
    return (clock if clock.kind == "system" else Clock()).now() - grace_us


def _references(store: Store, database: Database, advance: Advance, *, without_runs: list[str] | None = None) -> set[str]:
    """Every digest that stands anywhere but in the name of an object."""
    found = digests_in(database, without_runs=without_runs or ())
    advance()
    for entry in (entry for kind in ("dataset", "model") for entry in store.catalog.list(kind)):
        if store.bucket.find(entry.key) is None:
            raise IntegrityError(
                "reference-missing",
                f"{entry.key} is missing from the bucket",
                why="it says which objects belong to it, so nobody knows whether they are needed; nothing was removed",
                fix="restore it from a backup, or run tidegate store reindex if it was removed on purpose",
            )
    for key, data in _documents(store):
        if key.endswith(".json"):
            _check(key, data)
        found.update(DIGEST.findall(data.decode("ascii", "replace")))
        advance()
    for path in _journals(store.root / "journal"):
        found.update(DIGEST.findall(path.read_bytes().decode("ascii", "replace")))
    return found


def _documents(store: Store) -> Iterator[tuple[str, bytes]]:
    for key in store.bucket.keys(""):
        if key.startswith(OBJECTS) or key.endswith(_BINARY):
            continue
        blob = store.bucket.find(key)
        if blob is None:
            raise IntegrityError(
                "reference-missing",
                f"{key} was there a moment ago",
                why="somebody removes documents at the same time; nothing was removed",
                fix="run it again when nobody does",
            )
        yield key, blob.data


def _journals(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.rglob("*")) if path.is_file() and OBJECTS.rstrip("/") not in path.parts]


def _check(key: str, data: bytes) -> None:
    try:
        msgspec.json.decode(data)
    except msgspec.DecodeError as error:
        raise IntegrityError(
            "reference-unreadable",
            f"{key} cannot be read",
            why=f"{error}; it may refer to objects, so nothing was removed",
            fix="tidegate store verify lists what is damaged; restore it from a backup",
        ) from None


def _database_bytes(store: Store) -> int:
    path = store.root / "metadata.db"
    return path.stat().st_size if path.exists() else 0
