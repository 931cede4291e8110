"""Areas under curves (ROC AUC, average precision) and their paired differences: from influence values to intervals.

With ten positives, most of them ranked well, the variance seen is itself mostly luck, and an interval of plus and minus two errors
is too narrow on the side that matters. So the interval is a score interval: it holds every value that its own variance
does not rule out. That variance has the shape of a reference (how an area's variance falls towards 1), scaled to the variance
seen. The scale is taken for no more certain than its degrees of freedom: the reference itself counts for ``PRIOR`` more.

Source: score intervals of an area: Newcombe, Statistics in Medicine 25 (2006), 559-573; of a paired difference, after Tango,
Statistics in Medicine 17 (1998); moderated variance: Smyth, Stat. Appl. Genet. Mol. Biol. 3 (2004), article 3.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import inf, sqrt
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tidegate.stats.estimate import Codes, Estimate, Floats, critical, no_interval, nothing_seen, size_powers, steadiness
from tidegate.stats.units import find_units

PRIOR = 10.0
_FEW = 8
_STEPS = 60
_TINY = 1e-12

Reference: TypeAlias = Callable[[float, float, float], float]
"""Variance of an area of a given size (0 to 1) with so many rows of label 1 and of label 0."""


class Influences(NamedTuple):
    """An area under one score's curve and the [n] influence of each row on it; ``positive`` are the rows with label 1."""

    value: float
    influence: Floats
    positive: NDArray[np.bool_]
    weights: Floats | None = None
    bias: float = 0.0
    """By how much the value is too large on average."""
    unseen: float = 0.0
    """By how much a row like none that was seen would pull at the area of its class's only row."""


class Area(NamedTuple):
    """An area, or a mean of several, with what its intervals are made from."""

    value: float
    pulls: Floats
    """[units] by how much each row (cluster) pulls at it; their squares add up to its variance."""
    df: float
    ones: float
    """Rows of label 1, or how many equal ones they are worth; of a mean: of its scarcest part."""
    zeros: float
    units: float
    """Rows (clusters) of the rarer class, or how many equal ones they are worth."""
    prior: float
    reference: Reference
    bias: float = 0.0
    unseen: float = 0.0
    """By how much one more row (cluster) of the rarer class would pull at it that is like none that was seen."""
    limit: float = inf
    """No interval has more degrees of freedom than this: with ten clusters, nine."""

    @property
    def freedom(self) -> float:
        """Degrees of freedom of an interval: those of the variance seen, and what the reference adds."""
        return min(self.df + self.prior, self.limit)

    @property
    def variance(self) -> float:
        """The value's variance; NaN where it has none."""
        return float(self.pulls @ self.pulls)


def tied(scores: ArrayLike) -> Codes:
    """[n] codes of the different scores, from the smallest up: the one sort that every area of a score needs."""
    return np.unique(np.asarray(scores), return_inverse=True)[1]


def area(ranked: Influences, reference: Reference, *, clusters: Codes | None = None) -> Area:
    """An area with its variance by class: sums over rows, or over clusters of rows.

    Source: influence values by class, DeLong, DeLong & Clarke-Pearson, Biometrics 44 (1988); summed by cluster first, Obuchowski,
    Biometrics 53 (1997).
    """
    positive, weights = ranked.positive, ranked.weights
    places = None if clusters is None else find_units(clusters)
    pulls = np.zeros(positive.size if places is None else places.keys.size)
    variances, dfs, rows, units = np.zeros(2), np.zeros(2), np.zeros(2), np.zeros(2)
    for place, side in enumerate((positive, ~positive)):
        weight = None if weights is None else weights[side]
        codes = None if places is None else places.places[side]
        sizes = size_powers(int(side.sum()), weight, codes)
        inflation, dfs[place] = steadiness(sizes)
        if not np.isfinite(inflation) or not np.isfinite(ranked.value):
            return Area(ranked.value, np.full(pulls.size, np.nan), 0.0, 0.0, 0.0, 0.0, 0.0, reference)
        own = ranked.influence[side]
        sums = own if codes is None else np.bincount(codes, weights=own, minlength=pulls.size)
        sums = sums * sqrt(inflation)
        variances[place] = sums @ sums
        if codes is None:
            pulls[side] = sums
        else:
            pulls += sums
        bare = size_powers(int(side.sum()), weight)
        rows[place], units[place] = (powers[0] ** 2 / powers[1] for powers in (bare, sizes))
    df = satterthwaite(variances, dfs)
    limit = inf if places is None else float(dfs.min())  # the same clusters hold both classes
    least, ones, zeros = float(units.min()), float(rows[0]), float(rows[1])
    return Area(ranked.value, pulls, df, ones, zeros, least, PRIOR, reference, ranked.bias, ranked.unseen / least, limit)


