from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate import digest
from tidegate.clock import DAY, HOUR, Clock, format_time, from_us, parse_duration, parse_time, to_us
from tidegate.errors import UsageError


@given(st.datetimes(timezones=st.just(UTC), min_value=datetime(1900, 1, 1), max_value=datetime(2200, 1, 1)))  # noqa: DTZ001
def test_microseconds_and_back(moment):
    assert from_us(to_us(moment)) == moment


def test_a_time_without_offset_is_utc():
    assert parse_time("2013-06-01T00:00:00") == parse_time("2013-06-01T02:00:00+02:00")


@pytest.mark.parametrize(("text", "us"), [("6h", 6 * HOUR), ("2w", 14 * DAY), ("0s", 0)])
def test_durations(text, us):
    assert parse_duration(text) == us


@pytest.mark.parametrize("text", ["", "h", "1.5h", "-1h", "3 h", "5y", "١h"[1:], "²h", "1h\n", "36526d", "9" * 5000 + "s"])
def test_what_is_no_duration_is_refused(text):
    with pytest.raises(UsageError, match="is not a duration"):
        parse_duration(text)


def test_what_is_no_time_is_refused():
    with pytest.raises(UsageError, match="is not a time"):
        parse_time("yesterday")


@pytest.mark.parametrize("text", ["9999-12-31", "0001-01-01", "2256-01-01T00:00:00+00:00"])
def test_a_time_that_json_cannot_hold_is_refused(text):
    with pytest.raises(UsageError, match="too far from today"):
        parse_time(text)


def test_the_longest_duration_from_now_is_a_time():
    assert digest.canonical(parse_time("2155-01-01") + parse_duration("36525d"))


def test_a_replayed_clock_says_so():
    clock = Clock.replay(5)
    assert (clock.now(), clock.kind, Clock().kind) == (5, "replay", "system")


def test_times_are_shown_in_utc():
    assert format_time(0) == "1970-01-01 00:00:00Z"
