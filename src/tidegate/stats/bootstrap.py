"""The paired bootstrap: BCa intervals of smooth functions of means, and of any function of rows.

Rows are drawn with replacement, both models' predictions together, or whole clusters of rows. The ends are BCa's: corrected
for the bias and the skewness of the replicates. Their quantiles are Student's instead of the normal, as the replicates' variance
is too small by (n - 1) / n and is itself only estimated.

Source: Efron, JASA 82 (1987); DiCiccio & Efron, Statistical Science 11 (1996); clusters: Davison & Hinkley, Bootstrap Methods
(1997), section 3.8; Student's quantiles: Hesterberg, The American Statistician 69 (2015), "expanded percentile".
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tidegate.stats.distributions import special
from tidegate.stats.estimate import SPARSE, Codes, Estimate, Floats, around, cluster_count, cluster_sums, critical, no_interval

DRAWS = 2000
MAX_UNITS = 20_000
"""More rows (clusters) than that are added up in so many random groups first: a mean's variance and skewness stay what they are."""
MAX_ROWS = 100_000
"""A function of more rows is not bootstrapped but left without one group of rows after another."""
GROUPS = 100
_CHUNK = 4_000_000

Rows: TypeAlias = NDArray[np.int64]
Statistic: TypeAlias = Callable[[Rows], Floats]
"""[m] row numbers, some of them more than once, to [k] values; NaN where one has none on these rows."""


def first(means: Floats) -> Floats:
    """[..., k] means to the first of them."""
    return means[..., 0]


