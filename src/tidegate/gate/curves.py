"""Pictures of both models on the same rows: ROC, precision and recall, calibration, errors, confusion, one score against the other.

Each is bounded in size and the same for the same rows. Points of a curve are those that the eye would miss most: the
line through the others is farthest from them (Ramer, Computer Graphics and Image Processing 1, 1972; Douglas & Peucker,
Cartographica 10, 1973), until 200 are kept or none is missed by a thousandth of the axis.
"""

from __future__ import annotations

import heapq
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tidegate.gate.evidence import Evidence
from tidegate.gate.right import decided
from tidegate.gate.shown import Sides
from tidegate.records.report import Curve
from tidegate.stats.estimate import Floats

POINTS = 200
SCATTERED = 1500
BINS = 12
PAIRS = 15
_SEEN = 0.001
_THRESHOLDS = 600
_QUANTILES = 99


class Line(NamedTuple):
    """A curve of one model: [m] coordinates, and [m] rows behind each point where that says something."""

    x: Floats
    y: Floats
    rows: Floats


def draw_curves(evidence: Evidence, sides: Sides | None) -> list[Curve]:
    """Every picture that the task has. ``sides`` says which rows changed sides: the scatter keeps those first."""
    curves: list[Curve] = []
    if evidence.task == "binary" and _has_both(evidence):
        ranked = [_Ranked(each, evidence) for each in evidence.models]
        curves += [_curve("roc", [each.roc() for each in ranked]), _curve("pr", [each.pr() for each in ranked])]
        if not evidence.hard:
            curves.append(_curve("calibration", [each.calibration() for each in ranked]))
    if evidence.task == "regression":
        curves += [_curve(kind, [draw(each, evidence) for each in evidence.models]) for kind, draw in _OF_NUMBERS]
    if evidence.task == "multiclass":
        curves += _confusion(evidence)
    if sides is not None and not evidence.hard:
        curves += _scatter(evidence, sides)
    return curves


def _has_both(evidence: Evidence) -> bool:
    weights = evidence.weights_or_ones
    positive = evidence.labels > 0
    return bool(weights[positive].sum() > 0 and weights[~positive].sum() > 0)


def _curve(kind: str, lines: list[Line], note: str = "") -> Curve:
    pairs = [(_short(line.x), _short(line.y), _short(line.rows)) for line in lines]
    theirs = pairs[1] if len(pairs) > 1 else ([], [], [])
    return Curve(
        kind=kind,
        candidate_x=pairs[0][0],
        candidate_y=pairs[0][1],
        candidate_weight=pairs[0][2],
        champion_x=theirs[0],
        champion_y=theirs[1],
        champion_weight=theirs[2],
        note=note,
    )


def _short(values: Floats) -> list[float]:
    """Four significant digits: more than a picture can show."""
    return [float(f"{value:.4g}") + 0.0 for value in values.tolist()]