def mean_area(parts: Iterable[Area]) -> Area:
    """The plain mean of the areas of several classes or labels on the same rows, with the variance of the mean.

    Degrees of freedom are Satterthwaite's over the parts; the reference adds none, it only steadies the scale of the variance.
    """
    total: Area | None = None
    variances: list[float] = []
    dfs: list[float] = []
    for part in parts:
        variances.append(part.variance)
        dfs.append(part.df)
        if total is None:
            total = part
        else:
            scarce = min(total, part, key=lambda each: min(each.ones, each.zeros))
            total = scarce._replace(
                value=total.value + part.value,
                pulls=total.pulls + part.pulls,
                units=min(total.units, part.units),
                bias=total.bias + part.bias,
                unseen=total.unseen + part.unseen,
                limit=min(total.limit, part.limit),
            )
    assert total is not None, "a mean of no areas"
    count = len(dfs)
    df = satterthwaite(np.array(variances), np.array(dfs))
    limit = total.limit if count == 1 else min(total.limit, df)
    return total._replace(
        value=total.value / count,
        pulls=total.pulls / count,
        bias=total.bias / count,
        unseen=total.unseen / count,
        df=df,
        limit=limit,
    )


def interval(found: Area, *, confidence: float) -> Estimate:
    """The score interval of one area. It lies inside 0 to 1.

    Where one positive in fifty is ranked at random, most samples of fifty show none of it or one, and no variance seen tells. So the lower
    end allows for one such row more (after Agresti & Min, Statistics in Medicine 24, 2005).
    """
    variance = _variance(found)
    if variance is None:
        return no_interval(found.value)
    df = found.freedom
    t, centre = critical(confidence, df), _inside(found.value - found.bias)

    def kept(tried: float) -> bool:
        unseen = found.unseen**2 if tried < centre else 0.0
        return (centre - tried) ** 2 <= t * t * (variance(tried) + unseen)

    low, high = (_last_kept(kept, centre, end) for end in (0.0, 1.0))
    return Estimate(found.value, min(low, found.value), max(high, found.value), df)


def difference(candidate: Area, champion: Area, *, confidence: float) -> Estimate:
    """The area of the candidate minus that of the champion on the same rows, with the score interval of a paired difference.

    For each difference that is tried, both areas stand at their mean plus and minus half of it; their correlation is the one
    seen. Two guards: where no row pulls differently the interval is that of a score interval for "0 of n", n the units of the
    rarer class; where a few units do all the pulling, two as large as the largest are added, one to each side (after Agresti & Min).
    """
    value = candidate.value - champion.value
    ours, theirs = _variance(candidate), _variance(champion)
    if ours is None or theirs is None:
        return no_interval(value)
    df = min(candidate.freedom, champion.freedom)
    apart = np.square(candidate.pulls - champion.pulls)
    spread = float(apart.sum())
    if spread <= _TINY**2 and abs(value) <= _TINY:
        return nothing_seen(value, min(candidate.units, champion.units), scale=1.0, confidence=confidence, df=df)
    heavy = spread**2 / float(np.square(apart).sum()) if spread > 0 else 0.0
    extra = 2 * float(apart.max(initial=0.0)) if heavy < min(_FEW, candidate.units / 6) else 0.0
    seen = candidate.variance * champion.variance
    correlation = float(candidate.pulls @ champion.pulls) / sqrt(seen) if seen > 0 else 0.0
    ours_at, theirs_at = (_inside(each.value - each.bias) for each in (candidate, champion))
    centre, moved, t = (ours_at + theirs_at) / 2, ours_at - theirs_at, critical(confidence, df)

    def kept(tried: float) -> bool:
        one, two = (sqrt(each(_inside(centre + sign * tried / 2))) for sign, each in ((1, ours), (-1, theirs)))
        return (moved - tried) ** 2 <= t * t * (max(one * one + two * two - 2 * correlation * one * two, 0.0) + extra)

    low, high = (_last_kept(kept, moved, end) for end in (-1.0, 1.0))
    return Estimate(value, min(low, value), max(high, value), df)


def satterthwaite(variances: Floats, dfs: Floats) -> float:
    """Degrees of freedom of a sum of variances. Source: Satterthwaite, Biometrics Bulletin 2 (1946)."""
    below = float((np.square(variances) / dfs).sum())
    return float(variances.sum() ** 2 / below) if below > 0 else float(dfs.min(initial=np.inf))


def _variance(found: Area) -> Callable[[float], float] | None:
    """The variance that the area would have at a value; None without any."""
    seen = found.variance
    if not np.isfinite(seen) or not np.isfinite(found.value):
        return None
    expected = found.reference(found.value, found.ones, found.zeros)
    if expected <= _TINY**2:  # nothing is ranked wrong: each cluster may be one row many times over
        scale = max(min(found.ones, found.zeros) / found.units, 1.0)
    else:
        ratio = seen / expected
        scale = max(ratio, (found.df * ratio + found.prior) / (found.df + found.prior))
    return lambda value: scale * found.reference(value, found.ones, found.zeros)


def _inside(value: float) -> float:
    return min(max(value, 1e-9), 1 - 1e-9)


def _last_kept(kept: Callable[[float], bool], inner: float, outer: float) -> float:
    """The value farthest from ``inner`` on the way to ``outer`` that is still kept."""
    if kept(outer):
        return outer
    for _ in range(_STEPS):
        middle = (inner + outer) / 2
        inner, outer = (middle, outer) if kept(middle) else (inner, middle)
    return inner
