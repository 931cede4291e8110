"""Intervals that hold at every sample size at once, so that one may look as often as one likes and stop whenever one wants.

An ordinary 95% interval that is looked at again and again misses the truth sooner or later. A confidence sequence holds the truth at
all times together with probability ``confidence``. What it estimates is the mean over the traffic that came, given its own past:
the rows need not be independent, but their order must not depend on what they say, and a row, once counted, stays.
"""

from __future__ import annotations

from collections.abc import Callable
from math import log, sqrt

import numpy as np
from numpy.typing import ArrayLike

from tidegate.stats.distributions import special
from tidegate.stats.estimate import UNKNOWN, Estimate, no_interval

TUNED_FOR = 1000
"""The sample size at which intervals are tightest; at a tenth or ten times of it they are some percent wider than they could be."""
FEWEST = 30
"""Below this many values an asymptotic interval means nothing."""

_USUAL_VARIANCE = 0.01
"""Of a value, as a share of the squared width of its range: differences of two models that mostly agree."""
_HALVINGS = 26
_CONCENTRATION = 100.0


def bounded_mean(values: ArrayLike, low: float, high: float, *, confidence: float, tuned_for: int = TUNED_FOR) -> Estimate:
    """The mean of [n] values that lie in [low, high], in the order in which they came, by an empirical Bernstein bound.

    It holds the average of what was to be expected of each value given those before, which may change over time. It adapts to the
    variance seen: differences that are mostly 0 give short intervals. NaN ends where a value is no number or lies outside.

    Source: Howard, Ramdas, McAuliffe & Sekhon, Annals of Statistics 49 (2021), 1055-1080: theorem 4 with the gamma-exponential mixture
    of proposition 9, each side at half the error.
    """
    given = np.asarray(values, dtype=np.float64)
    n = given.size
    if n == 0:
        return UNKNOWN
    if not (given >= low).all() or not (given <= high).all():
        return no_interval()
    before = np.concatenate([[(low + high) / 2], np.cumsum(given)[:-1] / np.arange(1, n)])
    variance = float(np.square(given - before).sum())
    width = high - low
    half = gamma_exponential_bound(
        variance / width**2, (1 - confidence) / 2, tuned_for=tuned_for * _USUAL_VARIANCE, scale=1.0
    ) * (width / n)
    value = float(given.mean())
    return Estimate(value, max(value - half, low), min(value + half, high))


def gamma_exponential_bound(variance: float, alpha: float, *, tuned_for: float, scale: float) -> float:
    """What a sum of centred values, none below minus ``scale``, ever reaches with probability ``alpha`` at most, by its variance so far.

    Source: Howard et al., as above: proposition 9; tightest about where the variance is ``tuned_for``.
    """
    rho = tuned_for / _tuning(2 * alpha)
    target = log(1 / alpha)
    inside, outside = 0.0, scale + sqrt(variance)
    while _gamma_exponential(outside, variance, rho, scale) < target:
        inside, outside = outside, 2 * outside
    return _end(lambda total: _gamma_exponential(total, variance, rho, scale) >= target, outside, inside)


def asymptotic_mean(values: ArrayLike, *, confidence: float, scale: float = 0.0, tuned_for: int = TUNED_FOR) -> Estimate:
    """The mean of [n] values without known bounds, by the normal mixture boundary; without an interval below 30 values.

    It is asymptotic: it needs finite variance, and values so extreme that none was seen yet can make it wrong, as they can any
    interval that knows no bounds. Two made-up values ``scale`` away from the mean, one to each side, keep a sample with hardly
    any variance from looking certain.

    Source: Waudby-Smith, Arbour, Sinha, Kennedy & Ramdas, Annals of Statistics 52 (2024), equation 6, and appendix for the tuning;
    the boundary: Robbins, Annals of Mathematical Statistics 41 (1970).
    """
    given = np.asarray(values, dtype=np.float64)
    n = given.size
    value = float(given.mean()) if n else float("nan")
    if n < FEWEST or not np.isfinite(given).all():
        return no_interval(value)
    variance = (float(np.square(given - value).sum()) + 2 * scale * scale) / n
    if variance == 0:
        return no_interval(value)
    prior = tuned_for / _tuning(1 - confidence)  # 1 / rho squared
    half = sqrt(variance * (n + prior) * (log((n + prior) / prior) + 2 * log(1 / (1 - confidence)))) / n
    return Estimate(value, value - half, value + half)


def proportion(successes: int, n: int, *, confidence: float, tuned_for: int = TUNED_FOR) -> Estimate:
    """The share that ``successes`` of ``n`` trials estimate, by the beta-binomial mixture; the order of the trials does not matter.

    Source: Howard, Ramdas, McAuliffe & Sekhon, Annals of Statistics 49 (2021), 1055-1080: proposition 7.
    """
    if n == 0:
        return UNKNOWN
    share = successes / n
    target = log(1 / (1 - confidence))

    def rejected(p: float) -> bool:
        return _evidence(p, successes, n, 1 - confidence, tuned_for) >= target

    low = _end(rejected, 0.0, share) if successes else 0.0
    high = _end(rejected, 1.0, share) if successes < n else 1.0
    return Estimate(share, low, high)


