"""Calibration error: its value without what chance adds, and an interval that holds wherever the error lies."""

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
    """Pairs within ten rows that came true half of the time: of 45 products of (y - 0.3), 10 + 10 within and 25 across."""
    found = calibration([1, 0] * 5, [0.3] * 10, bins=2)
    assert found.value == pytest.approx((10 * 0.49 + 10 * 0.09 - 25 * 0.21) / 45)


def test_bins_hold_their_upper_edge_and_small_ones_are_joined() -> None:
    probabilities = np.repeat([0, 0.1, 0.100001, 0.2, 0.3, 0.7, 1], 10)
    assert bin_codes(probabilities, 10).tolist() == np.repeat([0, 0, 1, 1, 2, 3, 4], 10).tolist()
    assert bin_codes([0.1] * 10 + [0.3] * 4 + [0.5] * 6 + [0.9] * 9, 5).tolist() == [0] * 10 + [1] * 19
    assert bin_codes([0.1, 0.9], 5).tolist() == [0, 0]


@given(st.integers(0, 500), st.integers(1, 10))
def test_it_is_the_reliability_of_scikit_learns_curve_without_what_chance_adds(seed: int, bins: int) -> None:
    """Bröcker (2012), equation 17: each bin's squared gap less the variance of its mean."""
    rng = np.random.default_rng(seed)
    probabilities = rng.random(600)
    outcomes = (rng.random(600) < probabilities**1.5).astype(float)
    rate, mean = calibration_curve(outcomes, probabilities, n_bins=bins)
    codes = np.searchsorted(np.linspace(0, 1, bins + 1)[1:-1], probabilities)
    counts = np.bincount(codes, minlength=bins)
    chance = np.array([(outcomes - probabilities)[codes == code].var(ddof=1) for code in range(bins)]) / counts
    expected = float((counts * ((rate - mean) ** 2 - chance)).sum() / 600)
    assert calibration(outcomes, probabilities, bins=bins).value == pytest.approx(expected)


def test_whole_weights_are_copies_of_a_unit_and_order_does_not_matter() -> None:
    rng = np.random.default_rng(0)
    outcomes, probabilities = said(rng, 400)
    weights = rng.integers(1, 4, 400)
    weighted = calibration(outcomes, probabilities, weights=weights.astype(float), bins=3)
    copies = np.repeat(np.arange(400), weights)
    repeated = calibration(outcomes[copies], probabilities[copies], clusters=copies, bins=3)
    assert interval(weighted, confidence=0.95)[:3] == pytest.approx(interval(repeated, confidence=0.95)[:3])
    order = rng.permutation(400)
    moved, plain = calibration(outcomes[order], probabilities[order]), calibration(outcomes, probabilities)
    assert interval(moved, confidence=0.95) == pytest.approx(interval(plain, confidence=0.95))


def test_clusters_of_one_row_are_rows_and_of_copies_no_new_evidence() -> None:
    outcomes, probabilities = said(np.random.default_rng(1), 400)
    plain = interval(calibration(outcomes, probabilities, bins=4), confidence=0.95)
    alone = interval(calibration(outcomes, probabilities, bins=4, clusters=np.arange(400)), confidence=0.95)
    assert alone == pytest.approx(plain)
    copied = calibration(np.tile(outcomes, 3), np.tile(probabilities, 3), bins=4, clusters=np.tile(np.arange(400), 3))
    assert interval(copied, confidence=0.95) == pytest.approx(plain)


def test_a_perfect_model_shows_none_on_average() -> None:
    rng = np.random.default_rng(2)
    found = [calibration(*said(rng, 600)) for _ in range(200)]
    values = np.array([each.value for each in found])
    assert abs(values.mean()) < 3 * values.std() / np.sqrt(200)
    assert np.mean([interval(each, confidence=0.95).low < 0 for each in found]) > 0.95


def test_difference_mirrors_and_equal_models_differ_by_nothing() -> None:
    rng = np.random.default_rng(3)
    outcomes, one = said(rng, 600)
    other = np.clip(one + 0.1, 0, 1)
    ours, theirs = calibration(outcomes, one), calibration(outcomes, other)
    there, back = (difference(*each, confidence=0.95) for each in ((ours, theirs), (theirs, ours)))
    assert (back.value, back.low, back.high) == pytest.approx((-there.value, -there.high, -there.low))
    same = difference(ours, ours, confidence=0.95)
    assert same.value == 0
    assert 0 < same.high < 0.01


def test_no_rows_no_interval() -> None:
    for rows in (0, 1):
        nothing = calibration(np.ones(rows), np.full(rows, 0.5))
        assert np.isnan(interval(nothing, confidence=0.95).high)
        assert np.isnan(difference(nothing, nothing, confidence=0.95).high)


def test_two_rows_and_one_constant_are_no_error_in_the_code() -> None:
    for rows in (2, 9, 40):
        found = calibration(np.ones(rows), np.full(rows, 0.9))
        assert found.value == pytest.approx(0.01)
        assert interval(found, confidence=0.95).high >= 0.01


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
    """Wrong in one bin only."""
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
@pytest.mark.parametrize("n", [450, 1500, 5000])
def test_each_end_is_wrong_about_as_often_as_it_says(world: str, n: int) -> None:
    """Of one model's interval, and of the difference. Where nothing is wrong an end may be missed less often, never much more."""
    make, rng = WORLDS[world], np.random.default_rng([n, len(world)])
    chunks = [make(rng, 500_000) for _ in range(6)]
    truth = np.mean([[calibration(outcomes, each).value for each in models] for outcomes, models in chunks], axis=0)
    wrong, runs = np.zeros(4), 1000
    for _ in range(runs):
        outcomes, models = make(rng, n)
        one, two = (calibration(outcomes, each) for each in models)
        single, pair = interval(one, confidence=0.95), difference(one, two, confidence=0.95)
        gap = truth[0] - truth[1]
        wrong += [single.low > truth[0], single.high < truth[0], pair.low > gap, pair.high < gap]
    assert (wrong / runs < 0.035 + 3 * np.sqrt(0.025 / runs)).all(), wrong / runs


def test_a_record_says_what_it_was_made_from() -> None:
    found = calibration(*said(np.random.default_rng(4), 50), bins=7)
    assert isinstance(found, Calibration)
    assert found.deviations.shape == (7, 50)
    assert found.influence.sum() == pytest.approx(0, abs=1e-12)
