"""Which rows have a label. Where a rule bounds their share, rows without one are counted and then left out of everything else."""

from __future__ import annotations

from typing import Any, NamedTuple

from tidegate import frames

MISSING = "(missing)"
_FLOATS = ("FLOAT", "DOUBLE")


class Coverage(NamedTuple):
    """How many rows there are, and how many of them have a label."""

    rows: int
    labelled: int


class Labelling(NamedTuple):
    """Counts over all rows, and for each slice column by value, in the order of the values."""

    whole: Coverage
    slices: dict[str, list[tuple[str, Coverage]]]


def count_labels(con: frames.Connection, table: str, labels: list[str], slices: list[str]) -> Labelling:
    """Counts the rows of ``table`` in which every column of ``labels`` has a value."""
    without = lacking(con, table, labels)
    counts = f"count(*), count(*) FILTER (WHERE NOT ({without}))"
    whole: Any = con.execute(f"SELECT {counts} FROM {table}").fetchone()
    found: dict[str, list[tuple[str, Coverage]]] = {}
    for column in slices:
        rows = con.execute(f"SELECT {as_slice(column)} AS v, {counts} FROM {table} GROUP BY 1 ORDER BY 1").fetchall()
        found[column] = [(str(name), Coverage(int(count), int(labelled))) for name, count, labelled in rows]
    return Labelling(Coverage(int(whole[0]), int(whole[1])), found)


def as_slice(column: str) -> str:
    """SQL for the value of a slice column as text."""
    return f"coalesce({frames.quote(column)}::VARCHAR, {frames.literal(MISSING)})"


def lacking(con: frames.Connection, table: str, labels: list[str]) -> str:
    """SQL that is true for a row that lacks one of the labels."""
    relation = con.table(table)
    types = dict(zip(relation.columns, map(str, relation.types), strict=True))
    return " OR ".join(_empty(frames.quote(name), types[name]) for name in labels)


def _empty(column: str, kind: str) -> str:
    """SQL that is true where a column has no value: null, and NaN or the text of it."""
    if kind in _FLOATS:
        return f"coalesce(isnan({column}), true)"
    return f"coalesce(lower({column}), 'nan') = 'nan'" if kind == "VARCHAR" else f"{column} IS NULL"
