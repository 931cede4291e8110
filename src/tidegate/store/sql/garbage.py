"""What garbage collection asks of the database: every digest that stands in it, and room given back."""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from tidegate.errors import IntegrityError, UnavailableError
from tidegate.store.sql.database import Database
from tidegate.store.sql.tables import experiments, metadata, metric_chunks, metric_loose, metrics, runs
from tidegate.store.sql.text import StoredText

DIGEST = re.compile(r"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")
_WITHOUT_DIGESTS = {"metrics", "metric_loose", "metric_chunks", "journal_positions", "online_rows"}
_JSON = {"environment", "body", "summary"}
_OWNERS = {"run_id", "owner"}


def digests_in(database: Database, *, without_runs: Sequence[str] = ()) -> set[str]:
    """Everything in the database that looks like a SHA-256, whoever wrote it and for whatever reason.

    ``without_runs`` leaves out what hangs on these runs.

    Raises:
        IntegrityError: a record cannot be read, so nobody knows what it refers to.
    """
    left_out = set(without_runs)
    found: set[str] = set()
    with database.read() as connection:
        for table in metadata.sorted_tables:
            columns = [column for column in table.columns if isinstance(column.type, StoredText)]
            if table.name not in _WITHOUT_DIGESTS and columns:
                found |= _digests_of(connection, table, columns, left_out)
    return found


def _digests_of(connection: Connection, table: sa.Table, columns: Sequence[sa.Column[str]], left_out: set[str]) -> set[str]:
    found: set[str] = set()
    names = [column.name for column in columns]
    owner = next((names.index(name) for name in names if name in _OWNERS or (table is runs and name == "id")), None)
    for row in connection.execution_options(yield_per=10_000).execute(sa.select(*columns)):
        if owner is not None and row[owner] in left_out:
            continue
        for name, text in zip(names, row, strict=True):
            if text and len(text) >= 64:
                found.update(DIGEST.findall(text))
            if text and name in _JSON:
                _check(table.name, text)
    return found


def _check(table: str, text: str) -> None:
    try:
        msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        raise IntegrityError(
            "reference-unreadable",
            f"a record in the table {table} cannot be read",
            why=f"{error}; it may refer to objects, so nothing was removed",
            fix="restore the database from a backup",
        ) from None


def expired_runs(database: Database, before: int) -> list[tuple[str, str, int, int]]:
    """Runs that were deleted before a time: id, experiment, when they were deleted, points."""
    points = sa.select(sa.func.coalesce(sa.func.sum(metrics.c.points), 0)).where(metrics.c.run_id == runs.c.id).scalar_subquery()
    query = (
        sa.select(runs.c.id, experiments.c.name, runs.c.deleted_at, points)
        .join(experiments, experiments.c.id == runs.c.experiment_id)
        .where(runs.c.deleted_at < before)
        .order_by(runs.c.deleted_at, runs.c.id)
    )
    with database.read() as connection:
        return [(row[0], row[1], int(row[2]), int(row[3])) for row in connection.execute(query)]


def expired_experiments(database: Database, before: int, *, without_runs: Sequence[str] = ()) -> list[tuple[int, str, int]]:
    """Experiments that were deleted before a time and have no runs but ``without_runs``: number, name, when."""
    left_out = set(without_runs)
    query = sa.select(experiments.c.id, experiments.c.name, experiments.c.deleted_at).where(experiments.c.deleted_at < before)
    with database.read() as connection:
        found = [(int(row[0]), str(row[1]), int(row[2])) for row in connection.execute(query.order_by(experiments.c.id))]
        return [item for item in found if not set(_runs_of(connection, item[0])) - left_out]


def _runs_of(connection: Connection, number: int) -> list[str]:
    return list(connection.execute(sa.select(runs.c.id).where(runs.c.experiment_id == number)).scalars())


def remove_experiments(database: Database, numbers: Sequence[int], *, before: int) -> int:
    """Removes experiments that are still deleted and empty; returns how many."""
    empty = sa.not_(sa.exists(sa.select(runs.c.id).where(runs.c.experiment_id == experiments.c.id)))
    removed = 0
    with database.write() as connection:
        for number in numbers:
            mine = (experiments.c.id == number) & (experiments.c.deleted_at < before) & empty
            removed += connection.execute(sa.delete(experiments).where(mine)).rowcount
    return removed


def remove_orphans(database: Database) -> int:
    """Removes points without a metric; returns how many rows."""
    metric_ids = sa.select(metrics.c.id)
    removed = 0
    with database.write() as connection:
        for table in (metric_loose, metric_chunks):
            removed += connection.execute(sa.delete(table).where(table.c.metric_id.not_in(metric_ids))).rowcount
    return removed


def give_back(database: Database) -> str:
    """Makes the database's file as small as what is in it; says why if that was not possible. Postgres does that by itself."""
    try:
        database.compact()
    except UnavailableError as error:
        return f"{error.what}: {error.why}"
    return ""
