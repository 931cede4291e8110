"""The label tipping point: of how many rows would the label have to be another for a verdict to change?

Test sets hold wrong labels, often more of them than the effect that is judged by them. So for a PASS (and for a FAIL) rows are relabelled, those
first whose other label moves the gain most, until the verdict is another one. For accuracy all rows that count, those
on which only one model is right, count the same, and the number is exact. For other metrics the order is that of each row's influence, and
the number is one that does it: fewer might, seldom by much.

Source: labels: Northcutt, Athalye & Mueller, Pervasive Label Errors in Test Sets, NeurIPS Datasets (2021); the most influential set by the
order of influences: Broderick, Giordano & Meager, An Automatic Finite-Sample Robustness Metric (2020), section 2.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tidegate.gate.evidence import Evidence, Groups
from tidegate.gate.metrics import Metric
from tidegate.gate.metrics.metric import Loss
from tidegate.gate.right import right_rows
from tidegate.records.report import Interval
from tidegate.records.verdict import Verdict
from tidegate.stats.estimate import Floats

MAX_ROWS = 20_000
"""With more rows the verdict is not reached again on relabelled rows: the interval is taken to move without changing its width."""
MAX_SAMPLED = 100_000
"""Of more rows every second, third and so on stands for all."""
MAX_CLASSES = 20
_CONFIDENCE = 0.95
_TOO_MANY = 0.5
"""Where half of the labels would not do, no number is told."""

Reach = Callable[[Evidence], Verdict]
"""The verdict of one rule on rows."""


class Stand(NamedTuple):
    """Where a verdict on some rows stands: what was asked, and the interval that answered."""

    test: str
    verdict: Verdict
    margin: float
    """As an amount."""
    value: float | None
    candidate: Interval
    difference: Interval | None

    def slack(self, sign: int) -> float:
        """How far the interval would have to move until it touches the bound; NaN where there is no interval."""
        floor = self.test == "floor"
        found = self.candidate if floor else self.difference
        if found is None or found.low is None or found.high is None:
            return float("nan")
        low, high = (found.low, found.high) if sign > 0 else (-found.high, -found.low)
        bound = sign * (self.value or 0.0) if floor else self.margin if self.test == "superior" else -self.margin
        return low - bound if self.verdict is Verdict.PASS else bound - high


def tipping_point(metric: Metric, evidence: Evidence, stand: Stand, reach: Reach) -> int | None:
    """How many relabelled rows change a verdict; None where it is not PASS or FAIL, or nobody can say.

    Args:
        metric: The rule's metric: one that counts decisions, log loss or Brier score, ROC AUC or average precision.
        evidence: The rows; a task with labels that are classes.
        stand: What was said about them.
        reach: Says the verdict again on changed rows; called about twenty times, and only on at most 20,000 rows.
    """
    floor = stand.test == "floor"
    slack = stand.slack(metric.sign)
    if stand.verdict not in {Verdict.PASS, Verdict.FAIL} or not slack >= 0:
        return None
    if (evidence.champion is None and not floor) or evidence.task not in {"binary", "multiclass"}:
        return None
    step = max(evidence.rows // MAX_SAMPLED, 1)
    if step > 1:
        evidence = evidence.take(slice(None, None, step))
    found = _effects(metric, evidence, floor=floor, down=stand.verdict is Verdict.PASS)
    if found is None:
        return None
    effects, labels = found
    useful = np.flatnonzero(effects > 0)
    order = useful[_heaviest_first(evidence, effects, useful)]
    moved = np.cumsum(effects[order])
    guess = int(np.searchsorted(moved, slack)) + 1
    most = min(order.size, int(_TOO_MANY * evidence.rows))
    if evidence.rows > MAX_ROWS:
        return guess * step if guess <= most else None
    return _least(evidence, order[:most], labels, guess, stand.verdict, reach)


def _heaviest_first(evidence: Evidence, effects: Floats, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """The order of ``rows`` by their effects. What decides between equal ones is in the rows, not where they stand in the file."""
    rounded = np.round(effects[rows] / effects[rows].max(initial=1e-300), 12)
    ties = [
        each[rows] for each in (evidence.clusters, evidence.champion, evidence.candidate) if each is not None and each.ndim == 1
    ]
    return np.lexsort((*ties, -rounded))


def _least(
    evidence: Evidence, order: NDArray[np.int64], labels: Floats, guess: int, verdict: Verdict, reach: Reach
) -> int | None:
    """The shortest beginning of ``order`` whose relabelling changes the verdict, by bisection around ``guess``."""

    def changes(count: int) -> bool:
        relabelled = evidence.labels.copy()
        relabelled[order[:count]] = labels[order[:count]]
        return reach(replace(evidence, labels=relabelled)) is not verdict

    low, high = 0, 0
    for high in _growing(guess, order.size):
        if changes(high):
            break
        low = high
    else:
        return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if changes(middle) else (middle, high)
    return high


def _growing(guess: int, most: int) -> Iterator[int]:
    """Counts to try, from a little below the guess, until all rows are reached."""
    count = max(guess * 9 // 10, 1)
    while count < most:
        yield count
        count = max(count * 5 // 4, count + 1)
    if most:
        yield most


def _effects(metric: Metric, evidence: Evidence, *, floor: bool, down: bool) -> tuple[Floats, Floats] | None:
    """[n] by how much the gain falls (or, not ``down``, rises) if a row gets the other label that moves it most, and that label."""
    weight = evidence.weights_or_ones
    share = weight / max(float(weight.sum()), np.finfo(np.float64).tiny)
    turn = -1.0 if down else 1.0
    if metric.name == "roc_auc" and evidence.task == "binary":
        gain = _area_effect(evidence.labels, evidence.candidate)
        if not floor and evidence.champion is not None:
            gain = gain - _area_effect(evidence.labels, evidence.champion)
        return turn * gain, 1 - evidence.labels
    value = _additive(metric, evidence, floor=floor)
    if value is None:
        groups = _groups(metric, evidence)
        return None if groups is None else (turn * _tried(metric, evidence, groups, floor=floor), 1 - evidence.labels)
    now = value(evidence.labels)
    best, chosen = np.full(evidence.rows, -np.inf), evidence.labels.copy()
    for label in _labels(evidence):
        there = np.full(evidence.rows, label)
        effect = np.where(evidence.labels == label, -np.inf, turn * share * (value(there) - now))
        chosen = np.where(effect > best, there, chosen)
        best = np.maximum(best, effect)
    return best, chosen


def _labels(evidence: Evidence) -> list[float]:
    """Classes that a row could be relabelled to; of very many only the most frequent."""
    if evidence.task == "binary":
        return [0.0, 1.0]
    found, counts = np.unique(evidence.labels, return_counts=True)
    return found[np.argsort(-counts, kind="stable")][:MAX_CLASSES].tolist()


def _additive(metric: Metric, evidence: Evidence, *, floor: bool) -> Callable[[Floats], Floats] | None:
    """[n] labels to what each row adds to the gain, up is good; None for a metric that is no mean over rows."""
    loss = metric.loss

    def right(labels: ArrayLike, predictions: ArrayLike) -> Any:
        return right_rows(np.asarray(predictions), np.asarray(labels), evidence.task, metric.threshold or 0.5)

    per_row: Loss
    if metric.is_accuracy:
        sign, per_row = 1.0, right
    elif loss is not None and metric.name in {"log_loss", "brier"}:
        sign, per_row = float(metric.sign), loss
    else:
        return None
    champion = None if floor else evidence.champion

    def value(labels: Floats) -> Floats:
        ours = np.asarray(per_row(labels, evidence.candidate), dtype=np.float64)
        theirs = 0.0 if champion is None else np.asarray(per_row(labels, champion), dtype=np.float64)
        return sign * (ours - theirs)

    return value


def _groups(metric: Metric, evidence: Evidence) -> Groups | None:
    """[n] codes of rows whose relabelling does about the same; None where nobody can say."""
    if evidence.task != "binary":
        return None
    scores = evidence.models
    if metric.threshold is not None:
        bins = [(each >= metric.threshold).astype(np.int64) for each in scores]
    elif metric.name == "average_precision" and evidence.rows <= MAX_ROWS:
        bins = [np.searchsorted(np.quantile(each, [0.2, 0.4, 0.6, 0.8]), each) for each in scores]
    else:
        return None
    codes = evidence.labels.astype(np.int64)
    for each in bins:
        codes = codes * 5 + each
    return codes


def _tried(metric: Metric, evidence: Evidence, groups: Groups, *, floor: bool) -> Floats:
    """[n] what relabelling a row adds to the gain, tried on one row in fifty of each group."""

    def gain(labels: Floats) -> float:
        measured = metric.measure(replace(evidence, labels=labels), _CONFIDENCE, np.random.default_rng(0))
        found = measured.candidate if floor else measured.difference
        return float("nan") if found is None else metric.sign * found.value

    now, effects = gain(evidence.labels), np.zeros(evidence.rows)
    for code in np.unique(groups):
        there = np.flatnonzero(groups == code)
        some = there[:: max(there.size // max(there.size // 50, 1), 1)]
        relabelled = evidence.labels.copy()
        relabelled[some] = 1 - relabelled[some]
        effects[there] = (gain(relabelled) - now) / some.size
    return np.nan_to_num(effects)


def _area_effect(labels: Floats, scores: Floats) -> Floats:
    """[n] about how much the area under the ROC curve changes if a row changes sides: its influence there less that here."""
    positive = labels > 0
    ones, zeros = int(positive.sum()), int((~positive).sum())
    _, codes = np.unique(scores, return_inverse=True)
    by_one = np.bincount(codes, weights=positive)
    by_zero = np.bincount(codes, weights=~positive)
    above = (np.cumsum(by_zero) - by_zero / 2)[codes] / zeros  # share of negatives below this score
    below = (ones - np.cumsum(by_one) + by_one / 2)[codes] / ones  # share of positives above it
    area = float(above[positive].mean())
    as_one, as_zero = (above - area) / ones, (below - area) / zeros
    return np.where(positive, as_zero - as_one, as_one - as_zero)
