"""ROC AUC and its influence values by DeLong's method, in n log n, with ties and weights. Intervals: ``tidegate.stats.areas``."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from tidegate.stats.areas import Influences
from tidegate.stats.estimate import Codes, Floats

_AT_RANDOM = 0.5


def placements(labels: ArrayLike, codes: Codes, weights: Floats | None = None) -> Influences:
    """AUC with ties counted half, and the influence values whose squares add up to DeLong's variance.

    ``codes`` are the scores' (see ``tied``). A row's placement value is the share of the other class that it is ranked right against.
    Source: DeLong, DeLong & Clarke-Pearson, Biometrics 44 (1988); fast form: Sun & Xu, IEEE Signal Processing Letters 21 (2014).
    """
    positive = np.asarray(labels) > 0
    weight = np.ones(positive.size) if weights is None else weights
    ones = np.bincount(codes, weights=weight * positive)
    zeros = np.bincount(codes, weights=weight * ~positive)
    ones_total, zeros_total = float(ones.sum()), float(zeros.sum())
    if ones_total == 0 or zeros_total == 0:
        return Influences(float("nan"), np.zeros(positive.size), positive, weights)
    beats = (np.cumsum(zeros) - zeros / 2) / zeros_total
    beaten = (ones_total - np.cumsum(ones) + ones / 2) / ones_total
    value = float((ones * beats).sum() / ones_total)
    placement = np.where(positive, beats[codes], beaten[codes]) - value
    share = weight / np.where(positive, ones_total, zeros_total)
    return Influences(value, share * placement, positive, weights, unseen=_AT_RANDOM)


def newcombe(value: float, ones: float, zeros: float) -> float:
    """The variance of an AUC of this size with so many positives and negatives.

    Source: Hanley & McNeil, Radiology 143 (1982), made symmetric: Newcombe, Statistics in Medicine 25 (2006), method 5.
    """
    more = max((ones + zeros) / 2 - 1, 0.0)
    spread = 1 + more * (1 - value) / (2 - value) + more * value / (1 + value)
    return value * (1 - value) * spread / (ones * zeros)
