"""DeLong against its definition, with ties, weights and clusters."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest
from area_cases import auc
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import roc_auc_score

from tidegate.stats.areas import Area, difference, interval, tied
from tidegate.stats.delong import newcombe, placements

LABELS = np.array([0, 1, 0, 1, 1, 0, 0, 1, 0, 1])
FIRST = np.array([0.1, 0.4, 0.35, 0.8, 0.8, 0.2, 0.4, 0.7, 0.3, 0.35])
SECOND = np.array([0.2, 0.3, 0.35, 0.9, 0.6, 0.25, 0.5, 0.7, 0.1, 0.4])
ROWS = st.lists(st.tuples(st.booleans(), st.integers(0, 6), st.integers(0, 6)), min_size=4, max_size=40)


def test_the_fixture_of_the_notes() -> None:
    areas = [auc(LABELS, FIRST), auc(LABELS, SECOND)]
    assert [each.value for each in areas] == pytest.approx([0.92, 0.88])
    matrix = covariances(areas)
    assert matrix == pytest.approx(np.array([[0.0068, 0.0072], [0.0072, 0.0128]]))
    z = (areas[0].value - areas[1].value) / np.sqrt(matrix[0, 0] + matrix[1, 1] - 2 * matrix[0, 1])
    assert z == pytest.approx(0.55470, abs=5e-6)
    assert 2 * stats.norm.sf(z) == pytest.approx(0.57910, abs=5e-6)


def covariances(areas: list[Area]) -> np.ndarray:
    pulls = np.stack([each.pulls for each in areas])
    return pulls @ pulls.T


@given(ROWS)
def test_it_equals_brute_force(rows: list[tuple[bool, int, int]]) -> None:
    labels = np.array([row[0] for row in rows])
    if labels.sum() < 2 or (~labels).sum() < 2:
        return
    scores = [np.array([row[place] for row in rows], dtype=float) for place in (1, 2)]
    wins = [(s[labels][:, None] > s[~labels]) + 0.5 * (s[labels][:, None] == s[~labels]) for s in scores]
    found = [auc(labels, s) for s in scores]
    assert [each.value for each in found] == pytest.approx([win.mean() for win in wins])
    for one, two in ((0, 0), (0, 1), (1, 1)):
        by_hand = sum(np.cov(wins[one].mean(axis=ax), wins[two].mean(axis=ax))[0, 1] / wins[0].shape[1 - ax] for ax in (0, 1))
        assert covariances(found)[one, two] == pytest.approx(by_hand, abs=1e-12)


@given(ROWS, st.randoms(use_true_random=False))
def test_laws_of_an_auc(rows: list[tuple[bool, int, int]], random: Random) -> None:
    labels, scores = np.array([row[0] for row in rows]), np.array([row[1] for row in rows], dtype=float)
    if labels.sum() < 2 or (~labels).sum() < 2:
        return
    plain = auc(labels, scores)
    assert plain.value == pytest.approx(roc_auc_score(labels, scores))
    stretched = auc(labels, np.exp(scores / 3) - 5)
    assert (stretched.value, stretched.variance) == (plain.value, plain.variance)
    assert auc(labels, -scores).value == pytest.approx(1 - plain.value)
    assert auc(~labels, -scores).variance == pytest.approx(plain.variance, abs=1e-15)
    order = np.array(random.sample(range(len(rows)), len(rows)))
    moved = auc(labels[order], scores[order])
    assert (moved.value, moved.variance) == pytest.approx((plain.value, plain.variance))
    alone = auc(labels, scores, None, np.arange(len(rows))[::-1])
    assert (alone.value, alone.variance, alone.df) == pytest.approx((plain.value, plain.variance, plain.df))


def test_all_tied_is_a_coin() -> None:
    assert auc(LABELS, np.zeros(10)).value == 0.5


def test_weights_are_those_of_scikit_learn() -> None:
    weights = np.array([1.0, 2, 1, 3, 1, 0.5, 2, 1, 0, 1])
    assert auc(LABELS, FIRST, weights).value == pytest.approx(roc_auc_score(LABELS, FIRST, sample_weight=weights))
    equal = auc(LABELS, FIRST, np.full(10, 7.0))
    assert equal.variance == pytest.approx(auc(LABELS, FIRST).variance)


def test_influence_adds_up_to_nothing_in_each_class() -> None:
    found = placements(LABELS, tied(FIRST), np.linspace(1, 2, 10))
    assert found.influence[found.positive].sum() == pytest.approx(0)
    assert found.influence[~found.positive].sum() == pytest.approx(0)


def test_clusters_of_copies_are_no_new_evidence() -> None:
    rng = np.random.default_rng(3)
    labels = rng.integers(0, 2, 200)
    scores = [rng.normal(labels, 1), rng.normal(labels, 1.5)]
    plain = difference(*(auc(labels, each) for each in scores), confidence=0.95)
    tripled = [np.tile(each, 3) for each in scores]
    naive = difference(*(auc(np.tile(labels, 3), each) for each in tripled), confidence=0.95)
    codes = np.tile(np.arange(200) * 5, 3)
    grouped = difference(*(auc(np.tile(labels, 3), each, None, codes) for each in tripled), confidence=0.95)
    assert grouped.value == pytest.approx(plain.value)
    assert naive.high - naive.low < 0.65 * (plain.high - plain.low)
    assert grouped.high - grouped.low == pytest.approx(plain.high - plain.low, rel=0.03)


def test_newcombes_variance() -> None:
    """Method 5 at 0.5: 0.25 (1 + 2 (n* / 3)) / (m n) with n* = (m + n) / 2 - 1."""
    assert newcombe(0.5, 10, 20) == pytest.approx(0.25 * (1 + 14 * 2 / 3) / 200)
    assert newcombe(0.9, 10, 20) == pytest.approx(newcombe(0.9, 20, 10))


def test_one_class_has_no_auc() -> None:
    found = auc(np.ones(5), np.arange(5.0))
    assert np.isnan(found.value)
    assert np.isnan(interval(found, confidence=0.95).low)
