"""Intervals of a smooth function of means, from the moments of its units: Student's with the delta method, ABC, sign flips.

A function is given as vectorised NumPy code, [..., k] means to [...] values; its gradient is taken by a complex step, so it must
be made of operations that also take complex numbers. Where it is not smooth (the root of 0) it should return a constant.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from tidegate.stats.distributions import special
from tidegate.stats.estimate import SPARSE, Estimate, Floats, around, critical, no_interval, nothing_seen, steadiness, two_more
from tidegate.stats.moments import Moments

Function: TypeAlias = Callable[[Any], Any]
"""[..., k] means of units to [...] values."""

FLIPS = 2000
_COMPLEX_STEP = 1e-30
_STRAIGHT = 1e-6
_NOISE = 1e-13
TAIL = 2.0
"""How much more than its expected share the largest unit may hold before the tail counts as long."""
_STEP = 0.125
"""Of a standard error: over this distance curvature is measured."""


class Local(NamedTuple):
    """A function of means near the means that were seen: its value, and what its influence values add up to."""

    value: float
    gradient: Floats
    variance: float
    """Of the estimate, by the delta method, corrected for how uneven the units are."""
    skewness: float
    """A sixth of the skewness of the estimate: ABC's acceleration."""
    df: float
    number: float


def localise(function: Function, moments: Moments) -> Local:
    """The function at the means of one group of units (``moments`` has size 1), by the delta method.

    Source: Oehlert, A note on the delta method, The American Statistician 46 (1992); derivative by a complex step: Squire & Trapp,
    SIAM Review 40 (1998).
    """
    count, mean = float(moments.number[0]), moments.mean[0]
    with np.errstate(all="ignore"):
        value = float(function(mean)) if count > 0 else float("nan")
        steps = mean + 1j * _COMPLEX_STEP * np.eye(len(mean))
        gradient = np.asarray(np.imag(function(steps)) / _COMPLEX_STEP, dtype=np.float64)
    nothing = float("nan")
    if count < 2 or not np.isfinite(value) or not np.isfinite(gradient).all():
        return Local(value, gradient, nothing, nothing, nothing, count)
    slope = np.abs(gradient)
    with np.errstate(all="ignore"):  # numbers so large that their squares are infinite allow no interval
        squares = max(float(gradient @ moments.second[0] @ gradient), 0.0)
        noise = np.max([slope @ np.abs(moments.second[0]) @ slope, _NOISE * count * np.square(slope @ np.abs(mean))])
        cubes = float(np.einsum("ijm,i,j,m", moments.third[0], gradient, gradient, gradient))
    if not np.isfinite(noise):
        return Local(value, gradient, nothing, nothing, nothing, count)
    if squares <= _NOISE * noise:
        squares = 0.0  # what rounding leaves of units that are all alike
    inflation, df = steadiness(moments.powers[0])
    cubed = squares**1.5
    skewness = cubes / (6 * cubed) if cubed > 0 else 0.0
    return Local(value, gradient, squares / count**2 * inflation, skewness, df, count)


def student(local: Local, *, confidence: float, differing: float, largest: float, scale: float) -> Estimate:
    """The t interval, with three guards against units that look more certain than they are.

    Where no unit differs, it is the score interval for "0 of n" times ``scale``; where fewer than 20 do, two units as large as the largest
    are added, one to each side (after Agresti & Min, Statistics in Medicine 24, 2005), by the share of units that say nothing. Where the
    largest unit holds far more than the largest of n normal ones would, the tail is longer than the sample shows, and what it holds
    beyond that is added twice, in the same way.

    Args:
        local: The function at its means.
        confidence: Two-sided confidence.
        differing: How many units tell the models apart (of one model: have any loss).
        largest: The largest influence that one unit has on the value.
        scale: The largest value that a single unit could plausibly have had.

    Source: Student, Biometrika 6 (1908); clusters: Liang & Zeger, Biometrika 73 (1986).
    """
    nothing = no_interval(local.value)
    if local.number < 2 or not np.isfinite(local.value):
        return nothing
    if differing == 0:
        df = local.df if np.isfinite(local.df) else local.number - 1
        return nothing_seen(local.value, local.number, scale=scale, confidence=confidence, df=df)
    if not np.isfinite(local.variance) or not local.df > 0:
        return nothing
    beyond = max(largest**2 - TAIL * largest_normal(local.number) * local.variance, 0.0)
    variance = local.variance + 2 * beyond
    if differing < SPARSE:
        variance = max(variance, local.variance + two_more(differing, local.number, largest**2))
    return around(local.value, float(np.sqrt(variance)), local.df, confidence)


def largest_normal(count: float) -> float:
    """About the share of a sum of squares that the largest of ``count`` normal values holds.

    Source: Fisher & Tippett, Proc. Cambridge Phil. Soc. 24 (1928): the largest of n is near sqrt(2 log n).
    """
    return float(2 * np.log(2 * count) / count)


