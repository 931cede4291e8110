"""Metric series in the database: a summary, a loose tail and packed stretches for each metric of a run.

An ingest writes by few statements for all batches together, past SQLAlchemy's expressions: they cost more than the database.
"""

from __future__ import annotations

import functools
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray
from sqlalchemy.engine import Connection

from tidegate.errors import BadInputError, TidegateError
from tidegate.records.run import Bucketed, Series, lower_is_better
from tidegate.store.chunks import RAW_SIZE, Columns, decode, encode, from_raw, header, joined, ordered, raw, split
from tidegate.store.envelope import Headers, drawn_from, span, to_unpack
from tidegate.store.ports import Batch, SeriesStore
from tidegate.store.sql.database import Database
from tidegate.store.sql.runs import deleted_run, unknown_run
from tidegate.store.sql.tables import TO_PACK, journal_positions, metric_chunks, metric_loose, metrics, runs
from tidegate.store.sql.text import check_text

_CHUNK = 1000  # points; see TO_PACK
_AT_ONCE = 500  # values in one statement

_NEWER = """(excluded.last_step > metrics.last_step OR (excluded.last_step = metrics.last_step AND (
    excluded.last_at > metrics.last_at OR (excluded.last_at = metrics.last_at AND (
    excluded.last IS NULL OR excluded.last > metrics.last)))))"""
_LEAST = "CASE WHEN metrics.min IS NULL OR excluded.min < metrics.min THEN excluded.min ELSE metrics.min END"
_GREATEST = "CASE WHEN metrics.max IS NULL OR excluded.max > metrics.max THEN excluded.max ELSE metrics.max END"
_SUMMARISE = f"""
    INSERT INTO metrics (run_id, name, points, loose, last, last_step, last_at, min, max, best) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (run_id, name) DO UPDATE SET points = metrics.points + excluded.points, loose = metrics.loose + excluded.loose,
        last = CASE WHEN {_NEWER} THEN excluded.last ELSE metrics.last END,
        last_step = CASE WHEN {_NEWER} THEN excluded.last_step ELSE metrics.last_step END,
        last_at = CASE WHEN {_NEWER} THEN excluded.last_at ELSE metrics.last_at END,
        min = {_LEAST}, max = {_GREATEST}, best = """
_ADD_LOOSE = """INSERT INTO metric_loose (metric_id, position, data)
    SELECT id, points, ? FROM metrics WHERE run_id = ? AND name = ?"""
_ADD_CHUNK = """INSERT INTO metric_chunks
    (metric_id, points, nans, first_step, last_step, first_at, last_at, min, max, last, sum, data)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""
_TAKE = """INSERT INTO journal_positions (run_id, writer, seq) VALUES (?, ?, ?)
    ON CONFLICT (run_id, writer) DO UPDATE SET seq = excluded.seq WHERE journal_positions.seq < excluded.seq RETURNING seq"""


_is_lower_better = functools.lru_cache(maxsize=65_536)(lower_is_better)


class SqlSeries:
    """See ``SeriesStore``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def ingest(self, batches: Sequence[Batch]) -> list[TidegateError | None]:
        return self._database.run(lambda connection: _ingest(connection, batches))

    def seal(self, run_id: str) -> None:
        def pack(connection: Connection) -> None:
            loose = sa.select(metrics.c.id).where(metrics.c.run_id == run_id, metrics.c.loose > 0).order_by(metrics.c.name)
            _pack(connection, list(connection.execute(loose.with_for_update()).scalars()))

        self._database.run(pack)

    def points(self, run_id: str, metric: str, *, first: int | None = None, last: int | None = None) -> Series:
        with self._database.read() as connection:
            metric_id = _metric(connection, run_id, metric)
            query = sa.select(metric_chunks.c.data).where(*_in_range(metric_id, first, last)).order_by(*_IN_ORDER)
            parts = [decode(data) for data in connection.execute(query).scalars()]
            parts.append(_loose(connection, metric_id))
        return Series(metric, *_cut(ordered(joined(parts)), first, last))

    def envelope(self, run_id: str, metric: str, *, pixels: int, first: int | None = None, last: int | None = None) -> Bucketed:
        with self._database.read() as connection:
            metric_id = _metric(connection, run_id, metric)
            headers = _headers(connection, metric_id, first, last)
            loose = _cut(_loose(connection, metric_id), first, last)
            drawn = span(headers, loose, pixels=pixels, first=first, last=last)
            open_up = to_unpack(headers, loose, drawn)
            unpacked = _unpacked(connection, headers.ids[open_up].tolist())
        return drawn_from(headers.chosen(~open_up), _cut(ordered(joined([*unpacked, loose])), first, last), drawn)

    def taken(self, run_id: str) -> dict[str, int]:
        query = sa.select(journal_positions.c.writer, journal_positions.c.seq).where(journal_positions.c.run_id == run_id)
        with self._database.read() as connection:
            return {row.writer: row.seq for row in connection.execute(query)}


