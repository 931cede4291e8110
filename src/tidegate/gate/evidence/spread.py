"""What a name in a policy stands for: one column, the parts of a list, struct or map, or all columns of a pattern.

new           one column
new           a list or array: its places are the parts; a struct: its fields; a map: its keys; texts in a list: what is present
new_*         the columns new_a, new_b, ...: the parts are a, b, ...
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from tidegate import frames
from tidegate.errors import BadInputError
from tidegate.gate.evidence.reading import Reading
from tidegate.records.names import nearest
from tidegate.records.report import Problem

MAX_PARTS = 1000
_WHOLE = ("tinyint", "smallint", "integer", "bigint", "hugeint", "utinyint", "usmallint", "uinteger", "ubigint", "uhugeint")
NUMERIC = frozenset({*_WHOLE, "float", "double", "decimal"})
NESTED = frozenset({"list", "array", "struct", "map"})
_CASTABLE = NUMERIC | {"boolean", "varchar", "null"}

Types: TypeAlias = dict[str, Any]
"""DuckDB's type of each column, by the column's name."""


@dataclass(frozen=True, slots=True)
class Spread:
    """The columns of one role: ``parts`` are SQL expressions by the name of the part; a single column is the part ""."""

    role: str
    name: str
    """As the policy names it."""
    columns: tuple[str, ...]
    kinds: frozenset[str]
    """DuckDB's names of the types of the parts, in small letters."""
    several: bool = False
    named: bool = False
    """Whether the parts have names of their own: not their places in a list."""
    words: bool = False
    """Lists of texts: what is not in the list is absent, not unknown."""
    parts: dict[str, str] = field(default_factory=dict[str, str])

    @property
    def castable(self) -> bool:
        """Whether every part can be read as a number."""
        return self.kinds <= _CASTABLE

    def ordered(self, names: list[str], absent: str) -> Spread:
        """The same with these parts in this order; one that it lacks is the SQL expression ``absent``."""
        return replace(self, parts={name: self.parts.get(name, absent) for name in names})


def find_spreads(reading: Reading, types: Types, names: dict[str, str]) -> dict[str, Spread]:
    """Which columns each role means; those that are not there are refused, with the nearest name.

    A column that fits two patterns belongs to the longer one: ``y_*`` and ``y_new_*`` do not share ``y_new_a``.
    """
    patterns = [name for name in names.values() if name not in types and name.count("*") == 1]
    found: dict[str, Spread] = {}
    for role, name in names.items():
        if name in types:
            found[role] = Spread(role, name, (name,), _inner(types[name]), several=types[name].id in NESTED)
            continue
        fitting = [column for column in types if name in patterns and _owner(column, patterns) == name]
        if fitting:
            head = name.index("*")
            tail = len(name) - head - 1
            parts = {column[head : len(column) - tail]: frames.quote(column) for column in fitting}
            ordered = {part: parts[part] for part in natural(list(parts))}
            kinds = frozenset(str(types[column].id) for column in fitting)
            found[role] = Spread(role, name, tuple(fitting), kinds, several=True, named=True, parts=ordered)
            continue
        refuse_missing(reading, types, role, name, pattern=name in patterns)
    return found


def columns_named(name: str, columns: Iterable[str]) -> list[str]:
    """The columns that a policy means by ``name``: the one that is called so, else those that fit its ``*``."""
    known = list(columns)
    return [name] if name in known else [column for column in known if name.count("*") == 1 and _fits(column, name)]


def refuse_missing(reading: Reading, types: Types, role: str, name: str, *, pattern: bool = False) -> None:
    """Refuses a column that is not there, and names the nearest."""
    what = f"no column fits the {role} pattern {name!r}" if pattern else f"the {role} column {name!r} is missing"
    reading.refuse("column-missing", f"{what}; {nearest(name, list(types))}", "mend the name in the policy")


def _owner(column: str, patterns: list[str]) -> str:
    fitting = [pattern for pattern in patterns if _fits(column, pattern)]
    return max(fitting, key=len) if fitting else ""


def _fits(column: str, pattern: str) -> bool:
    head, _, tail = pattern.partition("*")
    return len(column) > len(head) + len(tail) and column.startswith(head) and column.endswith(tail)


def natural(names: list[str]) -> list[str]:
    """Sorted as people do: whole numbers by their size and before texts."""
    return sorted(names, key=lambda name: (0, int(name), "") if re.fullmatch(r"-?[0-9]{1,18}", name) else (1, 0, name))


def _inner(kind: Any) -> frozenset[str]:
    """Names of the types inside a type; of a plain one its own."""
    if kind.id not in NESTED:
        return frozenset([str(kind.id)])
    children: Any = kind.children
    if kind.id == "struct":
        return frozenset(str(child.id) for _, child in children)
    return frozenset([str(children[1 if kind.id == "map" else 0][1].id)])


