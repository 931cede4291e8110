"""Runs, parameters, tags and metrics in the database."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.sql import ColumnElement

from tidegate.errors import ConflictError, NotFoundError
from tidegate.records.run import Environment, MetricPoint, MetricSummary, Run, RunState
from tidegate.store.filter import Combination, Comparison, parse_field, parse_filter
from tidegate.store.ports import RunStore
from tidegate.store.sql.database import Database
from tidegate.store.sql.tables import journal_positions, metric_points, metrics, run_artifacts, run_params, run_tags, runs

_KEYED = {"params": run_params, "tags": run_tags}
_CHUNK = 10_000  # SQLite takes 32,766 values in one statement


class SqlRuns:
    """See ``RunStore``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(self, run: Run) -> None:
        with self._database.write() as connection:
            connection.execute(
                sa.insert(runs).values(
                    id=run.id,
                    experiment=run.experiment,
                    name=run.name,
                    state=run.state.value,
                    started_at=run.started_at,
                    ended_at=run.ended_at,
                    author=run.author,
                    environment=msgspec.json.encode(run.environment).decode() if run.environment else None,
                )
            )
            _put_params(connection, run.id, run.params)
            _replace(connection, run_tags, run.id, "key", "value", run.tags)

    def get(self, run_id: str) -> Run:
        with self._database.read() as connection:
            row = connection.execute(sa.select(runs).where(runs.c.id == run_id)).one_or_none()
            if row is None:
                raise _unknown(run_id)
            return _assembled(connection, [row])[0]

    def annotate(
        self,
        run_id: str,
        *,
        params: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
        artifacts: Mapping[str, str] | None = None,
        environment: Environment | None = None,
    ) -> None:
        with self._database.write() as connection:
            _require(connection, run_id)
            _put_params(connection, run_id, params or {})
            _replace(connection, run_tags, run_id, "key", "value", tags or {})
            _replace(connection, run_artifacts, run_id, "path", "digest", artifacts or {})
            if environment is not None:
                text = msgspec.json.encode(environment).decode()
                connection.execute(sa.update(runs).where(runs.c.id == run_id).values(environment=text))

    def ingest(self, run_id: str, writer: str, seq: int, points: Sequence[MetricPoint]) -> None:
        with self._database.write() as connection:
            _require(connection, run_id)
            mine = (journal_positions.c.run_id == run_id) & (journal_positions.c.writer == writer)
            taken = connection.execute(sa.select(journal_positions.c.seq).where(mine)).scalar()
            if taken is not None and taken >= seq:
                return
            if taken is None:
                connection.execute(sa.insert(journal_positions).values(run_id=run_id, writer=writer, seq=seq))
            else:
                connection.execute(sa.update(journal_positions).where(mine).values(seq=seq))
            by_metric: dict[str, list[MetricPoint]] = defaultdict(list)
            for point in points:
                by_metric[point.metric].append(point)
            for name, series in by_metric.items():
                _append(connection, run_id, name, series)

    def points(self, run_id: str, metric: str) -> list[MetricPoint]:
        query = (
            sa.select(metric_points.c.step, metric_points.c.at, metric_points.c.value)
            .join(metrics, metrics.c.id == metric_points.c.metric_id)
            .where(metrics.c.run_id == run_id, metrics.c.name == metric)
            .order_by(metric_points.c.step, metric_points.c.at)
        )
        with self._database.read() as connection:
            _require(connection, run_id)
            return [MetricPoint(metric, row.step, row.at, _number(row.value)) for row in connection.execute(query)]

    def finish(self, run_id: str, state: RunState, ended_at: int) -> None:
        with self._database.write() as connection:
            found = _require(connection, run_id)
            if found != RunState.RUNNING.value:
                raise ConflictError(
                    "run-ended", f"run {run_id} has already ended as {found}", why="a run ends once", fix="start a new run"
                )
            connection.execute(sa.update(runs).where(runs.c.id == run_id).values(state=state.value, ended_at=ended_at))

    def search(self, *, experiment: str = "", where: str = "", order_by: str = "", limit: int = 100) -> list[Run]:
        query = sa.select(runs)
        if experiment:
            query = query.where(runs.c.experiment == experiment)
        tree = parse_filter(where)
        if tree is not None:
            query = query.where(_condition(tree))
        query = query.order_by(*_order(order_by), runs.c.started_at.desc(), runs.c.id.desc()).limit(limit)
        with self._database.read() as connection:
            return _assembled(connection, connection.execute(query).all())


def _unknown(run_id: str) -> NotFoundError:
    return NotFoundError("run-not-found", f"there is no run {run_id!r}", fix="list runs with: tidegate run list")


def _require(connection: Connection, run_id: str) -> str:
    state = connection.execute(sa.select(runs.c.state).where(runs.c.id == run_id)).scalar()
    if state is None:
        raise _unknown(run_id)
    return str(state)


def _put_params(connection: Connection, run_id: str, params: Mapping[str, str]) -> None:
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


