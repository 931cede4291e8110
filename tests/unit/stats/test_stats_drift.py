"""Histograms, distances, and thresholds that keep their false-alarm rate."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon

from tidegate.stats.drift import (
    calibrated_threshold,
    category_counts,
    histogram,
    histogram_quantiles,
    js_distance,
    quantile_deltas,
    quantile_edges,
)

COUNTS = st.lists(st.tuples(st.integers(0, 1000), st.integers(0, 1000)), min_size=2, max_size=12).filter(
    lambda rows: all(sum(side) > 0 for side in zip(*rows, strict=True))
)


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=200), st.integers(2, 20))
def test_every_value_has_a_bin(values: list[float], bins: int) -> None:
    edges = quantile_edges(values, bins)
    assert edges.size <= bins - 1
    assert (np.diff(edges) > 0).all()
    counts = histogram([*values, np.nan, np.inf, -np.inf], edges)
    assert counts.size == edges.size + 1
    assert counts.sum() == len(values) + 2


def test_bins_hold_about_equal_counts() -> None:
    values = np.random.default_rng(0).normal(size=10_000)
    assert histogram(values, quantile_edges(values, 10)) == pytest.approx(np.full(10, 1000), abs=1)
    assert quantile_edges([np.nan], 10).size == 0


def test_categories() -> None:
    assert category_counts(np.array(["a", "b", "a", "z"], dtype=object), ["a", "b", "c"]).tolist() == [2, 1, 0, 1]


@given(COUNTS)
def test_it_is_a_distance(rows: list[tuple[int, int]]) -> None:
    p, q = (np.array(side) for side in zip(*rows, strict=True))
    assert js_distance(p, q) == pytest.approx(jensenshannon(p, q, base=2), abs=1e-7)
    assert js_distance(p, q) == pytest.approx(js_distance(q, p))
    assert 0 <= js_distance(p, q) <= 1 + 1e-12
    assert js_distance(p, p) == pytest.approx(0, abs=1e-7)


def test_nothing_to_compare_is_not_no_drift() -> None:
    assert np.isnan(js_distance([0, 0], [1, 2]))
    assert np.isnan(js_distance([1, 2], [0, 0]))
    assert np.isnan(calibrated_threshold(np.ones((2, 3), dtype=int), 10, 0.05, np.random.default_rng(0)))
    assert np.isnan(calibrated_threshold(np.ones((9, 3), dtype=int), 0, 0.05, np.random.default_rng(0)))


def test_quantiles_of_a_histogram() -> None:
    values = np.random.default_rng(1).normal(size=50_000)
    edges = quantile_edges(values, 40)
    found = histogram_quantiles(histogram(values, edges), edges, [0.1, 0.5, 0.9])
    assert found == pytest.approx([-1.2816, 0, 1.2816], abs=0.03)
    assert quantile_deltas(histogram(values + 0.5, edges), histogram(values, edges), edges, 0.5) == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize(("windows", "size", "n", "spread"), [(30, 900, 900, 500), (12, 5000, 1000, 0), (12, 500, 500, 0)])
def test_healthy_windows_raise_about_alpha_alarms(windows: int, size: int, n: int, spread: float) -> None:
    rng = np.random.default_rng(2)
    base = rng.dirichlet(np.full(10, 5))

    def today() -> np.ndarray:
        return rng.dirichlet(base * spread) if spread else base

    alarms = 0
    for _ in range(40):
        past = np.array([rng.multinomial(size, today()) for _ in range(windows)])
        threshold = calibrated_threshold(past, n, 0.05, rng)
        alarms += sum(js_distance(rng.multinomial(n, today()), past.sum(axis=0)) > threshold for _ in range(50))
    assert 0.01 <= alarms / 2000 <= 0.08


def test_a_real_shift_raises_one() -> None:
    rng = np.random.default_rng(3)
    edges = quantile_edges(rng.normal(size=10_000), 10)
    past = np.array([histogram(rng.normal(size=800), edges) for _ in range(20)])
    threshold = calibrated_threshold(past, 800, 0.001, rng)
    assert js_distance(histogram(rng.normal(0.4, 1, 800), edges), past.sum(axis=0)) > 1.5 * threshold


def test_alarms_over_all_features_are_controlled() -> None:
    rng = np.random.default_rng(4)
    names = [f"f{place}" for place in range(12)]
    alarms = 0
    for _ in range(20):
        past = {name: rng.multinomial(600, np.full(8, 1 / 8), size=15) for name in names}
        thresholds = {name: calibrated_threshold(past[name], 600, 0.1 / len(names), rng) for name in names}
        for _ in range(20):
            alarms += any(
                js_distance(rng.multinomial(600, np.full(8, 1 / 8)), past[name].sum(axis=0)) > thresholds[name] for name in names
            )
    assert alarms / 400 <= 0.15


def test_the_same_seed_gives_the_same_threshold() -> None:
    past = np.random.default_rng(5).multinomial(300, np.full(6, 1 / 6), size=10)
    one, two = (calibrated_threshold(past, 200, 0.05, np.random.default_rng(7)) for _ in range(2))
    assert one == two
