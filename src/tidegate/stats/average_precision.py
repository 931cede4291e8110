"""Average precision and its influence values, in n log n, with ties and weights. Intervals: ``tidegate.stats.areas``."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tidegate.stats.areas import Influences
from tidegate.stats.estimate import Codes, Floats


def precisions(labels: ArrayLike, codes: Codes, weights: Floats | None = None) -> Influences:
    """Average precision, the mean over positives of the precision at their score, and the influence of each row on it.

    ``codes`` are the scores' (see ``tied``). Rows with equal scores are found together, so each of them has the precision at the
    end of its tie. With the share of positives p, the share B(s) of rows at or above s, and the precision g(s) there,
    AP = E[y g(S)] / p. Its derivative towards a row (y, s) is

        y (g(s) - AP) / p  +  E[Y (y - g(S)) / B(S) over the rows at or below s] / p

    the first for the row itself, the second for the precision of every positive that it stands above. That each positive counts
    itself at its own score makes the value of few rows too large; the interval is moved by as much as that is.

    Source: definition, Yilmaz & Aslam, CIKM 2006, as scikit-learn's; the derivative is the influence function, Hampel, JASA 69 (1974);
    variance by linearisation, Deville, Survey Methodology 25 (1999).
    """
    positive = np.asarray(labels) > 0
    weight = np.ones(positive.size) if weights is None else weights
    ones = np.bincount(codes, weights=weight * positive)
    total = np.bincount(codes, weights=weight)
    found = np.cumsum(total[::-1], dtype=np.float64)[::-1]
    total_ones = float(ones.sum())
    if total_ones == 0:
        return Influences(float("nan"), np.zeros(positive.size), positive, weights)
    precision = np.divide(np.cumsum(ones[::-1])[::-1], found, out=np.zeros(found.size), where=found > 0)
    value = float((ones * precision).sum() / total_ones)
    below = np.cumsum(np.divide(ones, found, out=np.zeros(found.size), where=found > 0))
    lost = np.cumsum(np.divide(ones * precision, found, out=np.zeros(found.size), where=found > 0))
    own = np.where(positive, precision[codes] - value + below[codes], 0.0)
    influence = weight * (own - lost[codes]) / total_ones
    return Influences(value, influence, positive, weights, bias=_bias(positive, weight, codes, precision, found))


def _bias(positive: NDArray[np.bool_], weight: Floats, codes: Codes, precision: Floats, found: Floats) -> float:
    """By how much the value is too large on average: each positive counts itself among what is found at its own score."""
    share = weight[positive]
    own = codes[positive]
    doubt = np.divide(1 - precision[own], found[own], out=np.zeros(own.size), where=found[own] > 0)
    return float((share**2 * doubt).sum() / share.sum())


def binomial(value: float, ones: float, zeros: float) -> float:
    """The variance of an average precision of this size with so many positives and negatives.

    Source: Boyd, Eng & Page, ECML PKDD 2013, section 3.3, of positives alone; the second share is ours: where positives score alike it
    is a few negatives that decide.
    """
    return value * (1 - value) * (1 / ones + 1 / zeros)
