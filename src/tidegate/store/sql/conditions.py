"""A filter's tree as SQL conditions on ``runs``, with the same answers on SQLite and Postgres.

Every condition is true or false, never NULL, so that ``not`` turns it around.
"""

from __future__ import annotations

from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.sql import ColumnElement

from tidegate.store.filter import Combination, Comparison, Tree, Value
from tidegate.store.regex import matching
from tidegate.store.sql.tables import PREFIX, experiments, metrics, run_inputs, run_params, run_tags, runs

KEYED = {"params": run_params, "tags": run_tags}
NUMBERS = {"started_at", "ended_at", "heard_at", "experiment_id"}
"""The attributes of a run that are numbers."""

BY_NAME_AND_RUN = "INDEXED BY metrics_by_name_and_run"
_SHORT_LIST = 200
_CONTEXT = "mlflow.data.context"


def resolved(connection: Connection, tree: Tree) -> Tree:
    """The tree with every regular expression replaced by the list of the stored values in which it is found."""
    if isinstance(tree, Combination):
        return Combination(tree.kind, [resolved(connection, term) for term in tree.terms])
    if not tree.operator.endswith("rlike"):
        return tree
    if tree.space in KEYED:
        table = KEYED[tree.space]
        query = sa.select(table.c.value).where(table.c.key == tree.name).distinct()
    elif tree.space == "datasets":
        query = sa.select(_of_dataset(tree.name, connection.dialect.name, run_inputs)).distinct()
    else:
        query = sa.select(text_attribute(tree.name)).distinct()
    values = [value for value in connection.execute(query).scalars() if value is not None]
    operator = "not in" if tree.operator.startswith("not") else "in"
    return tree._replace(operator=operator, value=tuple(matching(str(tree.value), values)))


def condition(tree: Tree, dialect: str, run_id: ColumnElement[Any] = runs.c.id) -> ColumnElement[bool]:
    """Whether the run of ``run_id`` fits the tree; its attributes are taken from ``runs``."""
    if isinstance(tree, Combination):
        terms = [condition(term, dialect, run_id) for term in tree.terms]
        return sa.not_(terms[0]) if tree.kind == "not" else (sa.and_ if tree.kind == "and" else sa.or_)(*terms)
    if tree.space == "attributes":
        return _of_attribute(tree, dialect)
    found = _hanging(tree, dialect, run_id)
    return sa.not_(found) if tree.operator == "is null" else found


def _hanging(tree: Comparison, dialect: str, run_id: ColumnElement[Any]) -> ColumnElement[bool]:
    """Whether something that hangs on the run is there and fits."""
    anything = tree.operator.startswith("is ")
    query = sa.select(sa.literal_column("1"))
    if tree.space == "metrics":
        metric = metrics.alias()
        query = query.select_from(metric).where(metric.c.run_id == run_id, metric.c.name == tree.name)
        query = query.with_hint(metric, BY_NAME_AND_RUN, "sqlite")
        if not anything:
            query = query.where(fits_number(metric.c[column_of(tree.aggregate)], tree.operator, tree.value))
    elif tree.space == "datasets":
        table = run_inputs.alias()
        value = _of_dataset(tree.name, dialect, table)
        fitting = value.is_not(None) if anything else fits_text(value, tree.operator, tree.value, dialect)
        query = query.select_from(table).where(table.c.run_id == run_id, fitting)
    else:
        table = KEYED[tree.space].alias()
        query = query.select_from(table).where(table.c.run_id == run_id, table.c.key == tree.name)
        if tree.operator == "=":
            query = query.with_hint(table, by_key(tree.space), "sqlite")
        if not anything:
            query = query.where(fits_text(table.c.value, tree.operator, tree.value, dialect))
    return sa.exists(query)


def by_key(space: str) -> str:
    """The hint for the index on a parameter's or tag's values."""
    return f"INDEXED BY {KEYED[space].name}_by_key"


def _of_attribute(tree: Comparison, dialect: str) -> ColumnElement[bool]:
    if tree.operator.startswith("is "):
        if tree.name == "ended_at":
            return runs.c.ended_at.is_(None) if tree.operator == "is null" else runs.c.ended_at.is_not(None)
        return sa.false() if tree.operator == "is null" else sa.true()
    if tree.name == "experiment":
        named = sa.select(experiments.c.id).where(fits_text(experiments.c.name, tree.operator, tree.value, dialect))
        return runs.c.experiment_id.in_(named)
    if tree.name in NUMBERS:
        fitting = fits_number(runs.c[tree.name], tree.operator, tree.value, nan=False)
        return sa.and_(runs.c.ended_at.is_not(None), fitting) if tree.name == "ended_at" else fitting
    return fits_text(text_attribute(tree.name), tree.operator, tree.value, dialect)


