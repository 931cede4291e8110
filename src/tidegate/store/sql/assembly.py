"""Rows to runs: everything that hangs on a page of runs, in one query per table."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from tidegate.records.run import Environment, MetricSummary, Run, RunInput, RunState, lower_is_better
from tidegate.store.sql.tables import artifacts, metrics, run_inputs, run_params, run_tags

_CHUNK = 10_000  # SQLite takes 32,766 values in one statement


_lower = lru_cache(10_000)(lower_is_better)
_environment = msgspec.json.Decoder(Environment).decode
_input = msgspec.json.Decoder(RunInput).decode


def assembled(connection: Connection, rows: Sequence[Any]) -> list[Run]:
    """Runs of rows of the table ``runs`` that have their experiment's name as ``experiment``, in the same order."""
    ids = [row.id for row in rows]
    params: dict[str, dict[str, str]] = {run_id: {} for run_id in ids}
    for run_id, key, value in _hanging(connection, ids, run_params.c.run_id, run_params.c.key, run_params.c.value):
        params[run_id][key] = value
    tags: dict[str, dict[str, str]] = {run_id: {} for run_id in ids}
    for run_id, key, value in _hanging(connection, ids, run_tags.c.run_id, run_tags.c.key, run_tags.c.value):
        tags[run_id][key] = value
    files: dict[str, dict[str, str]] = {run_id: {} for run_id in ids}
    for run_id, path, digest in _hanging(connection, ids, artifacts.c.owner, artifacts.c.path, artifacts.c.digest):
        files[run_id][path] = digest
    inputs: dict[str, list[RunInput]] = {run_id: [] for run_id in ids}
    for run_id, _, _, body in _hanging(
        connection, ids, run_inputs.c.run_id, run_inputs.c.name, run_inputs.c.digest, run_inputs.c.body
    ):
        inputs[run_id].append(_input(body))
    summaries = _summaries(connection, ids)
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
            params=params[row.id],
            tags=tags[row.id],
            artifacts=files[row.id],
            inputs=inputs[row.id],
            metrics=summaries[row.id],
            environment=_environment(row.environment) if row.environment else None,
        )
        for row in rows
    ]


def _summaries(connection: Connection, ids: Sequence[str]) -> dict[str, dict[str, MetricSummary]]:
    found: dict[str, dict[str, MetricSummary]] = {run_id: {} for run_id in ids}
    column = metrics.c
    wanted = (column.run_id, column.id, column.name, column.points, column.last, column.last_step, column.last_at)
    for run_id, _, name, points, last, step, at, low, high in _hanging(connection, ids, *wanted, column.min, column.max):
        found[run_id][name] = MetricSummary(
            name=name,
            count=points,
            last=_number(last),
            last_step=step,
            last_at=at,
            min=_number(low),
            max=_number(high),
            lower_is_better=_lower(name),
        )
    return found


def _number(value: float | None) -> float:
    """A stored value: NULL is NaN."""
    return math.nan if value is None else value


def _hanging(connection: Connection, ids: Sequence[str], owner: sa.Column[Any], *more: sa.Column[Any]) -> Iterator[Any]:
    """Plain rows of what hangs on these runs, by run and then by the second column."""
    for start in range(0, len(ids), _CHUNK):
        query = sa.select(owner, *more).where(owner.in_(ids[start : start + _CHUNK])).order_by(owner, more[0])
        yield from connection.execute(query).all()
