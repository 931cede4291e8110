"""Columns of numbers that are only explored, cut into groups of about equal size: a slice for every number would hold one row."""

from __future__ import annotations

from itertools import pairwise
from math import isfinite
from typing import Any

from tidegate import frames
from tidegate.gate.evidence.layout import roles_of, singles_of
from tidegate.gate.evidence.spread import NUMERIC
from tidegate.records.policy import CheckPolicy

GROUPS = 5
_MOST_VALUES = 20


def cut_numbers(con: frames.Connection, table: str, policy: CheckPolicy) -> None:
    """Replaces explored columns of ``table`` with more than twenty different numbers by texts such as ``3.5 to 7``.

    A column that serves for anything else too stays as it is.
    """
    used = {*roles_of(policy).values(), *(column for rule in policy.rules for column in rule.slices)}
    others = {name for name, role in singles_of(policy).items() if role != "slice"}
    types = {name: str(kind.id) for name, kind in zip(*_described(con, table), strict=True)}
    cuts: list[str] = []
    for name in dict.fromkeys(policy.explore):
        if name in used or name in others or types.get(name) not in NUMERIC:
            continue
        expression = _cut(con, table, name)
        cuts += [f"{expression} AS {frames.quote(name)}"] if expression else []
    if cuts:
        con.execute(f"CREATE OR REPLACE TABLE {table} AS SELECT * REPLACE ({', '.join(cuts)}) FROM {table}")


def _described(con: frames.Connection, table: str) -> tuple[list[str], list[Any]]:
    relation = con.table(table)
    return relation.columns, relation.types


def _cut(con: frames.Connection, table: str, name: str) -> str:
    """SQL for the group of a number; empty where there are few numbers."""
    column = frames.quote(name)
    shares = ", ".join(f"{place / GROUPS:g}" for place in range(1, GROUPS))
    found: Any = con.execute(
        f"SELECT approx_count_distinct({column}), quantile_disc({column}::DOUBLE, [{shares}]) FROM {table}"
    ).fetchone()
    if found[0] <= _MOST_VALUES or found[1] is None:
        return ""
    edges = sorted({edge for edge in found[1] if isfinite(edge)})
    if not edges:
        return ""
    names = [f"below {edges[0]:g}", *(f"{low:g} to {high:g}" for low, high in pairwise(edges))]
    cases = " ".join(f"WHEN {column} < {edge!r} THEN {frames.literal(text)}" for edge, text in zip(edges, names, strict=True))
    return f"CASE WHEN {column} IS NULL THEN NULL {cases} ELSE {frames.literal(f'{edges[-1]:g} or more')} END"
