"""The conditions of a rollout, each as an estimate with its confidence sequence, held against its bound. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from math import log
from typing import NamedTuple

import numpy as np

from tidegate.records.rollout import HARM_METRICS, Answer, Condition, RolloutPolicy, Split
from tidegate.serving.rollout.evidence import Evidence
from tidegate.serving.rollout.losses import RowLoss, decided, row_loss
from tidegate.stats.estimate import UNKNOWN, Estimate, Floats
from tidegate.stats.sequential import (
    assignment_evidence,
    asymptotic_mean,
    bounded_mean,
    difference,
    proportion,
    quantile,
)

LATENCY = "latency_p99_ms"
_MILLISECONDS = 1000


class Measured(NamedTuple):
    """An estimate, from how many rows, and what is to be said about it."""

    estimate: Estimate
    rows: int
    note: str = ""


def examine(evidence: Evidence, plan: RolloutPolicy, task: str) -> list[Condition]:
    """All conditions of the plan, those that need labels last.

    Each is allowed an equal part of 1 - ``confidence``, and so is the check of the assignment: together they hold with ``confidence``.
    """
    confidence = 1 - allowed(plan, task)
    found = [
        _condition("errors", _errors(evidence, confidence), plan.max_error_increase),
        _condition(LATENCY, _latency(evidence, confidence), plan.latency_p99_ms),
    ]
    if has_disagreement(plan, task):
        found.append(_condition("disagreement", _disagreement(evidence, plan, task, confidence), plan.max_disagreement))
    for metric, most in plan.harm.items():
        found.append(_condition(metric, _harm(evidence, plan, row_loss(metric, task), confidence), most))
    return found


def watched(plan: RolloutPolicy, task: str) -> str:
    """What the looks go by, in words; and where they do not see whether answers are right, that."""
    disagreement = ["disagreement"] if has_disagreement(plan, task) else []
    names = ", ".join(["errors", LATENCY, *disagreement, *plan.harm])
    if plan.harm:
        return names
    if HARM_METRICS.get(task):
        return f"{names}. Labels are not looked at: no harm is declared"
    return f"{names}. Nothing says whether its answers are right: no metric of harm is known for the task {task!r}"


def allowed(plan: RolloutPolicy, task: str) -> float:
    """The probability of a false alarm that each condition is allowed, over all looks together."""
    return (1 - plan.confidence) / (3 + has_disagreement(plan, task) + len(plan.harm))


def has_disagreement(plan: RolloutPolicy, task: str) -> bool:
    """Whether the plan can look at disagreement: both models must have answered, and what agrees must be known."""
    return plan.mode != "ab" and (task in {"binary", "multiclass"} or (task == "regression" and plan.disagreement_tolerance > 0))


def split(evidence: Evidence) -> list[Split]:
    """How keys came to the two models, share by share.

    A key counts once, at the step at which it was first seen: later ones say nothing new about it.
    """
    routed = np.flatnonzero(evidence.first & (evidence.share > 0) & (evidence.share < 1))
    keys = routed[_first_of_each(evidence.point[routed])]
    found: list[Split] = []
    for share in np.unique(evidence.share[keys]).tolist():
        at = keys[evidence.share[keys] == share]
        found.append(Split(share=share, keys=at.size, candidate=int(np.count_nonzero(evidence.assigned[at]))))
    return found


def imbalance(splits: Sequence[Split], alpha: float) -> float:
    """The evidence that keys did not come by the declared shares, as a part of what makes it certain but for a chance of ``alpha``."""
    odds = sum(assignment_evidence([each.candidate, each.keys - each.candidate], [each.share, 1 - each.share]) for each in splits)
    return odds / -log(alpha)


def labelled(evidence: Evidence) -> int:
    """How many rows have a label that counts."""
    return int(np.count_nonzero(np.isfinite(evidence.label)))


def _errors(evidence: Evidence, confidence: float) -> Measured:
    """The share of the candidate's requests that it failed and the champion did not."""
    asked = evidence.first & np.isfinite(evidence.candidate_failed)
    failed = asked & (evidence.candidate_failed > 0) & ~(evidence.champion_failed > 0)
    rows = int(np.count_nonzero(asked))
    return Measured(proportion(int(np.count_nonzero(failed)), rows, confidence=confidence), rows)


def _latency(evidence: Evidence, confidence: float) -> Measured:
    seconds = evidence.seconds[evidence.first & np.isfinite(evidence.seconds)]
    return Measured(quantile(seconds * _MILLISECONDS, 0.99, confidence=confidence), seconds.size)


def _disagreement(evidence: Evidence, plan: RolloutPolicy, task: str, confidence: float) -> Measured:
    both = np.isfinite(evidence.champion) & np.isfinite(evidence.candidate)
    ours, theirs = decided(evidence.candidate[both], task), decided(evidence.champion[both], task)
    apart = np.abs(ours - theirs) > (plan.disagreement_tolerance if task == "regression" else 0)
    rows = ours.size
    return Measured(proportion(int(np.count_nonzero(apart)), rows, confidence=confidence), rows)


def _harm(evidence: Evidence, plan: RolloutPolicy, loss: RowLoss, confidence: float) -> Measured:
    if plan.mode == "ab":
        return _harm_of_arms(evidence, loss, confidence)
    use = np.isfinite(evidence.label) & np.isfinite(evidence.champion) & np.isfinite(evidence.candidate)
    label = evidence.label[use]
    if not label.size:
        return Measured(UNKNOWN, 0, "no label has matured yet")
    ours, theirs = loss.of(label, evidence.candidate[use]), loss.of(label, evidence.champion[use])
    if np.isfinite(loss.limit):
        return Measured(bounded_mean(ours - theirs, -loss.limit, loss.limit, confidence=confidence), label.size)
    found = asymptotic_mean(ours - theirs, confidence=confidence, scale=float(theirs.std()))
    return Measured(found, label.size, "asymptotic: errors have no largest value")


def _harm_of_arms(evidence: Evidence, loss: RowLoss, confidence: float) -> Measured:
    """The candidate's mean loss on its keys less the champion's on the others; of each key its first labelled row."""
    arms: list[Estimate] = []
    rows = 0
    halved = 1 - (1 - confidence) / 2
    for chosen, values in ((evidence.assigned, evidence.candidate), (~evidence.assigned, evidence.champion)):
        mine = np.flatnonzero(chosen & np.isfinite(evidence.label) & np.isfinite(values))
        mine = mine[_first_of_each(evidence.point[mine])]
        rows += mine.size
        lost = loss.of(evidence.label[mine], values[mine])
        if np.isfinite(loss.limit):
            arms.append(bounded_mean(lost, 0.0, loss.limit, confidence=halved))
        else:
            arms.append(asymptotic_mean(lost, confidence=halved, scale=float(lost.std()) if lost.size else 0.0))
    return Measured(difference(arms[0], arms[1]), rows, "" if rows else "no label has matured yet")


def _first_of_each(points: Floats) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
    """The places at which each key is seen first, in order."""
    return np.sort(np.unique(points, return_index=True)[1])


def _condition(name: str, measured: Measured, bound: float) -> Condition:
    value, low, high, _ = measured.estimate
    answer = Answer.HARM if low > bound else Answer.HELD if high <= bound else Answer.OPEN  # NaN compares as false: open
    return Condition(
        name=name,
        answer=answer,
        rows=measured.rows,
        bound=bound,
        value=_finite(value),
        low=_finite(low),
        high=_finite(high),
        note=measured.note,
    )


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
