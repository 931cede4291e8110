"""An estimate with its confidence interval, and how it is made from influence values."""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tidegate.stats.distributions import special

Floats: TypeAlias = NDArray[np.float64]
Codes: TypeAlias = NDArray[np.integer[Any]]

POWERS = 5
"""How uneven units are is told by the sums of their sizes' first to fifth power."""
SPARSE = 20
"""Below this many units that differ at all, the variance seen is not trusted alone."""


class Estimate(NamedTuple):
    """A value, the two ends of its confidence interval, and the degrees of freedom of the interval (inf: normal).

    NaN ends mean that no interval can be given.
    """

    value: float
    low: float
    high: float
    df: float = float("inf")

    def negated(self) -> Estimate:
        """The estimate of the opposite: minus the value, ends swapped."""
        return Estimate(-self.value, -self.high, -self.low, self.df)


def no_interval(value: float = float("nan")) -> Estimate:
    """A value of which nobody can say how sure it is; without one, not even a value."""
    return Estimate(value, float("nan"), float("nan"))


UNKNOWN = no_interval()


def nothing_seen(value: float, count: float, *, scale: float, confidence: float, df: float) -> Estimate:
    """The interval where none of ``count`` units shows anything: a score interval's for "0 of n", to both sides, times ``scale``.

    Source: Wilson, JASA 22 (1927), at no successes: the upper end is z^2 / (n + z^2).
    """
    z = critical(confidence)
    half = scale * z * z / (count + z * z)
    return Estimate(value, value - half, value + half, df)


def critical(confidence: float, df: float = float("inf")) -> float:
    """The two-sided quantile of Student's t, of the normal distribution for infinite ``df``."""
    return float(special().ndtri((1 + confidence) / 2) if np.isinf(df) else special().stdtrit(df, (1 + confidence) / 2))


def around(value: float, error: float, df: float, confidence: float) -> Estimate:
    """The symmetric interval ``value`` +- t ``error``; ``error`` is a standard error."""
    half = critical(confidence, df) * error
    return Estimate(value, value - half, value + half, df)


def from_influence(
    value: float,
    influence: Floats,
    *,
    confidence: float,
    clusters: Codes | None = None,
    differs: NDArray[np.bool_] | None = None,
    scale: float = 0.0,
    weights: Floats | None = None,
) -> Estimate:
    """A t interval from influence values: ``value`` minus its truth is about the sum of ``influence`` over rows.

    Rows of a cluster are added up first, so that they may depend on each other; variance and degrees of freedom are corrected for
    how uneven the clusters (rows) are, see ``steadiness``. Two guards keep a sample with almost no differences from looking
    certain: with none at all, the interval is that of a score interval for "0 of n", times ``scale``; with fewer than 20 units
    that differ, two units as large as the largest are added, one to each side (after Agresti & Min), by the share of units that
    say nothing.

    Args:
        value: The estimate.
        influence: [n] influence values; they sum to about 0.
        confidence: Two-sided confidence of the interval.
        clusters: [n] codes, or None when every row stands for itself.
        differs: [n] which rows tell the two models apart; None: those with influence.
        scale: The largest value that a single row could plausibly have had.
        weights: [n] weights that ``influence`` already holds: they tell how uneven the units are.

    Source: Liang & Zeger, Biometrika 73 (1986), cluster-robust variance; Agresti & Min, Statistics in Medicine 24 (2005).
    """
    units = influence if clusters is None else cluster_sums(influence, clusters)
    count = units.size
    if count < 2 or not np.isfinite(value):
        return no_interval(value)
    telling = influence != 0 if differs is None else differs
    differing = int(np.count_nonzero(telling) if clusters is None else cluster_count(clusters[telling]))
    if differing == 0:
        return nothing_seen(value, count, scale=scale, confidence=confidence, df=count - 1)
    inflation, df = steadiness(size_powers(influence.size, weights, clusters))
    squares = float(np.square(units).sum()) * inflation
    if differing < SPARSE:
        squares += two_more(differing, count, float(np.abs(units).max()) ** 2)
    return around(value, float(np.sqrt(squares)), df, confidence) if df > 0 else no_interval(value)


