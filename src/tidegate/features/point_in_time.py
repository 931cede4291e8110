"""Point-in-time joins: for every row of a spine, the feature values that were known at its time.

Our own SQL, for DuckDB. The semantics are written down in docs/explanation/point-in-time.md; in short, for a spine row
with time t:

- a source row counts if it was available at or before t: ``available = max(event, created)`` or ``event + source_delay``;
- of these the one with the greatest (event, created, feature values in the order of the definition) gives the latest
  values, null if its event is more than ``max_age`` before t;
- a window holds the available rows whose event lies in (t - width, t]; an empty one counts 0 and is null otherwise;
- rows without key, event time or ``created`` are known to nobody; a spine row without key or time has null features;
- the spine's rows come back all, once each, in their order.

Method of the latest values: a plain ASOF join takes one inequality, the question has two (event and created). So per key,
in the order of availability, only rows are kept that raise the running maximum of (event, created, values); the kept row
last available before t is then the newest that was known, and one ASOF join finds it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import duckdb

from tidegate import frames
from tidegate.errors import BadInputError, UsageError
from tidegate.features.view import FeatureView, Window
from tidegate.frames import Connection, Relation, literal, quote
from tidegate.records.names import nearest

_INTEGERS = frozenset({"TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT"})
_NUMBERS = _INTEGERS | {"FLOAT", "DOUBLE", "BOOLEAN", "DECIMAL"}

MOST_PAIRS = 100_000_000
"""Pairs of question and row up to which windows are joined; beyond, frames are faster."""

_FIXED_BITS = 90  # leaves 37 bits of a HUGEINT for the number of rows in a window

_tables = itertools.count()  # names of temporary tables must differ between calls on one connection


class SourceTable(NamedTuple):
    """A view's rows as a temporary table: k0.., event, created, available (microseconds), v0.. (one per feature column)."""

    table: str
    keys: tuple[str, ...]
    value_of: dict[str, str]
    type_of: dict[str, str]


def point_in_time(
    con: Connection, spine: Any, views: Sequence[FeatureView], sources: Mapping[str, Any], *, time: str
) -> Relation:
    """Adds the features of ``views`` to ``spine`` as they were known at each row's ``time``.

    ``spine`` and the values of ``sources`` (by ``view.source``) may be anything that ``frames.relation`` takes. ``time`` names
    the spine's TIMESTAMP column. Returns a relation on ``con``: the spine's columns, then each view's feature columns; as many
    rows as the spine, in the same order. It is computed when this function returns and lives as long as ``con``.

    Raises:
        UsageError: a view's source is not given, or two columns of the result would have the same name.
        BadInputError: a column is missing or has a type that cannot be used.
    """
    asked_rows = frames.relation(con, spine)
    _refuse_collisions(asked_rows, views, time)
    base = f"tidegate_pit_{next(_tables)}"
    number = _free_name("row_number", asked_rows.columns)
    with _temporary(con) as temporary:
        spine_table = temporary(f"{base}_spine")
        _create(asked_rows, spine_table, f"*, row_number() OVER () AS {quote(number)}", "the spine")
        joins: list[tuple[FeatureView, str]] = []
        for index, view in enumerate(views):
            asked = temporary(f"{base}_{index}_asked")
            _create_asked(con, asked, view, spine_table, asked_rows, number=number, time=time)
            source = _create_source(con, temporary(f"{base}_{index}_source"), view, sources, asked_rows)
            joins.append((view, _create_features(con, temporary, f"{base}_{index}", view, source, asked)))
        columns = [f"spine.{quote(name)}" for name in asked_rows.columns]
        columns += [f"view_{i}.{quote(name)}" for i, (view, _) in enumerate(joins) for name in view.names]
        tables = [f"LEFT JOIN {table} AS view_{i} ON spine.{quote(number)} = view_{i}.row" for i, (_, table) in enumerate(joins)]
        con.execute(
            f"CREATE TEMP TABLE {base} AS SELECT {', '.join(columns)} FROM {spine_table} AS spine "
            f"{' '.join(tables)} ORDER BY spine.{quote(number)}"
        )
    return con.table(base)