def text_attribute(name: str) -> ColumnElement[Any]:
    """The text of an attribute of a run."""
    if name == "experiment":
        return experiments.c.name
    if name == "lifecycle_stage":
        return sa.case((runs.c.deleted_at.is_(None), "active"), else_="deleted")
    return runs.c[name]


def _of_dataset(name: str, dialect: str, table: Any) -> ColumnElement[Any]:
    if name != "context":
        return table.c[name]
    if dialect == "sqlite":
        return sa.func.json_extract(table.c.body, f'$.tags."{_CONTEXT}"', type_=sa.Text())
    return sa.cast(table.c.body, sa.JSON)["tags"][_CONTEXT].as_string()


def column_of(aggregate: str) -> str:
    """The column of ``metrics`` that holds an aggregate."""
    return "points" if aggregate == "count" else aggregate


def fits_number(column: ColumnElement[Any], operator: str, value: Any, *, nan: bool = True) -> ColumnElement[bool]:
    """A comparison of numbers. With ``nan`` a NULL is NaN, which fits ``!=`` alone."""
    real = isinstance(value, float) or isinstance(column.type, sa.Float)
    wanted = sa.literal(float(value), sa.Double()) if real else sa.literal(value, sa.BigInteger())
    match operator:
        case "=":
            return column == wanted
        case "!=":
            return sa.or_(column != wanted, column.is_(None)) if nan else column != wanted
        case "<":
            return column < wanted
        case "<=":
            return column <= wanted
        case ">":
            return column > wanted
        case _:
            return column >= wanted


def fits_text(column: ColumnElement[Any], operator: str, value: Any, dialect: str) -> ColumnElement[bool]:
    """A comparison of texts: code by code, unless it is ``ilike``."""
    sqlite = dialect == "sqlite"
    match operator.removeprefix("not "):
        case "in":
            found = column.in_(_listed(value, sqlite=sqlite))
        case "like" if sqlite:  # its LIKE ignores the case, its GLOB does not
            found = column.op("GLOB", is_comparison=True)(_glob(value))
        case "like":
            found = column.like(value, escape="")
        case "ilike" if sqlite:
            found = column.op("LIKE", is_comparison=True)(value)
        case "ilike":
            found = sa.func.lower(sa.collate(column, "C")).like(sa.func.lower(sa.collate(sa.literal(value), "C")), escape="")
        case "=":
            found = column == value
        case _:
            found = column != value
    return sa.not_(found) if operator.startswith("not ") else found


def narrowing(tree: Comparison, table: Any, dialect: str) -> ColumnElement[bool] | None:
    """What an index on the values of a key can answer about a comparison of a parameter or tag; None: nothing."""
    value: Value = tree.value
    indexed = table.c.value if dialect == "sqlite" else sa.func.left(table.c.value, PREFIX)
    if tree.operator == "=":
        return indexed == str(value)[:PREFIX] if dialect != "sqlite" else indexed == value
    if tree.operator == "in" and isinstance(value, tuple) and len(value) <= _SHORT_LIST:
        return indexed.in_(value if dialect == "sqlite" else [item[:PREFIX] for item in value])
    if tree.operator == "is not null":
        return sa.true()
    if tree.operator != "like":
        return None
    prefix = str(value).partition("%")[0].partition("_")[0][:PREFIX]
    if not prefix:
        return None
    behind = _behind(prefix)
    return sa.and_(indexed >= prefix, indexed < behind) if behind else indexed >= prefix


def _behind(prefix: str) -> str:
    """The least text that is greater than everything with this prefix; empty if there is none."""
    code = ord(prefix[-1]) + 1
    return "" if code > 0x10FFFF else prefix[:-1] + chr(0xE000 if 0xD800 <= code <= 0xDFFF else code)


def _listed(values: tuple[str, ...], *, sqlite: bool) -> Any:
    if len(values) <= _SHORT_LIST:
        return values
    text = sa.literal(msgspec.json.encode(values).decode(), sa.Text())
    rows = sa.func.json_each(text) if sqlite else sa.func.json_array_elements_text(sa.cast(text, sa.JSON))
    return sa.select(rows.table_valued("value").c.value)


def _glob(pattern: str) -> str:
    return "".join({"%": "*", "_": "?", "*": "[*]", "?": "[?]", "[": "[[]"}.get(char, char) for char in pattern)
