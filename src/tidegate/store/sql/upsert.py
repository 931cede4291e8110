"""Adding rows or replacing those of the same key in one statement: two writers at once never collide on Postgres."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection


def put_rows(
    connection: Connection, table: sa.Table, rows: Sequence[Mapping[str, Any]], *, key: Sequence[str] = (), newer: str = ""
) -> int:
    """Writes rows, each of another key (by default the table's primary key), in the order of their keys; tells how many.

    ``newer`` names a column: a stored row that is greater there is left alone.
    """
    keys = list(key) or [column.name for column in table.primary_key.columns]
    given = sorted(rows, key=lambda row: [row[name] for name in keys])
    if not given:
        return 0
    statement = (postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert)(table)
    excluded = statement.excluded
    statement = statement.on_conflict_do_update(
        index_elements=keys,
        set_={name: excluded[name] for name in given[0] if name not in keys} or {keys[0]: excluded[keys[0]]},
        where=table.c[newer] <= excluded[newer] if newer else None,
    )
    if not newer:
        connection.execute(statement, given)
        return len(given)
    return len(connection.execute(statement.returning(table.c[keys[0]]), given).all())


def add_missing(connection: Connection, table: sa.Table, row: Mapping[str, Any]) -> None:
    """Adds a row unless there is one of its key, or it breaks another constraint of uniqueness."""
    statement = (postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert)(table)
    connection.execute(statement.values(**row).on_conflict_do_nothing())
