"""Losses row by row: what one row adds to a metric that is a mean.

Labels are [n] with predictions [n]; or [n] class codes with probabilities [n, K]; or [n, K] labels 0/1 with probabilities [n, K], of
which a row's loss is the mean over its K labels.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from tidegate.stats.estimate import Floats

CLIP = 1e-15


def log_loss(labels: ArrayLike, probabilities: ArrayLike) -> Floats:
    """Minus the log-likelihood of each label; probabilities are kept 1e-15 away from 0 and 1.

    Source: Good, Rational decisions, JRSS B 14 (1952).
    """
    y, p = np.asarray(labels), np.asarray(probabilities, dtype=np.float64)
    if p.ndim == 2 and y.ndim == 1:
        return -np.log(np.clip(_of_label(y, p), CLIP, 1 - CLIP))
    p = np.clip(np.where(y > 0, p, 1 - p), CLIP, 1 - CLIP)
    return _per_row(-np.log(p))


def brier(labels: ArrayLike, probabilities: ArrayLike) -> Floats:
    """(probability - label) squared, of classes summed over all of them: 0 to 1, of classes 0 to 2.

    Source: Brier, Monthly Weather Review 78 (1950).
    """
    y, p = np.asarray(labels), np.asarray(probabilities, dtype=np.float64)
    if p.ndim == 2 and y.ndim == 1:
        return np.square(p).sum(axis=1) - 2 * _of_label(y, p) + 1
    return _per_row(np.square(p - y))


def squared_error(labels: ArrayLike, predictions: ArrayLike) -> Floats:
    """(prediction - label) squared."""
    return np.square(np.asarray(predictions, dtype=np.float64) - np.asarray(labels, dtype=np.float64))


def absolute_error(labels: ArrayLike, predictions: ArrayLike) -> Floats:
    """|prediction - label|."""
    return np.abs(np.asarray(predictions, dtype=np.float64) - np.asarray(labels, dtype=np.float64))


def relative_error(labels: ArrayLike, predictions: ArrayLike) -> Floats:
    """|prediction - label| as a share of |label|; infinite or NaN where the label is 0."""
    y = np.asarray(labels, dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.abs((np.asarray(predictions, dtype=np.float64) - y) / y)


def pinball(labels: ArrayLike, predictions: ArrayLike, *, quantile: float) -> Floats:
    """The loss whose mean the ``quantile`` of the label makes least: too low costs ``quantile``, too high 1 - ``quantile`` per unit.

    Source: Koenker & Bassett, Econometrica 46 (1978).
    """
    short = np.asarray(labels, dtype=np.float64) - np.asarray(predictions, dtype=np.float64)
    return np.maximum(quantile * short, (quantile - 1) * short)


def _of_label(codes: ArrayLike, probabilities: Floats) -> Floats:
    """The probability that each row gives its own label."""
    return np.take_along_axis(probabilities, np.asarray(codes).astype(np.int64)[:, None], axis=1)[:, 0]


def _per_row(losses: Floats) -> Floats:
    return losses if losses.ndim == 1 else losses.mean(axis=1)