def bca_means(
    columns: Floats,
    function: Callable[[Floats], Floats] = first,
    *,
    confidence: float,
    rng: np.random.Generator,
    clusters: Codes | None = None,
    weights: Floats | None = None,
    draws: int = DRAWS,
) -> Estimate:
    """The BCa interval of a smooth function of (weighted) means over rows, such as a mean paired difference.

    It cannot see what no row shows: where nothing varies its ends are NaN, and with fewer than ``SPARSE`` rows that tell the
    models apart it should not be asked.

    Args:
        columns: [n] or [n, k] values of which means are taken.
        function: [..., k] means to [...] values, vectorised; left out: the first mean itself.
        confidence: Two-sided confidence of the interval.
        rng: Where the draws come from.
        clusters: [n] codes; whole clusters are drawn.
        weights: [n] weights, at least 0.
        draws: Number of replicates.
    """
    values = columns.reshape(len(columns), -1)
    weight = np.ones(len(values)) if weights is None else weights
    units = np.column_stack([values * weight[:, None], weight])
    if clusters is not None:
        units = np.column_stack([cluster_sums(column, clusters) for column in units.T])
    if len(units) > MAX_UNITS:
        groups = rng.permutation(len(units)) % MAX_UNITS
        units = np.column_stack([np.bincount(groups, weights=column, minlength=MAX_UNITS) for column in units.T])
    count, total = len(units), units.sum(axis=0)
    value = float(_of_sums(function, total))
    if count < 2 or not np.isfinite(value):
        return no_interval(value)
    replicates = np.empty(draws)
    step = max(_CHUNK // count, 1)
    for start in range(0, draws, step):
        drawn = rng.integers(0, count, size=(min(step, draws - start), count))
        sums = np.stack([column[drawn].sum(axis=1) for column in units.T], axis=-1)
        replicates[start : start + step] = _of_sums(function, sums)
    return bca_interval(value, replicates, _of_sums(function, total - units), confidence=confidence, units=count)


def bca_rows(
    statistic: Statistic,
    rows: int,
    *,
    confidence: float,
    rng: np.random.Generator,
    clusters: Codes | None = None,
    telling: NDArray[np.bool_] | None = None,
) -> list[Estimate]:
    """The BCa intervals of k functions of rows, from the same resamples: it is called ``draws_for(rows)`` + ``GROUPS`` times.

    Above ``MAX_ROWS`` rows it is called ``GROUPS`` times only, each time without one random group of rows, and the interval
    is Student's with that jackknife's error (Shao & Wu, Annals of Statistics 17, 1989: so large groups serve functions that are
    not smooth, too).

    A resample of rows of which almost none tells two models apart would look far too certain. ``telling`` marks those rows for
    paired differences. Where they are fewer than ``SPARSE`` (k of them), each that is drawn has its models swapped with the
    chance 1 / (k + 2), as if one more row had spoken for each side (after Agresti & Min 2005), and the percentiles are taken as
    they are. Row r swapped is asked for as r + ``rows``.

    Args:
        statistic: What is estimated, of row numbers; with ``telling`` it must know rows up to 2 ``rows`` - 1.
        rows: Number of rows n.
        confidence: Two-sided confidence of the intervals.
        rng: Where the draws come from.
        clusters: [n] codes; whole clusters are drawn, left out and swapped.
        telling: [n] whether a row tells two models apart; None: the values are no differences of two models.

    Returns:
        [k] estimates; NaN ends where no interval can be given: nothing varies, no row is telling, or there is no value.
    """
    values = statistic(np.arange(rows, dtype=np.int64))
    members = _members(rows, clusters)
    units = len(members[1])
    speaking = _count(telling, clusters)
    sparse = speaking < SPARSE
    if units < 2 or speaking == 0 or (sparse and rows > MAX_ROWS):
        return [Estimate(float(value), float("nan"), float("nan")) for value in values]
    left = np.empty((0, values.size))
    if not sparse:
        groups = rng.permutation(units) % min(GROUPS, units)
        left = np.array([statistic(_take(members, np.flatnonzero(groups != group))) for group in range(min(GROUPS, units))])
    if rows > MAX_ROWS:
        return [_jackknife(float(value), each, confidence) for value, each in zip(values, left.T, strict=True)]
    replicates = np.empty((draws_for(rows), values.size))
    for place in range(len(replicates)):
        drawn = rng.integers(0, units, units)
        taken = _take(members, drawn)
        if sparse:
            swapped = np.repeat(rng.random(units) < 1 / (speaking + 2), members[2][drawn])
            taken = np.where(swapped, taken + rows, taken)
        replicates[place] = statistic(taken)
    return [
        bca_interval(float(value), each, None if sparse else without, confidence=confidence, units=units)
        for value, each, without in zip(values, replicates.T, left.T, strict=True)
    ]


def draws_for(rows: int) -> int:
    """How many replicates a function of so many rows gets: a fixed number, so that equal input gives equal bytes."""
    return DRAWS if rows <= MAX_UNITS else DRAWS // 2


def bca_interval(value: float, replicates: Floats, left: Floats | None, *, confidence: float, units: int) -> Estimate:
    """The interval of a bootstrap's replicates; a replicate without a value counts against both ends.

    Args:
        value: The estimate.
        replicates: [draws] values of resamples.
        left: The values when one unit (or one group of them) is left out, for the acceleration; None: the percentiles are
            taken without any correction.
        confidence: Two-sided confidence.
        units: How many units were drawn from.
    """
    undefined = ~np.isfinite(replicates)
    known = replicates[~undefined]
    spread = float(np.ptp(known)) if known.size else 0.0
    if not np.isfinite(value) or spread <= 1e-12 * max(abs(value), float(np.abs(known).max(initial=0.0))):
        return no_interval(value)
    z = critical(confidence, units - 1) * np.sqrt(units / (units - 1))
    shares = [float(special().ndtr(sign * z)) for sign in (-1, 1)]
    if left is not None:
        below = (np.count_nonzero(known < value) + np.count_nonzero(known == value) / 2) / known.size
        bias = float(special().ndtri(np.clip(below, 1 / (known.size + 1), known.size / (known.size + 1))))
        shares = [bca_share(sign * z, bias, acceleration(left)) for sign in (-1, 1)]
    low = np.quantile(np.where(undefined, -np.inf, replicates), shares[0], method="lower")
    high = np.quantile(np.where(undefined, np.inf, replicates), shares[1], method="higher")
    if not (np.isfinite(low) and np.isfinite(high)):
        return no_interval(value)
    return Estimate(value, min(float(low), value), max(float(high), value), float(units - 1))


def bca_share(z: float, bias: float, skewness: float) -> float:
    """The share of replicates below a BCa end whose normal quantile is ``z``; ``skewness`` is the acceleration.

    Source: Efron, JASA 82 (1987).
    """
    moved = bias + z
    room = 1 - skewness * moved
    return float(special().ndtr(bias + moved / room)) if room > 0 else float(z > 0)


def acceleration(left: Floats) -> float:
    """BCa's acceleration, a sixth of the skewness of the estimate, from values without one unit each; 0 where it is unknown."""
    pulls = left.mean() - left
    squares = float(np.square(pulls).sum())
    if not np.isfinite(squares) or squares <= 0:
        return 0.0
    return float((pulls**3).sum() / (6 * squares**1.5))


def _of_sums(function: Callable[[Floats], Floats], sums: Floats) -> Any:
    """The function of the means that belong to [..., k + 1] sums of weighted values and of the weights."""
    total = sums[..., -1:]
    means = np.divide(sums[..., :-1], total, out=np.full(sums[..., :-1].shape, np.nan), where=total > 0)
    return function(means)


def _jackknife(value: float, left: Floats, confidence: float) -> Estimate:
    count = left.size
    error = float(np.sqrt((count - 1) / count * np.square(left - left.mean()).sum()))
    if not np.isfinite(error) or error <= 1e-12 * abs(value):
        return no_interval(value)
    return around(value, error, count - 1, confidence)


def _members(rows: int, clusters: Codes | None) -> tuple[Rows, Rows, Rows]:
    """The rows in the order of their units; where each unit begins there, and how many rows it has."""
    if clusters is None:
        return np.arange(rows), np.arange(rows), np.ones(rows, dtype=np.int64)
    sizes = np.bincount(clusters)
    sizes = sizes[sizes > 0].astype(np.int64)
    return np.argsort(clusters, kind="stable"), np.cumsum(sizes) - sizes, sizes


def _take(members: tuple[Rows, Rows, Rows], chosen: Rows) -> Rows:
    """The rows of the chosen units."""
    order, starts, sizes = members
    if len(order) == len(starts):
        return order[chosen]
    counts = sizes[chosen]
    within = np.arange(int(counts.sum())) - np.repeat(np.cumsum(counts) - counts, counts)
    return order[np.repeat(starts[chosen], counts) + within]


def _count(telling: NDArray[np.bool_] | None, clusters: Codes | None) -> float:
    """How many units tell the models apart; infinitely many where that is not asked."""
    if telling is None:
        return float("inf")
    return float(telling.sum() if clusters is None else cluster_count(clusters[telling]))
