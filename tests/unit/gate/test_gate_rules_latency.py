"""How long models take, measured in turns. Times vary; what is tested is the order of calls, the bound and the failures."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl
import pytest
from gate_subjects import case, column, rule, version

from tidegate.clock import Clock
from tidegate.data import Datasets
from tidegate.gate.rules import decide, latency
from tidegate.gate.rules.bound import at_most
from tidegate.gate.rules.latency import take_turns
from tidegate.records.model import ModelVersion
from tidegate.records.report import RuleResult
from tidegate.records.verdict import Verdict
from tidegate.stats.estimate import Estimate
from tidegate.store import Store

NAMES = ["wind"]


class Slow:
    """A model that takes so long for a call."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def predict(self, columns: Mapping[str, object]) -> dict[str, Any]:
        assert list(columns) == NAMES
        end = time.perf_counter() + self.seconds
        while time.perf_counter() < end:
            pass
        return {}


class Shelf:
    """Models by version; one that is not there breaks."""

    def __init__(self, seconds: dict[int, float]) -> None:
        self.seconds = seconds

    def load(self, version: ModelVersion | str, *, allow_code: bool = False) -> Slow:
        assert isinstance(version, ModelVersion)
        return Slow(self.seconds[version.version])


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latency, "BUDGET", 5e8)


def _judged(store: Store, clock: Clock, seconds: dict[int, float], *, champion: bool = True, **keys: Any) -> RuleResult:
    datasets = Datasets(store.bucket, store.catalog, clock)
    snapshot = datasets.snapshot(pl.DataFrame({"wind": np.arange(50.0), "late": [0, 1] * 25}), "eval")
    inputs = [column("wind", shape=(-1, 1))]
    incumbent = version(1, inputs) if champion else None
    found = case(store, datasets, version(2, inputs), incumbent, snapshot=snapshot, models=Shelf(seconds))
    return decide(rule("latency", **keys), found, confidence=0.95, seed=0)


def test_a_bound_in_milliseconds(store: Store, clock: Clock) -> None:
    fast = _judged(store, clock, {1: 0.001, 2: 0.001}, value=200.0)
    assert (fast.verdict, fast.metric) == (Verdict.PASS, "latency")
    assert fast.candidate.estimate is not None
    assert fast.candidate.low is not None
    assert 1 <= fast.candidate.low <= fast.candidate.estimate
    assert _judged(store, clock, {1: 0.001, 2: 0.002}, value=1.9).verdict is Verdict.FAIL
    assert {"candidate_p99_ms", "candidate_batch_ms_per_row", "champion_p99_ms", "ratio"} <= set(fast.details)


def test_a_bound_by_the_champion(store: Store, clock: Clock) -> None:
    slow = _judged(store, clock, {1: 0.0002, 2: 0.004}, value=1.5, relative=True)
    assert (slow.verdict, slow.relative) == (Verdict.FAIL, True)
    assert slow.details["ratio"] is not None
    assert slow.details["ratio"] > 1.5
    assert _judged(store, clock, {1: 0.004, 2: 0.0002}, value=1.5, relative=True).verdict is Verdict.PASS


def test_without_a_champion_there_is_no_time_to_keep_to(store: Store, clock: Clock) -> None:
    found = _judged(store, clock, {2: 0.0005}, champion=False, value=1.5, relative=True)
    assert (found.verdict, found.champion) == (Verdict.PASS, None)
    assert _judged(store, clock, {2: 0.002}, champion=False, value=1.0).verdict is Verdict.FAIL


def test_a_model_that_breaks_is_invalid(store: Store, clock: Clock) -> None:
    found = _judged(store, clock, {2: 0.0005}, value=1.5)
    assert found.problem is not None
    assert (found.verdict, found.problem.code) == (Verdict.INVALID, "prediction-failed")
    assert "delay@1" in found.problem.what


def test_both_are_asked_in_turn_and_equally_often() -> None:
    asked: list[tuple[int, int]] = []

    def model(name: int) -> latency.Timed:
        def timed(columns: Mapping[str, Any]) -> float:
            asked.append((name, len(columns["wind"])))
            return 1e5 * (name + 1)

        return timed

    times = take_turns([model(0), model(1)], {"wind": np.arange(10.0)})
    assert [each.medians.tolist() for each in times] == [[1e5] * times[0].medians.size, [2e5] * times[0].medians.size]
    assert times[0].calls.size == times[1].calls.size
    assert times[0].batches[0] == 1e4
    after = [name for name, rows in asked[2 * latency.WARM_UP + 2 :] if rows == 1]
    assert after[:8] == [0, 1, 1, 0, 0, 1, 1, 0]
    first, second = ([place for place, name in enumerate(after) if name == each] for each in (0, 1))
    assert abs(np.mean(first) - np.mean(second)) < 1


def test_a_slow_model_is_asked_less_often() -> None:
    times = take_turns([lambda _: 1e9], {"wind": np.arange(10.0)})
    assert (times[0].medians.size, times[0].calls.size) == (latency.FEWEST, 2 * latency.FEWEST)


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (1, 2, Verdict.PASS),
        (2, 3, Verdict.INCONCLUSIVE),
        (2.1, 3, Verdict.FAIL),
        (float("nan"), float("nan"), Verdict.INCONCLUSIVE),
    ],
)
def test_the_interval_decides(low: float, high: float, verdict: Verdict) -> None:
    assert at_most(Estimate(2.5, low, high), 2.0) is verdict


@pytest.mark.parametrize("models", [1, 2])
def test_a_model_that_is_fast_only_in_its_warm_up_does_not_hold_the_gate_up(models: int) -> None:
    asked: list[int] = []

    def sly(_columns: Mapping[str, Any]) -> float:
        asked.append(1)
        return 1e3 if len(asked) <= models * (latency.WARM_UP + 1) else 1e9

    times = take_turns([sly] * models, {"wind": np.arange(10.0)})
    assert [each.medians.size for each in times] == [latency.FEWEST] * models
    assert len(asked) < models * (latency.WARM_UP + 1 + 4 * latency.FEWEST)
    assert times[0].medians[1:].tolist() == [1e9] * (latency.FEWEST - 1)
