"""The bootstrap over cells against the bootstrap over rows, and against linearisation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics

from tidegate.stats import cells
from tidegate.stats.cells import ACCURACY, F1, PRECISION, RECALL

ROWS = st.lists(st.tuples(*[st.booleans()] * 3), min_size=1, max_size=60)


def _data(n: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.random(n) < 0.3
    return labels, labels ^ (rng.random(n) < 0.2), labels ^ (rng.random(n) < 0.25)


@given(ROWS)
def test_metrics_are_scikit_learns(rows: list[tuple[bool, bool, bool]]) -> None:
    labels, ours, theirs = np.array(rows).T
    counts = cells.cell_counts(cells.cell_codes(labels, ours, theirs))
    for ratio, reference in (
        (ACCURACY, metrics.accuracy_score),
        (PRECISION, lambda a, b: metrics.precision_score(a, b, zero_division=np.nan)),
        (RECALL, lambda a, b: metrics.recall_score(a, b, zero_division=np.nan)),
        (F1, lambda a, b: metrics.f1_score(a, b, zero_division=np.nan)),
    ):
        assert cells.evaluate(ratio, counts) == pytest.approx(reference(labels, ours), nan_ok=True)
        assert cells.evaluate(ratio, counts, champion=True) == pytest.approx(reference(labels, theirs), nan_ok=True)


@pytest.mark.parametrize("ratio", [F1, PRECISION])
def test_cell_bootstrap_agrees_with_row_bootstrap(ratio: cells.Ratio) -> None:
    labels, ours, theirs = _data(800, 1)
    codes = cells.cell_codes(labels, ours, theirs)
    found = cells.bootstrap_difference(cells.cell_counts(codes), ratio, confidence=0.95, rng=np.random.default_rng(0))
    rng = np.random.default_rng(2)
    replicates = []
    for _ in range(4000):
        counts = cells.cell_counts(codes[rng.integers(0, codes.size, codes.size)])
        replicates.append(cells.evaluate(ratio, counts) - cells.evaluate(ratio, counts, champion=True))
    width = found.high - found.low
    assert (found.low, found.high) == pytest.approx(np.quantile(replicates, [0.025, 0.975]), abs=0.06 * width)


@pytest.mark.parametrize("ratio", [ACCURACY, F1, PRECISION, RECALL])
def test_linearisation_agrees_with_the_bootstrap(ratio: cells.Ratio) -> None:
    codes = cells.cell_codes(*_data(3000, 3))
    straight = cells.linear_difference(codes, ratio, confidence=0.95)
    drawn = cells.bootstrap_difference(cells.cell_counts(codes), ratio, confidence=0.95, rng=np.random.default_rng(0))
    assert straight.value == pytest.approx(drawn.value)
    assert (straight.low, straight.high) == pytest.approx((drawn.low, drawn.high), abs=0.06 * (drawn.high - drawn.low))
    alone = cells.linear(codes, ratio, confidence=0.95)
    assert alone.value == pytest.approx(cells.evaluate(ratio, cells.cell_counts(codes)))
    assert alone.low < alone.value < alone.high


def test_clusters_of_copies_are_no_new_evidence() -> None:
    codes = cells.cell_codes(*_data(400, 4))
    plain = cells.linear_difference(codes, F1, confidence=0.95)
    grouped = cells.linear_difference(np.tile(codes, 3), F1, confidence=0.95, clusters=np.tile(np.arange(400), 3))
    assert grouped == pytest.approx(plain)


@given(ROWS)
def test_swapping_the_models_flips_the_difference(rows: list[tuple[bool, bool, bool]]) -> None:
    labels, ours, theirs = np.array(rows).T
    there = cells.linear_difference(cells.cell_codes(labels, ours, theirs), F1, confidence=0.95)
    back = cells.linear_difference(cells.cell_codes(labels, theirs, ours), F1, confidence=0.95)
    assert there[:3] == pytest.approx(back.negated()[:3], nan_ok=True, abs=1e-9)


def test_equal_models_are_not_proven_equal() -> None:
    labels, ours, _ = _data(60, 5)
    codes = cells.cell_codes(labels, ours, ours)
    for found in (
        cells.bootstrap_difference(cells.cell_counts(codes), F1, confidence=0.95, rng=np.random.default_rng(0)),
        cells.linear_difference(codes, F1, confidence=0.95),
    ):
        assert found.value == 0
        assert found.low < -0.02
        assert found.high > 0.02


def test_a_perfect_score_is_not_certain() -> None:
    labels = np.arange(60) % 2
    found = cells.bootstrap(
        cells.cell_counts(cells.cell_codes(labels, labels)), F1, confidence=0.95, rng=np.random.default_rng(0)
    )
    assert found.value == found.high == 1
    assert found.low < 0.95


def test_counts_by_slice() -> None:
    codes, groups = cells.cell_codes([0, 1, 1], [0, 1, 0], [0, 0, 0]), np.array([1, 0, 1])
    table = cells.cell_counts(codes, groups, 2)
    assert table.shape == (2, 8)
    assert table.sum(axis=0).tolist() == cells.cell_counts(codes).tolist()
    assert table[0].tolist() == cells.cell_counts(codes[1:2]).tolist()


def test_the_metric_of_nothing_is_undefined() -> None:
    counts = np.array([10, 0, 0, 0, 0, 0, 0, 0])
    found = cells.bootstrap_difference(counts, F1, confidence=0.95, rng=np.random.default_rng(0))
    assert np.isnan(found.value)
    assert np.isnan(found.low)
