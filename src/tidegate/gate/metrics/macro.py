"""The mean over labels of F-beta of a multilabel task: its cells would be as many as rows, so it is linearised row by row."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from tidegate.gate.evidence import Evidence
from tidegate.gate.metrics.metric import MIN_CLASS, Measured, Metric, grouped
from tidegate.stats.confusion import gradient, macro_fbeta, on_margins
from tidegate.stats.estimate import Estimate, Floats, from_influence


def macro_labels(name: str, about: str, threshold: float, beta: float) -> Metric:
    """Mean over labels that have rows of F-beta at a threshold."""
    measure = partial(_measure, threshold, beta)
    return Metric(name=name, better="higher", about=about.replace("classes", "labels"), measure=measure, threshold=threshold)


def _measure(threshold: float, beta: float, evidence: Evidence, confidence: float, rng: np.random.Generator) -> Measured:
    del rng
    truth = evidence.labels > 0.5
    weights = evidence.weights_or_ones
    of = on_margins(partial(macro_fbeta, beta=beta))
    estimates: list[Estimate] = []
    values: list[float] = []
    rows: list[Floats] = []
    predictions = evidence.models
    decided = [each >= threshold for each in predictions]
    settle: Any = partial(from_influence, confidence=confidence, clusters=evidence.clusters, weights=evidence.weights)
    for each in decided:
        parts = np.concatenate([truth, each, truth & each], axis=1)
        sums = weights @ parts
        values.append(float(of(sums)))
        slope = gradient(of, sums) if np.isfinite(values[-1]) else np.full(sums.size, np.nan)
        rows.append(weights * (parts @ slope))
        wrong = np.asarray((each != truth).any(1))
        estimates.append(settle(values[-1], rows[-1], differs=wrong, scale=1.0))
    difference = None
    if len(decided) > 1:
        differs = np.asarray((decided[0] != decided[1]).any(1))
        difference = settle(values[0] - values[1], rows[0] - rows[1], differs=differs, scale=1.0)
    method = ("paired " if difference else "") + "linearisation over rows" + grouped(evidence)
    found = Measured(estimates[0], estimates[1] if difference else None, difference, method, {})
    return found._replace(few=_few(evidence, truth))


def _few(evidence: Evidence, truth: Any) -> str:
    counted = truth.sum(0)
    present = np.flatnonzero(counted)
    if not present.size:
        return "no row has any label"
    rarest = int(present[counted[present].argmin()])
    rows = int(counted[rarest])
    name = evidence.classes[rarest] if rarest < len(evidence.classes) else str(rarest)
    return f"{rows} rows with label {name} are too few: at least {MIN_CLASS} are needed" if rows < MIN_CLASS else ""
