"""Metrics that count: functions of a confusion table at a threshold."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from tidegate.errors import UsageError
from tidegate.gate.evidence import Evidence
from tidegate.gate.metrics.entry import Entry, Named, takes_none
from tidegate.gate.metrics.metric import Measured, Metric, Scarce, grouped
from tidegate.stats import cells, proportions
from tidegate.stats.estimate import Codes, Estimate, Floats

THRESHOLD = 0.5


def counting(name: str, ratio: cells.Ratio, about: str, *, scarce: Scarce = "") -> Metric:
    """A metric that is a ratio of counts; decisions are taken at 0.5."""
    metric = Metric(name=name, better="higher", about=about, scarce=scarce, measure=partial(_measure, ratio, THRESHOLD))
    return replace(metric, threshold=THRESHOLD)


def at_threshold(metric: Metric, name: str, threshold: float) -> Metric:
    """The same metric with decisions taken at another threshold."""
    assert isinstance(metric.measure, partial)
    return replace(metric, name=name, threshold=threshold, measure=partial(_measure, metric.measure.args[0], threshold))


def _measure(ratio: cells.Ratio, threshold: float, evidence: Evidence, confidence: float, rng: np.random.Generator) -> Measured:
    labels, ours, theirs = _decisions(threshold, evidence)
    codes = cells.cell_codes(labels, ours, theirs)
    swapped = cells.cell_codes(labels, ours if theirs is None else theirs, None)
    if evidence.clusters is not None or evidence.weights is not None:
        grouping: Any = {"confidence": confidence, "weights": evidence.weights, "clusters": evidence.clusters}
        singles = [cells.linear(each, ratio, **grouping) for each in (codes, swapped)]
        pair = None if theirs is None else cells.linear_difference(codes, ratio, **grouping)
        return _measured(singles, pair, "paired difference of ratios by linearisation" + grouped(evidence))
    counts = cells.cell_counts(codes)
    share = _as_share(ratio, counts)
    if share is not None:
        return _share(share, confidence, paired=theirs is not None)
    singles = [cells.bootstrap(each, ratio, confidence=confidence, rng=rng) for each in (counts, cells.cell_counts(swapped))]
    pair = None if theirs is None else cells.bootstrap_difference(counts, ratio, confidence=confidence, rng=rng)
    return _measured(singles, pair, f"paired multinomial bootstrap over cells, {cells.DRAWS:,} draws, percentile interval")


def _measured(singles: list[Estimate], pair: Estimate | None, method: str) -> Measured:
    return Measured(singles[0], None if pair is None else singles[1], pair, method, {})


def _decisions(threshold: float, evidence: Evidence) -> tuple[Floats | Codes, Floats | Codes, Floats | Codes | None]:
    """0/1 labels and decisions; of a multiclass task every row is a 1 and a decision tells whether the class was right."""
    predictions = [evidence.candidate] if evidence.champion is None else [evidence.candidate, evidence.champion]
    if evidence.task == "multiclass":
        labels = np.ones(evidence.rows, dtype=np.int8)
        decided = [(each == evidence.labels).astype(np.int8) for each in predictions]
    else:
        labels = evidence.labels
        decided = [(each >= threshold).astype(np.int8) for each in predictions]
    return labels, decided[0], decided[1] if len(decided) > 1 else None


def _as_share(ratio: cells.Ratio, counts: Codes) -> tuple[int, int, int, int] | None:
    """Rows that both, only the candidate, only the champion, neither has right, for metrics that are a plain share of rows."""
    zero, one = counts[:4], counts[4:]
    if ratio is cells.ACCURACY:
        right = one + zero[::-1]
    elif ratio is cells.RECALL:
        right = one
    else:
        return None
    return int(right[3]), int(right[2]), int(right[1]), int(right[0])


def _share(table: tuple[int, int, int, int], confidence: float, *, paired: bool) -> Measured:
    both, gained, lost, neither = table
    n = sum(table)
    ours = proportions.wilson(both + gained, n, confidence=confidence)
    if not paired:
        return Measured(ours, None, None, "Wilson score interval", {})
    newcombe = proportions.newcombe(both, gained, lost, neither, confidence=confidence)
    details = {
        "only_candidate_right": float(gained),
        "only_champion_right": float(lost),
        "mcnemar_exact_p": proportions.mcnemar_exact(gained, lost),
        "mcnemar_midp_p": proportions.mcnemar_midp(gained, lost),
        "newcombe_low": newcombe.low,
        "newcombe_high": newcombe.high,
    }
    theirs = proportions.wilson(both + lost, n, confidence=confidence)
    return Measured(
        ours,
        theirs,
        proportions.tango(gained, lost, n, confidence=confidence),
        "Tango score interval of paired proportions",
        details,
    )


def _threshold(metric: Metric, named: Named, task: str) -> Metric:
    if task != "binary":
        raise takes_none(named)
    text = named.at or ""
    if not re.fullmatch(r"\d*\.?\d+", text) or not 0 < float(text) <= 1:
        raise UsageError(
            "bad-threshold",
            f"{text!r} is no threshold of a probability",
            why="it lies above 0 and at most at 1",
            fix=f"write {named.stem}@0.5",
        )
    return at_threshold(metric, named.name, float(text))


def _line(
    name: str, ratio: cells.Ratio, about: str, tasks: tuple[str, ...] = ("binary",), *, scarce: Scarce = "positive"
) -> Entry:
    return Entry(metric=counting(name, ratio, about, scarce=scarce), tasks=tasks, at=_threshold)


ENTRIES = (
    _line("accuracy", cells.ACCURACY, "share of rows that are right", ("binary", "multiclass"), scarce=""),
    _line("precision", cells.PRECISION, "share of predicted positives that are positive"),
    _line("recall", cells.RECALL, "share of positives that are found"),
    _line("f1", cells.F1, "harmonic mean of precision and recall"),
)
