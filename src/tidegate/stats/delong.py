"""ROC AUC and its paired comparison by DeLong's method, in n log n, with ties, weights and clusters."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tidegate.stats.estimate import Codes, Estimate, Floats, around, cluster_count, cluster_sums, critical


class Ranking(NamedTuple):
    """AUC of one score and the [n] influence of each row on it; rows with label 1 and 0 are told apart by ``positive``."""

    auc: float
    influence: Floats
    positive: NDArray[np.bool_]


def ranking(labels: ArrayLike, scores: ArrayLike, weights: Floats | None = None) -> Ranking:
    """AUC with ties counted half, and the influence values whose squares add up to DeLong's variance.

    A row's placement value is the share of the other class that it is ranked right against. One sort per score.
    Source: DeLong, DeLong & Clarke-Pearson, Biometrics 44 (1988); fast form: Sun & Xu, IEEE Signal Processing Letters 21 (2014).
    """
    positive = np.asarray(labels) > 0
    weight = np.ones(positive.size) if weights is None else weights
    _, codes = np.unique(np.asarray(scores), return_inverse=True)
    ones = np.bincount(codes, weights=weight * positive)
    zeros = np.bincount(codes, weights=weight * ~positive)
    ones_total, zeros_total = float(ones.sum()), float(zeros.sum())
    if ones_total == 0 or zeros_total == 0:
        return Ranking(float("nan"), np.zeros(positive.size), positive)
    beats = (np.cumsum(zeros) - zeros / 2) / zeros_total
    beaten = (ones_total - np.cumsum(ones) + ones / 2) / ones_total
    auc = float((ones * beats).sum() / ones_total)
    placement = np.where(positive, beats[codes], beaten[codes]) - auc
    share = weight / np.where(positive, ones_total, zeros_total)
    return Ranking(auc, share * placement, positive)


def covariance(first: Ranking, second: Ranking) -> float:
    """DeLong's covariance of two AUCs on the same rows (of one with itself: its variance)."""
    product = first.influence * second.influence
    total = 0.0
    for side in (first.positive, ~first.positive):
        count = int(side.sum())
        total += float(product[side].sum()) * count / (count - 1) if count > 1 else float("nan")
    return total


def auc(result: Ranking, *, confidence: float, clusters: Codes | None = None) -> Estimate:
    """One AUC with an interval on the logit scale, which stays inside 0 to 1.

    Where the variance seen is 0 (perfect ranking) the interval is Wilson's for that many rows of the rarer class.
    Source: Pepe, The Statistical Evaluation of Medical Tests (2003), section 5.2; clusters: Obuchowski, Biometrics 53 (1997).
    """
    variance, df = _variance(result.influence, result, clusters)
    value = result.auc
    if not np.isfinite(variance):
        return Estimate(value, float("nan"), float("nan"))
    if variance <= 0 or value <= 0 or value >= 1:
        z = critical(confidence)
        slack = z * z / (_rarer(result, clusters) + z * z)
        return Estimate(value, max(value - slack, 0.0), min(value + slack, 1.0), df)
    logit = np.log(value / (1 - value))
    half = critical(confidence, df) * np.sqrt(variance) / (value * (1 - value))
    low, high = (float(1 / (1 + np.exp(-(logit + sign * half)))) for sign in (-1, 1))
    return Estimate(value, low, high, df)


def auc_difference(candidate: Ranking, champion: Ranking, *, confidence: float, clusters: Codes | None = None) -> Estimate:
    """AUC of the candidate minus that of the champion on the same rows, with a Wald interval.

    Where no row is ranked differently the interval is the score interval for "0 of n", n the rows of the rarer class.
    Source: as ``ranking``; with clusters, placement values are summed by cluster first (Obuchowski 1997).
    """
    difference = candidate.auc - champion.auc
    influence = candidate.influence - champion.influence
    variance, df = _variance(influence, candidate, clusters)
    if not np.isfinite(variance):
        return Estimate(difference, float("nan"), float("nan"))
    if not np.any(np.abs(influence) > 1e-15):
        z = critical(confidence)
        slack = z * z / (_rarer(candidate, clusters) + z * z)
        return Estimate(difference, difference - slack, difference + slack, df)
    return around(difference, float(np.sqrt(variance)), df, confidence)


def _variance(influence: Floats, rows: Ranking, clusters: Codes | None) -> tuple[float, float]:
    """Variance of the sum of influence values, and the degrees of freedom of its t interval."""
    if clusters is not None:
        sums = cluster_sums(influence, clusters)
        count = sums.size
        return (float(np.square(sums).sum()) * count / (count - 1) if count > 1 else float("nan"), float(count - 1))
    same = rows._replace(influence=influence)
    return covariance(same, same), float("inf")


def _rarer(rows: Ranking, clusters: Codes | None) -> int:
    ones = int(rows.positive.sum())
    rarer = min(ones, rows.positive.size - ones)
    return rarer if clusters is None else min(rarer, cluster_count(clusters))
