"""Losses row by row, their mean, and the paired difference of two models' means.

Predictions of two models on the same rows share what makes a row hard, so the interval is taken of the row-wise
difference: far narrower than two separate intervals.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from tidegate.stats.estimate import Codes, Estimate, Floats, from_influence

CLIP = 1e-15


def log_loss(labels: ArrayLike, probabilities: ArrayLike) -> Floats:
    """Minus the log-likelihood of each 0/1 label; probabilities are kept 1e-15 away from 0 and 1.

    Source: Good, Rational decisions, JRSS B 14 (1952).
    """
    p = np.clip(np.asarray(probabilities, dtype=np.float64), CLIP, 1 - CLIP)
    return -np.log(np.where(np.asarray(labels) > 0, p, 1 - p))


def squared_error(labels: ArrayLike, predictions: ArrayLike) -> Floats:
    """(prediction - label) squared; of probabilities and 0/1 labels this is the Brier score (Monthly Weather Review 78, 1950)."""
    return np.square(np.asarray(predictions, dtype=np.float64) - np.asarray(labels, dtype=np.float64))


def absolute_error(labels: ArrayLike, predictions: ArrayLike) -> Floats:
    """|prediction - label|."""
    return np.abs(np.asarray(predictions, dtype=np.float64) - np.asarray(labels, dtype=np.float64))


def mean(
    values: Floats,
    *,
    confidence: float,
    weights: Floats | None = None,
    clusters: Codes | None = None,
    scale: float = 0.0,
) -> Estimate:
    """The (weighted) mean of [n] values with a t interval over rows, or over clusters of rows.

    The mean of paired differences gives the paired t interval. ``scale`` is used where no value differs from 0.
    Source: Student, Biometrika 6 (1908); weights and clusters by linearisation: Cochran, Sampling Techniques, chapter 6.
    """
    if values.size == 0:
        return Estimate(float("nan"), float("nan"), float("nan"))
    share = _shares(values.size, weights)
    value = float((share * values).sum())
    influence = share * (values - value)
    return from_influence(value, influence, confidence=confidence, clusters=clusters, differs=values != 0, scale=scale)


def mean_difference(
    candidate: Floats,
    champion: Floats,
    *,
    confidence: float,
    weights: Floats | None = None,
    clusters: Codes | None = None,
    scale: float = 0.0,
) -> Estimate:
    """Mean loss of the candidate minus that of the champion on the same [n] rows: the paired t interval.

    ``scale`` is a loss that a row could plausibly have, where none of these shows it.
    """
    seen = float(max(np.abs(candidate).max(initial=0.0), np.abs(champion).max(initial=0.0)))
    return mean(candidate - champion, confidence=confidence, weights=weights, clusters=clusters, scale=max(seen, scale))


def root_mean(
    squares: Floats,
    *,
    confidence: float,
    weights: Floats | None = None,
    clusters: Codes | None = None,
    scale: float = 0.0,
) -> Estimate:
    """The root of the mean of [n] squared errors, with an interval by the delta method.

    Source: Oehlert, A note on the delta method, The American Statistician 46 (1992).
    """
    share = _shares(squares.size, weights)
    root = float(np.sqrt((share * squares).sum()))
    return from_influence(
        root, _root_influence(squares, root, share), confidence=confidence, clusters=clusters, scale=max(root, scale)
    )


def root_mean_difference(
    candidate: Floats,
    champion: Floats,
    *,
    confidence: float,
    weights: Floats | None = None,
    clusters: Codes | None = None,
    scale: float = 0.0,
) -> Estimate:
    """Difference of the roots of two mean squared errors on the same rows: delta method on the paired influence values."""
    share = _shares(candidate.size, weights)
    roots = [float(np.sqrt((share * squares).sum())) for squares in (candidate, champion)]
    influence = _root_influence(candidate, roots[0], share) - _root_influence(champion, roots[1], share)
    differs = candidate != champion
    return from_influence(
        roots[0] - roots[1], influence, confidence=confidence, clusters=clusters, differs=differs, scale=max(*roots, scale)
    )


def _root_influence(squares: Floats, root: float, share: Floats) -> Floats:
    if root == 0:
        return np.zeros(squares.size)
    return share * (squares - root * root) / (2 * root)


def _shares(size: int, weights: Floats | None) -> Floats:
    """Each row's share of the mean; NaN where no row weighs anything."""
    if weights is None:
        return np.full(size, 1 / size)
    total = float(weights.sum())
    return weights / total if total > 0 else np.full(size, np.nan)
