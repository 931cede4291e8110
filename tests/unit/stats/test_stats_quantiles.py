"""Quantiles with order-statistic intervals."""

from __future__ import annotations

import numpy as np
import pytest

from tidegate.stats.quantiles import quantile


@pytest.mark.parametrize(
    ("n", "level", "low", "high"),
    [
        (6, 0.5, 1, 6),  # 1 - 2 / 64 = 0.969: the smallest n with an interval at 95%
        (10, 0.5, 2, 9),  # 0.979, Hahn & Meeker (1991), table A.15
        (100, 0.5, 40, 61),
        (100, 0.9, 84, 96),
    ],
)
def test_the_ends_are_order_statistics(n: int, level: float, low: int, high: int) -> None:
    found = quantile(np.arange(n, 0, -1), level, confidence=0.95)
    assert (found.low, found.high) == (low, high)


def test_the_binomial_tails_are_at_most_what_is_allowed() -> None:
    from scipy.stats import binom

    for n in (6, 31, 100, 1000):
        for level in (0.25, 0.5, 0.9, 0.99):
            found = quantile(np.arange(1, n + 1), level, confidence=0.95)
            if np.isfinite(found.low):
                assert binom.cdf(found.low - 1, n, level) <= 0.025 < binom.cdf(found.low, n, level)
            if np.isfinite(found.high):
                assert binom.sf(found.high - 1, n, level) <= 0.025 < binom.sf(found.high - 2, n, level)


def test_too_few_values_have_no_interval() -> None:
    assert np.isnan(quantile([1.0, 2.0, 3.0], 0.5, confidence=0.95).low)
    assert np.isnan(quantile(np.arange(100), 0.99, confidence=0.95).high)
    assert np.isnan(quantile([], 0.5, confidence=0.95).value)


def test_it_holds_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(1)
    found = [quantile(rng.exponential(size=41), 0.5, confidence=0.95) for _ in range(2000)]
    covered = np.mean([each.low <= np.log(2) <= each.high for each in found])
    assert 0.95 - 3 * np.sqrt(0.95 * 0.05 / 2000) <= covered < 0.99
