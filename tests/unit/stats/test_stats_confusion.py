"""Metrics of confusion tables against scikit-learn, and the complex-step gradient against differences."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics

from tidegate.stats import confusion
from tidegate.stats.confusion import gradient, on_margins

PAIRS = st.integers(2, 5).flatmap(
    lambda k: st.tuples(st.just(k), st.lists(st.tuples(*[st.integers(0, k - 1)] * 2), min_size=1, max_size=40))
)


def margins(labels: np.ndarray, decisions: np.ndarray, k: int) -> np.ndarray:
    """The [3, K] margins of [n] labels and decisions."""
    hits = labels[labels == decisions]
    return np.stack([np.bincount(each, minlength=k) for each in (labels, decisions, hits)]).astype(float)


@given(PAIRS)
def test_metrics_of_k_classes_are_scikit_learns(case: tuple[int, list[tuple[int, int]]]) -> None:
    k, rows = case
    labels, decisions = np.array(rows).T
    table, present = margins(labels, decisions, k), np.unique(labels)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of classes that are only predicted
        assert confusion.accuracy(table) == pytest.approx(metrics.accuracy_score(labels, decisions))
        assert confusion.balanced_accuracy(table) == pytest.approx(metrics.balanced_accuracy_score(labels, decisions))
        for beta in (0.5, 1.0, 3.0):
            score: Any = partial(metrics.fbeta_score, labels, decisions, beta=beta, zero_division=0)
            assert confusion.macro_fbeta(table, beta) == pytest.approx(score(labels=present, average="macro"))
            assert confusion.weighted_fbeta(table, beta) == pytest.approx(score(average="weighted"))
        place = int(present[0])
        ours, truth = decisions == place, labels == place
        assert confusion.recall(table, place=place) == pytest.approx(metrics.recall_score(truth, ours))
        assert confusion.precision(table, place=place) == pytest.approx(
            metrics.precision_score(truth, ours, zero_division=np.nan), nan_ok=True
        )
        assert confusion.specificity(table, place=place) == pytest.approx(
            metrics.recall_score(~truth, ~ours, zero_division=np.nan), nan_ok=True
        )
        assert confusion.fbeta(table, 2.0, place=place) == pytest.approx(metrics.fbeta_score(truth, ours, beta=2))
        assert confusion.positive_rate(table, place=place) == pytest.approx(ours.mean())
        if len(present) > 1 and np.unique(decisions).size > 1:
            assert confusion.mcc(table) == pytest.approx(metrics.matthews_corrcoef(labels, decisions))
            assert confusion.kappa(table) == pytest.approx(metrics.cohen_kappa_score(labels, decisions))
        else:
            assert np.isnan(confusion.mcc(table))


FUNCTIONS: list[Callable[..., Any]] = [
    confusion.accuracy,
    confusion.balanced_accuracy,
    confusion.precision,
    confusion.recall,
    confusion.specificity,
    partial(confusion.fbeta, beta=2.0),
    confusion.macro_fbeta,
    confusion.weighted_fbeta,
    confusion.positive_rate,
    confusion.mcc,
    confusion.kappa,
    confusion.micro_fbeta,
]


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("k", [2, 4])
def test_the_complex_step_is_the_derivative(function: Callable[..., Any], k: int) -> None:
    rng = np.random.default_rng(k)
    labels = rng.integers(0, k, 500)
    table = margins(labels, np.where(rng.random(500) < 0.6, labels, rng.integers(0, k, 500)), k).ravel()
    of = on_margins(function)
    steps = np.eye(table.size) * 1e-3
    differences = (of(table + steps) - of(table - steps)) / 2e-3
    assert gradient(of, table) == pytest.approx(differences, rel=1e-6, abs=1e-10)


def test_a_metric_of_shares_does_not_depend_on_the_number_of_rows() -> None:
    """So that influence values of rows add up to nothing (Euler)."""
    table = np.array([60.0, 40.0, 55.0, 45.0, 50.0, 35.0])
    for function in FUNCTIONS:
        of = on_margins(function)
        assert of(7 * table) == pytest.approx(of(table))
        assert gradient(of, table) @ table == pytest.approx(0, abs=1e-12)


def test_many_tables_at_once() -> None:
    tables = np.random.default_rng(0).integers(1, 20, (6, 5, 3, 3)).astype(float)
    for function in (confusion.mcc, confusion.kappa, confusion.macro_fbeta):
        found = function(tables)
        assert found.shape == (6, 5)
        assert found[2, 3] == pytest.approx(function(tables[2, 3]), nan_ok=True)


def test_the_mean_of_costs() -> None:
    assert confusion.mean_of(np.array([4.0, 10.0])) == 2.5
