"""Where time comes from. Nothing else in Tidegate asks the system for it.

Time is UTC, in whole microseconds since 1970 (``us``). A replayed clock is marked in the records that it dates, so
that nobody takes a rehearsal for the real thing.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from tidegate.errors import UsageError

SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR

FARTHEST = 2**53 - 1
"""Microseconds from 1970, either way, that every reader of JSON takes exactly: into the year 2255."""
LONGEST = 36_525 * DAY
"""The longest duration, a hundred years: added to any time until then it is a time."""

_DURATION = re.compile(r"([0-9]{1,10})([smhdw])")
_UNITS = {"s": SECOND, "m": MINUTE, "h": HOUR, "d": DAY, "w": 7 * DAY}


def _system_now() -> int:
    return time.time_ns() // 1000


@dataclass(frozen=True, slots=True)
class Clock:
    """A source of time: ``now()`` in microseconds UTC, and whether it is the system's or a replay's."""

    now: Callable[[], int] = _system_now
    kind: str = "system"

    @staticmethod
    def replay(us: int) -> Clock:
        """A clock that stands still at ``us``: for replays of past data, demos and tests."""
        return Clock(lambda: us, "replay")


def parse_time(text: str) -> int:
    """ISO 8601 text to microseconds UTC; a text without an offset is UTC.

    Raises:
        UsageError: the text is not a time, or one that is farther from 1970 than 285 years.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(
            "bad-time", f"{text!r} is not a time", why="times are ISO 8601", fix="write it like 2013-06-01T00:00:00+00:00"
        ) from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    us = to_us(moment)
    if abs(us) > FARTHEST:
        raise UsageError("bad-time", f"{text!r} is too far from today", why="times lie from 1684 to 2255", fix="mend the year")
    return us


def to_us(moment: datetime) -> int:
    """An aware datetime to microseconds UTC, without passing through a float."""
    delta = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return (delta.days * 86_400 + delta.seconds) * SECOND + delta.microseconds


def from_us(us: int) -> datetime:
    """Microseconds UTC to an aware datetime."""
    seconds, micro = divmod(us, SECOND)
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=micro)


def format_time(us: int) -> str:
    """Microseconds UTC as people read it: ``2013-06-01 14:00:05Z``."""
    return from_us(us).strftime("%Y-%m-%d %H:%M:%SZ")


def parse_duration(text: str) -> int:
    """``"90s"``, ``"15m"``, ``"6h"``, ``"1d"``, ``"2w"`` to microseconds; a hundred years at most.

    Raises:
        UsageError: the text is not a duration.
    """
    match = _DURATION.fullmatch(text)
    us = int(match[1]) * _UNITS[match[2]] if match else -1
    if not 0 <= us <= LONGEST:
        raise UsageError(
            "bad-duration",
            f"{text!r} is not a duration",
            why="a duration is a whole number and a unit, a hundred years at most",
            fix="write it like 90s, 15m, 6h, 1d or 2w",
        )
    return us
