from __future__ import annotations

import numpy as np
import pytest

from tidegate.monitoring.performance import WindowMetric, healthy, performance_finding, window_metric
from tidegate.stats.estimate import UNKNOWN, Estimate


def estimate(value: float, error: float) -> Estimate:
    return Estimate(value, value - 1.96 * error, value + 1.96 * error)


@pytest.mark.parametrize(("between", "error"), [(0.0, 0.01), (0.02, 0.01), (0.02, 0.002)])
def test_healthy_windows_cross_the_bound_about_as_often_as_declared(between: float, error: float) -> None:
    rng = np.random.default_rng(1)
    crossed = 0
    for _ in range(2000):
        values = 0.5 + rng.normal(0, between, 9) + rng.normal(0, error, 9)
        bound = healthy([WindowMetric(value, error) for value in values[:8]], error, alpha=0.05, higher_is_better=False)
        assert bound is not None
        crossed += values[8] > bound.bound
    assert 0.02 <= crossed / 2000 <= 0.09


def test_the_bound_lies_on_the_side_of_harm() -> None:
    reference = [WindowMetric(value, 0.01) for value in (0.78, 0.8, 0.82)]
    higher = healthy(reference, 0.01, alpha=0.05, higher_is_better=True)
    lower = healthy(reference, 0.01, alpha=0.05, higher_is_better=False)
    assert higher is not None
    assert lower is not None
    assert higher.bound < 0.78
    assert lower.bound > 0.82
    assert higher.value - higher.bound == pytest.approx(lower.bound - lower.value)


def test_fewer_rows_need_a_larger_difference() -> None:
    reference = [WindowMetric(0.5, 0.01)] * 8
    sure, unsure = (healthy(reference, error, alpha=0.05, higher_is_better=False) for error in (0.01, 0.05))
    assert sure is not None
    assert unsure is not None
    assert unsure.bound > sure.bound


@pytest.mark.parametrize(("estimated", "windows"), [(UNKNOWN, 8), (estimate(0.9, 0.01), 2), (estimate(0.9, 0.01), 0)])
def test_what_cannot_be_compared_has_no_ratio(estimated: Estimate, windows: int) -> None:
    found = performance_finding(
        "log_loss",
        estimated,
        [WindowMetric(0.5, 0.01)] * windows,
        alpha=0.05,
        higher_is_better=False,
        rows=500,
        version=1,
        note="n",
    )
    assert found.ratio is None
    assert found.note


def test_the_ratio_is_0_at_the_usual_value_and_1_at_the_bound() -> None:
    reference = [WindowMetric(value, 0.01) for value in (0.48, 0.5, 0.52)]
    usual = healthy(reference, 0.01, alpha=0.05, higher_is_better=False)
    assert usual is not None
    ratios = [
        performance_finding(
            "log_loss", estimate(value, 0.01), reference, alpha=0.05, higher_is_better=False, rows=500, version=1, note=""
        ).ratio
        for value in (usual.value, usual.bound)
    ]
    assert ratios == pytest.approx([0, 1], abs=1e-4)


def test_an_interval_gives_its_standard_error() -> None:
    measured = window_metric(estimate(0.5, 0.02))
    assert measured is not None
    assert measured.error == pytest.approx(0.02, rel=1e-3)
    assert window_metric(UNKNOWN) is None
