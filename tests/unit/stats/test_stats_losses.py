"""Mean losses and their paired differences against scipy, by simulation, and under their laws."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tidegate.stats.losses import absolute_error, log_loss, mean, mean_difference, root_mean, root_mean_difference, squared_error

ARRAYS = st.lists(st.tuples(st.floats(0, 10), st.floats(0, 10)), min_size=2, max_size=50)


def test_row_losses() -> None:
    assert log_loss([1, 0], [0.8, 0.8]) == pytest.approx([-np.log(0.8), -np.log(0.2)])
    assert np.isfinite(log_loss([1, 0], [0.0, 1.0])).all()
    assert squared_error([1, 0], [0.8, 0.8]) == pytest.approx([0.04, 0.64])
    assert absolute_error([1.5], [-1]) == pytest.approx([2.5])


def test_the_paired_interval_is_students() -> None:
    rng = np.random.default_rng(0)
    one, two = rng.gamma(2, size=80), rng.gamma(2, size=80)
    expected = stats.ttest_rel(one, two).confidence_interval(0.9)
    found = mean_difference(one, two, confidence=0.9)
    assert found[1:3] == pytest.approx((expected.low, expected.high))
    assert found.df == 79


def test_clusters_of_copies_are_no_new_evidence() -> None:
    rng = np.random.default_rng(1)
    one, two = rng.gamma(2, size=60), rng.gamma(2, size=60)
    plain = mean_difference(one, two, confidence=0.95)
    grouped = mean_difference(np.repeat(one, 4), np.repeat(two, 4), confidence=0.95, clusters=np.repeat(np.arange(60), 4))
    assert grouped == pytest.approx(plain)


def test_whole_weights_are_repeated_clusters() -> None:
    rng = np.random.default_rng(2)
    one, two, weights = rng.gamma(2, size=60), rng.gamma(2, size=60), rng.integers(1, 4, 60)
    weighted = mean_difference(one, two, confidence=0.95, weights=weights.astype(float))
    repeated = mean_difference(
        np.repeat(one, weights), np.repeat(two, weights), confidence=0.95, clusters=np.repeat(np.arange(60), weights)
    )
    assert weighted == pytest.approx(repeated)


def test_the_root_is_the_root_of_the_mean() -> None:
    rng = np.random.default_rng(3)
    one, two = rng.gamma(2, size=500), 1.2 * rng.gamma(2, size=500)
    difference = root_mean_difference(one, two, confidence=0.95)
    assert difference.value == pytest.approx(np.sqrt(one.mean()) - np.sqrt(two.mean()))
    draws = rng.integers(0, 500, (4000, 500))
    replicates = np.sqrt(one[draws].mean(axis=1)) - np.sqrt(two[draws].mean(axis=1))
    assert difference.high - difference.low == pytest.approx(2 * 1.96 * replicates.std(), rel=0.06)
    assert root_mean(one, confidence=0.95).value == pytest.approx(np.sqrt(one.mean()))


def test_equal_losses_are_not_proven_equal() -> None:
    losses = np.linspace(0, 2, 100)
    for found in (mean_difference(losses, losses, confidence=0.95), root_mean_difference(losses, losses, confidence=0.95)):
        assert found.value == 0
        assert found.high == pytest.approx(-found.low)
        assert 0.02 < found.high < 0.1


def test_a_few_differing_rows_are_not_trusted_alone() -> None:
    one = np.ones(200)
    two = one.copy()
    two[:3] = 1.5  # three rows say that the candidate is better, all by the same
    found = mean_difference(one, two, confidence=0.95)
    assert found.value < 0 < found.high


@given(ARRAYS)
def test_swapping_the_models_flips_the_interval(pairs: list[tuple[float, float]]) -> None:
    one, two = np.array(pairs).T
    for compare in (mean_difference, root_mean_difference):
        assert compare(one, two, confidence=0.95)[:3] == pytest.approx(
            compare(two, one, confidence=0.95).negated()[:3], nan_ok=True, abs=1e-9
        )


@given(ARRAYS, st.randoms(use_true_random=False))
def test_order_of_rows_does_not_matter(pairs: list[tuple[float, float]], random: object) -> None:
    one, two = np.array(pairs).T
    order = list(range(one.size))
    random.shuffle(order)  # type: ignore[attr-defined]
    assert mean_difference(one[order], two[order], confidence=0.95) == pytest.approx(
        mean_difference(one, two, confidence=0.95), abs=1e-9
    )


def test_coverage_of_skewed_losses_is_near_nominal() -> None:
    rng = np.random.default_rng(4)
    hits = 0
    for _ in range(2000):
        p, q = rng.beta(2, 5, 150), rng.beta(2, 5, 150)
        labels = rng.random(150) < p
        found = mean_difference(log_loss(labels, p), log_loss(labels, q), confidence=0.95)
        hits += found.low <= _TRUE_GAP <= found.high
    assert 0.93 <= hits / 2000 <= 0.975


def _gap() -> float:
    rng = np.random.default_rng(5)
    p, q = rng.beta(2, 5, 1_000_000), rng.beta(2, 5, 1_000_000)
    return float(np.mean(p * (np.log(q) - np.log(p)) + (1 - p) * (np.log1p(-q) - np.log1p(-p))))


_TRUE_GAP = _gap()


def test_nothing_gives_nothing() -> None:
    assert np.isnan(mean(np.empty(0), confidence=0.95).value)
    assert np.isnan(mean(np.ones(1), confidence=0.95).low)