def _replace(connection: Connection, table: sa.Table, run_id: str, key: str, value: str, items: Mapping[str, str]) -> None:
    if not items:
        return
    connection.execute(sa.delete(table).where(table.c.run_id == run_id, table.c[key].in_(items)))
    connection.execute(sa.insert(table), [{"run_id": run_id, key: name, value: text} for name, text in items.items()])


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def _stored(value: float) -> float | None:
    return None if math.isnan(value) else value


def _append(connection: Connection, run_id: str, name: str, series: Sequence[MetricPoint]) -> None:
    row = connection.execute(sa.select(metrics).where(metrics.c.run_id == run_id, metrics.c.name == name)).one_or_none()
    newest = max(series, key=lambda point: (point.step, point.at))
    numbers = [point.value for point in series if not math.isnan(point.value)]
    if row is not None:
        numbers += [number for number in (row.min, row.max) if number is not None]
    summary = {
        "points": len(series) + (row.points if row else 0),
        "min": min(numbers, default=None),
        "max": max(numbers, default=None),
    }
    if row is None or (newest.step, newest.at) >= (row.last_step, row.last_at):
        summary |= {"last": _stored(newest.value), "last_step": newest.step, "last_at": newest.at}
    if row is None:
        inserted = connection.execute(sa.insert(metrics).values(run_id=run_id, name=name, **summary).returning(metrics.c.id))
        metric_id = inserted.scalar_one()
    else:
        metric_id = row.id
        connection.execute(sa.update(metrics).where(metrics.c.id == metric_id).values(**summary))
    connection.execute(
        sa.insert(metric_points),
        [{"metric_id": metric_id, "step": point.step, "at": point.at, "value": _stored(point.value)} for point in series],
    )


def _assembled(connection: Connection, rows: Sequence[Any]) -> list[Run]:
    ids = [row.id for row in rows]
    params = _by_run(connection, run_params, ids)
    tags = _by_run(connection, run_tags, ids)
    artifacts = _by_run(connection, run_artifacts, ids)
    summaries = _by_run(connection, metrics, ids)
    return [
        Run(
            id=row.id,
            experiment=row.experiment,
            name=row.name,
            state=RunState(row.state),
            started_at=row.started_at,
            ended_at=row.ended_at,
            author=row.author,
            params={item.key: item.value for item in params[row.id]},
            tags={item.key: item.value for item in tags[row.id]},
            artifacts={item.path: item.digest for item in artifacts[row.id]},
            metrics={
                item.name: MetricSummary(
                    name=item.name,
                    count=item.points,
                    last=_number(item.last),
                    last_step=item.last_step,
                    min=_number(item.min),
                    max=_number(item.max),
                )
                for item in summaries[row.id]
            },
            environment=msgspec.json.decode(row.environment, type=Environment) if row.environment else None,
        )
        for row in rows
    ]


def _by_run(connection: Connection, table: sa.Table, ids: Sequence[str]) -> dict[str, list[Any]]:
    grouped: dict[str, list[Any]] = defaultdict(list)
    for start in range(0, len(ids), _CHUNK):
        query = sa.select(table).where(table.c.run_id.in_(ids[start : start + _CHUNK])).order_by(*table.primary_key.columns)
        for row in connection.execute(query):
            grouped[row.run_id].append(row)
    return grouped


def _condition(tree: Comparison | Combination) -> ColumnElement[bool]:
    if isinstance(tree, Combination):
        join = sa.and_ if tree.kind == "and" else sa.or_
        return join(*[_condition(term) for term in tree.terms])
    if tree.space == "attributes":
        return _compared(runs.c[tree.name], tree.operator, tree.value)
    if tree.space == "metrics":
        matching = sa.select(metrics.c.run_id).where(
            metrics.c.name == tree.name, _compared(metrics.c.last, tree.operator, tree.value)
        )
    else:
        table = _KEYED[tree.space]
        matching = sa.select(table.c.run_id).where(table.c.key == tree.name, _compared(table.c.value, tree.operator, tree.value))
    return runs.c.id.in_(matching)


def _compared(column: sa.Column[Any], operator: str, value: str | float) -> ColumnElement[bool]:
    if operator == "like":
        return column.like(str(value))
    return {
        "=": column == value,
        "!=": column != value,
        "<": column < value,
        "<=": column <= value,
        ">": column > value,
        ">=": column >= value,
    }[operator]


def _order(order_by: str) -> list[ColumnElement[Any]]:
    clauses: list[ColumnElement[Any]] = []
    for part in filter(None, (piece.strip() for piece in order_by.split(","))):
        field, _, direction = part.partition(" ")
        space, name = parse_field(field)
        if space == "attributes":
            column: ColumnElement[Any] = runs.c[name]
        elif space == "metrics":
            column = sa.select(metrics.c.last).where(metrics.c.run_id == runs.c.id, metrics.c.name == name).scalar_subquery()
        else:
            table = _KEYED[space]
            column = sa.select(table.c.value).where(table.c.run_id == runs.c.id, table.c.key == name).scalar_subquery()
        clauses += [column.is_(None), column.desc() if direction.strip().lower() == "desc" else column.asc()]
    return clauses


_conforms: Callable[[Database], RunStore] = SqlRuns
