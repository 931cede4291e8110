"""Intervals from influence values, and p-values read off them."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from tidegate.stats.estimate import (
    Estimate,
    around,
    cluster_count,
    cluster_sums,
    critical,
    from_influence,
    size_powers,
    steadiness,
    tail_probability,
)


def test_quantiles() -> None:
    assert critical(0.95) == pytest.approx(1.959964, abs=1e-6)
    assert critical(0.95, 9) == pytest.approx(stats.t.ppf(0.975, 9))


@pytest.mark.parametrize("df", [5.0, float("inf")])
def test_the_p_value_crosses_its_level_where_the_interval_ends(df: float) -> None:
    found = around(1.0, 0.5, df, 0.95)
    assert tail_probability(found, found.high, 0.95) == pytest.approx(0.025)
    assert tail_probability(found, 1.0, 0.95) == pytest.approx(0.5)
    assert tail_probability(found, found.high + 1, 0.95) < 0.025


def test_without_an_interval_there_is_no_evidence_of_harm() -> None:
    assert tail_probability(Estimate(1, float("nan"), float("nan")), 5, 0.95) == 1
    assert tail_probability(Estimate(1, 1, 1), 5, 0.95) == 1


def test_sums_by_cluster_skip_absent_codes() -> None:
    codes = np.array([5, 0, 5, 2])
    assert cluster_sums(np.array([1.0, 2.0, 3.0, 4.0]), codes).tolist() == [2, 4, 4]
    assert cluster_count(codes) == 3


def test_one_unit_has_no_interval() -> None:
    assert np.isnan(from_influence(1.0, np.array([0.5]), confidence=0.95).low)
    one_cluster = from_influence(1.0, np.array([0.5, -0.5]), confidence=0.95, clusters=np.array([0, 0]))
    assert np.isnan(one_cluster.low)


def test_equal_units_have_the_textbooks_degrees_of_freedom() -> None:
    for size in (1.0, 7.0):
        inflation, df = steadiness(size_powers(40, np.full(40, size)))
        assert inflation == pytest.approx(40 / 39)
        assert df == pytest.approx(39)


def test_uneven_units_are_worth_less() -> None:
    """Against the matrices of Bell & McCaffrey (2002) written out; half of a unit's variance grows with its size, half with its square."""
    sizes = np.random.default_rng(0).lognormal(size=25)
    share = sizes / sizes.sum()
    residual = np.eye(25) - np.outer(share, np.ones(25))
    variances = share / 2 + share**2 / np.square(share).sum() / 2
    product = residual.T @ residual @ np.diag(variances)
    inflation, df = steadiness(size_powers(25, sizes))
    assert inflation == pytest.approx(variances.sum() / np.trace(product))
    assert df == pytest.approx(np.trace(product) ** 2 / np.trace(product @ product))
    assert df < 24


def test_sizes_are_those_of_clusters() -> None:
    clusters, weights = np.array([0, 0, 2, 2, 2, 5]), np.arange(1.0, 7)
    assert size_powers(6, None, clusters) == pytest.approx([6, 14, 36, 98, 276])
    assert size_powers(6, weights, clusters)[:2] == pytest.approx([21, 9 + 144 + 36])


def test_one_unit_that_holds_everything_has_no_interval() -> None:
    weights = np.array([1.0, 0.0, 0.0])
    assert steadiness(size_powers(3, weights))[1] == 0
    assert steadiness(np.zeros(5))[1] == 0
    assert np.isnan(from_influence(1.0, np.array([0.5, 0.1, -0.1]), confidence=0.95, weights=weights).low)


def test_uneven_clusters_widen_the_interval() -> None:
    rng = np.random.default_rng(1)
    influence = rng.normal(size=200) / 200
    even, uneven = np.arange(200) // 10, np.minimum(np.arange(200) // 5, 19)
    plain, wide = (from_influence(0.0, influence, confidence=0.95, clusters=codes) for codes in (even, uneven))
    assert plain.df == pytest.approx(19)
    assert wide.df < 10