def available_rows(con: Connection, view: FeatureView, source: Any, *, at: int) -> SourceTable:
    """The rows of a view's source that are available at ``at`` (microseconds UTC), as a temporary table on ``con``."""
    table = f"tidegate_available_{next(_tables)}"
    rows = _create_source(con, table, view, {view.source: source}, None)
    con.execute(f"DELETE FROM {table} WHERE available > ?", [at])
    return rows


# ---- what is asked and what is known ----------------------------------------------------------------------------------


def _create_asked(
    con: Connection, table: str, view: FeatureView, spine_table: str, spine: Relation, *, number: str, time: str
) -> None:
    """One row (row, k0.., t) per spine row that can have features: its keys and its time are known."""
    keys = [f"{quote(key)} AS k{i}" for i, key in enumerate(view.keys)]
    moment = _microseconds(spine, time, "the spine")
    known = [f"{quote(key)} IS NOT NULL" for key in view.keys] + [f"{moment} IS NOT NULL"]
    con.execute(
        f"CREATE TEMP TABLE {table} AS SELECT {quote(number)} AS row, {', '.join(keys)}, {moment} AS t "
        f"FROM {spine_table} WHERE {' AND '.join(known)}"
    )


def _create_source(
    con: Connection, table: str, view: FeatureView, sources: Mapping[str, Any], spine: Relation | None
) -> SourceTable:
    if view.source not in sources:
        raise UsageError(
            "feature-source-missing",
            f"no rows are given for the source {view.source!r} of feature view {view.name}",
            why=nearest(view.source, list(sources)) if sources else "sources is empty",
            fix=f"pass sources={{{view.source!r}: ...}}",
        )
    rows = frames.relation(con, sources[view.source])
    where = f"source {view.source!r} of feature view {view.name}"
    values = dict.fromkeys(feature.column for feature in view.features)
    needed = [*view.keys, view.event_time, *values, *([view.created] if view.created else [])]
    _need_columns(rows, needed, where)
    types = _types(rows)
    if spine is not None:
        _need_same_key_types(view, _types(spine), types)
    _need_numbers(view, types)
    event = _microseconds(rows, view.event_time, where)
    created = _microseconds(rows, view.created, where) if view.created else event
    available = "greatest(event, created)" if view.created else f"event + {view.delay_us}"
    value_of = {column: f"v{i}" for i, column in enumerate(values)}
    inner = [f"{quote(key)} AS k{i}" for i, key in enumerate(view.keys)]
    inner += [f"{event} AS event", f"{created} AS created"]
    inner += [f"{_value(column, types[column])} AS {alias}" for column, alias in value_of.items()]
    names = tuple(f"k{i}" for i in range(len(view.keys)))
    known = [f"{name} IS NOT NULL" for name in (*names, "event", "created")]
    staged = rows.project(", ".join(inner)).filter(" AND ".join(known))
    _create(staged, table, f"*, {available} AS available", where)
    return SourceTable(table, names, value_of, {column: types[column] for column in values})


def _value(column: str, kind: str) -> str:
    """NaN is a missing value: pandas writes missing numbers so, and one NaN would spoil a whole window."""
    return f"nullif({quote(column)}, 'nan'::{kind})" if kind in {"FLOAT", "DOUBLE"} else quote(column)


# ---- features of one view -----------------------------------------------------------------------------------------------


