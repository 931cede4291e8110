"""What every protocol decodes to, and what a request may say beside its rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from tidegate.clock import parse_time
from tidegate.errors import BadInputError, UsageError
from tidegate.frames import Columns

_LAST_TIME = 253_402_300_800_000_000  # the year 10000


class Request(NamedTuple):
    """A decoded predict request. ``event_at`` is 0 if it does not say what time it is about; ``outputs`` is empty for all."""

    id: str
    columns: Columns
    rows: int
    event_at: int
    outputs: list[str]
    parameters: Mapping[str, object] = {}
    """What else the request says about itself."""
    headers: Mapping[str, str] = {}
    """Its headers by lower-case name; only while a rollout needs one."""
    binary: frozenset[str] = frozenset()
    """The outputs that are wanted as bytes, where the protocol has them."""
    as_csv: bool = False
    """Whether the answer is wanted as CSV, where the protocol has it."""


def read_event_time(given: object) -> int:
    """A request's event time in microseconds UTC from ISO 8601 text or whole microseconds; 0 if it has none.

    Raises:
        UsageError: it is neither.
    """
    if given is None:
        return 0
    moment = (int(given) if given.isdecimal() and len(given) < 20 else parse_time(given)) if isinstance(given, str) else given
    if isinstance(moment, bool) or not isinstance(moment, int) or not 0 < moment < _LAST_TIME:
        raise UsageError(
            "bad-time",
            f"event_time {str(given)[:40]!r} is no time",
            why="it is ISO 8601 text, or whole microseconds since 1970 UTC",
            fix="write it like 2013-06-01T00:00:00Z",
        )
    return moment


def rows_of(columns: Columns, max_rows: int) -> int:
    """How many rows a request has.

    Raises:
        BadInputError: more than are allowed.
    """
    rows = len(next(iter(columns.values()))) if columns else 0
    check_rows(rows, max_rows)
    return rows


def check_rows(rows: int, max_rows: int) -> None:
    """Refuses too many rows, best before anything is done for each of them.

    Raises:
        BadInputError: more than are allowed.
    """
    if rows > max_rows:
        raise BadInputError(
            "too-many-rows",
            f"the request has {rows} rows, {max_rows} are allowed",
            fix="send several requests, or raise serving.max_rows",
        )