class _Ranked:
    """The scores of one model, sorted apart for both labels: counts above any threshold are two binary searches."""

    def __init__(self, scores: Floats, evidence: Evidence) -> None:
        positive = evidence.labels > 0
        self._sides = [_sorted(scores, evidence.weights, side) for side in (positive, ~positive)]
        steps = np.linspace(0, 1, _THRESHOLDS)
        picked = [values[np.rint(steps * (values.size - 1)).astype(np.int64)] for values, _ in self._sides]
        self._cuts = np.unique(np.concatenate(picked))[::-1]

    def _above(self) -> list[Floats]:
        """[cuts + 1] shares of positives and of negatives at or above each cut, beginning with none."""
        shares: list[Floats] = []
        for values, sums in self._sides:
            below = sums[np.searchsorted(values, self._cuts, side="left")]
            shares.append(np.concatenate([[0.0], 1 - below / sums[-1]]))
        return shares

    def roc(self) -> Line:
        found, alarms = self._above()
        return _thinned(alarms, found)

    def pr(self) -> Line:
        found, alarms = (
            share[1:] * sums[-1] / (self._sides[0][1][-1]) for share, (_, sums) in zip(self._above(), self._sides, strict=True)
        )
        shown = found + alarms  # 0 where the first rows weigh nothing
        return _thinned(found, np.divide(found, shown, out=np.ones(len(found)), where=shown > 0))

    def calibration(self) -> Line:
        """Bins of about equally many rows; their mean prediction and the share of positives in them."""
        merged = np.concatenate([values[:: max(values.size // 20_000, 1)] for values, _ in self._sides])
        share = [max(values.size // 20_000, 1) for values, _ in self._sides]
        counts = np.concatenate(
            [np.full(-(-values.size // step), step) for (values, _), step in zip(self._sides, share, strict=True)]
        )
        order = np.argsort(merged, kind="stable")
        at = np.searchsorted(np.cumsum(counts[order]), np.linspace(0, counts.sum(), BINS + 1)[1:-1])
        edges = np.unique(merged[order][np.minimum(at, merged.size - 1)])
        rows, ones, total = np.zeros(edges.size + 1), np.zeros(edges.size + 1), np.zeros(edges.size + 1)
        for label, (values, sums) in zip((1, 0), self._sides, strict=True):
            ends = np.concatenate([[0], np.searchsorted(values, edges, side="left"), [values.size]])
            weights = np.diff(sums[ends])
            means = np.concatenate([[0.0], np.cumsum(values * np.diff(sums))])
            rows, ones, total = rows + weights, ones + label * weights, total + np.diff(means[ends])
        kept = rows > 0
        return Line(total[kept] / rows[kept], ones[kept] / rows[kept], rows[kept])


def _sorted(scores: Floats, weights: Floats | None, side: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """[m] scores of a side in order, and [m + 1] sums of the weights of those before each."""
    values = scores[side]
    if weights is None:
        return np.sort(values), np.arange(values.size + 1, dtype=np.float64)
    order = np.argsort(values, kind="stable")
    return values[order], np.concatenate([[0.0], np.cumsum(weights[side][order])])


def _thinned(x: Floats, y: Floats) -> Line:
    kept = thin(x, y)
    return Line(x[kept], y[kept], np.empty(0))


def thin(x: Floats, y: Floats, most: int = POINTS, seen: float = _SEEN) -> NDArray[np.int64]:
    """Places of the points that a line cannot do without: at most ``most``; none left out is off by ``seen`` unless those are full."""
    last = len(x) - 1
    kept = {0, last}
    waiting: list[tuple[float, int, int, int]] = []

    def look(start: int, end: int) -> None:
        if end - start < 2:
            return
        far = _off_line(x[start : end + 1], y[start : end + 1])
        place = int(far.argmax())
        if far[place] > seen:
            heapq.heappush(waiting, (-float(far[place]), start, start + place, end))

    look(0, last)
    while waiting and len(kept) < most:
        _, start, place, end = heapq.heappop(waiting)
        kept.add(place)
        look(start, place)
        look(place, end)
    return np.array(sorted(kept), dtype=np.int64)


def _off_line(x: Floats, y: Floats) -> Floats:
    """How far points lie from the line through the first and the last."""
    across, up = x[-1] - x[0], y[-1] - y[0]
    length = float(np.hypot(across, up))
    if length == 0:
        return np.hypot(x - x[0], y - y[0])
    return np.abs(across * (y - y[0]) - up * (x - x[0])) / length


def _errors(predictions: Floats, evidence: Evidence) -> Line:
    """Quantiles of prediction minus label."""
    shares = np.arange(1, _QUANTILES + 1) / (_QUANTILES + 1)
    errors = np.sort(predictions - evidence.labels)
    return Line(shares, errors[np.rint(shares * (errors.size - 1)).astype(np.int64)], np.empty(0))


def _bins(predictions: Floats, evidence: Evidence) -> Line:
    """Bins of about equally many rows: mean prediction, mean label, rows."""
    step = max(predictions.size // 50_000, 1)
    edges = np.unique(np.quantile(predictions[::step], np.arange(1, BINS) / BINS, method="nearest"))
    codes = np.searchsorted(edges, predictions, side="right")
    weights = evidence.weights_or_ones
    rows, total, labels = (
        np.bincount(codes, weights=each, minlength=edges.size + 1).astype(np.float64)
        for each in (weights, weights * predictions, weights * evidence.labels)
    )
    kept = rows > 0
    return Line(total[kept] / rows[kept], labels[kept] / rows[kept], rows[kept])


_OF_NUMBERS = (("residuals", _errors), ("calibration", _bins))


def _confusion(evidence: Evidence) -> list[Curve]:
    """The pairs of classes that either model takes for each other most, by rows."""
    size = len(evidence.classes)
    if not size:
        return []
    labels = evidence.labels.astype(np.int64)
    tables = [np.bincount(labels * size + decided(each), minlength=size * size) for each in evidence.models]
    most = np.max(tables, axis=0)
    most[:: size + 1] = 0  # what is right is no confusion
    pairs = np.argsort(-most, kind="stable")[:PAIRS]
    pairs = pairs[most[pairs] > 0]
    counts = [table[pairs].astype(np.float64) for table in tables]
    names = [f"{evidence.classes[pair // size]} taken for {evidence.classes[pair % size]}" for pair in pairs.tolist()]
    curve = Curve(
        kind="confusion",
        candidate_x=[],
        candidate_y=[],
        candidate_weight=_short(counts[0]),
        champion_weight=_short(counts[1]) if len(counts) > 1 else [],
        label=names,
    )
    return [curve] if names else []


def _scatter(evidence: Evidence, sides: Sides) -> list[Curve]:
    """Each model's score of the same rows; of many rows those first that changed sides, evenly through the file."""
    ours, theirs = evidence.candidate, evidence.champion
    assert theirs is not None
    if ours.ndim > 1 or evidence.task == "multiclass":
        if evidence.task == "multilabel" or ours.ndim != 2 or theirs.ndim != 2:
            return []
        rows = np.arange(evidence.rows), evidence.labels.astype(np.int64)
        ours, theirs = ours[rows], theirs[rows]
    chosen, note = _sample(sides, evidence.rows)
    gained, lost, both = (each[chosen] for each in (sides.gained, sides.lost, sides.both))
    words = np.where(gained, "gained", np.where(lost, "lost", np.where(both, "right", "wrong")))
    curve = Curve(
        kind="scatter",
        candidate_x=_short(theirs[chosen]),
        candidate_y=_short(ours[chosen]),
        label=words.tolist() if evidence.task in {"binary", "multiclass"} else [],
        note=note,
    )
    return [curve]


def _sample(sides: Sides, rows: int) -> tuple[NDArray[np.int64], str]:
    if rows <= SCATTERED:
        return np.arange(rows), f"all {rows:,} rows"
    changed = np.flatnonzero(sides.gained | sides.lost)
    if changed.size > rows // 2:
        return _evenly(np.arange(rows), SCATTERED), f"{SCATTERED:,} of {rows:,} rows, evenly through the file"
    first = _evenly(changed, SCATTERED // 2)
    others = _evenly(np.flatnonzero(~(sides.gained | sides.lost)), SCATTERED - first.size)
    of = f"all {changed.size:,}" if first.size == changed.size else f"{first.size:,} of the {changed.size:,}"
    note = f"{of} rows that changed sides, and {others.size:,} of the {rows - changed.size:,} others"
    return np.sort(np.concatenate([first, others])), note


def _evenly(rows: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    return rows if rows.size <= most else rows[np.linspace(0, rows.size - 1, most).astype(np.int64)]
