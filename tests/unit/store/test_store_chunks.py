import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.errors import IntegrityError
from tidegate.store.chunks import Columns, decode, encode, from_raw, header, joined, ordered, raw, split

WHOLE = st.integers(-(2**63), 2**63 - 1)
POINTS = st.one_of(
    st.lists(st.tuples(WHOLE, WHOLE, st.floats(width=64)), min_size=1, max_size=60),
    st.lists(
        st.tuples(st.integers(0, 9), st.integers(0, 9).map(lambda ms: ms * 1000), st.floats(width=32)), min_size=1, max_size=60
    ),
)


def columns(points):
    steps, times, values = zip(*points, strict=True)
    return Columns(np.array(steps, np.int64), np.array(times, np.int64), np.array(values, np.float64))


def bits(values):
    """The bits of floats; a NaN is a NaN."""
    return [None if math.isnan(value) else np.float64(value).view(np.int64).item() for value in values.tolist()]


def same(one, two):
    return (
        one.steps.tolist() == two.steps.tolist()
        and one.times.tolist() == two.times.tolist()
        and bits(one.values) == bits(two.values)
    )


@given(POINTS)
def test_what_is_packed_comes_back_bit_by_bit(points):
    given_points = columns(points)
    assert same(decode(encode(given_points)), given_points)
    assert same(from_raw(raw(given_points)), given_points)


@pytest.mark.parametrize("value", [-0.0, math.inf, -math.inf, math.nan, 5e-324, 1.7976931348623157e308, 0.1, 2.0**-149])
@pytest.mark.parametrize("count", [1, 2, 1000])
def test_every_float_is_a_value(value, count):
    given_points = Columns(np.arange(count), np.zeros(count, np.int64), np.full(count, value))
    assert same(decode(encode(given_points)), given_points)


@given(POINTS, st.data())
def test_a_damaged_byte_is_never_taken_for_data(points, data):
    packed = bytearray(encode(columns(points)))
    place = data.draw(st.integers(0, len(packed) - 1))
    packed[place] ^= data.draw(st.integers(1, 255))
    with pytest.raises(IntegrityError) as caught:
        decode(bytes(packed))
    assert caught.value.code == "series-damaged"


@given(POINTS, st.data())
def test_a_cut_stretch_is_never_taken_for_data(points, data):
    packed = encode(columns(points))
    with pytest.raises(IntegrityError):
        decode(packed[: data.draw(st.integers(0, len(packed) - 1))])
    with pytest.raises(IntegrityError):
        decode(packed + b"x")
    with pytest.raises(IntegrityError):
        from_raw(raw(columns(points))[:-1])


def test_a_newer_format_is_told():
    packed = b"\x02" + encode(columns([(1, 1, 1.0)]))[1:]
    with pytest.raises(IntegrityError) as caught:
        decode(packed)
    assert "version 2" in caught.value.why


@given(POINTS)
def test_ordered_points_are_sorted_and_each_one_once(points):
    def key(point):
        return point[0], point[1], math.isnan(point[2]), 0.0 if math.isnan(point[2]) else point[2], math.copysign(1, point[2])

    def canonical(point):
        return (*point[:2], math.nan) if math.isnan(point[2]) else point

    expected = {(*key(canonical(point))[:4], key(point)[4] if point[2] == 0 else 0): canonical(point) for point in points}
    assert same(ordered(columns(points)), columns([expected[name] for name in sorted(expected)]))


@given(POINTS)
def test_a_header_tells_what_is_in_it(points):
    given_points = ordered(columns(points))
    told = header(given_points)
    numbers = [value for value in given_points.values.tolist() if not math.isnan(value)]
    assert (told.points, told.nans) == (len(given_points.steps), len(given_points.steps) - len(numbers))
    assert (told.min, told.max) == (min(numbers, default=None), max(numbers, default=None))
    assert (told.first_step, told.last_step) == (given_points.steps.min(), given_points.steps.max())
    assert (told.first_at, told.last_at) == (given_points.times.min(), given_points.times.max())
    last = given_points.values[-1]
    assert told.last == (None if math.isnan(last) else last)


@pytest.mark.parametrize(("count", "parts"), [(1, 1), (999, 1), (1499, 1), (1501, 2), (10_000, 10)])
def test_a_series_is_split_into_stretches_of_about_a_size(count, parts):
    whole = Columns(np.arange(count), np.arange(count), np.zeros(count))
    found = split(whole, 1000)
    assert len(found) == parts
    assert same(joined(found), whole)


@pytest.mark.parametrize(("short", "limit"), [(True, 4.6), (False, 8.6)])
def test_noisy_points_at_irregular_milliseconds_take_few_bytes(short, limit):
    random = np.random.default_rng(7)
    values = np.exp(-np.arange(20_000) / 5000) + random.normal(0, 0.05, 20_000)
    if short:
        values = values.astype(np.float32).astype(np.float64)
    times = (1_700_000_000_000 + np.cumsum(random.integers(1, 200, 20_000))) * 1000
    stretches = split(Columns(np.arange(20_000), times, values), 1000)
    assert sum(len(encode(part)) for part in stretches) / 20_000 < limit
