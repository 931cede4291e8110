from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.clock import DAY, from_us, parse_time
from tidegate.errors import IntegrityError, UsageError
from tidegate.monitoring.windows import (
    SILENT_WINDOWS,
    closed_spans,
    due_spans,
    read_windows,
    span_of,
    window_key,
    window_length,
)
from tidegate.records.monitoring import Window
from tidegate.records.policy import MonitoringPolicy
from tidegate.store.bucket import FolderBucket

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


def test_closed_windows_are_read_in_order_and_a_damaged_one_is_told(tmp_path: Path) -> None:
    bucket = FolderBucket(tmp_path)
    spans = [span_of(parse_time(day), 7 * DAY) for day in ("2013-06-10", "2013-06-03")]
    for span in spans:
        window = Window(model="delay", start=span.start, end=span.end, versions=[], rows=0, labelled=0, closed_at=0, findings=[])
        bucket.put_if_absent(window_key("delay", span), msgspec.json.encode(window))
    bucket.put_if_absent("monitoring/delay/windows/notes.txt", b"somebody's own file")
    assert closed_spans(bucket, "delay") == sorted(spans)
    assert [window.start for window in read_windows(bucket, "delay")] == sorted(span.start for span in spans)
    assert [window.start for window in read_windows(bucket, "delay", limit=1)] == [max(spans).start]
    bucket.put_if_absent(window_key("delay", span_of(parse_time("2013-06-17"), 7 * DAY)), b"{")
    with pytest.raises(IntegrityError) as caught:
        read_windows(bucket, "delay")
    assert caught.value.code == "window-damaged"
