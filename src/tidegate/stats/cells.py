"""Counting metrics from cells: rows collapse into counts, and a bootstrap replicate is one multinomial draw.

Resampling n rows with replacement and then counting them is the same as one multinomial draw over the unique
(label, candidate, champion) cells, so a million rows cost what a thousand do.
Source: Efron & Tibshirani, An Introduction to the Bootstrap (1993), chapters 5 and 13.

A cell's number is 4 label + 2 candidate + champion, each 0 or 1: eight cells. A counting metric is a ratio of two sums
over the cells of one model's confusion table.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tidegate.stats.estimate import Codes, Estimate, Floats, from_influence

CELLS = 8
DRAWS = 10_000
_LABEL, _CANDIDATE, _CHAMPION = ((np.arange(CELLS) >> shift) & 1 for shift in (2, 1, 0))
_DISCORDANT = _CANDIDATE != _CHAMPION


class Ratio(NamedTuple):
    """A counting metric: two [4] rows of weights on (true negative, false positive, false negative, true positive)."""

    over: tuple[int, int, int, int]
    under: tuple[int, int, int, int]


ACCURACY = Ratio((1, 0, 0, 1), (1, 1, 1, 1))
PRECISION = Ratio((0, 0, 0, 1), (0, 1, 0, 1))
RECALL = Ratio((0, 0, 0, 1), (0, 0, 1, 1))
F1 = Ratio((0, 0, 0, 2), (0, 1, 1, 2))


def cell_codes(labels: ArrayLike, candidate: ArrayLike, champion: ArrayLike | None = None) -> NDArray[np.int8]:
    """The [n] cell numbers of rows; without a champion it stands for the candidate itself."""
    ours = np.asarray(candidate).astype(np.int8)
    theirs = ours if champion is None else np.asarray(champion).astype(np.int8)
    return np.asarray(4 * np.asarray(labels).astype(np.int8) + 2 * ours + theirs, dtype=np.int8)


def cell_counts(codes: NDArray[np.int8], groups: Codes | None = None, size: int = 1) -> NDArray[np.int64]:
    """Counts of the eight cells: [8], or [size, 8] with the codes of a slice column in ``groups``."""
    if groups is None:
        return np.bincount(codes, minlength=CELLS).astype(np.int64)
    return np.bincount(groups.astype(np.int64) * CELLS + codes, minlength=size * CELLS).reshape(size, CELLS).astype(np.int64)


def evaluate(ratio: Ratio, counts: ArrayLike, *, champion: bool = False) -> Any:
    """The metric of one model from [..., 8] counts; NaN where its denominator is 0."""
    over, under = _weights(ratio, champion=champion)
    tally = np.asarray(counts, dtype=np.float64)
    top, bottom = tally @ over, tally @ under
    return np.divide(top, bottom, out=np.full(np.shape(bottom), np.nan), where=bottom > 0)[()]


def bootstrap(
    counts: NDArray[np.int64], ratio: Ratio, *, confidence: float, rng: np.random.Generator, draws: int = DRAWS
) -> Estimate:
    """The candidate's metric with a percentile interval over cells; one error of each kind is added to what is drawn from."""
    smoothed = counts + (_LABEL != _CANDIDATE) * (_CANDIDATE == _CHAMPION)
    replicates = evaluate(ratio, _draw(counts, smoothed, rng, draws))
    return _percentile(float(evaluate(ratio, counts)), replicates, confidence, (0.0, 1.0))


def bootstrap_difference(
    counts: NDArray[np.int64], ratio: Ratio, *, confidence: float, rng: np.random.Generator, draws: int = DRAWS
) -> Estimate:
    """The candidate's metric minus the champion's, with a paired percentile interval over cells.

    Half a row is added to each cell where the models disagree, so that none seen does not mean none possible
    (after Agresti & Min, Statistics in Medicine 24, 2005, who add it for the difference of paired proportions).
    A replicate in which the metric is undefined counts against both ends.
    """
    drawn = _draw(counts, counts + 0.5 * _DISCORDANT, rng, draws)
    replicates = evaluate(ratio, drawn) - evaluate(ratio, drawn, champion=True)
    value = float(evaluate(ratio, counts) - evaluate(ratio, counts, champion=True))
    return _percentile(value, replicates, confidence, (-1.0, 1.0))


def linear(
    codes: NDArray[np.int8], ratio: Ratio, *, confidence: float, weights: Floats | None = None, clusters: Codes | None = None
) -> Estimate:
    """The candidate's metric with an interval by linearisation over [n] rows: for weights and clusters."""
    counts = np.bincount(codes, weights=weights, minlength=CELLS).astype(np.float64)
    value, influence = _influence(ratio, counts, champion=False)
    differs = (_LABEL != _CANDIDATE)[codes]
    return from_influence(
        value, _rows(influence, codes, weights), confidence=confidence, clusters=clusters, differs=differs, scale=1.0
    )


def linear_difference(
    codes: NDArray[np.int8], ratio: Ratio, *, confidence: float, weights: Floats | None = None, clusters: Codes | None = None
) -> Estimate:
    """The paired difference with an interval by linearisation over [n] rows: for weights and clusters.

    Source: ratio estimator, Cochran, Sampling Techniques (1977), section 6.3; clusters as ``from_influence``.
    """
    counts = np.bincount(codes, weights=weights, minlength=CELLS).astype(np.float64)
    ours, theirs = (_influence(ratio, counts, champion=champion) for champion in (False, True))
    return from_influence(
        ours[0] - theirs[0],
        _rows(ours[1] - theirs[1], codes, weights),
        confidence=confidence,
        clusters=clusters,
        differs=_DISCORDANT[codes],
        scale=1.0,
    )


def _influence(ratio: Ratio, counts: Floats, *, champion: bool) -> tuple[float, Floats]:
    """The metric and the influence on it of one row in each cell."""
    over, under = _weights(ratio, champion=champion)
    bottom = float(counts @ under)
    if bottom <= 0:
        return float("nan"), np.full(CELLS, np.nan)
    value = float(counts @ over) / bottom
    return value, (over - value * under) / bottom


def _rows(influence: Floats, codes: NDArray[np.int8], weights: Floats | None) -> Floats:
    return influence[codes] if weights is None else weights * influence[codes]


def _weights(ratio: Ratio, *, champion: bool) -> tuple[Floats, Floats]:
    places = 2 * _LABEL + (_CHAMPION if champion else _CANDIDATE)
    return np.asarray(ratio.over, dtype=np.float64)[places], np.asarray(ratio.under, dtype=np.float64)[places]


def _draw(counts: NDArray[np.int64], smoothed: NDArray[Any], rng: np.random.Generator, draws: int) -> NDArray[np.int64]:
    return rng.multinomial(int(counts.sum()), smoothed / smoothed.sum(), size=draws)


def _percentile(value: float, replicates: Floats, confidence: float, limits: tuple[float, float]) -> Estimate:
    if not np.isfinite(value):
        return Estimate(value, float("nan"), float("nan"))
    tail = (1 - confidence) / 2
    undefined = np.isnan(replicates)
    low = np.quantile(np.where(undefined, limits[0], replicates), tail)
    high = np.quantile(np.where(undefined, limits[1], replicates), 1 - tail)
    return Estimate(value, min(float(low), value), max(float(high), value))
