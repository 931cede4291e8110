"""Intervals from moments: against SciPy and textbooks, and under their laws."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats

from tidegate.stats.estimate import Floats
from tidegate.stats.moments import Moments, gather_moments
from tidegate.stats.smooth import abc, flip_probability, hall, influence_values, localise, student, wider


def _mean(unit: Any) -> Any:
    return unit[..., 0]


def _ratio(unit: Any) -> Any:
    return unit[..., 1] / unit[..., 0]


def _root(unit: Any) -> Any:
    return np.sqrt(unit[..., 0])


def _moments(*columns: Floats) -> Moments:
    return gather_moments(columns)


GAMMA = np.random.default_rng(3).gamma(1.5, size=60)


def test_of_a_mean_the_interval_is_students() -> None:
    local = localise(_mean, _moments(GAMMA))
    found = student(local, confidence=0.9, differing=60, largest=0, scale=0)
    expected = stats.ttest_1samp(GAMMA, 0).confidence_interval(0.9)
    assert found == pytest.approx((GAMMA.mean(), expected.low, expected.high, 59))


def test_the_delta_method_of_a_ratio_is_cochrans() -> None:
    rng = np.random.default_rng(4)
    size, total = rng.gamma(5, size=80), rng.gamma(9, size=80)
    local = localise(_ratio, _moments(size, total))
    residual = total - local.value * size
    assert local.variance == pytest.approx(np.square(residual).sum() / size.mean() ** 2 / 80 / 79)
    units = np.column_stack([size, total])
    assert influence_values(local, units) == pytest.approx(residual / size.sum())


def test_abc_of_a_mean_is_in_the_textbook() -> None:
    """Efron & Tibshirani (1993), page 330: w = a + z, then a step of w / (1 - a w)^2 standard errors; here with t for z."""
    moments = _moments(GAMMA)
    local = localise(_mean, moments)
    apart = GAMMA - GAMMA.mean()
    a = (apart**3).sum() / (6 * np.square(apart).sum() ** 1.5)
    start = stats.norm.ppf(2 * stats.norm.cdf(a) * 0.5)
    found = abc(_mean, moments, local, confidence=0.95)
    for sign, end in ((-1, found.low), (1, found.high)):
        w = start + sign * stats.t.ppf(0.975, 59)
        assert end == pytest.approx(GAMMA.mean() + w / (1 - a * w) ** 2 * np.sqrt(local.variance))


@pytest.mark.parametrize("function", [_mean, _root])
def test_abc_and_bca_agree(function: Any) -> None:
    moments = _moments(GAMMA)
    found = abc(function, moments, localise(function, moments), confidence=0.95)
    expected = stats.bootstrap(
        (GAMMA,),
        lambda rows, axis=-1: function(rows.mean(axis=axis)[..., None]),
        n_resamples=20_000,
        rng=np.random.default_rng(5),
    ).confidence_interval
    width = expected.high - expected.low
    assert found.low == pytest.approx(expected.low, abs=0.06 * width)
    assert found.high == pytest.approx(expected.high, abs=0.06 * width)


def test_the_long_tail_gets_the_longer_arm() -> None:
    moments = _moments(GAMMA)
    local = localise(_mean, moments)
    for found in (abc(_mean, moments, local, confidence=0.95), hall(local, confidence=0.95)):
        assert found.high - found.value > 1.1 * (found.value - found.low)


def test_without_skewness_all_three_are_one() -> None:
    even = np.concatenate([GAMMA, -GAMMA])
    moments = _moments(even)
    local = localise(_mean, moments)
    expected = student(local, confidence=0.95, differing=120, largest=0, scale=0)
    for found in (abc(_mean, moments, local, confidence=0.95), hall(local, confidence=0.95)):
        assert found == pytest.approx(expected, abs=1e-9)
    assert wider(expected, found) == pytest.approx(expected, abs=1e-9)


def test_scaling_losses_scales_intervals() -> None:
    for factor in (1e-6, 3.0, 1e9):
        one, other = _moments(GAMMA), _moments(factor * GAMMA)
        for method in (
            lambda m: abc(_mean, m, localise(_mean, m), confidence=0.95),
            lambda m: hall(localise(_mean, m), confidence=0.95),
        ):
            assert [factor * end for end in method(one)[:3]] == pytest.approx(method(other)[:3], rel=1e-6)


def test_few_or_no_differences_are_not_certain() -> None:
    nothing = localise(_mean, _moments(np.zeros(200)))
    found = student(nothing, confidence=0.95, differing=0, largest=0, scale=2.0)
    z = stats.norm.ppf(0.975)
    assert found.high == -found.low == pytest.approx(2 * z * z / (200 + z * z))
    some = np.zeros(200)
    some[:3] = -0.5
    local = localise(_mean, _moments(some))
    found = student(local, confidence=0.95, differing=3, largest=0.5 / 200, scale=2.0)
    assert found.low < found.value < 0 < found.high


def test_where_it_is_not_smooth_there_is_no_interval() -> None:
    local = localise(_ratio, _moments(np.zeros(5), np.ones(5)))
    assert np.isnan(student(local, confidence=0.95, differing=5, largest=0, scale=1).low)
    assert np.isnan(abc(_ratio, _moments(np.zeros(5), np.ones(5)), local, confidence=0.95).low)
    one = localise(_mean, _moments(np.ones(1)))
    assert np.isnan(student(one, confidence=0.95, differing=1, largest=0, scale=1).low)


def test_sign_flips() -> None:
    rng = np.random.default_rng(6)
    values = rng.normal(0.3, 1, 40)
    local = localise(_mean, _moments(values))
    drawn = flip_probability(local, influence_values(local, values[:, None]), rng)
    normal = flip_probability(local, None, rng)
    assert drawn == pytest.approx(stats.ttest_1samp(values, 0).pvalue, abs=0.02)
    assert normal == pytest.approx(drawn, abs=0.03)
    assert np.isnan(flip_probability(localise(_mean, _moments(np.zeros(9))), np.zeros(9), rng))


@pytest.mark.parametrize("size", [1e-160, 1e198])
def test_numbers_at_the_ends_of_what_floats_hold_break_nothing(size: float) -> None:
    """Their squares are 0 or infinite: what cannot be told gets no interval."""
    values = size * np.random.default_rng(0).normal(2, 1, size=300)
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        moments = gather_moments([values])
    local = localise(lambda mean: mean[..., 0], moments)
    found = student(local, confidence=0.95, differing=300, largest=0.0, scale=1.0)
    assert found.value == pytest.approx(values.mean())
    assert size > 1 or found.low < found.high
    assert size < 1 or np.isnan(found.low)
