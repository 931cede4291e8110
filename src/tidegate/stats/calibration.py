"""Calibration error: how far what came true is from what was said, bin by bin, without what chance adds to it, and its interval.

The error is the mean over rows of their bin's squared gap between the rate that came true and the mean probability said. It is the
part of the Brier score that probabilities put right bin by bin would save, and it is in its units. Chance alone makes every gap
larger. So a bin's squared gap is taken from pairs of different units alone, whose chances have nothing in common: the estimate is then
right on average whatever the truth is, and falls a little below 0 about half the time where a model has no error at all. A mean of
absolute gaps has a bias that nobody can take away without knowing which bins hold the error, and no interval that is both honest
and short.

Two things move the estimate: gaps that are there (in a line, by influence values) and products of two chances (of second order,
which alone count where no gap is). Where the value leans, because errors vary more the larger they are, the interval reaches to that side.

Source: the error as part of the Brier score: Murphy, Journal of Applied Meteorology 12 (1973); its bias, and squared gaps without it:
Bröcker, Climate Dynamics 39 (2012), and Kumar, Liang & Ma, Verified Uncertainty Calibration, NeurIPS 2019; both orders of such a sum of
pairs: Hoeffding, Annals of Mathematical Statistics 19 (1948), with the correction of Efron & Stein, Annals of Statistics 9 (1981); how
far it leans: DiCiccio & Efron, Statistical Science 11 (1996), the constants a and c of the ABC interval.
"""

from __future__ import annotations

from itertools import combinations_with_replacement
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from tidegate.stats.distributions import sparse
from tidegate.stats.estimate import Codes, Estimate, Floats, critical, no_interval, size_powers, steadiness
from tidegate.stats.smooth import Local, student, wider

BINS = 15
LEAST = 10
"""Rows: a bin with fewer is joined to the next one, as the variance in it cannot be seen."""
_MOST_LEANING = 0.6
"""Standard errors: beyond this the expansion behind the leaning no longer says anything."""


class Calibration(NamedTuple):
    """The calibration error of one model, and what its interval is made from. Units are clusters where there are such, else rows."""

    value: float
    """Squared probability; without what chance adds, so it may be a little below 0."""
    influence: Floats
    """[units] how much each pulls at the value; they sum to 0."""
    deviations: Any
    """[bins, units] sparse: what each unit adds to its bins' gaps beyond the gap itself, scaled so that products add up to values."""
    inflation: float
    df: float


def bin_codes(probabilities: ArrayLike, bins: int) -> Codes:
    """[n] codes of equal-width bins, a bin with fewer than ``LEAST`` rows joined to the next one (the last to the one before).

    A bin holds its upper edge, the first its lower, too.
    """
    codes = np.searchsorted(np.linspace(0, 1, bins + 1)[1:-1], np.asarray(probabilities))
    joined, rows, place = np.zeros(bins, dtype=np.int64), 0, 0
    for code, count in enumerate(np.bincount(codes, minlength=bins)):
        joined[code] = place
        rows += int(count)
        if rows >= LEAST:
            rows, place = 0, place + 1
    if rows < LEAST:
        joined[joined == place] = max(place - 1, 0)
    return joined[codes]


