"""The largest difference of several values, by brute force and by simulation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.stats.estimate import Estimate
from tidegate.stats.gaps import gap
from tidegate.stats.proportions import wilson

COUNTS = st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)).filter(any), min_size=2, max_size=6)


def _shares(counts: list[tuple[int, int]]) -> list[Estimate]:
    return [wilson(right, right + wrong, confidence=0.95) for right, wrong in counts]


@given(COUNTS, st.booleans())
def test_the_gap_is_that_of_the_outermost_pair(counts: list[tuple[int, int]], dependent: bool) -> None:
    values = _shares(counts)
    found = gap(values, confidence=0.95, dependent=dependent)
    numbers = [each.value for each in values]
    assert found.estimate.value == pytest.approx(max(numbers) - min(numbers))
    assert numbers[found.highest] - numbers[found.lowest] == pytest.approx(found.estimate.value)
    assert 0 <= found.estimate.low <= found.estimate.value + 1e-12
    assert found.estimate.value <= found.estimate.high


@given(COUNTS)
def test_dependence_and_more_statements_only_widen(counts: list[tuple[int, int]]) -> None:
    values = _shares(counts)
    plain = gap(values, confidence=0.95).estimate
    for wider in (gap(values, confidence=0.95, dependent=True).estimate, gap(values, confidence=0.95, parts=2).estimate):
        assert wider.low <= plain.low + 1e-12
        assert wider.high >= plain.high - 1e-12


def test_two_slices_are_newcombes_interval() -> None:
    """Of two independent proportions, 56/70 and 48/80: Newcombe, Statistics in Medicine 17 (1998), 873-890, table II, method 10."""
    found = gap([wilson(56, 70, confidence=0.95), wilson(48, 80, confidence=0.95)], confidence=0.95).estimate
    assert found.value == pytest.approx(0.2)
    assert found.high == pytest.approx(0.3339, abs=5e-5)


@pytest.mark.slow
@pytest.mark.parametrize("shares", [(0.8, 0.8, 0.8, 0.8), (0.9, 0.8, 0.8, 0.8), (0.9, 0.9, 0.8, 0.8), (0.95, 0.85)])
def test_ends_are_wrong_as_seldom_as_they_say(shares: tuple[float, ...]) -> None:
    rng, trials = np.random.default_rng(3), 3000
    truth, wrong = max(shares) - min(shares), np.zeros(2)
    for _ in range(trials):
        counts = rng.binomial(200, shares)
        found = gap([wilson(int(each), 200, confidence=0.95) for each in counts], confidence=0.95).estimate
        wrong += (truth < found.low, truth > found.high)
    assert (wrong / trials).max() <= 0.025 + 3 * np.sqrt(0.025 * 0.975 / trials)
