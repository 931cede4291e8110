"""Which spans of the prediction log are windows, which of them are due to be closed, and where closed ones are kept."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import msgspec

from tidegate import digest as digests
from tidegate.clock import DAY, format_time, parse_duration
from tidegate.errors import IntegrityError, UsageError
from tidegate.monitoring.days import day_start
from tidegate.records.monitoring import Window
from tidegate.records.policy import MonitoringPolicy
from tidegate.store.ports import Bucket

MONDAY = 4 * DAY
"""The first Monday after the epoch, which was a Thursday."""

_NAME = re.compile(r"(\d+)-(\d+)\.json")

SILENT_WINDOWS = 3
"""So many windows without a prediction are closed (and alerted) in a row; then silence is old news."""


class Span(NamedTuple):
    """[start, end) in microseconds UTC."""

    start: int
    end: int

    def __str__(self) -> str:
        return f"{format_time(self.start)[:10]} to {format_time(self.end)[:10]}"


def window_length(policy: MonitoringPolicy) -> int:
    """Length of the policy's windows in microseconds.

    Raises:
        UsageError: it is not a whole number of days.
    """
    length = parse_duration(policy.window)
    if length < DAY or length % DAY:
        raise UsageError(
            "bad-window",
            f"a window of {policy.window} is no whole number of days",
            why="windows start at midnight UTC, week windows on Monday",
            fix="write window = 1d or window = 1w in the model's monitoring policy",
        )
    return length


def span_of(us: int, length: int) -> Span:
    """The window that holds a time: aligned to midnight UTC, windows of whole weeks to Monday."""
    offset = MONDAY if length % (7 * DAY) == 0 else 0
    start = us - (us - offset) % length
    return Span(start, start + length)


def due_spans(days: Iterable[str], policy: MonitoringPolicy, now: int) -> list[Span]:
    """The windows that may be closed at ``now``: those whose end and waiting time for labels have passed.

    Windows run from the first day with predictions on. After a window with predictions up to ``SILENT_WINDOWS`` empty ones
    follow, so that a service that fell silent is noticed and an abandoned one does not go on for years.
    """
    length, wait = window_length(policy), parse_duration(policy.label_wait)
    alive = sorted({span_of(day_start(day), length) for day in days})
    with_silence = (span for first, following in _pairs(alive) for span in _and_silence(first, following))
    return [span for span in with_silence if span.end + wait <= now]


def _pairs(spans: list[Span]) -> Iterator[tuple[Span, Span | None]]:
    for index, span in enumerate(spans):
        yield span, spans[index + 1] if index + 1 < len(spans) else None


def _and_silence(span: Span, following: Span | None) -> Iterator[Span]:
    length = span.end - span.start
    yield span
    for step in range(1, SILENT_WINDOWS + 1):
        start = span.start + step * length
        if following is not None and start >= following.start:
            return
        yield Span(start, start + length)


def window_key(model: str, span: Span) -> str:
    """Where a closed window is kept."""
    return f"{_folder(model)}{span.start}-{span.end}.json"


def closed_spans(bucket: Bucket, model: str) -> list[Span]:
    """The spans of a model's closed windows, oldest first; other files in their folder are left alone."""
    names = (_NAME.fullmatch(key.removeprefix(_folder(model))) for key in bucket.keys(_folder(model)))
    return sorted(Span(int(name[1]), int(name[2])) for name in names if name)


def read_windows(bucket: Bucket, model: str, *, limit: int = 0) -> list[Window]:
    """A model's closed windows, oldest first; with ``limit`` only the newest ones.

    Raises:
        IntegrityError: one cannot be read.
    """
    spans = closed_spans(bucket, model)
    found = ((window_key(model, span), bucket.find(window_key(model, span))) for span in (spans[-limit:] if limit else spans))
    return [_decoded(blob.data, key) for key, blob in found if blob]


def _folder(model: str) -> str:
    return f"monitoring/{model}/windows/"


def _decoded(data: bytes, key: str) -> Window:
    try:
        return digests.parsed(data, Window)
    except msgspec.MsgspecError as error:
        raise IntegrityError(
            "window-damaged",
            f"{key} is no window",
            why=str(error)[:200],
            fix="delete it: the next tidegate tick closes the window again",
        ) from None
