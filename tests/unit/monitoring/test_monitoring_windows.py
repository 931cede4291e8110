from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.clock import DAY, from_us, parse_time
from tidegate.errors import UsageError
from tidegate.monitoring.windows import SILENT_WINDOWS, due_spans, span_of, span_of_key, window_key, window_length
from tidegate.records.policy import MonitoringPolicy

WEEKLY = MonitoringPolicy(window="1w", label_wait="1d")
DAILY = MonitoringPolicy(window="1d", label_wait="1d")


@given(st.integers(0, 4_000_000_000_000_000), st.integers(1, 20))
def test_a_time_lies_in_its_window_and_windows_meet(us: int, days: int) -> None:
    span = span_of(us, days * DAY)
    assert span.start <= us < span.end
    assert span_of(span.end, days * DAY).start == span.end
    assert span.start % DAY == 0


@given(st.integers(0, 4_000_000_000_000_000))
def test_weeks_start_on_monday(us: int) -> None:
    assert from_us(span_of(us, 7 * DAY).start).weekday() == 0


def test_a_window_is_due_when_its_labels_had_their_time() -> None:
    noon = parse_time("2013-06-03T12:00:00")
    end = parse_time("2013-06-10")
    assert due_spans(["2013-06-03"], WEEKLY, end + DAY - 1) == []
    assert due_spans(["2013-06-03"], WEEKLY, end + DAY) == [span_of(noon, 7 * DAY)]


def test_silence_is_noticed_but_not_for_ever() -> None:
    years_later = parse_time("2026-01-01")
    spans = due_spans(["2013-06-03"], DAILY, years_later)
    assert len(spans) == 1 + SILENT_WINDOWS
    with_gap = due_spans(["2013-06-03", "2013-06-05", "2020-01-01"], DAILY, years_later)
    assert len(with_gap) == len(set(with_gap)) == 2 + (1 + SILENT_WINDOWS) * 2
    assert with_gap == sorted(with_gap)


def test_a_window_is_a_whole_number_of_days() -> None:
    with pytest.raises(UsageError) as caught:
        window_length(MonitoringPolicy(window="6h"))
    assert caught.value.code == "bad-window"


def test_a_key_tells_its_span() -> None:
    span = span_of(parse_time("2013-06-03"), 7 * DAY)
    assert span_of_key(window_key("delay", span)) == span
