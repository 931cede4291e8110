"""Searching runs: which index a page is read from, so that 100,000 runs stay fast.

Three ways lead to a page of ids, and the cheapest one is taken:

- *Walking* an index in the wanted order (a metric's values, a parameter's, the start) and looking at each run's other
  conditions, until the page is full. Good where many runs match.
- *Driving* from the condition that the fewest runs fit, and sorting what is left. Good where few match. How many fit is
  counted in an index, up to a bound.
- Looking at all runs, where neither is possible: an order by name, or conditions that no index knows (``!=``, ``ilike``).

Walking may be unlucky: the matching runs may all stand at the far end. So it stops at a place from which driving is cheaper.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, TypeGuard

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.sql import ColumnElement

from tidegate.errors import UsageError
from tidegate.store.filter import Combination, Comparison, Sort, Tree, parse_filter, parse_order
from tidegate.store.paging import Value, leading_order
from tidegate.store.sql.conditions import (
    BY_NAME_AND_RUN,
    KEYED,
    NUMBERS,
    by_key,
    column_of,
    condition,
    fits_number,
    fits_text,
    narrowing,
    resolved,
    text_attribute,
)
from tidegate.store.sql.tables import experiments as experiments_table
from tidegate.store.sql.tables import metrics, runs

_BY_NAME = "INDEXED BY metrics_by_name"
_RUNS = "INDEXED BY runs_for_search"
_MOST_COUNTED = 20_000
_MOST_COUNTS = 6
_LEAST_WALK = 1_000
_CHUNK = 10_000  # SQLite takes 32,766 values in one statement


class _Asked(NamedTuple):
    """One search: the terms that must all hold, and the rest of what was asked."""

    terms: list[Tree]
    sorts: list[Sort]
    experiments: list[int]
    deleted: bool | None
    limit: int | None
    offset: int
    since: Value | None
    dialect: str


class _Driver(NamedTuple):
    """A condition that an index answers: how many runs fit (bounded), and where their ids stand."""

    fitting: int
    table: Any
    hint: str
    conditions: list[ColumnElement[bool]]
    term: Tree | None = None
    """The term that the conditions answer in full, so that nobody has to ask again."""


def found_runs(
    connection: Connection,
    *,
    experiments: Sequence[str],
    where: str,
    order_by: str,
    limit: int | None,
    offset: int,
    since: Value | None,
    deleted: bool | None,
) -> Sequence[Any]:
    """One page of the matching rows of ``runs``, each with its experiment's name as ``experiment``. See ``RunStore.search``."""
    tree = parse_filter(where)
    sorts = parse_order(order_by)
    sorts = sorts or [leading_order(sorts)]
    if since is not None:
        _check_since(since, sorts[0])
    numbers: list[int] = []
    if experiments:
        named = sa.select(experiments_table.c.id).where(experiments_table.c.name.in_(experiments))
        numbers = list(connection.execute(named).scalars())
        if not numbers:
            return []
    asked = _Asked(
        terms=_terms(resolved(connection, tree)) if tree is not None else [],
        sorts=sorts,
        experiments=numbers,
        deleted=deleted,
        limit=limit,
        offset=offset,
        since=since,
        dialect=connection.dialect.name,
    )
    return _rows(connection, _ids(connection, asked))


def _terms(tree: Tree) -> list[Tree]:
    if isinstance(tree, Combination) and tree.kind == "and":
        return [term for part in tree.terms for term in _terms(part)]
    return [tree]


def _rows(connection: Connection, ids: Sequence[str]) -> list[Any]:
    query = sa.select(runs, experiments_table.c.name.label("experiment")).join(
        experiments_table, experiments_table.c.id == runs.c.experiment_id
    )
    found: dict[str, Any] = {}
    for start in range(0, len(ids), _CHUNK):
        found |= {row.id: row for row in connection.execute(query.where(runs.c.id.in_(ids[start : start + _CHUNK])))}
    return [found[run_id] for run_id in ids]


