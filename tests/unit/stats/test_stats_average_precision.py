"""Average precision against scikit-learn, and its influence values against leaving rows out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from area_cases import average_precision
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from tidegate.stats.areas import interval, tied
from tidegate.stats.average_precision import binomial, precisions


def rows(n: int, seed: int = 0) -> tuple[Any, Any, Any]:
    rng = np.random.default_rng(seed)
    labels = rng.random(n) < 0.25
    return labels, np.round(rng.normal(size=n) + labels, 1), rng.integers(1, 4, n).astype(float)


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 6), st.integers(0, 3)), min_size=2, max_size=40))
def test_it_is_scikit_learns(table: list[tuple[bool, int, int]]) -> None:
    labels, scores, weights = (np.array([row[place] for row in table], dtype=float) for place in range(3))
    if labels @ weights == 0 or (1 - labels) @ weights == 0:
        return
    assert precisions(labels, tied(scores)).value == pytest.approx(average_precision_score(labels, scores))
    weighted = precisions(labels, tied(scores), weights).value
    assert weighted == pytest.approx(average_precision_score(labels, scores, sample_weight=weights))
    assert precisions(labels, tied(np.exp(scores))).value == precisions(labels, tied(scores)).value


def test_influence_is_the_derivative() -> None:
    labels, scores, weights = rows(60)
    codes = tied(scores)
    found = precisions(labels, codes, weights)
    for row in range(0, 60, 7):
        more = weights.copy()
        more[row] += 1e-5
        slope = (precisions(labels, codes, more).value - found.value) / 1e-5
        assert slope * weights[row] == pytest.approx(found.influence[row], abs=1e-5)
    assert found.influence.sum() == pytest.approx(0, abs=1e-12)


def test_its_error_is_that_of_the_jackknife_and_of_the_bootstrap() -> None:
    labels, scores, _ = rows(400, seed=1)
    error = np.sqrt(average_precision(labels, scores).variance)
    left = np.array([precisions(np.delete(labels, row), np.delete(tied(scores), row)).value for row in range(400)])
    assert error == pytest.approx(np.sqrt(399 / 400 * np.square(left - left.mean()).sum()), rel=0.05)
    rng = np.random.default_rng(2)
    drawn = [precisions(labels[i], tied(scores[i])).value for i in (rng.integers(0, 400, 400) for _ in range(2000))]
    assert error == pytest.approx(np.std(drawn), rel=0.08)


def test_clusters_of_one_row_are_rows_and_of_copies_no_new_evidence() -> None:
    labels, scores, _ = rows(200)
    plain = average_precision(labels, scores)
    alone = average_precision(labels, scores, None, np.arange(200))
    assert (alone.variance, alone.df) == pytest.approx((plain.variance, plain.df))
    copied = average_precision(np.tile(labels, 3), np.tile(scores, 3), None, np.tile(np.arange(200), 3))
    assert copied.variance == pytest.approx(plain.variance)


def test_few_rows_flatter_it_and_the_interval_allows_for_that() -> None:
    labels, scores, _ = rows(60)
    found = precisions(labels, tied(scores))
    assert found.bias > 0
    shown = interval(average_precision(labels, scores), confidence=0.95)
    assert found.value - shown.low > shown.high - found.value


def test_no_positive_has_no_average_precision() -> None:
    assert np.isnan(average_precision(np.zeros(5), np.arange(5.0)).value)
    assert binomial(0.5, 10, 20) == pytest.approx(0.25 * 0.15)
