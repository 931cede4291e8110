"""Quantiles with intervals that assume nothing about the distribution."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from tidegate.stats.distributions import special
from tidegate.stats.estimate import UNKNOWN, Estimate


def quantile(values: ArrayLike, level: float, *, confidence: float) -> Estimate:
    """The quantile of [n] values at ``level`` (0.5: the median), with an interval between two order statistics.

    The number of values below the true quantile is binomial, so the interval holds it with at least ``confidence`` whatever the
    distribution. Where n is too small for an end, that end is NaN.

    Source: Hahn & Meeker, Statistical Intervals (1991), section 5.2; the estimate: Hyndman & Fan, The American Statistician 50 (1996), type 7.
    """
    ordered = np.sort(np.asarray(values, dtype=np.float64))
    n = ordered.size
    if n == 0:
        return UNKNOWN
    tail = (1 - confidence) / 2
    below = np.asarray(special().bdtr(np.arange(n), n, level))  # P(at most k values lie below the quantile)
    first = int(np.count_nonzero(below <= tail))
    last = int(np.count_nonzero(below < 1 - tail)) + 1
    low = float(ordered[first - 1]) if first else float("nan")
    high = float(ordered[last - 1]) if last <= n else float("nan")
    return Estimate(float(np.quantile(ordered, level)), low, high)
