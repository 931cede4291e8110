"""Which files belong to what, in the database."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import sqlalchemy as sa

from tidegate.records.run import Artifact
from tidegate.store.ports import ArtifactIndex
from tidegate.store.sql.database import Database
from tidegate.store.sql.tables import artifacts
from tidegate.store.sql.upsert import put_rows

_CHUNK = 500


class SqlArtifacts:
    """See ``ArtifactIndex``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, owner: str, artifacts: Sequence[Artifact]) -> None:
        with self._database.write() as connection:
            rows = {
                item.path: {"owner": owner, "path": item.path, "digest": item.digest, "size": item.size} for item in artifacts
            }
            put_rows(connection, _table, list(rows.values()))

    def list(self, owner: str) -> list[Artifact]:
        with self._database.read() as connection:
            rows = connection.execute(sa.select(_table).where(_table.c.owner == owner).order_by(_table.c.path))
            return [_artifact(row) for row in rows]

    def find(self, owner: str, path: str) -> Artifact | None:
        with self._database.read() as connection:
            row = connection.execute(sa.select(_table).where(_table.c.owner == owner, _table.c.path == path)).one_or_none()
        return _artifact(row) if row is not None else None

    def remove(self, owner: str, paths: Sequence[str]) -> None:
        with self._database.write() as connection:
            for start in range(0, len(paths), _CHUNK):
                mine = (_table.c.owner == owner) & _table.c.path.in_(paths[start : start + _CHUNK])
                connection.execute(sa.delete(_table).where(mine))


_table = artifacts


def _artifact(row: Any) -> Artifact:
    return Artifact(path=row.path, digest=row.digest, size=row.size)


_conforms: Callable[[Database], ArtifactIndex] = SqlArtifacts