def quantile(values: ArrayLike, level: float, *, confidence: float, tuned_for: int = TUNED_FOR) -> Estimate:
    """The quantile of [n] values at ``level``, between two order statistics; an end is NaN where n is too small for it.

    How many values lie at or below the true quantile is a sum of trials with the chance ``level``.

    Source: Howard & Ramdas, Bernoulli 28 (2022), 1704-1728: section 3, with the beta-binomial boundary.
    """
    ordered = np.sort(np.asarray(values, dtype=np.float64))
    n = ordered.size
    if n == 0 or not np.isfinite(ordered).all():
        return UNKNOWN
    target = log(1 / (1 - confidence))
    middle = round(level * n)

    def rejected(count: int) -> bool:
        return _evidence(level, count, n, 1 - confidence, tuned_for) >= target

    first = _first(rejected, middle, -1) + 1
    last = _first(rejected, middle, n + 1) - 1
    low = float(ordered[first - 1]) if first >= 1 else float("nan")
    high = float(ordered[last]) if last < n else float("nan")
    return Estimate(float(np.quantile(ordered, level)), low, high)


def difference(first: Estimate, second: Estimate) -> Estimate:
    """The first less the second, of two independent samples; where both hold with confidence 1 - a/2, this holds with 1 - a (Bonferroni)."""
    return Estimate(first.value - second.value, first.low - second.high, first.high - second.low)


def assignment_evidence(counts: ArrayLike, shares: ArrayLike) -> float:
    """Logarithm of the evidence that [k] ``counts`` were not assigned by [k] ``shares`` (which sum to 1).

    Under the declared shares it ever reaches log(1 / alpha) with probability alpha at most. Evidence of periods with different
    shares adds up.

    Source: Lindon & Malek, Anytime-valid inference for multinomial count data, NeurIPS 35 (2022): equation 10, prior
    Dirichlet(100 shares).
    """
    seen, declared = np.asarray(counts, dtype=np.float64), np.asarray(shares, dtype=np.float64)
    if np.any((declared == 0) & (seen > 0)):
        return float("inf")
    seen, declared = seen[declared > 0], declared[declared > 0]
    gammaln = special().gammaln
    prior = _CONCENTRATION * declared
    mixture = gammaln(prior.sum()) - gammaln(prior.sum() + seen.sum()) + float((gammaln(prior + seen) - gammaln(prior)).sum())
    return float(mixture - (seen * np.log(declared)).sum())


def _tuning(alpha: float) -> float:
    """By what the sample size is divided where a two-sided normal mixture shall be tightest (Howard et al., as above, proposition 3)."""
    return 2 * log(1 / alpha) + log(1 + 2 * log(1 / alpha))


def _evidence(p: float, successes: int, n: int, alpha: float, tuned_for: int) -> float:
    """Logarithm of the likelihood of the trials, mixed over a Beta distribution around ``p``, against their likelihood at ``p``."""
    if not 0 < p < 1:
        return float("inf")  # it is only asked about counts that cannot be then
    strength = max(tuned_for / _tuning(alpha) - 1, 1e-3)
    a, b = strength * p, strength * (1 - p)
    betaln = special().betaln
    mixed = float(betaln(a + successes, b + n - successes) - betaln(a, b))
    return mixed - successes * log(p) - (n - successes) * log(1 - p)


def _gamma_exponential(total: float, variance: float, rho: float, scale: float) -> float:
    """Logarithm of the mixture that stays small while a sum's mean is 0."""
    special_functions = special()
    square = scale * scale
    prior, now = rho / square, (variance + rho) / square
    reach = (scale * total + variance + rho) / square
    start = prior * log(prior) - special_functions.gammaln(prior) - log(special_functions.gammainc(prior, prior))
    grown = special_functions.gammaln(now) + log(special_functions.gammainc(now, reach)) - now * log(reach)
    return float(start + grown + (scale * total + variance) / square)


def _end(rejected: Callable[[float], bool], outside: float, inside: float) -> float:
    """The end of an interval between a point outside of it and one inside, rounded outwards."""
    for _ in range(2 * _HALVINGS):
        middle = (outside + inside) / 2
        outside, inside = (middle, inside) if rejected(middle) else (outside, middle)
    return outside


def _first(rejected: Callable[[int], bool], inside: int, outside: int) -> int:
    """The first count from ``inside`` towards ``outside`` that is rejected; ``outside``, itself no count, if none is."""
    while abs(outside - inside) > 1:
        middle = (outside + inside) // 2
        if rejected(middle):
            outside = middle
        else:
            inside = middle
    return outside
