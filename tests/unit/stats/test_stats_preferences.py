"""Preferences with ties."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from tidegate.stats import preferences
from tidegate.stats.proportions import tango


def _wins(won: int, lost: int, tied: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return np.concatenate([np.ones(won), np.zeros(lost), np.full(tied, 0.5)])


def test_net_wins_are_paired_proportions() -> None:
    """A win is a pair that only the candidate has right: PropCIs' example b = 40, c = 20, n = 160."""
    found = preferences.net_wins(_wins(40, 20, 100), confidence=0.95)
    assert (found.value, found.low, found.high) == (0.125, pytest.approx(0.03086, abs=1e-5), pytest.approx(0.21806, abs=1e-5))
    assert found == tango(40, 20, 160, confidence=0.95)


def test_a_win_rate_is_half_of_one_more_than_the_net() -> None:
    wins = _wins(30, 10, 60)
    rate = preferences.win_rate(preferences.net_wins(wins, confidence=0.95))
    assert rate.value == pytest.approx(wins.mean())
    other = preferences.win_rate(preferences.net_wins(1 - wins, confidence=0.95))
    assert (rate.low, rate.high) == (pytest.approx(1 - other.high), pytest.approx(1 - other.low))


def test_the_sign_test_leaves_ties_out() -> None:
    exact, midp = preferences.sign_test(_wins(15, 5, 80))
    assert exact == pytest.approx(stats.binomtest(15, 20).pvalue)
    assert exact - stats.binom.pmf(5, 20, 0.5) == pytest.approx(midp)


def test_averaged_raters_are_no_decided_items() -> None:
    assert preferences.is_decided(_wins(1, 1, 1))
    assert not preferences.is_decided(np.array([0.25]))
    assert preferences.counts(np.array([1, 1, 0, 0.5, 0.75])) == (2, 1, 2)