def calibration(
    outcomes: ArrayLike,
    probabilities: ArrayLike,
    *,
    bins: int = BINS,
    weights: Floats | None = None,
    clusters: Codes | None = None,
) -> Calibration:
    """The calibration error of [n] probabilities of [n] outcomes 0/1."""
    y, p = np.asarray(outcomes, dtype=np.float64), np.asarray(probabilities, dtype=np.float64)
    weight = np.ones(y.size) if weights is None else weights
    total = float(weight.sum())
    inflation, df = steadiness(size_powers(y.size, weights, clusters))
    units = np.arange(y.size) if clusters is None else np.unique(clusters, return_inverse=True)[1]
    shape = (bins, int(units.max(initial=-1)) + 1)
    if not total > 0 or not np.isfinite(inflation):
        return Calibration(float("nan"), np.zeros(shape[1]), sparse().csr_array(shape), float("nan"), 0.0)
    codes, share = bin_codes(p, bins), weight / total

    def by_unit(values: Floats) -> Any:
        return sparse().csr_array((share * values, (codes, units)), shape=shape)

    sizes, sums = by_unit(np.ones(y.size)), by_unit(y - p)
    size, added = sizes.sum(axis=1), sums.sum(axis=1)
    pairs = size * size - sizes.multiply(sizes).sum(axis=1)
    scale = np.divide(size, pairs, out=np.zeros(bins), where=pairs > 1e-12 * size * size)
    value = float(scale @ (added * added - sums.multiply(sums).sum(axis=1)))
    gap = np.divide(added, size, out=np.zeros(bins), where=size > 0)[codes]
    influence = np.bincount(units, weights=share * (2 * gap * (y - p) - gap * gap), minlength=shape[1])
    deviations = sparse().diags_array(np.sqrt(scale)) @ by_unit(y - p - gap)
    return Calibration(value, influence - influence.mean(), deviations.tocsr(), inflation, df)


def interval(found: Calibration, *, confidence: float) -> Estimate:
    """The error of one model; both ends may lie below 0 where chance alone is seen.

    A larger error also varies more. So the upper end is one that its own variance does not rule out, as in Wilson's score interval.
    """
    plain = _contrast([(1, found)], confidence)
    noise = found.inflation * (found.deviations @ found.deviations.T).toarray()
    if not np.isfinite(plain.high) or not np.trace(noise) > 0:
        return plain
    second, slope = 2 * float(np.square(noise).sum()), 4 * float(np.square(noise).sum() / np.trace(noise))
    t = critical(confidence, found.df)
    half = t * t * slope / 2
    half += t * np.sqrt(half * slope / 2 + second + slope * max(found.value, 0.0))
    return plain._replace(high=max(plain.high, found.value + half))


def difference(candidate: Calibration, champion: Calibration, *, confidence: float) -> Estimate:
    """The error of the candidate minus that of the champion on the same rows."""
    return _contrast([(1, candidate), (-1, champion)], confidence)


def _contrast(parts: list[tuple[int, Calibration]], confidence: float) -> Estimate:
    """A sum of errors with signs: Student's interval, reaching further on the side to which the value leans."""
    first = parts[0][1]
    value = float(sum(sign * each.value for sign, each in parts))
    if not np.isfinite(value):
        return no_interval(value)
    pull = np.sum([sign * each.influence for sign, each in parts], axis=0)
    squares = first.inflation * float(pull @ pull)
    pairs = combinations_with_replacement(parts, 2)
    products = sum((1 if one is two else 2) * one[0] * two[0] * _products(one[1], two[1]) for one, two in pairs)
    second = 2 * first.inflation**2 * max(products, 0.0)
    error = np.sqrt(squares)
    acceleration = float(np.power(pull, 3).sum()) / (6 * error**3) if error > 0 else 0.0
    variance = max(squares - second, second)  # the squares hold what is of second order twice
    local = Local(value, np.zeros(0), variance, acceleration, first.df, pull.size)
    largest = float(np.abs(pull).max(initial=0.0))
    plain = student(local, confidence=confidence, differing=float(np.count_nonzero(pull)), largest=largest, scale=1.0)
    if not error > 0:
        return plain
    bend = sum(sign * float(np.square(each.deviations @ pull).sum()) for sign, each in parts) / error**3
    t = critical(confidence, first.df)
    leaning = np.clip(acceleration + bend + (2 * acceleration + bend) * t * t, -_MOST_LEANING, _MOST_LEANING)
    moved = float(leaning) * (plain.high - plain.low) / (2 * t)
    return wider(plain, Estimate(value, plain.low + moved, plain.high + moved, plain.df))


def _products(ours: Calibration, theirs: Calibration) -> float:
    """The sum over pairs of units of the products of what they add to the one model's gaps and to the other's."""
    return float(np.square((ours.deviations @ theirs.deviations.T).toarray()).sum())