def _create_features(
    con: Connection, temporary: Callable[[str], str], base: str, view: FeatureView, source: SourceTable, asked: str
) -> str:
    """A table (row, one column per feature) for the asked rows."""
    parts: list[tuple[str, list[str]]] = []
    if view.latest_features:
        table = temporary(f"{base}_latest")
        con.execute(f"CREATE TEMP TABLE {table} AS {latest_sql(view, source, asked)}")
        parts.append((table, [view.name_of(feature) for feature in view.latest_features]))
    for i, group in enumerate(_window_groups(view)):
        table = temporary(f"{base}_windows_{i}")
        compiled = _windows_by_frame if _too_many_pairs(con, view, source, asked, group[0].width_us) else _windows_by_join
        sql = compiled(view, source, asked, group, _scales(con, source, group))
        con.execute(f"CREATE TEMP TABLE {table} AS {sql}")
        parts.append((table, [view.name_of(feature) for feature in group]))
    counts = {view.name_of(feature) for feature in view.windows if feature.aggregate == "count"}
    columns = {
        name: f"coalesce(part_{i}.{quote(name)}, 0)" if name in counts else f"part_{i}.{quote(name)}"
        for i, (_, names) in enumerate(parts)
        for name in names
    }
    joins = [f"LEFT JOIN {table} AS part_{i} ON part_{i}.row = asked.row" for i, (table, _) in enumerate(parts)]
    result = temporary(f"{base}_features")
    con.execute(
        f"CREATE TEMP TABLE {result} AS SELECT asked.row, {', '.join(f'{columns[name]} AS {quote(name)}' for name in view.names)} "
        f"FROM {asked} AS asked {' '.join(joins)}"
    )
    return result


def latest_sql(view: FeatureView, source: SourceTable, asked: str) -> str:
    """SQL of the latest values at each asked (row, keys, t)."""
    keys = ", ".join(source.keys)
    order = ", ".join(["event", "created", *(f"{source.value_of[f.column]} NULLS FIRST" for f in view.latest_features)])
    fresh = "" if view.max_age_us is None else f"CASE WHEN asked.t - history.event <= {view.max_age_us} THEN "
    values = [
        f"{fresh}history.{source.value_of[feature.column]}{' END' if fresh else ''} AS {quote(view.name_of(feature))}"
        for feature in view.latest_features
    ]
    match = " AND ".join(f"asked.{key} = history.{key}" for key in source.keys)
    return f"""
        WITH ranked AS (
            SELECT *, row_number() OVER (PARTITION BY {keys} ORDER BY {order}) AS standing FROM {source.table}
        ), rising AS (
            SELECT * FROM ranked QUALIFY standing > coalesce(max(standing) OVER (
                PARTITION BY {keys} ORDER BY available, standing ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0)
        ), history AS (
            SELECT * FROM rising QUALIFY lead(available) OVER (PARTITION BY {keys} ORDER BY available, standing)
                IS DISTINCT FROM available
        )
        SELECT asked.row, {", ".join(values)}
        FROM {asked} AS asked ASOF LEFT JOIN history ON {match} AND asked.t >= history.available
    """


def _windows_by_join(
    view: FeatureView, source: SourceTable, asked: str, group: Sequence[Window], scales: Mapping[str, float]
) -> str:
    """Windows over rows that are late each in its own way, or few.

    A row counts while t is in [available, event + width), which is never longer than the width. Time is cut into buckets of
    one width, so that a row stands in at most two, and an equality join finds its questions: work grows with what the
    windows hold, not with the history of the key.
    """
    width = group[0].width_us
    match = " AND ".join(f"asked.{key} = live.{key}" for key in source.keys)
    aggregates = [f"{_aggregate(feature, source, scales)} AS {quote(view.name_of(feature))}" for feature in group]
    return f"""
        WITH live AS ({_live(source, width, _fixed(scales))})
        SELECT asked.row, {", ".join(aggregates)}
        FROM {asked} AS asked JOIN live
            ON {match} AND asked.t // {width} = live.bucket AND asked.t >= live.available AND asked.t < live.event + {width}
        GROUP BY asked.row
    """


def _windows_by_frame(
    view: FeatureView, source: SourceTable, asked: str, group: Sequence[Window], scales: Mapping[str, float]
) -> str:
    """Windows that hold many rows, all equally late: one frame over events and questions put in one line.

    Work grows with the logarithm of what a window holds.
    """
    keys = ", ".join(source.keys)
    columns = list(dict.fromkeys(source.value_of[feature.column] for feature in group))
    frame = f"RANGE BETWEEN {group[0].width_us - 1} PRECEDING AND {view.delay_us} PRECEDING"
    aggregates = [f"{_aggregate(feature, source, scales, ' OVER span')} AS {quote(view.name_of(feature))}" for feature in group]
    return f"""
        WITH line AS (
            SELECT {keys}, event AS moment, NULL::BIGINT AS row, {", ".join([*columns, *_fixed(scales)])} FROM {source.table}
            UNION ALL
            SELECT {keys}, t, row, {", ".join("NULL" for _ in [*columns, *scales])} FROM {asked}
        )
        SELECT row, {", ".join(aggregates)} FROM line
        WINDOW span AS (PARTITION BY {keys} ORDER BY moment {frame})
        QUALIFY row IS NOT NULL
    """


