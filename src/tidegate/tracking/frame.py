"""Runs as a frame: a row per run, a column per attribute, parameter, metric and tag."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tidegate import frames
from tidegate.errors import UsageError
from tidegate.records.run import Run
from tidegate.store.filter import AGGREGATES, Sort

_TEXTS = ("id", "experiment", "name", "state", "author")
_TIMES = ("started_at", "ended_at")


def frame_of(runs: Sequence[Run], *, aggregate: str = "last") -> frames.Relation:
    """Runs as a relation on a connection of its own. What a run does not have is NULL; a metric that is NaN is NaN.

    Columns: the attributes (times as timestamps in UTC), then ``params.*`` (text), ``metrics.*`` (numbers), ``tags.*`` (text),
    each group by name.

    Raises:
        UsageError: metrics have no such aggregate.
    """
    if aggregate not in AGGREGATES:
        raise UsageError("unknown-aggregate", f"metrics have no {aggregate!r}", fix=f"take one of: {', '.join(AGGREGATES)}")
    columns: dict[str, tuple[str, Any]] = {
        name: ("VARCHAR", _texts([str(value_of(run, Sort("attributes", name))) for run in runs])) for name in _TEXTS
    }
    for name in _TIMES:
        columns[name] = "TIMESTAMP", _numbers([value_of(run, Sort("attributes", name)) for run in runs], np.int64)
    for space, found in (
        ("params", {key for run in runs for key in run.params}),
        ("metrics", {key for run in runs for key in run.metrics}),
        ("tags", {key for run in runs for key in run.tags}),
    ):
        for key in sorted(found):
            values = [value_of(run, Sort(space, key, aggregate=aggregate)) for run in runs]
            numeric = space == "metrics"
            columns[f"{space}.{key}"] = ("DOUBLE", _numbers(values, np.float64)) if numeric else ("VARCHAR", _texts(values))
    given: dict[str, Any] = {}
    wanted: list[str] = []
    for number, (name, (kind, values)) in enumerate(columns.items()):
        given[f"c{number}"] = values
        text = f"make_timestamp(c{number})" if kind == "TIMESTAMP" else f"c{number}::{kind}"
        if kind == "DOUBLE" and np.isnan(values).any():  # DuckDB takes NaN in an array for a missing value
            given[f"nan{number}"] = np.asarray(np.isnan(values.data))
            text = f"CASE WHEN nan{number} THEN 'nan'::DOUBLE ELSE {text} END"
        wanted.append(f"{text} AS {frames.quote(name)}")
    connection = frames.connect()
    frames.relation(connection, given).project(", ".join(wanted)).create("runs")
    return connection.table("runs")


def value_of(run: Run, field: Sort) -> Any:
    """The value of a field of a run; None where it has none."""
    if field.space == "attributes":
        if field.name == "lifecycle_stage":
            return "active" if run.deleted_at is None else "deleted"
        return getattr(run, field.name, None)
    if field.space == "metrics":
        summary = run.metrics.get(field.name)
        return None if summary is None else getattr(summary, field.aggregate)
    return (run.params if field.space == "params" else run.tags).get(field.name)


def title_of(field: Sort) -> str:
    """What a column of this field is called."""
    if field.space == "attributes":
        return field.name
    name = f"{field.space}.{field.name}"
    return name if field.aggregate == "last" else f"{field.aggregate}({name})"


def _texts(values: Sequence[str | None]) -> Any:
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


def _numbers(values: Sequence[float | None], kind: type) -> Any:
    missing = [value is None for value in values]
    return np.ma.MaskedArray(np.array([0 if value is None else value for value in values], dtype=kind), mask=missing)
