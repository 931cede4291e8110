"""What groups, weighs, marks and names rows: slices, clusters, weights, marked rows, keys."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidegate import frames
from tidegate.gate.evidence.evidence import MIN_CLUSTERS, MIN_ROWS, Groups
from tidegate.gate.evidence.labelling import as_slice
from tidegate.gate.evidence.reading import Reading
from tidegate.records.policy import CheckPolicy

MAX_SLICES = 500
_SHOWN = 3


def slice_columns(policy: CheckPolicy) -> list[str]:
    """Columns that rules slice by, and those that the report explores."""
    return list(dict.fromkeys([*(column for rule in policy.rules for column in rule.slices), *policy.explore]))


def mark_columns(policy: CheckPolicy) -> list[str]:
    """Columns that mark rows for rules."""
    return list(dict.fromkeys(rule.rows for rule in policy.rules if rule.rows))


def slice_values(reading: Reading, con: frames.Connection, table: str, column: str, policy: CheckPolicy) -> list[str]:
    """The values of a slice column as text, sorted. Too many are refused; in a column that is only explored it is left out."""
    found: list[Any] = con.execute(
        f"SELECT {as_slice(column)} AS v, count(*) FROM {table} GROUP BY 1 ORDER BY 1 LIMIT {MAX_SLICES + 1}"
    ).fetchall()
    gating = any(column in rule.slices for rule in policy.rules)
    if len(found) > MAX_SLICES:
        what, fix = f"the slice column {column!r} has more than {MAX_SLICES} values", f"cut it into at most {MAX_SLICES} groups"
        (reading.refuse if gating else reading.warn)("too-many-slices", what, fix)
        return []
    small = [(value, count) for value, count in found if count < MIN_ROWS]
    if gating and small and policy.task not in {"ranking", "scores"}:
        value, count = min(small, key=lambda each: (each[1], each[0]))
        reading.warn(
            "small-slice",
            f"{len(small)} of {len(found)} slices of {column!r} have fewer than {MIN_ROWS} rows, such as {value!r} with {count:,}",
            "collect more rows of them, or put small groups together",
        )
    return [str(value) for value, _ in found]


def check_keys(reading: Reading, con: frames.Connection, table: str, columns: list[str], where: str = "") -> None:
    """Refuses rows without a key, and keys that stand more than once. ``columns``: what makes up a key."""
    names = [frames.quote(column) for column in columns]
    shown, place = columns[-1], f" of {where}" if where else ""
    empty: Any = con.execute(f"SELECT count(*) FROM {table} WHERE {' OR '.join(f'{name} IS NULL' for name in names)}").fetchone()
    if empty[0]:
        reading.refuse("key-missing", f"{empty[0]:,} rows{place} have no key ({shown!r})", "give every row its key")
    key = names[0] if len(names) == 1 else f"({', '.join(names)})"
    counted: Any = con.execute(f"SELECT count({names[-1]}), count(DISTINCT {key}) FROM {table}").fetchone()
    if counted[0] <= counted[1]:
        return
    doubled: list[Any] = con.execute(
        f"SELECT {names[-1]}::VARCHAR AS k, count(*) AS n FROM {table} WHERE {names[-1]} IS NOT NULL "
        f"GROUP BY {', '.join(names)} HAVING count(*) > 1 ORDER BY 1, 2"
    ).fetchall()
    if doubled:
        some = ", ".join(f"{name!r} ({count} times)" for name, count in doubled[:_SHOWN])
        reading.refuse(
            "duplicate-keys", f"{len(doubled):,} keys{place} stand more than once, such as {some}", "keep one row per key"
        )


def check_constant_within(
    reading: Reading, con: frames.Connection, table: str, group: str, columns: dict[str, str], noun: str
) -> None:
    """Refuses columns (their role by their name) whose value changes within a query; nulls within an ``item`` are passed over."""
    for column, role in columns.items():
        value = f"{frames.quote(column)}::VARCHAR" if noun == "item" else as_slice(column)
        found: Any = con.execute(
            f"SELECT count(*), min(g) FROM (SELECT {frames.quote(group)}::VARCHAR AS g FROM {table} "
            f"GROUP BY 1 HAVING count(DISTINCT {value}) > 1)"
        ).fetchone()
        if found[0]:
            reading.refuse(
                f"differs-in-{noun}",
                f"the {role} column {column!r} has more than one value within {found[0]:,} {noun} groups of {group!r}, such as {found[1]!r}",
                f"give all rows of one {noun} the same value: it is judged as one piece of evidence",
            )


def group_hashes(con: frames.Connection, table: str, column: str) -> NDArray[np.uint64]:
    """The different hashes of a column's values, sorted: a value's place among them is its code.

    64 bits tell a million groups apart but for one chance in ten million, and two that fall together only widen the interval.
    """
    found = con.execute(f"SELECT DISTINCT hash({frames.quote(column)}) AS v FROM {table}").fetchnumpy()["v"]
    return np.sort(np.asarray(found, dtype=np.uint64))


def codes_of(hashes: Any, known: NDArray[np.uint64]) -> Groups:
    """The codes of [n] hashes, each of which is known."""
    return np.searchsorted(known, np.asarray(hashes, dtype=np.uint64)).astype(np.int64, copy=False)


def check_clusters(reading: Reading, con: frames.Connection, table: str, column: str, count: int) -> None:
    """Tells rows without a cluster, and clusters that are too few."""
    empty: Any = con.execute(f"SELECT count(*) FROM {table} WHERE {frames.quote(column)} IS NULL").fetchone()
    if empty[0]:
        reading.warn(
            "cluster-missing",
            f"{empty[0]:,} rows have no value in the cluster column {column!r}; they are taken as one cluster",
            "fill it where you can",
        )
    if count < MIN_CLUSTERS:
        reading.warn(
            "too-few-clusters",
            f"{column!r} has {count} clusters; at least {MIN_CLUSTERS} are needed for an interval",
            "collect rows of more clusters",
        )


def check_marks(reading: Reading, con: frames.Connection, table: str, column: str) -> None:
    """Refuses marks that are neither true or 1 nor false, 0 or null."""
    name = frames.quote(column)
    found: Any = con.execute(
        f"SELECT count(*), min({name}::VARCHAR) FROM {table} "
        f"WHERE {name} IS NOT NULL AND NOT coalesce(TRY_CAST({name} AS DOUBLE) IN (0, 1), false)"
    ).fetchone()
    if found[0]:
        what = f"{found[0]:,} rows of the column {column!r} are neither 0 nor 1, such as {found[1][:80]!r}"
        reading.refuse("bad-marks", what, "mark rows with true or 1, all others with false, 0 or null")


def marked(values: Any) -> NDArray[np.bool_]:
    """Which rows a column of true and false (or 0 and 1) marks; a null marks nothing."""
    plain = frames.plain(values)
    return np.asarray(np.nan_to_num(plain.astype(np.float64)) != 0)


def as_keys(values: Any) -> NDArray[Any]:
    """Keys in as little memory as they need: whole numbers as they are, texts as NumPy's variable-width text."""
    plain = frames.plain(values)
    return plain if plain.dtype.kind in "iu" else plain.astype(np.dtypes.StringDType())
