"""Spans of days and the day folders of the monitoring data: ``monitoring/<model>/<YYYY-MM-DD>/``."""

from __future__ import annotations

import re

from tidegate.clock import DAY, from_us, parse_time

_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")


def day_of(us: int) -> str:
    """The UTC day of a time, like ``2013-06-01``."""
    return from_us(us).strftime("%Y-%m-%d")


def days_between(start: int, end: int) -> list[str]:
    """The UTC days that [start, end) touches, in order."""
    return [day_of(us) for us in range(start - start % DAY, end, DAY)]


def day_start(day: str) -> int:
    """Midnight of a day in microseconds UTC."""
    return parse_time(day)


def is_day(text: str) -> bool:
    """Whether a folder's name is a day."""
    return bool(_DAY.fullmatch(text))


def timestamp(us: int) -> str:
    """A time as a SQL expression of type TIMESTAMP."""
    return f"make_timestamp({us})"