def _ids(connection: Connection, asked: _Asked) -> list[str]:
    drivers = sorted(_drivers(connection, asked), key=lambda driver: driver.fitting)
    best = drivers[0] if drivers else None
    if best is not None and not best.fitting:
        return []
    if asked.limit is not None:
        first = asked.sorts[0]
        if first.space == "metrics" or first.space in KEYED:
            page = _walk_values(connection, asked, first, best)
            if page is not None:
                return page
        elif first.name == "started_at" and _walk_pays(connection, asked, best):
            return _run(connection, _ordered(asked, _select(runs, "", asked), asked.sorts), asked.limit, asked.offset)
    if best is not None and best.fitting > _MOST_COUNTED:
        best = None
    query = _select(runs, "", asked)
    if best is not None:
        rest = asked._replace(terms=[term for term in asked.terms if term is not best.term])
        query = _select(best.table, best.hint, rest).where(*best.conditions)
    return _run(connection, _ordered(asked, query, asked.sorts), asked.limit, asked.offset)


def _run(connection: Connection, query: sa.Select[Any], limit: int | None, offset: int) -> list[str]:
    return list(connection.execute(query.limit(limit).offset(offset)).scalars())


# Walking.


def _walk_values(connection: Connection, asked: _Asked, first: Sort, best: _Driver | None) -> list[str] | None:
    """A page in the order of a metric, parameter or tag: first the values, then NaN, then runs without one; None: do not walk."""
    if not _walk_pays(connection, asked, best):
        return None
    table, column, hint = _source(first)
    mine = [table.c.name == first.name] if first.space == "metrics" else [table.c.key == first.name]
    narrow = [
        fits_number(column, term.operator, term.value)
        if first.space == "metrics"
        else fits_text(column, term.operator, term.value, asked.dialect)
        for term in asked.terms
        if _concerns(term, first)
    ]
    others = asked._replace(terms=[term for term in asked.terms if not _concerns(term, first)])
    order = column.desc() if first.descending else column.asc()
    query = _ordered(asked, _select(table, hint, others), asked.sorts[1:], order)
    beyond = [] if asked.since is None else [_from(column, first, asked.since)]
    values = query.where(*mine, column.is_not(None), *narrow, *beyond)
    limit, offset = asked.limit or 0, asked.offset
    bounded = False
    if best is not None and best.fitting <= _MOST_COUNTED and not narrow and first.aggregate == "last":
        behind = _boundary(connection, asked, table, column, hint, [*mine, *beyond], first, best)
        if behind is not None:
            values, bounded = values.where(behind), True
    page = _run(connection, values, limit, offset)
    if len(page) == limit:
        return page
    if bounded:
        return None
    if any(_concerns(term, first) for term in asked.terms):  # then a run without a value does not match
        return page
    return _with_the_rest(connection, asked, page, values, query.where(*mine, column.is_(None)))


def _with_the_rest(
    connection: Connection, asked: _Asked, page: list[str], values: sa.Select[Any], nan: sa.Select[Any]
) -> list[str]:
    """The page, where the runs with a value are too few for it; ``page`` are those found."""
    first, skipped = asked.sorts[0], 0 if page else asked.offset
    wanted = skipped + (asked.limit or 0)
    ids = page or _run(connection, values, wanted, 0)
    if len(ids) < wanted and first.space == "metrics":
        ids += _run(connection, nan, wanted - len(ids), 0)
    if len(ids) < wanted:
        missing = Comparison(first.space, first.name, "is null", None)  # the rarest, so it is asked first
        rest = _ordered(asked, _select(runs, "", asked._replace(terms=[missing, *asked.terms])), asked.sorts[1:])
        ids += _run(connection, rest, wanted - len(ids), 0)
    return ids[skipped:]


def _walk_pays(connection: Connection, asked: _Asked, best: _Driver | None) -> bool:
    """Whether a walk is expected to fill the page before driving would be done. Both look at about as much per run."""
    if best is None or best.fitting > _MOST_COUNTED:
        return True
    return _steps(connection, asked, best) <= 2 * best.fitting


