"""The evaluation rows are young enough, by their newest time or by when they were taken."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest
from gate_subjects import case, rule, version

from tidegate.clock import DAY, Clock, from_us
from tidegate.data import Datasets
from tidegate.gate.rules import decide
from tidegate.records.report import RuleResult
from tidegate.records.verdict import Verdict
from tidegate.store import Store


class Desk:
    """A store whose clock stands at noon, and snapshots of times."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self.store, self.now = store, clock.now()
        self.datasets = Datasets(store.bucket, store.catalog, clock)

    def judged(self, times: Any, *, later: int = 0, **keys: Any) -> RuleResult:
        snapshot = self.datasets.snapshot(pl.DataFrame({"at": times, "late": [0] * len(times)}), "rows")
        found = case(self.store, self.datasets, version(), snapshot=snapshot, now=self.now + later)
        return decide(rule("freshness", **keys), found, confidence=0.95, seed=0)


@pytest.fixture
def desk(store: Store, clock: Clock) -> Desk:
    return Desk(store, clock)


def _ago(desk: Desk, *days: float) -> list[Any]:
    return [from_us(desk.now - int(day * DAY)).replace(tzinfo=None) for day in days]


def test_the_newest_row_counts(desk: Desk) -> None:
    found = desk.judged(_ago(desk, 400, 30, 90), max_age="30d", time="at")
    assert (found.verdict, found.metric, found.candidate.estimate) == (Verdict.PASS, "age", 30)
    assert desk.judged(_ago(desk, 30), later=1, max_age="30d", time="at").verdict is Verdict.INVALID


def test_rows_that_are_too_old_are_invalid_and_told(desk: Desk) -> None:
    found = desk.judged(_ago(desk, 40.25), max_age="30d", time="at")
    assert found.problem is not None
    assert (found.verdict, found.problem.code) == (Verdict.INVALID, "snapshot-stale")
    assert "40 days ago; allowed are 30d" in found.reason


def test_without_a_time_the_snapshot_itself_counts(desk: Desk) -> None:
    assert desk.judged(_ago(desk, 4000), later=7 * DAY, max_age="7d").verdict is Verdict.PASS
    assert desk.judged(_ago(desk, 0), later=7 * DAY + 1, max_age="7d").verdict is Verdict.INVALID


def test_dates_texts_and_zones_are_times(desk: Desk) -> None:
    texts = [moment.isoformat() for moment in _ago(desk, 5)]
    zoned = [from_us(desk.now - 5 * DAY)]
    for times in (texts, zoned):
        assert desk.judged(times, max_age="5d", time="at").candidate.estimate == 5
    assert desk.judged([moment.date() for moment in _ago(desk, 5)], max_age="6d", time="at").candidate.estimate == 5.5


@pytest.mark.parametrize(
    ("times", "time", "code"),
    [([1, 2], "at", "not-a-time"), (["soon"], "at", "time-missing"), (["2013-01-01"], "when", "column-missing")],
)
def test_what_is_no_time_is_invalid(desk: Desk, times: Any, time: str, code: str) -> None:
    found = desk.judged(times, max_age="30d", time=time)
    assert found.problem is not None
    assert (found.verdict, found.problem.code) == (Verdict.INVALID, code)


def test_rows_from_the_future_are_invalid(desk: Desk) -> None:
    assert desk.judged(_ago(desk, -0.5), max_age="30d", time="at").verdict is Verdict.PASS  # a clock may be a little off
    found = desk.judged(_ago(desk, -2), max_age="30d", time="at")
    assert found.problem is not None
    assert (found.verdict, found.problem.code) == (Verdict.INVALID, "time-in-future")