def unfold(reading: Reading, con: frames.Connection, table: str, spread: Spread, types: Types) -> Spread:
    """The parts of a nested column; a list of unequal lengths, and parts without end, are refused."""
    if spread.parts:
        return spread
    column = frames.quote(spread.name)
    if not spread.several:
        return replace(spread, parts={"": column})
    kind = types[spread.name]
    if kind.id == "struct":
        parts = {str(name): f"struct_extract({column}, {frames.literal(str(name))})" for name, _ in kind.children}
    elif kind.id == "map":
        keys = _distinct(con, table, f"unnest(map_keys({column}))::VARCHAR")
        parts = {key: f"map_extract_value({column}, {frames.literal(key)}::{kind.children[0][1]})" for key in natural(keys)}
    elif spread.kinds == frozenset({"varchar"}) and not _numbers_as_text(con, table, column):
        parts = {word: _contains(column, word) for word in natural(_distinct(con, table, f"unnest({column})"))}
        spread = replace(spread, words=True, kinds=frozenset(["boolean"]))
    else:
        return _listed(reading, con, table, spread)
    if not 0 < len(parts) <= MAX_PARTS:
        what = f"the {spread.role} column {spread.name!r} has {len(parts):,} parts"
        reading.refuse("too-many-classes" if parts else "no-parts", what, f"give 1 to {MAX_PARTS:,} classes")
        parts = {}
    return replace(spread, parts=parts, named=True)


def _contains(column: str, word: str) -> str:
    return f"CASE WHEN {column} IS NOT NULL THEN list_contains({column}, {frames.literal(word)}) END"


def _listed(reading: Reading, con: frames.Connection, table: str, spread: Spread) -> Spread:
    column = frames.quote(spread.name)
    lengths: list[Any] = con.execute(
        f"SELECT len({column}) AS k, count(*) AS n FROM {table} WHERE {column} IS NOT NULL GROUP BY 1 ORDER BY 2 DESC, 1"
    ).fetchall()
    if len(lengths) > 1:
        odd = sum(count for _, count in lengths[1:])
        reading.refuse(
            "lists-differ-in-length",
            f"the lists in {spread.name!r} differ in length: {lengths[0][1]:,} rows have {lengths[0][0]}, {odd:,} have another number",
            "give every row one number per class",
        )
        return spread
    width = int(lengths[0][0]) if lengths else 0
    if not 0 < width <= MAX_PARTS:
        what = f"the lists in {spread.name!r} hold {width:,} numbers" if lengths else f"every list in {spread.name!r} is null"
        reading.refuse("too-many-classes" if width else "no-parts", what, f"give 1 to {MAX_PARTS:,} numbers a row")
        return spread
    return replace(spread, parts={str(place): f"{column}[{place + 1}]" for place in range(width)})


def _distinct(con: frames.Connection, table: str, expression: str) -> list[str]:
    found = con.execute(f"SELECT DISTINCT v FROM (SELECT {expression} AS v FROM {table}) WHERE v IS NOT NULL").fetchall()
    return [str(row[0]) for row in found]


def _numbers_as_text(con: frames.Connection, table: str, column: str) -> bool:
    found: Any = con.execute(
        f"SELECT count(*) FROM (SELECT unnest({column}) AS v FROM {table}) WHERE TRY_CAST(v AS DOUBLE) IS NULL AND v IS NOT NULL"
    ).fetchone()
    return not found[0]


def label_shares(columns: frames.Columns, label: str) -> tuple[dict[str, float], bool]:
    """Of each label of a multilabel column, list or pattern the share of the rows that have it, and whether the labels have names of their own.

    Raises:
        BadInputError: there is no such column, or it does not hold several labels.
    """
    reading = Reading()
    with frames.connect() as con:
        frames.relation(con, {name: columns[name] for name in columns_named(label, columns)} or columns).create("labels")
        table = con.table("labels")
        types: Types = dict(zip(table.columns, table.types, strict=True))
        spread = find_spreads(reading, types, {"label": label}).get("label")
        spread = unfold(reading, con, "labels", spread, types) if spread else None
        if spread is None or reading.problems or not spread.several:
            held = f"the label column {label!r} holds one value per row"
            problem = next(
                iter(reading.problems), Problem(code="not-several", what=held, fix="give a list, or columns by a pattern")
            )
            raise BadInputError(problem.code, problem.what, fix=problem.fix)
        means = ", ".join(f"coalesce(avg(TRY_CAST({part} AS DOUBLE)), 0)" for part in spread.parts.values())
        found: Any = con.execute(f"SELECT {means} FROM labels").fetchone()
    return dict(zip(spread.parts, map(float, found), strict=True)), spread.named
