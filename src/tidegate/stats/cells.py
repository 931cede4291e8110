"""Counting metrics from cells: rows collapse into counts, and a bootstrap replicate is one multinomial draw.

Resampling n rows with replacement and then counting them is the same as one multinomial draw over the unique
(label, candidate, champion) cells, so a million rows cost what a thousand do.
Source: Efron & Tibshirani, An Introduction to the Bootstrap (1993), chapters 5 and 13.

A *scheme* says what a cell's code means: which sums one such row adds to, for either model. A counting metric is a smooth function of
these sums (see ``tidegate.stats.confusion``), so that its influence values come from one exact gradient, whatever it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tidegate.stats.bootstrap import bca_share
from tidegate.stats.confusion import Score, gradient
from tidegate.stats.distributions import special
from tidegate.stats.estimate import (
    POWERS,
    SPARSE,
    Codes,
    Estimate,
    Floats,
    around,
    critical,
    from_influence,
    no_interval,
    nothing_seen,
    steadiness,
    two_more,
)
from tidegate.stats.tally import Tally, Whole

DRAWS = 10_000
MOST_CELLS = 256
"""With more different cells than that, the interval is by the delta method: drawing them all would take seconds."""
DOUBT = 0.5
"""Rows added to each kind of error in each class: with half of it, an end was wrong up to 5% of the time where few rows differ."""
_CHUNK = 4_000_000
_BYTE = 127
_SKEWED = 0.1

Flags = NDArray[np.bool_]


class Design(NamedTuple):
    """What [U] codes add to [width] sums: [U, m] places (``width``: nowhere) and amounts."""

    places: Whole
    amounts: Floats
    width: int

    def totals(self, counts: ArrayLike) -> Floats:
        """The sums of rows that have each code ``counts`` times."""
        added = np.asarray(counts, dtype=np.float64)[:, None] * self.amounts
        sums = np.bincount(self.places.ravel(), weights=added.ravel(), minlength=self.width + 1)
        return sums[: self.width].astype(np.float64)

    def dense(self) -> Floats:
        """The [U, width] matrix of it."""
        rows, table = np.arange(len(self.places))[:, None], np.zeros((len(self.places), self.width + 1))
        np.add.at(table, (rows, self.places), self.amounts)
        return table[:, : self.width]

    def spread(self, slope: Floats) -> Floats:
        """[U] what one more row of each code moves a function by that has this gradient."""
        return (np.append(slope, 0.0)[self.places] * self.amounts).sum(1)


class Scheme(Protocol):
    """What codes mean."""

    @property
    def base(self) -> int:
        """Codes lie from 0 to below this."""
        ...

    def design(self, codes: Whole, *, champion: bool = False) -> Design:
        """What codes add to the sums of one model."""
        ...

    def swapped(self, codes: Whole) -> Whole:
        """The codes of the same rows with the models changed over."""
        ...

    def differs(self, codes: Whole) -> Flags:
        """Whether the models decide differently."""
        ...

    def wrong(self, codes: Whole) -> Flags:
        """Whether the candidate is wrong."""
        ...

    def doubts(self, codes: Whole) -> Whole:
        """Sorted codes of one row of each kind of error, by either model or both: none seen does not mean none possible."""
        ...


@dataclass(frozen=True, slots=True)
class Square:
    """Rows of K classes: (label K + decision) K + the other model's decision. Their sums are margins, or the costs."""

    classes: int = 2
    costs: tuple[tuple[float, ...], ...] = ()
    """[K][K] what a row of a class (line) costs with each decision (column); then the sums are rows and costs."""

    @property
    def base(self) -> int:
        """K to the third."""
        return self.classes**3

    def codes(self, labels: Codes, ours: Codes, theirs: Codes | None = None) -> Codes:
        """The codes of [n] rows; without a champion it stands for the candidate itself."""
        k = self.classes
        kind: Any = np.int8 if self.base <= _BYTE else np.int64  # a million bytes are read faster than a million words
        first, second, third = (each.astype(kind, copy=False) for each in (labels, ours, ours if theirs is None else theirs))
        return np.asarray((first * kind(k) + second) * kind(k) + third)

    def read(self, codes: Whole) -> tuple[Whole, Whole, Whole]:
        """Labels, decisions, and decisions of the other model."""
        rest, theirs = np.divmod(codes, self.classes)
        labels, ours = np.divmod(rest, self.classes)
        return labels, ours, theirs

    def design(self, codes: Whole, *, champion: bool = False) -> Design:
        """Sums are [3 K] margins, or [2] rows and costs."""
        labels, ours, theirs = self.read(codes)
        decided = theirs if champion else ours
        k = self.classes
        if self.costs:
            cost = np.asarray(self.costs, dtype=np.float64)[labels, decided]
            return Design(np.tile([0, 1], (codes.size, 1)), np.stack([np.ones(codes.size), cost], axis=1), 2)
        places = np.stack([labels, k + decided, np.where(labels == decided, 2 * k + labels, 3 * k)], axis=1)
        return Design(places, np.ones(places.shape), 3 * k)

    def swapped(self, codes: Whole) -> Whole:
        """See ``Scheme``."""
        labels, ours, theirs = self.read(codes)
        return self.codes(labels, theirs, ours).astype(np.int64)

    def differs(self, codes: Whole) -> Flags:
        """See ``Scheme``."""
        _, ours, theirs = self.read(codes)
        return np.asarray(ours != theirs)

    def wrong(self, codes: Whole) -> Flags:
        """See ``Scheme``."""
        labels, ours, _ = self.read(codes)
        return np.asarray(labels != ours)

    def doubts(self, codes: Whole) -> Whole:
        """Each class that has rows is taken for another: the next one, or the one where that costs most."""
        k = self.classes
        labels = np.arange(2) if k == 2 else np.unique(codes // (k * k))
        if self.costs:
            table = np.asarray(self.costs, dtype=np.float64)
            off = np.abs(table - np.diag(table)[:, None])
            np.fill_diagonal(off, -1.0)
            other = off[labels].argmax(1)
        else:
            other = np.roll(labels, -1) if labels.size > 1 else (labels + 1) % k
        kinds = [self.codes(labels, *pair) for pair in ((labels, other), (other, labels), (other, other))]
        return np.unique(np.concatenate(kinds)).astype(np.int64)


@dataclass(frozen=True, slots=True)
class Levels:
    """Rows of L labels, by how many each has, is decided to have, and has rightly: for metrics that take all labels together."""

    labels: int
    share: bool = False
    """Whether the sums are rows and the shares of their labels that are right; else margins of one class."""

    @property
    def base(self) -> int:
        """L + 1 to the fifth."""
        return (self.labels + 1) ** 5

    def codes(self, labels: Flags, ours: Flags, theirs: Flags | None = None) -> Whole:
        """The codes of [n, L] labels and decisions."""
        other = ours if theirs is None else theirs
        parts = (labels, ours, labels & ours, other, labels & other)
        return self._join(*(part.sum(1, dtype=np.int64) for part in parts))

    def design(self, codes: Whole, *, champion: bool = False) -> Design:
        """Sums are [3] margins, or [2] rows and shares."""
        has, *models = self._read(codes)
        decided, hits = models[2:] if champion else models[:2]
        if self.share:
            right = 1 - (has + decided - 2 * hits) / self.labels
            return Design(np.tile([0, 1], (codes.size, 1)), np.stack([np.ones(codes.size), right], axis=1), 2)
        return Design(np.tile([0, 1, 2], (codes.size, 1)), np.stack([has, decided, hits], axis=1).astype(np.float64), 3)

    def swapped(self, codes: Whole) -> Whole:
        """See ``Scheme``."""
        has, ours, right, theirs, theirs_right = self._read(codes)
        return self._join(has, theirs, theirs_right, ours, right)

    def differs(self, codes: Whole) -> Flags:
        """Whether the numbers differ; rows on which they do not move no metric of this scheme apart."""
        _, ours, right, theirs, theirs_right = self._read(codes)
        return np.asarray((ours != theirs) | (right != theirs_right))

    def wrong(self, codes: Whole) -> Flags:
        """See ``Scheme``."""
        has, ours, right, *_ = self._read(codes)
        return np.asarray((has != right) | (ours != right))

    def doubts(self, codes: Whole) -> Whole:
        """One label is missed, or wrongly given."""
        del codes
        kinds = [(1, 1, 1, 0, 0), (1, 0, 0, 1, 1), (1, 0, 0, 0, 0), (0, 1, 0, 0, 0), (0, 0, 0, 1, 0), (0, 1, 0, 1, 0)]
        return np.unique(self._join(*np.asarray(kinds, dtype=np.int64).T))

    def _join(self, *parts: Whole) -> Whole:
        joined = parts[0]
        for each in parts[1:]:
            joined = joined * (self.labels + 1) + each
        return joined

    def _read(self, codes: Whole) -> list[Whole]:
        found: list[Whole] = []
        for _ in range(5):
            codes, last = np.divmod(codes, self.labels + 1)
            found.append(last)
        return found[::-1]


class Compared(NamedTuple):
    """The metric of both models and the candidate's minus the champion's."""

    candidate: Estimate
    champion: Estimate
    difference: Estimate
    drawn: bool = True
    """Whether by the bootstrap."""


def evaluate(scheme: Scheme, score: Score, codes: Whole, counts: ArrayLike, *, champion: bool = False) -> float:
    """The metric of one model from [U] codes and how often they occur; NaN where it divides by zero."""
    return float(score.of(scheme.design(codes, champion=champion).totals(counts)))


def compare(
    scheme: Scheme, score: Score, cells: Tally, *, confidence: float, rng: np.random.Generator, draws: int = DRAWS
) -> Compared:
    """Bootstrap intervals over cells: the same draws for both models, so that the difference is paired.

    Each end is the percentile's or BCa's (Efron, JASA 82, 1987), whichever lies further out: in simulation the one is too near where
    influences are skewed, the other where few rows differ. ``DOUBT`` is added to each kind of error that there is, so that none
    seen does not mean none possible (after Agresti & Min, Statistics in Medicine 24, 2005, who add it for paired proportions); by
    what this moves a value, the end on the other side is moved back. A replicate in which the metric is undefined counts against both
    ends. Changing the models over mirrors the result exactly. With more than ``MOST_CELLS`` cells it is the delta method.
    """
    order = np.argsort(scheme.swapped(cells.codes))
    turned = cells._replace(codes=scheme.swapped(cells.codes)[order], counts=cells.counts[order])
    if _later(turned, cells):
        ours, theirs, difference, drawn = compare(scheme, score, turned, confidence=confidence, rng=rng, draws=draws)
        return Compared(theirs, ours, difference.negated(), drawn)
    codes, counts, doubted = _doubted(scheme, cells)
    values = [evaluate(scheme, score, codes, counts, champion=champion) for champion in (False, True)]
    values.append(values[0] - values[1])
    if codes.size > MOST_CELLS:
        found = _delta(values, scheme, score, codes, doubted, int(counts.sum()), confidence)
        return Compared(found[0], found[1], found[2], drawn=False)
    designs = [scheme.design(codes, champion=champion).dense() for champion in (False, True)]
    drawn = rng.multinomial(int(counts.sum()), doubted / doubted.sum(), size=draws)
    replicates = [_replicates(score, drawn, design) for design in designs]
    replicates.append(replicates[0] - replicates[1])
    span = score.high - score.low
    limits = [(score.low, score.high), (score.low, score.high), (-span, span)]
    centres = [float(score.of(doubted @ design)) for design in designs]
    pulls = [design @ gradient(score.of, doubted @ design) for design in designs]
    centres.append(centres[0] - centres[1])
    pulls.append(pulls[0] - pulls[1])
    found = [
        _ends(value, _Draws(centre, _acceleration(pull, doubted), each), limit, confidence)
        for value, centre, pull, each, limit in zip(values, centres, pulls, replicates, limits, strict=True)
    ]
    return Compared(found[0], found[1], found[2])


def linear(scheme: Scheme, score: Score, cells: Tally, *, confidence: float) -> Compared:
    """Intervals by linearisation, for weights and clusters: influence values by cell, added up by cluster.

    Source: Cochran, Sampling Techniques (1977), section 6.3; Deville, Survey Methodology 25 (1999), for any smooth function of
    sums; clusters as ``from_influence``.
    """
    amounts = cells.amounts
    doubts = scheme.doubts(cells.codes)
    values: list[float] = []
    rows: list[Floats] = []
    plausible: list[Floats] = []
    for champion in (False, True):
        design = scheme.design(cells.codes, champion=champion)
        sums = design.totals(amounts)
        values.append(float(score.of(sums)))
        slope = gradient(score.of, sums) if np.isfinite(values[-1]) else np.full(sums.size, np.nan)
        rows.append(design.spread(slope))
        plausible.append(scheme.design(doubts, champion=champion).spread(slope))
    telling = [scheme.wrong(cells.codes), scheme.wrong(scheme.swapped(cells.codes)), scheme.differs(cells.codes)]
    found: list[Estimate] = []
    for value, influence, largest, flags in zip(
        [*values, values[0] - values[1]],
        [*rows, rows[0] - rows[1]],
        [*plausible, plausible[0] - plausible[1]],
        telling,
        strict=True,
    ):
        scale = float(np.abs(largest).max(initial=0.0)) * float(amounts.sum())
        found.append(_spread(value, influence, cells, flags, scale, confidence))
    return Compared(found[0], found[1], found[2], drawn=False)


def _spread(value: float, influence: Floats, cells: Tally, differs: Flags, scale: float, confidence: float) -> Estimate:
    """The interval of a value from the influence of a row of each cell."""
    if not np.isfinite(value):
        return no_interval(value)
    if cells.clusters is not None:
        _, clusters = np.unique(cells.clusters, return_inverse=True)
        rows = cells.amounts
        return from_influence(
            value, rows * influence, confidence=confidence, clusters=clusters, differs=differs, scale=scale, weights=rows
        )
    count, differing = cells.rows, int(cells.counts[differs].sum())
    if count < 2:
        return no_interval(value)
    if not differing:
        return nothing_seen(value, count, scale=scale, confidence=confidence, df=count - 1)
    powers = np.full(POWERS, float(count)) if cells.powers is None else cells.powers.sum(0)
    inflation, df = steadiness(powers)
    squared = cells.counts if cells.powers is None else cells.powers[:, 1]
    squares = float((np.square(influence) * squared).sum()) * inflation
    if differing < SPARSE:
        heaviest = np.ones(influence.size) if cells.largest is None else cells.largest
        squares += two_more(differing, count, float(np.square(influence * heaviest).max()))
    return around(value, float(np.sqrt(squares)), df, confidence) if df > 0 else no_interval(value)


def _delta(
    values: list[float], scheme: Scheme, score: Score, codes: Whole, counts: Floats, rows: int, confidence: float
) -> list[Estimate]:
    """Intervals of both values and their difference by the delta method, the variance taken of the doubted counts.

    Source: Agresti, Categorical Data Analysis (3rd edition 2013), section 16.1.
    """
    influence: list[Floats] = []
    for champion in (False, True):
        design = scheme.design(codes, champion=champion)
        influence.append(design.spread(gradient(score.of, design.totals(counts))))
    influence.append(influence[0] - influence[1])
    errors = [float(np.sqrt((counts * np.square(each)).sum())) for each in influence]
    return [around(value, error, max(rows - 1, 1), confidence) for value, error in zip(values, errors, strict=True)]


def _doubted(scheme: Scheme, cells: Tally) -> tuple[Whole, Whole, Floats]:
    """The codes with those of doubts, their counts, and the counts with the doubts added."""
    doubts = scheme.doubts(cells.codes)
    codes = np.union1d(cells.codes, doubts)
    counts = np.zeros(codes.size, dtype=np.int64)
    counts[np.searchsorted(codes, cells.codes)] = cells.counts
    doubted = counts.astype(np.float64)
    doubted[np.searchsorted(codes, doubts)] += DOUBT
    return codes, counts, doubted


def _later(turned: Tally, cells: Tally) -> bool:
    """Whether cells with the models changed over come first in a fixed order: one of the two is always computed."""
    for one, other in ((turned.codes, cells.codes), (turned.counts, cells.counts)):
        place = np.flatnonzero(one != other)[:1]
        if place.size:
            return bool(one[place[0]] < other[place[0]])
    return False


def _replicates(score: Score, drawn: NDArray[np.int64], design: Floats) -> Floats:
    found = np.empty(len(drawn))
    portion = max(_CHUNK // max(design.size // max(len(design), 1), 1), 1)
    for start in range(0, len(drawn), portion):
        found[start : start + portion] = score.of(drawn[start : start + portion] @ design)
    return found


class _Draws(NamedTuple):
    """Replicates of a value, the value of what they are drawn from, and how fast its standard error changes with it."""

    centre: float
    acceleration: float
    replicates: Floats


def _acceleration(pull: Floats, counts: Floats) -> float:
    """A sixth of the skewness of influence values, [U] by cell (Efron 1987, equation 6.6)."""
    squares = float((counts * np.square(pull)).sum())
    return float((counts * pull**3).sum()) / (6 * squares**1.5) if squares > 0 else 0.0


def _ends(value: float, draws: _Draws, limits: tuple[float, float], confidence: float) -> Estimate:
    """The ends of the percentile interval, or BCa's where they lie further out.

    An end on the side away from which the doubts moved the centre is moved back.
    """
    if not np.isfinite(value):
        return no_interval(value)
    undefined = np.isnan(draws.replicates)
    levels = _levels(draws, confidence)
    if undefined.any():
        low = np.quantile(np.where(undefined, limits[0], draws.replicates), levels[0])
        high = np.quantile(np.where(undefined, limits[1], draws.replicates), levels[1])
    else:
        low, high = np.quantile(draws.replicates, levels)
    moved = value - draws.centre if np.isfinite(draws.centre) else 0.0
    low, high = float(low) + min(moved, 0.0), float(high) + max(moved, 0.0)
    return Estimate(value, max(min(low, value), limits[0]), min(max(high, value), limits[1]))


def _levels(draws: _Draws, confidence: float) -> tuple[float, float]:
    """Which quantiles of the replicates the ends are."""
    tail = (1 - confidence) / 2
    with np.errstate(invalid="ignore"):
        below = float(np.mean(draws.replicates < draws.centre) + np.mean(draws.replicates == draws.centre) / 2)
    bias = float(special().ndtri(min(max(below, _SKEWED), 1 - _SKEWED)))
    low, high = (bca_share(sign * critical(confidence), bias, draws.acceleration) for sign in (-1, 1))
    return min(tail, low), max(1 - tail, high)
