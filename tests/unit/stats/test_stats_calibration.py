"""Calibration error: its value, and an interval that holds in spite of the bias."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.calibration import calibration_curve

from tidegate.stats.calibration import Calibration, bin_codes, calibration, difference, interval

Make = Callable[[np.random.Generator, int], tuple[Any, list[Any]]]


def said(rng: np.random.Generator, n: int, *, slope: float = 1.0, shift: float = 0.0) -> tuple[Any, Any]:
    """Outcomes, and probabilities that are too sure by ``slope`` and too high by ``shift`` on the scale of logits."""
    truth = 1.5 * rng.normal(size=n) - 1
    return (rng.random(n) < 1 / (1 + np.exp(-truth))).astype(float), 1 / (1 + np.exp(-(slope * truth + shift)))


def test_a_small_table_by_hand() -> None:
    """Two bins: (0.1 + 0.3) / 2 said, 1 / 2 came true, and 0.8 said, 1 came true: 2/3 * 0.3 + 1/3 * 0.2."""
    found = calibration([0, 1, 1], [0.1, 0.3, 0.8], bins=2)
    assert found.value == pytest.approx(2 / 3 * 0.3 + 1 / 3 * 0.2)


def test_bins_hold_their_upper_edge() -> None:
    assert bin_codes([0, 0.1, 0.100001, 0.2, 0.3, 0.7, 1], 10).tolist() == [0, 0, 1, 1, 2, 6, 9]


@given(st.integers(0, 500), st.integers(1, 30))
def test_it_is_what_scikit_learns_curve_adds_up_to(seed: int, bins: int) -> None:
    outcomes, probabilities = said(np.random.default_rng(seed), 200, slope=1.5)
    rate, mean = calibration_curve(outcomes, probabilities, n_bins=bins)
    counts = np.bincount(np.searchsorted(np.linspace(0, 1, bins + 1)[1:-1], probabilities), minlength=bins)
    expected = float((np.abs(rate - mean) * counts[counts > 0]).sum() / 200)
    assert calibration(outcomes, probabilities, bins=bins).value == pytest.approx(expected)


def test_whole_weights_are_repeated_rows_and_order_does_not_matter() -> None:
    rng = np.random.default_rng(0)
    outcomes, probabilities = said(rng, 100)
    weights = rng.integers(1, 4, 100)
    weighted = calibration(outcomes, probabilities, weights=weights.astype(float))
    repeated = calibration(np.repeat(outcomes, weights), np.repeat(probabilities, weights))
    assert weighted.value == pytest.approx(repeated.value)
    order = rng.permutation(100)
    moved = calibration(outcomes[order], probabilities[order])
    plain = calibration(outcomes, probabilities)
    assert interval(moved, confidence=0.95) == pytest.approx(interval(plain, confidence=0.95))


def test_clusters_of_one_row_are_rows_and_of_copies_no_new_evidence() -> None:
    outcomes, probabilities = said(np.random.default_rng(1), 400)
    plain = interval(calibration(outcomes, probabilities), confidence=0.95)
    alone = interval(calibration(outcomes, probabilities, clusters=np.arange(400)), confidence=0.95)
    assert alone == pytest.approx(plain, rel=0.01)
    copied = calibration(np.tile(outcomes, 3), np.tile(probabilities, 3), clusters=np.tile(np.arange(400), 3))
    assert interval(copied, confidence=0.95) == pytest.approx(plain, rel=0.02)


def test_most_of_a_perfect_models_error_is_chance() -> None:
    rng = np.random.default_rng(2)
    found = [calibration(*said(rng, 500)) for _ in range(200)]
    assert np.mean([each.value for each in found]) > 3 * np.mean([each.unbiased for each in found])
    assert np.mean([interval(each, confidence=0.95).low == 0 for each in found]) > 0.95


def test_difference_mirrors_and_equal_models_differ_by_nothing() -> None:
    rng = np.random.default_rng(3)
    outcomes, one = said(rng, 300)
    other = np.clip(one + 0.1, 0, 1)
    ours, theirs = calibration(outcomes, one), calibration(outcomes, other)
    there, back = (difference(*each, confidence=0.95) for each in ((ours, theirs), (theirs, ours)))
    assert (back.value, back.low, back.high) == pytest.approx((-there.value, -there.high, -there.low))
    same = difference(ours, ours, confidence=0.95)
    assert same.value == 0
    assert 0 < same.high < 0.03


def test_no_rows_no_interval() -> None:
    nothing = calibration([1.0], [0.5])
    assert np.isnan(interval(nothing, confidence=0.95).high)
    assert np.isnan(difference(nothing, nothing, confidence=0.95).high)


def _pair(one: dict[str, float], two: dict[str, float]) -> Make:
    def make(rng: np.random.Generator, n: int) -> tuple[Any, list[Any]]:
        truth = 1.5 * rng.normal(size=n) - 1
        outcomes = (rng.random(n) < 1 / (1 + np.exp(-truth))).astype(float)
        return outcomes, [
            1 / (1 + np.exp(-(each.get("slope", 1) * (truth + each.get("noise", 0) * rng.normal(size=n)) + each.get("shift", 0))))
            for each in (one, two)
        ]

    return make


def _one_bin(rng: np.random.Generator, n: int) -> tuple[Any, list[Any]]:
    """Wrong in one bin only: what the upper end does not expect."""
    p = rng.random(n)
    outcomes = (rng.random(n) < np.where((p > 0.6) & (p < 0.667), p - 0.4, p)).astype(float)
    return outcomes, [p, np.clip(p + 0.03 * rng.normal(size=n), 0, 1)]


WORLDS = {
    "both right": _pair({}, {"noise": 0.1}),
    "both vague": _pair({"noise": 0.5}, {"noise": 0.5}),
    "too sure, right": _pair({"slope": 1.5}, {}),
    "right, too sure": _pair({}, {"slope": 1.5, "shift": 0.2}),
    "too high": _pair({"shift": 0.3}, {"shift": 0.6}),
    "slightly off": _pair({"slope": 1.1, "shift": 0.05}, {"slope": 1.1, "shift": 0.1}),
    "one bin": _one_bin,
}


@pytest.mark.slow
@pytest.mark.parametrize("world", list(WORLDS))
@pytest.mark.parametrize("n", [60, 300, 5000])
def test_each_end_is_wrong_at_most_as_often_as_it_says(world: str, n: int) -> None:
    make, rng = WORLDS[world], np.random.default_rng([n, len(world)])
    outcomes, models = make(rng, 3_000_000)
    truth = [calibration(outcomes, each).value for each in models]
    wrong, runs = np.zeros(4), 1000
    for _ in range(runs):
        outcomes, models = make(rng, n)
        one, two = (calibration(outcomes, each) for each in models)
        single, pair = interval(one, confidence=0.95), difference(one, two, confidence=0.95)
        gap = truth[0] - truth[1]
        wrong += [single.low > truth[0], single.high < truth[0], pair.low > gap, pair.high < gap]
    assert (wrong / runs < 0.025 + 3 * np.sqrt(0.025 / runs)).all(), wrong / runs


def test_a_record_says_what_it_was_made_from() -> None:
    found = calibration(*said(np.random.default_rng(4), 50), bins=7)
    assert isinstance(found, Calibration)
    assert found.errors.shape == (7,)
    assert found.pulls.shape == (50,)
