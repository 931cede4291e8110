"""Rankings: rows are items, and a query's items together are one piece of evidence."""

from __future__ import annotations

from typing import Any

from tidegate import frames
from tidegate.gate.evidence.evidence import MIN_ROWS
from tidegate.gate.evidence.reading import Reading

LARGEST_RELEVANCE = 60.0
"""Exponential gains are 2 to the relevance: beyond this one item would be all that counts."""


def check_queries(reading: Reading, con: frames.Connection, table: str, query: str, label: str) -> None:
    """Refuses what cannot be a ranking; tells queries that cannot tell models apart.

    Args:
        reading: Takes the problems.
        con: Where ``table`` is.
        table: The rows.
        query: The column of queries.
        label: SQL expression of the relevance.
    """
    name = frames.quote(query)
    empty: Any = con.execute(f"SELECT count(*) FROM {table} WHERE {name} IS NULL").fetchone()
    if empty[0]:
        reading.refuse("query-missing", f"{empty[0]:,} rows have no query in {query!r}", "give every row its query")
    count, single, barren, low, high = _counts(con, table, name, f"TRY_CAST({label} AS DOUBLE)")
    if low is not None and low < 0:
        reading.refuse("relevance-out-of-range", f"the least relevance is {low:g}", "give 0 for irrelevant, and more for better")
    elif high is not None and LARGEST_RELEVANCE < high < float("inf"):
        what = f"the greatest relevance is {high:g}"
        reading.refuse("relevance-out-of-range", what, f"use grades of at most {LARGEST_RELEVANCE:g}, such as 0 to 4")
    elif barren == count:
        reading.refuse("no-relevant", "no item of any query is relevant: every relevance is 0", "check the labels")
    elif single == count:
        reading.refuse("nothing-to-rank", f"every query in {query!r} has one item", "check the query column: it groups the items")
    else:
        _tell(reading, query, count, single, barren)


def _counts(con: frames.Connection, table: str, name: str, relevance: str) -> tuple[Any, ...]:
    found: Any = con.execute(
        f"SELECT count(*), count(*) FILTER (n = 1), count(*) FILTER (high <= 0), min(low), max(high) FROM "
        f"(SELECT count(*) AS n, max({relevance}) AS high, min({relevance}) AS low FROM {table} GROUP BY {name})"
    ).fetchone()
    return tuple(found)


def _tell(reading: Reading, query: str, count: int, single: int, barren: int) -> None:
    if barren:
        reading.warn(
            "query-without-relevant",
            f"{barren:,} of {count:,} queries have no relevant item; they are left out",
            "label them further, or mind that the metrics are of the others",
        )
    if single:
        reading.warn(
            "query-of-one-item",
            f"{single:,} of {count:,} queries have one item: any order of it is perfect",
            "leave them out, or give all items that were ranked",
        )
    if count - barren < MIN_ROWS:
        reading.warn(
            "too-few-rows",
            f"{count - barren:,} queries in {query!r} have a relevant item; at least {MIN_ROWS} are needed for an interval",
            "collect more queries",
        )