def abc(function: Function, moments: Moments, local: Local, *, confidence: float) -> Estimate:
    """The ABC interval: BCa's without resampling, from a function's value, slope and curvature, with Student's quantiles.

    Source: DiCiccio & Efron, Biometrika 79 (1992), 231-245; Efron & Tibshirani, An Introduction to the Bootstrap (1993), chapter 22;
    Student's quantiles after Hesterberg, The American Statistician 69 (2015).
    """
    if not (np.isfinite(local.variance) and local.variance > 0 and local.df > 0):
        return no_interval(local.value)
    error, mean = float(np.sqrt(local.variance)), moments.mean[0]
    spread = moments.second[0] / local.number**2
    spread = spread * (local.variance / max(float(local.gradient @ spread @ local.gradient), np.finfo(np.float64).tiny))
    along = spread @ local.gradient / error
    with np.errstate(all="ignore"):
        roots, axes = np.linalg.eigh(spread)
        scaled = (axes * np.sqrt(np.maximum(roots, 0))).T
        bias = sum(_bend(function, mean, axis) for axis in scaled) / 2
        shift = bias / error - _bend(function, mean, along) / (2 * error)
        chance = np.clip(2 * special().ndtr(local.skewness) * special().ndtr(-shift), 1e-12, 1 - 1e-12)
        start = float(special().ndtri(chance))
        ends: list[float] = []
        for sign in (-1, 1):
            moved = start + sign * critical(confidence, local.df)
            room = 1 - local.skewness * moved
            far = float(function(mean + moved / room**2 * along)) if room > 0 else float("nan")
            ends.append(far if np.isfinite(far) else sign * float("inf"))
    return Estimate(local.value, min(ends[0], local.value), max(ends[1], local.value), local.df)


def hall(local: Local, *, confidence: float) -> Estimate:
    """Student's interval with Hall's correction for skewness: the ends that a skewed studentised value really has.

    It reaches further than BCa on the side of the long tail where units are few. The skewness seen is corrected for the number of units.
    Source: Hall, JRSS B 54 (1992), 221-228, the monotone cubic transformation.
    """
    n = local.number
    if not (np.isfinite(local.variance) and local.variance > 0 and local.df > 0) or n < 3:
        return no_interval(local.value)
    error, t = float(np.sqrt(local.variance)), critical(confidence, local.df)
    bend = 6 * local.skewness * float(np.sqrt(n * (n - 1))) / (n - 2)
    if abs(bend) < _STRAIGHT:
        return around(local.value, error, local.df, confidence)
    far = [3 / bend * (float(np.cbrt(1 + bend * (sign * t - bend / 6))) - 1) for sign in (1, -1)]
    low, high = (local.value - error * each for each in far)
    return Estimate(local.value, min(low, local.value), max(high, local.value), local.df)


def wider(first: Estimate, second: Estimate) -> Estimate:
    """The outer ends of two intervals of the same value; NaN where one of them has none."""
    low, high = float(np.minimum(first.low, second.low)), float(np.maximum(first.high, second.high))
    return Estimate(first.value, low, high, first.df)


def flip_probability(local: Local, influence: Floats | None, rng: np.random.Generator) -> float:
    """Two-sided p-value of "the value is 0 and the sign of each unit's part in it is a fair coin".

    Of ``influence`` ([n], values of the units) so many random flips are tried; without it, or with more than a few thousand units, the
    sum of flipped parts is taken as normal. NaN where there is nothing to flip.

    Source: Fisher, The Design of Experiments (1935), section 21; random flips: Hemerik & Goeman, TEST 27 (2018).
    """
    if not np.isfinite(local.variance) or local.number < 2:
        return float("nan")
    if influence is None:
        squares = local.variance + local.value**2 / local.number
        return float(2 * special().ndtr(-abs(local.value) / np.sqrt(squares))) if squares > 0 else float("nan")
    parts = influence + local.value / local.number
    if not np.any(parts):
        return float("nan")
    signs = rng.integers(0, 2, size=(FLIPS, parts.size), dtype=np.int8)
    sums = 2 * (signs @ parts) - parts.sum()
    reached = np.count_nonzero(np.abs(sums) >= abs(parts.sum()) * (1 - 1e-9))
    return float((1 + reached) / (1 + FLIPS))


def influence_values(local: Local, units: Floats) -> Floats:
    """[n] influences on the value of units [n, k]; they sum to 0."""
    return (units - units.mean(axis=0)) @ local.gradient / local.number


def _bend(function: Function, mean: Floats, step: Floats) -> float:
    """The function's second derivative along ``step``, twice."""
    near = _STEP * step
    return float((function(mean + near) - 2 * function(mean) + function(mean - near)) / _STEP**2)