def _too_many_pairs(con: Connection, view: FeatureView, source: SourceTable, asked: str, width: int) -> bool:
    """Whether the join would look at more pairs than it can in about a second; rows with ``created`` have no other way."""
    if view.created:
        return False
    keys = ", ".join(source.keys)
    (row,) = con.execute(
        f"""
        WITH live AS ({_live(source, width)}),
        questions AS (SELECT {keys}, t // {width} AS bucket, count(*) AS n FROM {asked} GROUP BY ALL),
        answers AS (SELECT {keys}, bucket, count(*) AS n FROM live GROUP BY ALL)
        SELECT coalesce(sum(questions.n * answers.n), 0) FROM questions JOIN answers USING ({keys}, bucket)
        """
    ).fetchall()
    return int(row[0]) > MOST_PAIRS


def _live(source: SourceTable, width: int, more: Sequence[str] = ()) -> str:
    columns = ["*", *more, f"unnest(range(available // {width}, (event + {width - 1}) // {width} + 1)) AS bucket"]
    return f"SELECT {', '.join(columns)} FROM {source.table} WHERE available < event + {width}"


def _scales(con: Connection, source: SourceTable, group: Sequence[Window]) -> dict[str, float]:
    """A power of two per column of floats that is summed, by which its values become 90-bit integers.

    Sums of floats depend on their order, which threads change from run to run: the last bits of a training set, and with
    them its digest, would differ. Sums of integers do not. (The idea of reproducible summation: J. Demmel and H. D. Nguyen,
    Fast Reproducible Floating-Point Summation, ARITH 2013.) A column with infinities is summed as it is.
    """
    floats = {
        source.value_of[feature.column]
        for feature in group
        if feature.aggregate in {"sum", "avg"} and source.type_of[feature.column] in {"FLOAT", "DOUBLE"}
    }
    scales: dict[str, float] = {}
    for column in sorted(floats):
        ((largest,),) = con.execute(f"SELECT max(abs({column}::DOUBLE)) FROM {source.table}").fetchall()
        if largest is None or not math.isfinite(largest):
            continue
        scales[column] = math.ldexp(1.0, min(_FIXED_BITS - math.frexp(largest)[1], 1000))
    return scales


def _fixed(scales: Mapping[str, float]) -> list[str]:
    return [
        f"CAST({column}::DOUBLE * {literal(repr(scale))}::DOUBLE AS HUGEINT) AS {column}_fixed"
        for column, scale in scales.items()
    ]


def _window_groups(view: FeatureView) -> list[list[Window]]:
    groups: dict[int, list[Window]] = {}
    for feature in view.windows:
        groups.setdefault(feature.width_us, []).append(feature)
    return list(groups.values())


def _aggregate(feature: Window, source: SourceTable, scales: Mapping[str, float], over: str = "") -> str:
    """The aggregate as SQL. Sums of integers stay integers (an overflow is an error), averages are doubles."""
    column, kind = source.value_of[feature.column], source.type_of[feature.column]
    if feature.aggregate in {"sum", "avg"} and column in scales:
        total = f"(CAST(sum({column}_fixed){over} AS DOUBLE) / {literal(repr(scales[column]))}::DOUBLE)"
        return total if feature.aggregate == "sum" else f"({total} / nullif(count({column}){over}, 0))"
    if feature.aggregate in {"sum", "avg"} and kind == "BOOLEAN":
        column, kind = f"{column}::TINYINT", "TINYINT"
    call = f"{feature.aggregate}({column}){over}"
    return f"CAST({call} AS BIGINT)" if feature.aggregate == "sum" and kind in _INTEGERS else call