def _metric(connection: Connection, run_id: str, name: str) -> int:
    """The metric's number; 0, which no metric has, where the run has no such metric."""
    found = connection.execute(sa.select(metrics.c.id).where(metrics.c.run_id == run_id, metrics.c.name == name)).scalar()
    if found is None and connection.execute(sa.select(runs.c.id).where(runs.c.id == run_id)).scalar() is None:
        raise unknown_run(run_id)
    return found or 0


def _in_range(metric_id: int, first: int | None, last: int | None) -> list[sa.ColumnElement[bool]]:
    conditions = [metric_chunks.c.metric_id == metric_id]
    if first is not None:
        conditions.append(metric_chunks.c.last_step >= first)
    if last is not None:
        conditions.append(metric_chunks.c.first_step <= last)
    return conditions


_IN_ORDER = (metric_chunks.c.first_step, metric_chunks.c.first_at)


def _headers(connection: Connection, metric_id: int, first: int | None, last: int | None) -> Headers:
    chunk = metric_chunks.c
    query = sa.select(
        chunk.id,
        chunk.points,
        chunk.first_step,
        chunk.last_step,
        chunk.first_at,
        chunk.last_at,
        chunk.min,
        chunk.max,
        chunk.last,
    )
    rows = connection.execute(query.where(*_in_range(metric_id, first, last)).order_by(*_IN_ORDER)).all()
    columns: list[Any] = list(zip(*rows, strict=True)) if rows else [()] * 9
    ids, counts, low_step, high_step, first_at, last_at = (np.array(column, np.int64) for column in columns[:6])
    low, high, close = (np.array(column, np.float64) for column in columns[6:])  # None becomes NaN
    return Headers(ids, counts, low_step, high_step, first_at, last_at, low, high, close)


def _loose(connection: Connection, metric_id: int) -> Columns:
    query = sa.select(metric_loose.c.data).where(metric_loose.c.metric_id == metric_id)
    return from_raw(b"".join(connection.execute(query).scalars()))


def _unpacked(connection: Connection, ids: Sequence[int]) -> list[Columns]:
    found: list[Columns] = []
    for start in range(0, len(ids), _AT_ONCE):
        query = sa.select(metric_chunks.c.data).where(metric_chunks.c.id.in_(ids[start : start + _AT_ONCE]))
        found += [decode(data) for data in connection.execute(query).scalars()]
    return found


def _cut(columns: Columns, first: int | None, last: int | None) -> Columns:
    """The points from step ``first`` to step ``last``."""
    if first is None and last is None:
        return columns
    inside = np.ones(len(columns.steps), bool)
    if first is not None:
        inside &= columns.steps >= first
    if last is not None:
        inside &= columns.steps <= last
    return columns.part(inside)


def _ingest(connection: Connection, batches: Sequence[Batch]) -> list[TidegateError | None]:
    answers = _refusals(connection, batches)
    taken = [batch for batch, refused in zip(batches, answers, strict=True) if refused is None]
    grouped: dict[tuple[str, str], list[Columns]] = defaultdict(list)
    # In one order for all, so that two ingests on Postgres wait for each other and not in a circle.
    for batch in sorted(taken, key=lambda batch: (batch.run_id, batch.writer)):
        mine = (batch.run_id, batch.writer, batch.seq)
        if batch.seq and connection.exec_driver_sql(_driver(connection, _TAKE), mine).first() is None:
            continue
        for series in batch.series:
            if len(series):
                grouped[batch.run_id, series.metric].append(Columns(series.steps, series.times, series.values))
    if grouped:
        _append(connection, {key: joined(grouped[key]) for key in sorted(grouped)})
    return answers


def _refusals(connection: Connection, batches: Sequence[Batch]) -> list[TidegateError | None]:
    ids = sorted({batch.run_id for batch in batches})
    deleted_at: dict[str, int | None] = {}
    for start in range(0, len(ids), _AT_ONCE):
        asked = sa.select(runs.c.id, runs.c.deleted_at).where(runs.c.id.in_(ids[start : start + _AT_ONCE])).order_by(runs.c.id)
        # Postgres: nobody removes these runs before we are done.
        rows = connection.execute(asked.with_for_update(read=True, key_share=True)).all()
        deleted_at |= {row.id: row.deleted_at for row in rows}
    return [_refusal(batch, deleted_at) for batch in batches]


def _refusal(batch: Batch, deleted_at: dict[str, int | None]) -> TidegateError | None:
    if batch.run_id not in deleted_at:
        return unknown_run(batch.run_id)
    if deleted_at[batch.run_id] is not None:
        return deleted_run(batch.run_id)
    try:
        check_text(batch.writer)
        for series in batch.series:
            _check(series)
    except BadInputError as refused:
        return refused
    return None


def _check(series: Series) -> None:
    check_text(series.metric)
    if not len(series.steps) == len(series.times) == len(series.values):
        raise BadInputError(
            "bad-series",
            f"the columns of {series.metric!r} have different lengths",
            fix="give each point step, time and value",
        )


class _Summaries(NamedTuple):
    """One value for each of several series; NULL for NaN."""

    last: list[float | None]
    last_step: list[int]
    last_at: list[int]
    min: list[float | None]
    max: list[float | None]


