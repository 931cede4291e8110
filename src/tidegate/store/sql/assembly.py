"""Rows to runs: everything that hangs on a page of runs, in one query per table."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from tidegate.records.run import Environment, MetricSummary, Run, RunInput, RunState, lower_is_better
from tidegate.store.sql.tables import artifacts, metrics, run_inputs, run_params, run_tags

_CHUNK = 10_000  # SQLite takes 32,766 values in one statement


def number(value: float | None) -> float:
    """A stored value: NULL is NaN."""
    return math.nan if value is None else value


def stored(value: float) -> float | None:
    """A value as it is stored: NaN is NULL, so that no comparison finds it."""
    return None if math.isnan(value) else value


def assembled(connection: Connection, rows: Sequence[Any]) -> list[Run]:
    """Runs of rows of the table ``runs`` that have their experiment's name as ``experiment``, in the same order."""
    ids = [row.id for row in rows]
    params = _by_run(connection, run_params, run_params.c.run_id, ids)
    tags = _by_run(connection, run_tags, run_tags.c.run_id, ids)
    files = _by_run(connection, artifacts, artifacts.c.owner, ids)
    inputs = _by_run(connection, run_inputs, run_inputs.c.run_id, ids)
    summaries = _by_run(connection, metrics, metrics.c.run_id, ids)
    return [
        Run(
            id=row.id,
            experiment=row.experiment,
            name=row.name,
            state=RunState(row.state),
            started_at=row.started_at,
            ended_at=row.ended_at,
            heard_at=row.heard_at,
            deleted_at=row.deleted_at,
            author=row.author,
            params={item.key: item.value for item in params[row.id]},
            tags={item.key: item.value for item in tags[row.id]},
            artifacts={item.path: item.digest for item in files[row.id]},
            inputs=[msgspec.json.decode(item.body, type=RunInput) for item in inputs[row.id]],
            metrics={item.name: _summary(item) for item in summaries[row.id]},
            environment=msgspec.json.decode(row.environment, type=Environment) if row.environment else None,
        )
        for row in rows
    ]


def _summary(row: Any) -> MetricSummary:
    return MetricSummary(
        name=row.name,
        count=row.points,
        last=number(row.last),
        last_step=row.last_step,
        last_at=row.last_at,
        min=number(row.min),
        max=number(row.max),
        lower_is_better=lower_is_better(row.name),
    )


def _by_run(connection: Connection, table: sa.Table, owner: sa.Column[Any], ids: Sequence[str]) -> dict[str, list[Any]]:
    grouped: dict[str, list[Any]] = defaultdict(list)
    for start in range(0, len(ids), _CHUNK):
        query = sa.select(table).where(owner.in_(ids[start : start + _CHUNK])).order_by(*table.primary_key.columns)
        for row in connection.execute(query):
            grouped[getattr(row, owner.name)].append(row)
    return grouped