def _steps(connection: Connection, asked: _Asked, best: _Driver) -> int:
    return (asked.offset + (asked.limit or 0)) * max(_how_many_runs(connection), best.fitting) // best.fitting


def _how_many_runs(connection: Connection) -> int:
    """About how many runs there are, at no cost."""
    if connection.dialect.name == "sqlite":
        return connection.exec_driver_sql("SELECT max(rowid) FROM runs").scalar() or 0
    return int(connection.exec_driver_sql("SELECT reltuples FROM pg_class WHERE oid = 'runs'::regclass").scalar() or 0)


def _boundary(
    connection: Connection,
    asked: _Asked,
    table: Any,
    column: ColumnElement[Any],
    hint: str,
    mine: list[ColumnElement[bool]],
    first: Sort,
    best: _Driver,
) -> ColumnElement[bool] | None:
    """Where an unlucky walk ends: three times as far as it should have to go. None: there is no need for an end."""
    steps = max(3 * _steps(connection, asked, best), _LEAST_WALK)
    query = sa.select(column).where(*mine, column.is_not(None)).with_hint(table, hint, "sqlite")
    query = query.order_by(column.desc() if first.descending else column.asc()).offset(steps).limit(1)
    value = connection.execute(query).scalar()
    if value is None:
        return None
    return column >= value if first.descending else column <= value


def _from(column: ColumnElement[Any], sort: Sort, since: Value) -> ColumnElement[bool]:
    """Whether a value does not come before ``since``."""
    if _is_number(sort):
        return fits_number(column, "<=" if sort.descending else ">=", since)
    return column <= since if sort.descending else column >= since


def _source(first: Sort) -> tuple[Any, ColumnElement[Any], str]:
    if first.space == "metrics":
        table = metrics.alias("walked")
        return table, table.c[column_of(first.aggregate)], _BY_NAME if first.aggregate == "last" else BY_NAME_AND_RUN
    table = KEYED[first.space].alias("walked")
    return table, table.c.value, by_key(first.space)


def _concerns(term: Tree, first: Sort) -> TypeGuard[Comparison]:
    """Whether a term can only be true of a run that has a value to sort by."""
    if not isinstance(term, Comparison):
        return False
    same = (term.space, term.name, term.aggregate) == (first.space, first.name, first.aggregate)
    return same and not term.operator.startswith("is ") and (first.space != "metrics" or term.operator != "!=")


def _check_since(since: Value, sort: Sort) -> None:
    if isinstance(since, str) == _is_number(sort) or (isinstance(since, int) and not -(2**63) <= since < 2**63):
        raise UsageError("bad-page", f"a page cannot start at {str(since)[:40]!r}", fix="go on from what the last page gave")


def _is_number(sort: Sort) -> bool:
    return sort.space == "metrics" or (sort.space == "attributes" and sort.name in NUMBERS)


# Driving.


def _drivers(connection: Connection, asked: _Asked) -> list[_Driver]:
    candidates: list[_Driver] = []
    if asked.deleted:
        candidates.append(_Driver(0, runs, "", [runs.c.deleted_at.is_not(None)]))
    if asked.experiments:
        candidates.append(_Driver(0, runs, "", [_in_experiments(asked)]))
    for term in asked.terms:
        found = _candidate(term, asked.dialect) if isinstance(term, Comparison) else None
        candidates += [found] if found is not None and len(candidates) < _MOST_COUNTS else []
    drivers: list[_Driver] = []
    least = _MOST_COUNTED
    for driver in candidates:
        one = sa.select(sa.literal_column("1").label("one")).select_from(driver.table).where(*driver.conditions)
        if driver.hint:
            one = one.with_hint(driver.table, driver.hint, "sqlite")
        counted = sa.select(sa.func.count()).select_from(one.limit(least + 1).subquery())  # of more it is not the best one
        drivers.append(driver._replace(fitting=connection.execute(counted).scalar_one()))
        least = min(least, drivers[-1].fitting)
        if not drivers[-1].fitting:
            break
    return drivers