# ---- temporary tables ---------------------------------------------------------------------------------------------------


@contextmanager
def _temporary(con: Connection) -> Generator[Callable[[str], str]]:
    """Gives a function that notes the names of tables, which are dropped at the end, also after an error."""
    noted: list[str] = []

    def note(table: str) -> str:
        noted.append(table)
        return table

    try:
        yield note
    finally:
        for table in noted:
            con.execute(f"DROP TABLE IF EXISTS {table}")


def _create(rows: Relation, table: str, columns: str, where: str) -> None:
    try:
        rows.query("rows_read", f"CREATE TEMP TABLE {table} AS SELECT {columns} FROM rows_read")
    except duckdb.Error as error:
        raise BadInputError(
            "unreadable-rows",
            f"{where} cannot be read",
            why=str(error).split("\n", maxsplit=1)[0],
            fix="check the data, or what computes it",
        ) from None


def _free_name(wanted: str, taken: Iterable[str]) -> str:
    lowered = {name.lower() for name in taken}  # names of columns are equal without regard to case
    while wanted in lowered:
        wanted += "_"
    return wanted


# ---- refusals -----------------------------------------------------------------------------------------------------------


def _refuse_collisions(spine: Relation, views: Sequence[FeatureView], time: str) -> None:
    _need_columns(spine, [time, *itertools.chain.from_iterable(view.keys for view in views)], "the spine")
    owners = {name.lower(): "the spine" for name in spine.columns}  # DuckDB knows a column in any case
    for view in views:
        for name in view.names:
            if name.lower() in owners:
                raise UsageError(
                    "feature-name-taken",
                    f"feature view {view.name}: the column {name!r} is already in {owners[name.lower()]}",
                    why="two columns of the result would have the same name",
                    fix="give the feature another one with name=...",
                )
            owners[name.lower()] = f"feature view {view.name}"


def _need_columns(rows: Relation, needed: Iterable[str], where: str) -> None:
    for column in needed:
        if column not in rows.columns:
            raise BadInputError(
                "feature-column-missing",
                f"{where} has no column {column!r}",
                why=nearest(column, rows.columns),
                fix="correct the name in the feature view, or add the column",
            )


def _need_same_key_types(view: FeatureView, spine: Mapping[str, str], source: Mapping[str, str]) -> None:
    for key in view.keys:
        asked, known = spine[key], source[key]
        if asked != known and not {asked, known} <= _INTEGERS:
            raise BadInputError(
                "feature-key-type",
                f"the key {key!r} is {asked} in the spine and {known} in the source of feature view {view.name}",
                why="such keys would never be equal, and every feature silently null",
                fix="cast one of the two",
            )


def _need_numbers(view: FeatureView, types: Mapping[str, str]) -> None:
    for feature in view.windows:
        if feature.aggregate in {"sum", "avg"} and types[feature.column] not in _NUMBERS:
            raise BadInputError(
                "feature-not-a-number",
                f"feature view {view.name}: {feature.aggregate} of {feature.column!r}, which is {types[feature.column]}",
                why="only numbers can be added",
                fix="use count, min or max, or cast the column in the source",
            )


def _microseconds(rows: Relation, column: str, where: str) -> str:
    kind = _types(rows)[column]
    if kind not in {"TIMESTAMP", "DATE"}:
        raise BadInputError(
            "feature-time-type",
            f"{column!r} of {where} is {kind}, not a time",
            why="points in time are compared as TIMESTAMP in UTC",
            fix=f'cast it first: CAST("{column}" AS TIMESTAMP)',
        )
    return f"epoch_us({quote(column)}::TIMESTAMP)"


def _types(rows: Relation) -> dict[str, str]:
    """DuckDB's type per column; an ENUM reads as the VARCHAR that it stands for, a DECIMAL without its digits."""
    plain = {"ENUM": "VARCHAR", "DECIMAL": "DECIMAL"}
    names = (str(kind) for kind in rows.types)
    return dict(zip(rows.columns, (plain.get(name.partition("(")[0], name) for name in names), strict=True))
