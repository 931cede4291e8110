"""Intervals from influence values, and p-values read off them."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from tidegate.stats.estimate import Estimate, around, cluster_count, cluster_sums, critical, from_influence, tail_probability


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
