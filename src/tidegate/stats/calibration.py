"""Calibration error: how far the rate of what happened is from what was said, bin by bin, with an interval that allows for its bias.

The error of n rows in bins is a sum of absolute values. Chance alone makes each of them positive, so the sum is too large, most of
all for a model without any error: a bootstrap around it is wrong there. The interval is of the error that the same bins would
show with endless rows. Each bin's deviation is about normal with a standard error s, so its absolute value is folded normal. Which
bins hold the true error nobody knows; each end takes the most cautious spread: evenly over the bins for the upper end (least bias),
all in one bin for the lower end (most bias).

Source: calibration error in equal-width bins: Guo, Pleiss, Sun & Weinberger, ICML 2017; its bias: Kumar, Liang & Ma, NeurIPS 2019;
folded normal: Leone, Nelson & Nottingham, Technometrics 3 (1961); a difference from two intervals: Zou & Donner, Statistics in
Medicine 27 (2008).
"""

from __future__ import annotations

from collections.abc import Callable
from math import exp, pi, sqrt
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from tidegate.stats.contrast import apart
from tidegate.stats.distributions import special
from tidegate.stats.estimate import (
    Codes,
    Estimate,
    Floats,
    cluster_sums,
    critical,
    no_interval,
    nothing_seen,
    size_powers,
    steadiness,
)

BINS = 15
_STEPS = 60
_FOLDED = sqrt(2 / pi)


class Calibration(NamedTuple):
    """The calibration error of one model, and what its interval is made from."""

    value: float
    unbiased: float
    """The error less what chance adds to it."""
    errors: Floats
    """[bins] standard errors of the bins' deviations."""
    pulls: Floats
    """[units] how much each row (cluster) pulls at the value."""
    df: float


def bin_codes(probabilities: ArrayLike, bins: int) -> Codes:
    """The equal-width bin of each probability; a bin holds its upper edge, the first its lower, too."""
    return np.searchsorted(np.linspace(0, 1, bins + 1)[1:-1], np.asarray(probabilities))


def calibration(
    outcomes: ArrayLike,
    probabilities: ArrayLike,
    *,
    bins: int = BINS,
    weights: Floats | None = None,
    clusters: Codes | None = None,
) -> Calibration:
    """The calibration error of [n] probabilities of [n] outcomes 0/1: the mean over rows of their bin's |rate - mean probability|."""
    y, p = np.asarray(outcomes, dtype=np.float64), np.asarray(probabilities, dtype=np.float64)
    weight = np.ones(y.size) if weights is None else weights
    total = float(weight.sum())
    inflation, df = steadiness(size_powers(y.size, weights, clusters))
    if not total > 0 or not np.isfinite(inflation):
        nothing = np.full(bins, np.nan)
        return Calibration(float("nan"), float("nan"), nothing, np.full(y.size, np.nan), 0.0)
    codes = bin_codes(p, bins)
    share = weight / total
    gaps = _sums(share * (y - p), codes, bins)
    value = float(np.abs(gaps).sum())
    sign = np.where(gaps < 0, -1.0, 1.0)[codes]
    rows = share * (sign * (y - p) - value)
    pulls = (rows if clusters is None else cluster_sums(rows, clusters)) * sqrt(inflation)
    errors = _errors(y, p, share, codes, gaps, clusters, inflation)
    scale = float(errors.sum())
    unbiased = _solve(lambda even: _folded_mean(even) * scale, value) * scale
    return Calibration(value, unbiased, errors, pulls, df)


def interval(found: Calibration, *, confidence: float) -> Estimate:
    """The interval of the error that endless rows would show; it holds the value seen."""
    if not np.isfinite(found.value):
        return no_interval(found.value)
    low, high = _ends(found, confidence)
    return Estimate(found.value, max(min(low, found.value), 0.0), max(high, found.value), found.df)


