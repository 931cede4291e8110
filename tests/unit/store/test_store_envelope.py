"""The envelope of random series, packed and loose, against the points themselves."""

import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tidegate.store.chunks import Columns, header, joined, ordered
from tidegate.store.envelope import Headers, drawn_from, span, to_unpack

STEPS = st.one_of(st.integers(0, 30), st.integers(-400, 400), st.integers(-(2**63), 2**63 - 1))
VALUES = st.one_of(st.floats(-5, 5), st.just(math.nan), st.just(math.inf))
POINT = st.tuples(STEPS, st.integers(0, 3), VALUES)
CHUNK = st.one_of(
    st.lists(POINT, min_size=1, max_size=30),
    st.tuples(st.integers(-500, 500), st.integers(1, 40)).map(
        lambda run: [(run[0] + place, run[0], place / 7) for place in range(run[1])]
    ),
)


def columns(points):
    steps, times, values = zip(*points, strict=True) if points else ((), (), ())
    return Columns(np.array(steps, np.int64), np.array(times, np.int64), np.array(values, np.float64))


def cut(points, first, last):
    return points.part((points.steps >= first) & (points.steps <= last))


def envelope(chunks, loose, pixels, first, last):
    """What the store does, without a database; tells which chunks were unpacked too."""
    low, high = (-(2**63) if first is None else first), (2**63 - 1 if last is None else last)
    found = [chunk for chunk in chunks if chunk.steps[-1] >= low and chunk.steps[0] <= high]
    found.sort(key=lambda chunk: (chunk.steps[0], chunk.times.min()))
    heads = [header(chunk) for chunk in found]
    whole = [np.array([head[place] for head in heads], np.int64) for place in (0, 2, 3, 4, 5)]
    numbers = [np.array([head[place] for head in heads], np.float64) for place in (6, 7, 8)]
    headers = Headers(np.arange(len(found)), *whole, *numbers)
    loose = cut(loose, low, high)
    drawn = span(headers, loose, pixels=pixels, first=first, last=last)
    mask = to_unpack(headers, loose, drawn)
    opened = [found[place] for place in np.flatnonzero(mask)]
    return drawn_from(headers.chosen(~mask), ordered(cut(joined([*opened, loose]), low, high)), drawn), mask


def check(found, points, pixels, stored=None):
    """``stored`` counts a point again that is in two chunks: only unpacking tells that it is one."""
    assert int(found.counts.sum()) == len(points.steps)
    if (len(points.steps) if stored is None else stored) <= pixels:
        assert np.array_equal(found.first, points.steps)
        assert np.array_equal(found.low, points.values, equal_nan=True)
        assert np.array_equal(found.high, points.values, equal_nan=True)
    place = 0
    previous = None
    for first, last, count, low, high, close, at in zip(*found, strict=True):
        inside = points.part(slice(place, place + count))
        place += count
        numbers = inside.values[~np.isnan(inside.values)]
        assert (first, last) == (inside.steps[0], inside.steps[-1])
        assert np.array_equal([low, high], [numbers.min(), numbers.max()] if len(numbers) else [math.nan] * 2, equal_nan=True)
        assert np.array_equal(close, inside.values[-1], equal_nan=True)
        assert at == inside.times.max()
        assert previous is None or first >= previous
        previous = last


@settings(max_examples=300)
@given(
    st.lists(CHUNK, max_size=12),
    st.lists(POINT, max_size=12),
    st.integers(1, 60),
    st.none() | STEPS,
    st.none() | STEPS,
)
def test_every_point_is_in_one_stretch_and_no_extreme_is_lost(chunks, loose, pixels, first, last):
    packed = [ordered(columns(points)) for points in chunks]
    low, high = (-(2**63) if first is None else first), (2**63 - 1 if last is None else last)
    points = ordered(cut(joined([*packed, columns(loose)]), low, high))
    found, _ = envelope(packed, columns(loose), pixels, first, last)
    stored = len(loose) + sum(len(chunk.steps) for chunk in packed)
    check(found, points, pixels, stored)
    assert len(found.first) <= max(pixels, min(len(points.steps), pixels))


def test_a_long_series_is_drawn_from_headers_alone():
    chunks = [Columns(np.arange(start, start + 100), np.arange(100), np.sin(np.arange(100))) for start in range(0, 10_000, 100)]
    for pixels, opened in ((100, 0), (50, 0), (200, 0), (1000, 100)):
        found, mask = envelope(chunks, columns([]), pixels, None, None)
        assert mask.sum() == opened
        check(found, joined(chunks), pixels)


def test_only_stretches_under_loose_points_and_at_the_ends_are_unpacked():
    chunks = [Columns(np.arange(start, start + 100), np.arange(100), np.sin(np.arange(100))) for start in range(0, 10_000, 100)]
    found, mask = envelope(chunks, columns([(555, 9, 70.0)]), 100, 50, 9950)
    assert np.flatnonzero(mask).tolist() == [0, 5, 99]
    assert np.nanmax(found.high) == 70.0


def test_one_step_in_many_stretches_is_one_column():
    """A run that never counts steps: stretches that follow each other in time need no unpacking."""
    chunks = [Columns(np.zeros(50, np.int64), np.arange(start, start + 50), np.arange(50.0)) for start in range(0, 1000, 50)]
    found, mask = envelope(chunks, columns([]), 100, None, None)
    assert not mask.any()
    assert (found.counts.tolist(), found.close.tolist(), found.times.tolist()) == ([1000], [49.0], [999])
