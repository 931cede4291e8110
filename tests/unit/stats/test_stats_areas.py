"""Intervals of areas under curves and of their paired differences."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from area_cases import auc, average_precision
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import ndtri

from tidegate.stats.areas import Area, difference, interval, mean_area

Curve = Callable[..., Area]
BOTH = pytest.mark.parametrize("curve", [auc, average_precision])


def two_scores(
    rng: np.random.Generator, n: int, share: float, *, areas: tuple[float, float], ties: float = 0
) -> tuple[Any, list[Any]]:
    """Labels and two correlated scores of the given AUCs (equal-variance normal), rounded to ``ties`` if given."""
    labels = rng.random(n) < share
    shared, own = rng.normal(size=n), rng.normal(size=(2, n))
    scores = [
        np.sqrt(0.6) * shared + np.sqrt(0.4) * own[place] + np.sqrt(2) * ndtri(value) * labels
        for place, value in enumerate(areas)
    ]
    return labels, [np.round(each * ties) / ties if ties else each for each in scores]


@BOTH
def test_an_interval_holds_its_value_and_stays_inside(curve: Curve) -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        labels, scores = two_scores(rng, 60, 0.3, areas=(0.97, 0.8))
        one, two = (curve(labels, each) for each in scores)
        for found in (interval(one, confidence=0.95), interval(two, confidence=0.95)):
            assert 0 <= found.low < found.value <= found.high <= 1
        pair = difference(one, two, confidence=0.95)
        assert -1 <= pair.low <= pair.value <= pair.high <= 1


@BOTH
def test_swapping_the_models_mirrors_the_difference(curve: Curve) -> None:
    labels, scores = two_scores(np.random.default_rng(1), 120, 0.3, areas=(0.9, 0.8))
    one, two = (curve(labels, each) for each in scores)
    there, back = difference(one, two, confidence=0.9), difference(two, one, confidence=0.9)
    assert (back.value, back.low, back.high) == pytest.approx((-there.value, -there.high, -there.low))


@BOTH
def test_perfect_and_equal_scores_are_not_certain(curve: Curve) -> None:
    labels = np.repeat([0, 1], [30, 12])
    perfect = curve(labels, labels + 0.0)
    alone = interval(perfect, confidence=0.95)
    assert (alone.value, alone.high) == (1, 1)
    assert alone.low < 0.9
    same = difference(perfect, perfect, confidence=0.95)
    assert same.value == 0
    assert same.high == -same.low > 0.2


def test_a_perfect_ranking_of_few_clusters_is_worth_few_rows() -> None:
    labels = np.tile([0, 1], 100)
    rows = interval(auc(labels, labels + 0.0), confidence=0.95)
    clusters = interval(auc(labels, labels + 0.0, None, np.repeat(np.arange(10), 20)), confidence=0.95)
    assert 1 - clusters.low > 3 * (1 - rows.low)


@BOTH
def test_ten_clusters_that_hold_both_classes_have_at_most_nine_degrees_of_freedom(curve: Curve) -> None:
    labels, scores = two_scores(np.random.default_rng(9), 1000, 0.5, areas=(0.8, 0.75))
    ours, theirs = (curve(labels, each, clusters=np.arange(1000) % 10) for each in scores)
    found = [difference(ours, theirs, confidence=0.95).df, interval(ours, confidence=0.95).df, mean_area([ours, theirs]).freedom]
    assert min(found) > 8
    assert max(found) <= 9


def test_four_rows_that_tell_models_apart_prove_nothing() -> None:
    """A sign test of 4 to 0 has p = 0.125, and of 8 to 0 p = 0.008."""
    labels = np.repeat([0, 1], [300, 200])
    theirs = np.where(labels > 0, 3.0, np.arange(500) % 3)
    theirs[300:320] = -1.0
    for better, proven in ((4, False), (8, True)):
        ours = theirs.copy()
        ours[300 : 300 + better] = 3.0
        found = difference(auc(labels, ours), auc(labels, theirs), confidence=0.95)
        assert (found.low > 0) is proven


@given(st.integers(0, 1000))
def test_a_mean_of_one_is_itself_and_of_copies_too(seed: int) -> None:
    labels, scores = two_scores(np.random.default_rng(seed), 80, 0.4, areas=(0.8, 0.7))
    if labels.sum() < 2 or (~labels).sum() < 2:
        return
    one = auc(labels, scores[0])
    same = mean_area([one])
    assert interval(same, confidence=0.95) == pytest.approx(interval(one, confidence=0.95))
    copies = mean_area([one, one, one])
    assert (copies.value, copies.variance) == pytest.approx((one.value, one.variance))
    assert copies.ones == one.ones


def test_a_narrower_confidence_is_a_narrower_interval() -> None:
    labels, scores = two_scores(np.random.default_rng(5), 300, 0.3, areas=(0.85, 0.8))
    one, two = (auc(labels, each) for each in scores)
    widths = [difference(one, two, confidence=c).high - difference(one, two, confidence=c).low for c in (0.8, 0.95, 0.99)]
    assert widths == sorted(widths)


def test_large_samples_agree_with_delongs_plain_interval() -> None:
    labels, scores = two_scores(np.random.default_rng(6), 40_000, 0.3, areas=(0.85, 0.8))
    one, two = (auc(labels, each) for each in scores)
    found = difference(one, two, confidence=0.95)
    error = np.sqrt(np.square(one.pulls - two.pulls).sum())
    assert (found.low, found.high) == pytest.approx((found.value - 1.96 * error, found.value + 1.96 * error), abs=2e-4)


CASES = [(n, share, areas, ties)
    for n, share in ((60, 0.2), (60, 0.5), (200, 0.06), (200, 0.2), (1000, 0.05), (1000, 0.5))
    for areas, ties in (((0.7, 0.7), 0), ((0.8, 0.9), 0), ((0.95, 0.95), 2), ((0.9, 0.98), 0))
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(("n", "share", "areas", "ties"), CASES)
@BOTH
def test_one_sided_errors_stay_small(curve: Curve, n: int, share: float, areas: tuple[float, float], ties: float) -> None:
    """Of either end, wrong at most 2.5% of the time; from ten positives on at most 6% (plain DeLong: up to 13%), from a thousand 4%."""
    rng = np.random.default_rng([n, int(100 * share)])
    labels, scores = two_scores(rng, 1_000_000, share, areas=areas, ties=ties)
    truth = [curve(labels, each).value for each in scores]
    wrong, runs = np.zeros(4), 0
    while runs < 1500:
        labels, scores = two_scores(rng, n, share, areas=areas, ties=ties)
        if min(labels.sum(), (~labels).sum()) < 10:
            continue
        one, two = (curve(labels, each) for each in scores)
        single, pair = interval(one, confidence=0.95), difference(one, two, confidence=0.95)
        gap = truth[0] - truth[1]
        wrong += [single.low > truth[0], single.high < truth[0], pair.low > gap, pair.high < gap]
        runs += 1
    allowed = 0.06 if n < 1000 else 0.04
    assert (wrong / runs < allowed + 3 * np.sqrt(allowed / runs)).all(), wrong / runs


def test_a_floor_allows_for_a_positive_that_no_sample_shows() -> None:
    """Truth: one positive in fifty is ranked at random, so the area is 0.988; most samples of 60 show at most one such row."""
    rng = np.random.default_rng(0)
    labels = np.arange(360) < 60
    wrong = 0
    for _ in range(300):
        scores = 4 * (labels & (rng.random(360) < 0.98)) + rng.normal(size=360)
        wrong += interval(auc(labels, scores), confidence=0.95).low > 0.988
    assert wrong / 300 < 0.05  # it was 0.28