def _append(connection: Connection, parts: dict[tuple[str, str], Columns]) -> None:
    """Adds points to series: many at once are packed, a few go to the loose tail, which is packed when it is long enough."""
    large = {key: ordered(part) for key, part in parts.items() if len(part.steps) >= _CHUNK}
    small = [key for key in parts if key not in large]
    parts = {**parts, **large}
    _summarise(connection, parts, loose={key: len(parts[key].steps) for key in small})
    tail = raw(joined([parts[key] for key in small]))
    rows: list[tuple[Any, ...]] = []
    place = 0
    for key in small:
        size = len(parts[key].steps) * RAW_SIZE
        rows.append((tail[place : place + size], *key))
        place += size
    _many(connection, _ADD_LOOSE, rows)
    for (run_id, name), part in large.items():
        metric_id = connection.execute(
            sa.select(metrics.c.id).where(metrics.c.run_id == run_id, metrics.c.name == name)
        ).scalar_one()
        _many(connection, _ADD_CHUNK, _chunk_rows(metric_id, part))
    full: list[int] = []
    for run_id in {run_id for run_id, _ in small}:
        query = _driver(connection, f"SELECT id FROM metrics WHERE run_id = ? AND {TO_PACK}")
        full += connection.exec_driver_sql(query, (run_id,)).scalars().all()
    _pack(connection, full)


def _summarise(connection: Connection, parts: dict[tuple[str, str], Columns], loose: dict[tuple[str, str], int]) -> None:
    found = _summaries(list(parts.values()))
    rows: dict[bool, list[tuple[Any, ...]]] = {True: [], False: []}
    for (key, part), last, step, at, low, high in zip(parts.items(), *found, strict=True):
        down = _is_lower_better(key[1])
        rows[down].append((*key, len(part.steps), loose.get(key, 0), last, step, at, low, high, low if down else high))
    _many(connection, _SUMMARISE + _LEAST, rows[True])
    _many(connection, _SUMMARISE + _GREATEST, rows[False])


def _summaries(parts: Sequence[Columns]) -> _Summaries:
    """The greatest (step, time, value), where NaN is greatest, and the least and greatest number of each part."""
    steps, times, values = joined(list(parts))
    counts = np.array([len(part.steps) for part in parts])
    starts, numbers = np.cumsum(counts) - counts, np.arange(len(parts))
    group = np.repeat(numbers, counts)
    low, high = np.fmin.reduceat(values, starts), np.fmax.reduceat(values, starts)
    last_step = np.maximum.reduceat(steps, starts)
    newest = np.flatnonzero(steps == last_step[group])
    last_at = np.maximum.reduceat(times[newest], np.searchsorted(group[newest], numbers))
    newest = newest[times[newest] == last_at[group[newest]]]
    last = np.maximum.reduceat(values[newest], np.searchsorted(group[newest], numbers))
    return _Summaries(_numbers(last), last_step.tolist(), last_at.tolist(), _numbers(low), _numbers(high))


def _numbers(column: NDArray[np.float64]) -> list[float | None]:
    return [None if math.isnan(value) else value for value in column.tolist()]


def _pack(connection: Connection, ids: Sequence[int]) -> None:
    """Moves the loose tails of metrics into packed stretches."""
    for start in range(0, len(ids), _AT_ONCE):
        asked = ids[start : start + _AT_ONCE]
        query = sa.select(metric_loose.c.metric_id, metric_loose.c.data).where(metric_loose.c.metric_id.in_(asked))
        tails: dict[int, list[bytes]] = defaultdict(list)
        for row in connection.execute(query):
            tails[row.metric_id].append(row.data)
        chunks: list[tuple[Any, ...]] = []
        repeated: list[tuple[int, int]] = []
        for metric_id, tail in tails.items():
            given = from_raw(b"".join(tail))
            columns = ordered(given)
            chunks += _chunk_rows(metric_id, columns)
            repeated.append((len(given.steps) - len(columns.steps), metric_id))
        _many(connection, _ADD_CHUNK, chunks)
        _many(connection, "DELETE FROM metric_loose WHERE metric_id = ?", [(metric_id,) for metric_id in tails])
        _many(connection, "UPDATE metrics SET loose = 0, points = points - ? WHERE id = ?", repeated)


def _chunk_rows(metric_id: int, columns: Columns) -> list[tuple[Any, ...]]:
    return [(metric_id, *header(part), encode(part)) for part in split(columns, _CHUNK)]


def _many(connection: Connection, statement: str, rows: Iterable[tuple[Any, ...]]) -> None:
    given = list(rows)
    if given:
        connection.exec_driver_sql(_driver(connection, statement), given)


def _driver(connection: Connection, statement: str) -> str:
    """A statement with the driver's own placeholders. It must have no other question mark and no percent sign."""
    return statement if connection.dialect.name == "sqlite" else statement.replace("?", "%s")


_conforms: Callable[[Database], SeriesStore] = SqlSeries
