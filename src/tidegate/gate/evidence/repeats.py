"""Rows that stand more than once: copies are no further evidence, and no key or cluster says that they belong together."""

from __future__ import annotations

from typing import Any

from tidegate import frames
from tidegate.gate.evidence.layout import Layout, singles_of
from tidegate.gate.evidence.reading import Reading

_CLEAR = 0.1
"""The share of rows that must be copies before anybody is told."""
_GROUPS = 30
"""So many different rows must be repeated: one commonest row, such as zeros everywhere, is none of these."""
_CONFLICTS = 0.01
"""The share of repeated rows that may differ in their label alone: rows that are equal by chance do, copies do not."""
_LOOKED_AT = 100_000
_WHOLE = "evidence_whole"


def tell_repeats(reading: Reading, con: frames.Connection, table: str, layout: Layout, whole: frames.Relation | None) -> None:
    """Warns where a clear share of rows are copies of others and chance does not make such copies.

    Rows of few coarse values are often equal by chance: two decisions and a label. So copies count only where one model's
    predictions, or all other columns together, tell at least half of the different rows apart, and where rows that are equal in
    everything else hardly ever differ in their label. Of many rows a sample is looked at, in which all copies of a row are or none.

    Args:
        reading: Takes the warning.
        con: Where ``table`` is.
        table: A table or view of the rows with the policy's columns.
        layout: Of ``table``.
        whole: The same rows with all columns of their file, if it can be read once more. It is read only if rows repeat.
    """
    policy = layout.policy
    spreads = layout.spreads
    varies = "label" if "label" in spreads else "champion"
    if policy.key or policy.cluster or policy.task == "ranking" or varies not in spreads:
        return
    used = {column for spread in spreads.values() for column in spread.columns}
    named = [name for name in singles_of(policy) if name != policy.preference]
    sources = [(table, named)]
    if whole is not None and not {*whole.columns} <= used.union(named):
        whole.create_view(_WHOLE)
        sources.append((_WHOLE, whole.columns))
    for source, columns in sources:
        blocks = [spread.columns for role, spread in spreads.items() if role != varies]
        blocks += [rest] if (rest := tuple(name for name in columns if name not in used)) else []
        rows, copies, telling = _count(con, source, layout, spreads[varies].columns, blocks)
        if copies < _CLEAR * rows:
            return
        if telling:
            break
    else:
        return
    share = copies / rows
    about = "" if rows == layout.rows else "about "
    reading.warn(
        "rows-repeated",
        f"{about}{round(share * layout.rows):,} of {layout.rows:,} rows are exact copies of others, and the policy names no key and "
        "no cluster: copies are no further evidence, so the intervals are too narrow",
        "leave the copies out and name the key of rows, or name the cluster that the rows of one thing share",
    )


def _count(
    con: frames.Connection, table: str, layout: Layout, label: tuple[str, ...], blocks: list[tuple[str, ...]]
) -> tuple[int, int, bool]:
    """Rows looked at, copies among them, and whether chance would not make these."""
    marks = [_hash(block) for block in blocks]
    rest = f"hash({', '.join(marks)})"
    every = max(1, layout.rows // _LOOKED_AT)
    fields = ", ".join(f"{mark} AS b{place}" for place, mark in enumerate(marks))
    firsts = ", ".join(f"any_value(b{place}) AS b{place}" for place in range(len(marks)))
    apart = ", ".join(f"count(DISTINCT b{place})" for place in range(len(marks)))
    found: Any = con.execute(
        f"SELECT sum(n), sum(n - kinds), count(*), count(*) FILTER (n > 1), count(*) FILTER (n > 1 AND kinds > 1), greatest({apart}) "
        f"FROM (SELECT sum(n) AS n, count(*) AS kinds, {firsts} FROM (SELECT r, count(*) AS n, {firsts} "
        f"FROM (SELECT {rest} AS r, {_hash(label)} AS y, {fields} FROM {table} WHERE ({layout.where}) AND {rest} % {every} = 0) GROUP BY r, y) GROUP BY r)"
    ).fetchone()
    rows, copies, groups, repeated, conflicting, distinct = (int(value or 0) for value in found)
    return rows, copies, repeated >= _GROUPS and conflicting <= _CONFLICTS * repeated and 2 * distinct >= groups


def _hash(columns: tuple[str, ...]) -> str:
    return f"hash({', '.join(map(frames.quote, columns))})"
