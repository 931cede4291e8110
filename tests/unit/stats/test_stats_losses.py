"""Losses of rows, against scikit-learn's means of them."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics

from tidegate.stats.losses import absolute_error, brier, log_loss, pinball, relative_error, squared_error

RNG = np.random.default_rng(0)
CODES = RNG.integers(0, 4, 300)
TABLE = RNG.dirichlet(np.ones(4), 300)


def test_losses_of_a_row() -> None:
    assert log_loss([1, 0], [0.8, 0.8]) == pytest.approx([-np.log(0.8), -np.log(0.2)])
    assert np.isfinite(log_loss([1, 0], [0.0, 1.0])).all()
    assert squared_error([1, 0], [0.8, 0.8]) == pytest.approx([0.04, 0.64])
    assert brier([1, 0], [0.8, 0.8]) == pytest.approx([0.04, 0.64])
    assert absolute_error([1.5], [-1]) == pytest.approx([2.5])
    assert relative_error([2, -4], [3, -5]) == pytest.approx([0.5, 0.25])
    assert pinball([3, 3], [1, 4], quantile=0.9) == pytest.approx([1.8, 0.1])


def test_the_mean_over_classes_is_scikit_learns() -> None:
    assert log_loss(CODES, TABLE).mean() == pytest.approx(metrics.log_loss(CODES, TABLE))
    hot = np.eye(4)[CODES]
    assert brier(CODES, TABLE) == pytest.approx(np.square(TABLE - hot).sum(axis=1))
    assert brier(CODES.astype(float), TABLE).shape == (300,)


def test_a_row_of_several_labels_is_their_mean() -> None:
    labels, chances = (RNG.random((50, 3)) < 0.4).astype(float), RNG.uniform(0.05, 0.95, (50, 3))
    assert log_loss(labels, chances) == pytest.approx(np.mean([log_loss(labels[:, k], chances[:, k]) for k in range(3)], axis=0))
    assert brier(labels, chances) == pytest.approx(np.square(labels - chances).mean(axis=1))


@pytest.mark.parametrize("quantile", [0.1, 0.5, 0.9])
def test_pinball_is_scikit_learns(quantile: float) -> None:
    y, p = RNG.normal(size=200), RNG.normal(size=200)
    assert pinball(y, p, quantile=quantile).mean() == pytest.approx(metrics.mean_pinball_loss(y, p, alpha=quantile))


def test_an_impossible_share_is_not_hidden() -> None:
    assert not np.isfinite(relative_error([0.0, 0.0], [1.0, 0.0])).any()
