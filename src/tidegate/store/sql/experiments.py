"""Experiments in the database."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.exc import IntegrityError

from tidegate.errors import ConflictError, NotFoundError
from tidegate.records.run import Experiment
from tidegate.store.ports import Experiments
from tidegate.store.sql.database import Database
from tidegate.store.sql.tables import experiments, runs
from tidegate.store.sql.upsert import add_missing

_TOO_LARGE = 2**31  # for the column, on Postgres


class SqlExperiments:
    """See ``Experiments``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(
        self, name: str, *, at: int, location: str = "", tags: Mapping[str, str] | None = None, number: int | None = None
    ) -> Experiment:
        try:
            with self._database.write() as connection:
                return insert_experiment(connection, name, at=at, location=location, tags=tags or {}, number=number)
        except IntegrityError:
            raise _taken(name) from None

    def get(self, number: int) -> Experiment:
        with self._database.read() as connection:
            return _require(connection, number)

    def find(self, name: str) -> Experiment | None:
        with self._database.read() as connection:
            return find_experiment(connection, name)

    def list(self) -> list[Experiment]:
        query = sa.select(experiments).order_by(experiments.c.created_at.desc(), experiments.c.id.desc())
        with self._database.read() as connection:
            return [_experiment(row) for row in connection.execute(query)]

    def change(
        self, number: int, *, at: int, name: str = "", tags: Mapping[str, str] | None = None, drop_tags: Sequence[str] = ()
    ) -> None:
        try:
            with self._database.write() as connection:
                found = _require(connection, number, lock=True)
                kept = {key: value for key, value in {**found.tags, **(tags or {})}.items() if key not in drop_tags}
                connection.execute(
                    sa.update(experiments)
                    .where(experiments.c.id == number)
                    .values(name=name or found.name, updated_at=at, tags=msgspec.json.encode(kept).decode())
                )
        except IntegrityError:
            raise _taken(name) from None

    def delete(self, number: int, *, at: int | None) -> None:
        with self._database.write() as connection:
            found = _require(connection, number, lock=True)
            mine = runs.c.experiment_id == number
            if at is None:
                connection.execute(sa.update(runs).where(mine, runs.c.deleted_at == found.deleted_at).values(deleted_at=None))
            else:
                connection.execute(sa.update(runs).where(mine, runs.c.deleted_at.is_(None)).values(deleted_at=at))
            changed = {"deleted_at": at} if at is None else {"deleted_at": at, "updated_at": at}
            connection.execute(sa.update(experiments).where(experiments.c.id == number).values(**changed))


def find_experiment(connection: Connection, name: str) -> Experiment | None:
    """The experiment of that name, deleted or not."""
    row = connection.execute(sa.select(experiments).where(experiments.c.name == name)).one_or_none()
    return _experiment(row) if row is not None else None


def ensured_experiment(connection: Connection, name: str, *, at: int) -> Experiment:
    """The experiment of that name, made if there is none; nobody deletes it before the transaction ends."""
    query = sa.select(experiments).where(experiments.c.name == name).with_for_update(read=True)
    row = connection.execute(query).one_or_none()
    if row is None:
        add_missing(connection, experiments, {"name": name, "created_at": at, "updated_at": at, "location": "", "tags": "{}"})
        row = connection.execute(query).one()
    return _experiment(row)


def insert_experiment(
    connection: Connection,
    name: str,
    *,
    at: int,
    location: str = "",
    tags: Mapping[str, str] | None = None,
    number: int | None = None,
) -> Experiment:
    """Adds an experiment.

    Raises:
        sqlalchemy.exc.IntegrityError: the name is taken.
    """
    values: dict[str, Any] = {"name": name, "created_at": at, "updated_at": at, "location": location}
    if number is not None:
        values["id"] = number
    text = msgspec.json.encode(tags or {}).decode()
    given = connection.execute(sa.insert(experiments).values(**values, tags=text).returning(experiments.c.id)).scalar_one()
    return Experiment(id=given, name=name, created_at=at, updated_at=at, location=location, tags=dict(tags or {}))


def _require(connection: Connection, number: int, *, lock: bool = False) -> Experiment:
    query = sa.select(experiments).where(experiments.c.id == number)
    row = connection.execute(query.with_for_update() if lock else query).one_or_none() if abs(number) < _TOO_LARGE else None
    if row is None:
        raise NotFoundError("experiment-not-found", f"there is no experiment {number}", fix="tidegate run list names them")
    return _experiment(row)


def _experiment(row: Any) -> Experiment:
    return Experiment(
        id=row.id,
        name=row.name,
        created_at=row.created_at,
        updated_at=row.updated_at,
        deleted_at=row.deleted_at,
        location=row.location,
        tags=msgspec.json.decode(row.tags, type=dict[str, str]),
    )


def _taken(name: str) -> ConflictError:
    return ConflictError(
        "experiment-exists",
        f"there is an experiment {name!r} already",
        why="a name belongs to one experiment, deleted ones too",
        fix="take another name, or restore the deleted one",
    )


_conforms: Callable[[Database], Experiments] = SqlExperiments