def difference(candidate: Calibration, champion: Calibration, *, confidence: float) -> Estimate:
    """The error of the candidate minus that of the champion on the same rows, from the intervals of both and their correlation."""
    value = candidate.value - champion.value
    if not np.isfinite(value):
        return no_interval(value)
    (our_low, our_high), (their_low, their_high) = (_ends(each, confidence) for each in (candidate, champion))
    if np.array_equal(candidate.pulls, champion.pulls):
        return nothing_seen(value, candidate.pulls.size, scale=1.0, confidence=confidence, df=candidate.df)
    seen = (
        candidate.value * champion.value * sqrt(float(candidate.pulls @ candidate.pulls) * float(champion.pulls @ champion.pulls))
    )
    regular = candidate.unbiased * champion.unbiased  # what is only chance does not move with the rows in a line
    correlation = regular * float(candidate.pulls @ champion.pulls) / seen if seen > 0 else 0.0
    centre = candidate.unbiased - champion.unbiased
    below = apart(candidate.unbiased - our_low, their_high - champion.unbiased, correlation)
    above = apart(our_high - candidate.unbiased, champion.unbiased - their_low, correlation)
    return Estimate(value, min(centre - below, value), max(centre + above, value), min(candidate.df, champion.df))


def _ends(found: Calibration, confidence: float) -> tuple[float, float]:
    """Both ends; the lower one may lie below 0."""
    t = critical(confidence, found.df)
    scale, square = float(found.errors.sum()), float(np.square(found.errors).sum())
    linear = float(found.pulls @ found.pulls)

    def least(even: float) -> float:
        mean = _folded_mean(even)
        return mean * scale - t * sqrt(max((1 + even * even - mean * mean) * square, linear))

    high = _solve(least, found.value) * scale
    return found.value - _FOLDED * scale - t * sqrt(max(square, linear)), high


def _errors(y: Floats, p: Floats, share: Floats, codes: Codes, gaps: Floats, clusters: Codes | None, inflation: float) -> Floats:
    """Standard errors of the bins' deviations: those seen (by cluster), but at least those of outcomes by chance.

    A bin of three rows that all came true shows no variance; its rate is moved towards what was said by two rows for that.
    """
    bins = gaps.size
    if clusters is None:
        squares = _sums(np.square(share * (y - p)), codes, bins) - np.square(gaps) / y.size
    else:
        width = int(clusters.max(initial=0)) + 1
        squares = np.square(np.bincount(codes * width + clusters, weights=share * (y - p), minlength=bins * width))
        squares = squares.reshape(bins, width).sum(axis=1)
    weight, said = _sums(share, codes, bins), _sums(share * p, codes, bins)
    heavy = _sums(np.square(share), codes, bins)
    count = np.divide(np.square(weight), heavy, out=np.zeros(bins), where=heavy > 0)
    mean = np.divide(said, weight, out=np.zeros(bins), where=weight > 0)
    came = np.divide(said + gaps, weight, out=np.zeros(bins), where=weight > 0)
    rate = (came * count + 2 * mean) / (count + 2)
    chance = heavy * np.clip(rate, 0, 1) * (1 - np.clip(rate, 0, 1))
    return np.sqrt(np.maximum(np.maximum(squares, 0) * inflation, chance))


def _sums(values: Floats, codes: Codes, bins: int) -> Floats:
    return np.bincount(codes, weights=values, minlength=bins).astype(np.float64)


def _folded_mean(even: float) -> float:
    """Mean of |x| for a normal x of mean ``even`` and variance 1."""
    return _FOLDED * exp(-even * even / 2) + even * (1 - 2 * float(special().ndtr(-even)))


def _solve(rising: Callable[[float], float], wanted: float) -> float:
    """Where a rising function of at least 0 reaches a value; 0 where it begins above it."""
    if rising(0.0) >= wanted:
        return 0.0
    high = 1.0
    while rising(high) < wanted and high < 1e9:
        high *= 2
    low = 0.0
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if rising(middle) < wanted else (low, middle)
    return high