def two_more(differing: float, count: float, square: float) -> float:
    """What two units of this squared influence add to a variance, one to each side, by the share of units that say nothing.

    For fewer than ``SPARSE`` units that differ. Source: after Agresti & Min, Statistics in Medicine 24 (2005).
    """
    return 2 * (1 - min(differing / count, 1.0)) * square


def size_powers(rows: int, weights: Floats | None = None, clusters: Codes | None = None) -> Floats:
    """[5] sums of the first to fifth power of the units' sizes: of rows or their weights, added up by cluster."""
    if weights is None and clusters is None:
        return np.full(POWERS, float(rows))
    sizes = np.ones(rows) if weights is None else weights
    if clusters is not None:
        sizes = cluster_sums(sizes, clusters)
    with np.errstate(over="ignore"):
        return np.array([float((sizes**power).sum()) for power in range(1, POWERS + 1)])


def steadiness(powers: Floats) -> tuple[float, float]:
    """By what the sum of squared influences of units must be multiplied to be their variance, and its degrees of freedom.

    Influences are residuals: a unit that holds the share h of all weight pulls the estimate to itself, so its square is too small.
    How much depends on how the variance of a unit grows with its size: like h where the rows of a cluster are strangers, like h^2
    where they are copies. The working model is half of each: then coverage lies within 1.5 points of 95% at both ends, and
    expectation and variance of the sum of squares are closed forms of the sums of powers of h. For n equal units they give n / (n - 1)
    and n - 1. Both are infinitely bad (NaN, 0) where one unit holds everything.

    Args:
        powers: [5] sums of the first to fifth power of the units' sizes.

    Source: Bell & McCaffrey, Survey Methodology 28 (2002), 169-181; with cluster sizes: Carter, Schnepel & Steigerwald, Review of
    Economics and Statistics 99 (2017); the working model: Imbens & Kolesar, Review of Economics and Statistics 98 (2016); degrees of
    freedom: Satterthwaite, Biometrics Bulletin 2 (1946).
    """
    total = float(powers[0])
    if not total > 0:
        return float("nan"), 0.0
    with np.errstate(all="ignore"):  # weights so large that their powers are infinite: then there is no interval
        s2, s3, s4, s5 = (float(powers[place] / np.float64(total) ** (place + 1)) for place in range(1, 5))
    if not 0 < s2 < 1 - 1e-9:
        return float("nan"), 0.0
    # sums of v h, v h^2, v^2 and v^2 h, where v = (h + h^2 / s2) / 2 are the variances of the units
    vh, vhh = (s2 + s3 / s2) / 2, (s3 + s4 / s2) / 2
    vv, vvh = (s2 + (2 * s3 + s4 / s2) / s2) / 4, (s3 + (2 * s4 + s5 / s2) / s2) / 4
    expected = 1 - 2 * vh + s2
    variance = vv * (1 + 2 * s2) - 4 * vvh + s2 * s2 + 2 * vhh - 4 * s2 * vh + 2 * vh * vh
    return 1 / expected, expected * expected / variance


def cluster_sums(values: Floats, clusters: Codes) -> Floats:
    """Sums of ``values`` over the clusters that are present, in the order of their codes."""
    present = np.bincount(clusters) > 0
    return np.bincount(clusters, weights=values)[present].astype(np.float64)


def cluster_count(clusters: Codes) -> int:
    """How many different codes (whole numbers from 0) there are."""
    return int(np.count_nonzero(np.bincount(clusters)))


def tail_probability(estimate: Estimate, bound: float, confidence: float) -> float:
    """One-sided p-value of "the truth is not below ``bound``", read off the upper half of the interval.

    It is below (1 - confidence) / 2 exactly when the interval's upper end is below ``bound``. 1 where there is no interval.
    """
    half = estimate.high - estimate.value
    if not np.isfinite(half) or half <= 0:
        return 1.0
    score = (estimate.value - bound) / half * critical(confidence, estimate.df)
    return float(special().ndtr(score) if np.isinf(estimate.df) else special().stdtr(estimate.df, score))
