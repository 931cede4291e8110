"""Runs, parameters, tags and inputs in the database."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.exc import IntegrityError

from tidegate.errors import ConflictError, NotFoundError
from tidegate.records.run import Environment, Run, RunInput, RunState
from tidegate.store.paging import Value
from tidegate.store.ports import RunStore
from tidegate.store.sql.assembly import assembled
from tidegate.store.sql.database import Database
from tidegate.store.sql.experiments import ensured_experiment
from tidegate.store.sql.search import found_runs
from tidegate.store.sql.tables import (
    artifacts,
    experiments,
    journal_positions,
    metric_chunks,
    metric_loose,
    metrics,
    run_inputs,
    run_params,
    run_tags,
    runs,
    step_runs,
)
from tidegate.store.sql.upsert import put_rows

_CHUNK = 500


class SqlRuns:
    """See ``RunStore``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(self, run: Run) -> None:
        try:
            with self._database.write() as connection:
                experiment = ensured_experiment(connection, run.experiment, at=run.started_at)
                if experiment.deleted_at is not None:
                    raise ConflictError(
                        "experiment-deleted",
                        f"the experiment {run.experiment!r} is deleted",
                        why="a deleted experiment takes no runs",
                        fix="restore it, or take another name",
                    )
                values = {
                    name: getattr(run, name)
                    for name in ("id", "name", "started_at", "ended_at", "heard_at", "deleted_at", "author")
                }
                environment = _text(run.environment) if run.environment else None
                connection.execute(
                    sa.insert(runs).values(**values, experiment_id=experiment.id, state=run.state.value, environment=environment)
                )
                _put_params(connection, run.id, run.params)
                _put_tags(connection, run.id, run.tags)
                _put_inputs(connection, run.id, run.inputs)
        except IntegrityError:
            if self._is_same(run):  # asked again, because the answer to the first time was lost
                return
            raise ConflictError(
                "run-exists", f"there is a run {run.id!r} already", why="an id names one run", fix="take a new id"
            ) from None

    def _is_same(self, run: Run) -> bool:
        found = self.get(run.id)
        told = (run.started_at, run.name, run.experiment, run.author)
        same = told == (found.started_at, found.name, found.experiment, found.author)
        return same and run.params.items() <= found.params.items()

    def get(self, run_id: str) -> Run:
        query = sa.select(runs, experiments.c.name.label("experiment")).join(
            experiments, experiments.c.id == runs.c.experiment_id
        )
        with self._database.read() as connection:
            row = connection.execute(query.where(runs.c.id == run_id)).one_or_none()
            if row is None:
                raise unknown_run(run_id)
            return assembled(connection, [row])[0]

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
        with self._database.write() as connection:
            row = _require(connection, run_id)
            if row.deleted_at is not None:
                raise deleted_run(run_id)
            _put_params(connection, run_id, params or {})
            _put_tags(connection, run_id, tags or {})
            if drop_tags:
                connection.execute(sa.delete(run_tags).where(run_tags.c.run_id == run_id, run_tags.c.key.in_(drop_tags)))
            _put_inputs(connection, run_id, inputs)
            changes: dict[str, Any] = {"name": name} if name else {}
            if environment is not None:
                changes["environment"] = _text(environment)
            if changes:
                connection.execute(sa.update(runs).where(runs.c.id == run_id).values(**changes))

    def change_state(self, run_id: str, state: RunState, at: int) -> None:
        with self._database.write() as connection:
            row = _require(connection, run_id)
            if row.deleted_at is not None:
                raise deleted_run(run_id)
            before = RunState(row.state)
            if before is state:
                return
            if before.ended and state.ended and before is not RunState.CRASHED:
                raise ConflictError(
                    "run-ended", f"run {run_id} has already ended as {before}", why="a run ends once", fix="start a new run"
                )
            ended_at = at if state.ended else None
            connection.execute(sa.update(runs).where(runs.c.id == run_id).values(state=state.value, ended_at=ended_at))

    def hear(self, run_id: str, at: int) -> None:
        with self._database.write() as connection:
            row = _require(connection, run_id)
            changes: dict[str, Any] = {"heard_at": at}
            if row.state == RunState.CRASHED.value:
                changes |= {"state": RunState.RUNNING.value, "ended_at": None}
            connection.execute(sa.update(runs).where(runs.c.id == run_id).values(**changes))

    def delete(self, run_ids: Sequence[str], *, at: int | None) -> None:
        with self._database.write() as connection:
            for run_id in sorted(set(run_ids)):
                _require(connection, run_id)
                connection.execute(sa.update(runs).where(runs.c.id == run_id).values(deleted_at=at))

    def purge(self, run_ids: Sequence[str]) -> None:
        with self._database.write() as connection:
            for start in range(0, len(run_ids), _CHUNK):
                asked = runs.c.id.in_(run_ids[start : start + _CHUNK]) & runs.c.deleted_at.is_not(None)
                # Postgres: an ingest that has begun ends first, and none begins.
                ids = list(connection.execute(sa.select(runs.c.id).where(asked).order_by(runs.c.id).with_for_update()).scalars())
                series = sa.select(metrics.c.id).where(metrics.c.run_id.in_(ids))
                for table in (metric_loose, metric_chunks):
                    connection.execute(sa.delete(table).where(table.c.metric_id.in_(series)))
                for table in (metrics, journal_positions, run_params, run_tags, run_inputs, step_runs):
                    connection.execute(sa.delete(table).where(table.c.run_id.in_(ids)))
                connection.execute(sa.delete(artifacts).where(artifacts.c.owner.in_(ids)))
                connection.execute(sa.delete(runs).where(runs.c.id.in_(ids)))

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
        with self._database.read() as connection:
            rows = found_runs(
                connection,
                experiments=experiments,
                where=where,
                order_by=order_by,
                limit=limit,
                offset=offset,
                since=since,
                deleted=deleted,
            )
            return assembled(connection, rows)