def _candidate(term: Comparison, dialect: str) -> _Driver | None:
    if term.space == "attributes":
        equal = term.operator in {"=", "in"} and term.name in {"id", "experiment", "experiment_id"}
        since = term.name == "started_at" and term.operator in {"=", "<", "<=", ">", ">="}
        return _Driver(0, runs, "", [condition(term, dialect)], term) if equal or since else None
    if term.space == "metrics":
        if term.aggregate != "last" or term.operator in {"!=", "is null"}:
            return None
        table = metrics.alias("driver")
        fitting = [fits_number(table.c.last, term.operator, term.value)] if term.operator != "is not null" else []
        return _Driver(0, table, _BY_NAME, [table.c.name == term.name, *fitting], term)
    if term.space in KEYED:
        table = KEYED[term.space].alias("driver")
        narrow = narrowing(term, table, dialect)
        if narrow is None:
            return None
        whole = term if dialect == "sqlite" and term.operator != "like" else None
        return _Driver(0, table, by_key(term.space), [table.c.key == term.name, narrow], whole)
    return None


# What all queries share.


def _select(table: Any, hint: str, asked: _Asked) -> sa.Select[Any]:
    """The ids of the runs that fit, found through ``table`` (which is ``runs`` or has a run's id in each row)."""
    own = table is runs
    source = table if own else sa.join(table, runs, runs.c.id == table.c.run_id)
    query = sa.select(runs.c.id).select_from(source)
    if not own:
        query = query.with_hint(table, hint, "sqlite").with_hint(runs, _RUNS, "sqlite")
    if asked.experiments:
        query = query.where(_in_experiments(asked))
    if asked.deleted is not None:
        query = query.where(runs.c.deleted_at.is_not(None) if asked.deleted else runs.c.deleted_at.is_(None))
    run_id = runs.c.id if own else table.c.run_id
    return query.where(*[condition(term, asked.dialect, run_id) for term in asked.terms])


def _in_experiments(asked: _Asked) -> ColumnElement[bool]:
    numbers = asked.experiments
    return runs.c.experiment_id == numbers[0] if len(numbers) == 1 else runs.c.experiment_id.in_(numbers)


def _ordered(asked: _Asked, query: sa.Select[Any], sorts: Sequence[Sort], *leading: ColumnElement[Any]) -> sa.Select[Any]:
    """With its order: missing values last, NaN before them, and ties the newest first and then by id, as MLflow has it."""
    clauses = list(leading)
    for sort in sorts:
        if sort.space == "attributes":
            if sort.name == "experiment":
                query = query.join(experiments_table, experiments_table.c.id == runs.c.experiment_id)
            column: Any = runs.c[sort.name] if sort.name in NUMBERS else text_attribute(sort.name)
            ranks = [column.is_(None)] if sort.name == "ended_at" else []
        elif sort.space == "metrics":
            table = metrics.alias()
            query = query.outerjoin(table, (table.c.run_id == runs.c.id) & (table.c.name == sort.name))
            query = query.with_hint(table, BY_NAME_AND_RUN, "sqlite")
            column = table.c[column_of(sort.aggregate)]
            ranks = [table.c.run_id.is_(None), column.is_(None)]
        else:
            table = KEYED[sort.space].alias()
            query = query.outerjoin(table, (table.c.run_id == runs.c.id) & (table.c.key == sort.name))
            column = table.c.value
            ranks = [column.is_(None)]
        clauses += [*ranks, column.desc() if sort.descending else column.asc()]
        if asked.since is not None and sort is asked.sorts[0]:
            query = query.where(sa.or_(_from(column, sort, asked.since), *ranks))
    named = {(sort.space, sort.name) for sort in asked.sorts}
    ties = [
        clause
        for name, clause in (("started_at", runs.c.started_at.desc()), ("id", runs.c.id))
        if ("attributes", name) not in named
    ]
    return query.order_by(*clauses, *ties)
