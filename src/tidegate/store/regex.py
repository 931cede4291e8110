"""Regular expressions whose time grows with the text alone: RE2's dialect, by DuckDB, for every database and for Python.

RE2 has no backreferences and no look-around, which is what makes other dialects take exponential time on hostile patterns.
SOURCE: https://github.com/google/re2/wiki/Syntax
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cache

import duckdb

from tidegate import frames
from tidegate.errors import UsageError

LONGEST = 1000


def matching(pattern: str, values: Sequence[str]) -> list[str]:
    """The values in which the pattern is found anywhere, in their order.

    Raises:
        UsageError: RE2 cannot read the pattern, or it is too long.
    """
    if len(pattern) > LONGEST:
        raise _refused(pattern, f"it has {len(pattern)} characters, {LONGEST} are allowed")
    with _engine(os.getpid()).cursor() as connection:
        try:
            rows = connection.execute(
                "SELECT value FROM (SELECT unnest($1::VARCHAR[]) AS value) WHERE regexp_matches(value, $2)",
                [list(values), pattern],
            ).fetchall()
        except (duckdb.InvalidInputException, duckdb.OutOfRangeException) as error:
            raise _refused(pattern, str(error).removeprefix("Invalid Input Error: ").splitlines()[0][:200]) from None
    return [value for (value,) in rows]


@cache
def _engine(_process: int) -> frames.Connection:
    """DuckDB takes longer to start than to answer, and does not outlive a fork."""
    return frames.connect()


def check_pattern(pattern: str) -> None:
    """Looks whether the pattern can be read.

    Raises:
        UsageError: it cannot.
    """
    matching(pattern, [""])


def _refused(pattern: str, why: str) -> UsageError:
    return UsageError(
        "bad-pattern",
        f"the regular expression {pattern[:60]!r} cannot be used",
        why=why,
        fix="write it in RE2's syntax: no look-around, no backreferences; ILIKE '%part%' finds a part",
    )
