"""Rows that changed sides between champion and candidate: how many, and the worst of those that got wrong."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tidegate.gate.evidence import Evidence
from tidegate.gate.metrics import is_target, parse_metric
from tidegate.gate.right import right_rows
from tidegate.gate.wording import listed, rounded
from tidegate.records.policy import Rule
from tidegate.records.report import Flips, Shown
from tidegate.stats.estimate import Floats

WORST = 10
_SURE = 1e-15
_NAMED = 6


class Sides(NamedTuple):
    """[n] which rows only the candidate, only the champion, and both have right. Regression: closer, farther; scores: up, down."""

    gained: NDArray[np.bool_]
    lost: NDArray[np.bool_]
    both: NDArray[np.bool_]
    asked: str


def threshold_of(rules: list[Rule], task: str) -> float:
    """From which probability on a row counts as positive: as the first rule says that names a threshold, else 0.5."""
    for rule in sorted(rules, key=lambda rule: rule.test != "flips"):
        threshold = parse_metric(rule.metric, task, rule.costs).threshold if rule.metric and not is_target(rule.metric) else None
        if threshold is not None:
            return threshold
    return 0.5


def find_sides(evidence: Evidence, threshold: float = 0.5) -> Sides | None:
    """Which rows changed sides; None without a champion, and for rankings, where no row is right by itself."""
    theirs = evidence.champion
    if theirs is None or evidence.task == "ranking":
        return None
    ours, labels = evidence.candidate, evidence.labels
    if evidence.task in {"regression", "scores"}:
        near = [-np.abs(each - labels) for each in (ours, theirs)] if evidence.task == "regression" else [ours, theirs]
        asked = "nearer to the label" if evidence.task == "regression" else "scored higher"
        return Sides(near[0] > near[1], near[0] < near[1], near[0] == near[1], asked)
    right = [right_rows(each, labels, evidence.task, threshold) for each in (ours, theirs)]
    asked = {"binary": f"right at a threshold of {threshold:g}", "multilabel": "right on every label"}.get(evidence.task, "right")
    return Sides(right[0] & ~right[1], right[1] & ~right[0], right[0] & right[1], asked)


def find_flips(evidence: Evidence, sides: Sides) -> Flips:
    """Counts, and the ten lost rows whose loss grew most; equal ones in the order of the rows."""
    lost = np.flatnonzero(sides.lost)
    growth = _growth(evidence.take(lost))
    worst = lost[np.argsort(-growth, kind="stable")[:WORST]]
    return Flips(
        gained=int(np.count_nonzero(sides.gained)),
        lost=int(lost.size),
        worst=[show_row(evidence, int(row)) for row in worst],
        asked=sides.asked,
    )


def show_row(evidence: Evidence, row: int, note: str = "") -> Shown:
    """One row as a reader sees it."""
    return Shown(
        key=str(row if evidence.keys is None else evidence.keys[row]),
        label="" if evidence.task == "scores" else _text(evidence, evidence.labels[row]),
        candidate=_text(evidence, evidence.candidate[row]),
        champion="" if evidence.champion is None else _text(evidence, evidence.champion[row]),
        note=note,
    )


def _growth(evidence: Evidence) -> Floats:
    """[n] by how much the candidate's loss exceeds the champion's."""
    theirs = evidence.champion
    assert theirs is not None
    ours, labels = evidence.candidate, evidence.labels
    if evidence.task == "scores":
        return np.asarray(theirs - ours)
    if evidence.task == "regression":
        return np.asarray(np.abs(ours - labels) - np.abs(theirs - labels))
    if evidence.task == "multilabel":
        return np.asarray(np.square(ours - labels).mean(axis=1) - np.square(theirs - labels).mean(axis=1))
    given = [_chance_of_label(each, evidence) for each in (ours, theirs)]
    return np.asarray(np.log(given[1]) - np.log(given[0]))


def _chance_of_label(predictions: Floats, evidence: Evidence) -> Floats:
    """[n] the probability that was given to what is true; 0 or 1 for decisions."""
    if predictions.ndim == 2:
        chance = predictions[np.arange(len(predictions)), evidence.labels.astype(np.int64)]
    elif evidence.task == "multiclass":
        chance = (predictions == evidence.labels).astype(np.float64)
    else:
        chance = np.where(evidence.labels > 0, predictions, 1 - predictions)
    return np.clip(chance, _SURE, 1)


def _text(evidence: Evidence, value: Floats) -> str:
    if evidence.task == "multilabel":
        named = [f"{name} {rounded(float(each), 3)}" for name, each in zip(evidence.classes, value, strict=True) if each >= 0.5]
        return listed(named, _NAMED) or "none"
    if evidence.task == "multiclass":
        code = int(value.argmax() if np.ndim(value) else value)
        name = evidence.classes[code] if code < len(evidence.classes) else str(code)
        return f"{name} ({rounded(float(value[code]), 3)})" if np.ndim(value) else name
    return rounded(float(value))
