"""DeLong against its definition, with ties, weights and clusters."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.stats.delong import auc, auc_difference, covariance, ranking

LABELS = [0, 1, 0, 1, 1, 0, 0, 1, 0, 1]
FIRST = [0.1, 0.4, 0.35, 0.8, 0.8, 0.2, 0.4, 0.7, 0.3, 0.35]
SECOND = [0.2, 0.3, 0.35, 0.9, 0.6, 0.25, 0.5, 0.7, 0.1, 0.4]


def test_the_fixture() -> None:
    one, two = ranking(LABELS, FIRST), ranking(LABELS, SECOND)
    assert (one.auc, two.auc) == pytest.approx((0.92, 0.88))
    assert covariance(one, one) == pytest.approx(0.0068)
    assert covariance(two, two) == pytest.approx(0.0128)
    assert covariance(one, two) == pytest.approx(0.0072)
    found = auc_difference(one, two, confidence=0.95)
    z = found.value / ((found.high - found.low) / 2 / 1.959964)
    assert z == pytest.approx(0.55470, abs=5e-6)


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 6), st.integers(0, 6)), min_size=4, max_size=40))
def test_it_equals_brute_force(rows: list[tuple[bool, int, int]]) -> None:
    labels = np.array([row[0] for row in rows])
    if labels.sum() < 2 or (~labels).sum() < 2:
        return
    scores = [np.array([row[place] for row in rows], dtype=float) for place in (1, 2)]
    wins = [(s[labels][:, None] > s[~labels]) + 0.5 * (s[labels][:, None] == s[~labels]) for s in scores]
    found = [ranking(labels, s) for s in scores]
    assert [each.auc for each in found] == pytest.approx([win.mean() for win in wins])
    by_hand = sum(np.cov(wins[0].mean(axis=ax), wins[1].mean(axis=ax))[0, 1] / wins[0].shape[1 - ax] for ax in (0, 1))
    assert covariance(*found) == pytest.approx(by_hand, abs=1e-12)


def test_whole_weights_are_repeated_rows() -> None:
    weights = np.array([1, 2, 1, 3, 1, 1, 2, 1, 1, 1])
    repeated = ranking(np.repeat(LABELS, weights), np.repeat(FIRST, weights))
    assert ranking(LABELS, FIRST, weights.astype(float)).auc == pytest.approx(repeated.auc)


def test_clusters_of_copies_are_no_new_evidence() -> None:
    rng = np.random.default_rng(3)
    labels = rng.integers(0, 2, 200)
    one, two = rng.normal(labels, 1), rng.normal(labels, 1.5)
    plain = auc_difference(ranking(labels, one), ranking(labels, two), confidence=0.95)
    tripled = [np.tile(values, 3) for values in (labels, one, two)]
    rankings = [ranking(tripled[0], each) for each in tripled[1:]]
    naive = auc_difference(*rankings, confidence=0.95)
    grouped = auc_difference(*rankings, confidence=0.95, clusters=np.tile(np.arange(200), 3))
    assert grouped.value == pytest.approx(plain.value)
    assert naive.high - naive.low < 0.65 * (plain.high - plain.low)
    assert grouped.high - grouped.low == pytest.approx(plain.high - plain.low, rel=0.03)
    assert grouped.df == 199


def test_perfect_and_equal_scores_are_not_certain() -> None:
    perfect = ranking(LABELS, np.array(LABELS) + 0.0)
    alone = auc(perfect, confidence=0.95)
    assert (alone.value, alone.high) == (1, 1)
    assert alone.low < 0.7
    same = auc_difference(perfect, perfect, confidence=0.95)
    assert same.value == 0
    assert same.high == -same.low > 0.3


def test_one_class_has_no_auc() -> None:
    found = ranking(np.ones(5), np.arange(5.0))
    assert np.isnan(found.auc)
    assert np.isnan(auc(found, confidence=0.95).low)


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 1)), min_size=6, max_size=60))
def test_order_of_rows_does_not_matter_and_scores_turn(rows: list[tuple[bool, float]]) -> None:
    labels, scores = np.array([row[0] for row in rows]), np.array([row[1] for row in rows])
    if labels.all() or not labels.any():
        return
    forward = ranking(labels, scores).auc
    assert ranking(labels[::-1], scores[::-1]).auc == pytest.approx(forward)
    assert ranking(~labels, -scores).auc == pytest.approx(forward)
    assert ranking(~labels, scores).auc == pytest.approx(1 - forward)
