"""One proportion, and the difference of two paired proportions: who is right where the two models disagree.

``gained`` counts rows that only the candidate has right, ``lost`` rows that only the champion has right, of ``n`` rows.
"""

from __future__ import annotations

from collections.abc import Callable
from math import sqrt

import numpy as np

from tidegate.stats.contrast import apart
from tidegate.stats.distributions import special
from tidegate.stats.estimate import UNKNOWN, Estimate, critical

_STEPS = 80


def wilson(successes: int, n: int, *, confidence: float) -> Estimate:
    """A proportion with Wilson's score interval.

    Source: Wilson, JASA 22 (1927).
    """
    if n == 0:
        return UNKNOWN
    z = critical(confidence)
    share = successes / n
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z * sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    low, high = (0.0 if successes == 0 else centre - half), (1.0 if successes == n else centre + half)  # exact, without rounding
    return Estimate(share, max(low, 0.0), min(high, 1.0))


def tango(gained: int, lost: int, n: int, *, confidence: float) -> Estimate:
    """Difference of paired proportions, (gained - lost) / n, with Tango's score interval.

    The interval holds every difference that the score test does not reject; its ends are found by bisection.
    Source: Tango, Statistics in Medicine 17 (1998), 891-908, equations 2 and 5.
    """
    if n == 0:
        return UNKNOWN
    value = (gained - lost) / n
    z = critical(confidence)
    low = _cross(lambda delta: tango_score(gained, lost, n, delta) - z, -1.0, value)
    high = _cross(lambda delta: tango_score(gained, lost, n, delta) + z, value, 1.0)
    return Estimate(value, low, high)


def tango_score(gained: int, lost: int, n: int, delta: float) -> float:
    """Tango's score statistic for the hypothesis that the true difference is ``delta``; it falls as ``delta`` grows."""
    excess = gained - lost - n * delta
    variance = n * restricted_variance(gained, lost, n, delta)
    if variance <= 1e-12:
        return 0.0 if abs(excess) < 1e-9 else float(np.copysign(np.inf, excess))
    return excess / sqrt(variance)


def restricted_variance(gained: float, lost: float, n: float, delta: float) -> float:
    """Variance of one row's difference if the true difference were ``delta``: the score test's own, by restricted maximum likelihood.

    Source: Tango, as above, equation 5.
    """
    b = -gained - lost + (2 * n - gained + lost) * delta
    c = -lost * delta * (1 - delta)
    share = (sqrt(max(b * b - 8 * n * c, 0.0)) - b) / (4 * n)
    return 2 * share + delta * (1 - delta)


def newcombe(both: int, gained: int, lost: int, neither: int, *, confidence: float) -> Estimate:
    """Difference of paired proportions with Newcombe's method 10: two Wilson intervals and a corrected correlation.

    Source: Newcombe, Statistics in Medicine 17 (1998), 2635-2650, method 10.
    """
    n = both + gained + lost + neither
    if n == 0:
        return UNKNOWN
    first, second = (wilson(both + more, n, confidence=confidence) for more in (gained, lost))
    margins = (both + gained) * (lost + neither) * (both + lost) * (gained + neither)
    product = both * neither - gained * lost
    corrected = max(product - n / 2, 0.0) if product > 0 else float(product)
    phi = corrected / sqrt(margins) if margins else 0.0
    below = (first.value - first.low, second.high - second.value)
    above = (first.high - first.value, second.value - second.low)
    value = (gained - lost) / n
    return Estimate(value, max(value - apart(*below, phi), -1.0), min(value + apart(*above, phi), 1.0))


def mcnemar_exact(gained: int, lost: int) -> float:
    """Two-sided exact p-value of McNemar's test: a fair coin over the rows on which the models disagree.

    Source: McNemar, Psychometrika 12 (1947); Fagerland, Lydersen & Laake, BMC Medical Research Methodology 13:91 (2013).
    """
    if gained + lost == 0:
        return 1.0
    return min(1.0, 2 * _coin(min(gained, lost), gained + lost))


def mcnemar_midp(gained: int, lost: int) -> float:
    """Two-sided mid-p value: the exact one less the probability of what was seen; nearer to its nominal size.

    Source: Fagerland, Lydersen & Laake (2013), as above.
    """
    n = gained + lost
    if n == 0:
        return 1.0
    fewer = min(gained, lost)
    seen = _coin(fewer, n) - (_coin(fewer - 1, n) if fewer else 0.0)
    return 1 - seen if gained == lost else 2 * _coin(fewer, n) - seen


def _coin(heads: int, tosses: int) -> float:
    """Probability of at most ``heads`` in ``tosses`` of a fair coin."""
    return float(special().bdtr(heads, tosses, 0.5))


def _cross(falling: Callable[[float], float], left: float, right: float) -> float:
    """Where a falling function passes through 0 between ``left`` and ``right``; an end if it does not."""
    if falling(left) <= 0:
        return left
    if falling(right) >= 0:
        return right
    for _ in range(_STEPS):
        middle = (left + right) / 2
        left, right = (middle, right) if falling(middle) > 0 else (left, middle)
    return (left + right) / 2