def unknown_run(run_id: str) -> NotFoundError:
    """The error for a run that is not there."""
    return NotFoundError("run-not-found", f"there is no run {run_id!r}", fix="list runs with: tidegate run list")


def deleted_run(run_id: str) -> ConflictError:
    """The error for an addition to a deleted run."""
    return ConflictError(
        "run-deleted", f"run {run_id} is deleted", why="a deleted run takes nothing", fix=f"tidegate run restore {run_id}"
    )


def _text(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _require(connection: Connection, run_id: str) -> Any:
    """The run's state, locked against other writers: on Postgres too, what was read is still true when the write comes."""
    query = sa.select(runs.c.state, runs.c.deleted_at).where(runs.c.id == run_id)
    row = connection.execute(query.with_for_update(key_share=True)).one_or_none()
    if row is None:
        raise unknown_run(run_id)
    return row


def _put_params(connection: Connection, run_id: str, params: Mapping[str, str]) -> None:
    if not params:
        return
    query = sa.select(run_params.c.key, run_params.c.value).where(run_params.c.run_id == run_id)
    present: dict[str, str] = {row.key: row.value for row in connection.execute(query)}
    for key, value in params.items():
        if present.get(key, value) != value:
            raise ConflictError(
                "param-changed",
                f"parameter {key!r} of run {run_id} is {present[key]!r} and cannot become {value!r}",
                why="a parameter describes the whole run",
                fix="log what changes as a metric or a tag, or start a new run",
            )
    fresh = [{"run_id": run_id, "key": key, "value": value} for key, value in params.items() if key not in present]
    if fresh:
        connection.execute(sa.insert(run_params), fresh)


def _put_tags(connection: Connection, run_id: str, tags: Mapping[str, str]) -> None:
    if not tags:
        return
    put_rows(connection, run_tags, [{"run_id": run_id, "key": key, "value": value} for key, value in tags.items()])


def _put_inputs(connection: Connection, run_id: str, inputs: Sequence[RunInput]) -> None:
    rows = {
        (item.name, item.digest): {"run_id": run_id, "name": item.name, "digest": item.digest, "body": _text(item)}
        for item in inputs
    }
    put_rows(connection, run_inputs, list(rows.values()))


_conforms: Callable[[Database], RunStore] = SqlRuns
