"""An exact envelope of a curve from the headers of its packed stretches, unpacking as few of them as the picture needs."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tidegate.records.run import Bucketed
from tidegate.store.chunks import Columns

_WIDEST = 2  # columns that a stretch may cross and still be drawn from its header


class Headers(NamedTuple):
    """Headers of packed stretches as columns, in the order of their first step and time. See ``chunks.Header``."""

    ids: NDArray[np.int64]
    counts: NDArray[np.int64]
    first: NDArray[np.int64]
    last: NDArray[np.int64]
    first_at: NDArray[np.int64]
    last_at: NDArray[np.int64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    close: NDArray[np.float64]

    def chosen(self, mask: NDArray[np.bool_]) -> Headers:
        """Those where the mask is true."""
        ids, counts, first, last, first_at, last_at, low, high, close = self
        return Headers(
            ids[mask], counts[mask], first[mask], last[mask], first_at[mask], last_at[mask], low[mask], high[mask], close[mask]
        )


class Span(NamedTuple):
    """The steps from ``low`` to ``high`` on ``pixels`` columns of equal width."""

    low: int
    high: int
    pixels: int

    def column(self, steps: NDArray[np.int64]) -> NDArray[np.int64]:
        """The column of each step, from 0 to ``pixels`` - 1: never less for a greater step."""
        inside = np.clip(steps, self.low, self.high)
        beyond = (inside.view(np.uint64) - np.uint64(self.low % 2**64)).astype(np.float64)  # a difference may exceed int64
        columns = (beyond * (self.pixels / (self.high - self.low + 1))).astype(np.int64)
        return np.minimum(columns, self.pixels - 1)


def span(headers: Headers, loose: Columns, *, pixels: int, first: int | None, last: int | None) -> Span:
    """What is to be drawn of the asked range: from the first to the last step that there is."""
    lows = [int(column.min()) for column in (headers.first, loose.steps) if len(column)]
    highs = [int(column.max()) for column in (headers.last, loose.steps) if len(column)]
    low = max(min(lows, default=0), first if first is not None else min(lows, default=0))
    high = min(max(highs, default=0), last if last is not None else max(highs, default=0))
    return Span(low, max(low, high), max(pixels, 1))


def to_unpack(headers: Headers, loose: Columns, drawn: Span) -> NDArray[np.bool_]:
    """Which stretches have to be unpacked: where points go over each other, the ends are cut, or the header is too coarse.

    All of them, when all points fit; a point that is in two stretches counts twice for that.
    """
    if int(headers.counts.sum()) + len(loose.steps) <= drawn.pixels:
        return np.ones(len(headers.ids), bool)
    cut = (headers.first < drawn.low) | (headers.last > drawn.high)
    wide = drawn.column(headers.last) - drawn.column(headers.first) > _WIDEST
    steps = np.sort(loose.steps)
    touched = np.searchsorted(steps, headers.first, "left") < np.searchsorted(steps, headers.last, "right")
    return cut | wide | touched | _overlapping(headers)


def _overlapping(headers: Headers) -> NDArray[np.bool_]:
    """Which stretches are not wholly before or after every other one, by step and time."""
    reach, latest = np.maximum.accumulate(headers.last)[:-1], np.maximum.accumulate(headers.last_at)[:-1]
    following, following_at = headers.first[1:], headers.first_at[1:]
    clash = (reach > following) | ((reach == following) & (latest >= following_at))
    found = np.zeros(len(headers.ids), bool)
    found[1:] |= clash
    found[:-1] |= clash
    return found


def drawn_from(headers: Headers, points: Columns, drawn: Span) -> Bucketed:
    """The envelope of whole stretches and of points (ordered, inside the span) that lie between them."""
    pieces = _pieces(headers, points)
    if not len(headers.ids) and len(points.steps) <= drawn.pixels:
        return pieces
    columns = drawn.column(pieces.first)
    starts = np.flatnonzero(np.diff(columns, prepend=-1))
    ends = np.append(starts[1:], len(columns)) - 1
    return Bucketed(
        first=pieces.first[starts],
        last=pieces.last[ends],
        counts=np.add.reduceat(pieces.counts, starts),
        low=np.fmin.reduceat(pieces.low, starts),
        high=np.fmax.reduceat(pieces.high, starts),
        close=pieces.close[ends],
        times=np.maximum.reduceat(pieces.times, starts),
    )


def _pieces(headers: Headers, points: Columns) -> Bucketed:
    steps, times, values = points
    single = Bucketed(steps, steps, np.ones(len(steps), np.int64), values, values, values, times)
    if not len(headers.ids):
        return single
    whole = Bucketed(headers.first, headers.last, headers.counts, headers.low, headers.high, headers.close, headers.last_at)
    if not len(steps):
        return whole
    order = np.lexsort((np.concatenate((headers.first_at, times)), np.concatenate((headers.first, steps))))
    return Bucketed(
        first=np.concatenate((whole.first, steps))[order],
        last=np.concatenate((whole.last, steps))[order],
        counts=np.concatenate((whole.counts, single.counts))[order],
        low=np.concatenate((whole.low, values))[order],
        high=np.concatenate((whole.high, values))[order],
        close=np.concatenate((whole.close, values))[order],
        times=np.concatenate((whole.times, times))[order],
    )
