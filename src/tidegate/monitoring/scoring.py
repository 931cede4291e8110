"""A metric of the gate, computed on labelled rows of one version's predictions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidegate.gate.metrics import Metric
from tidegate.monitoring.performance import CONFIDENCE
from tidegate.monitoring.profile import numbers
from tidegate.stats import cells, delong, losses
from tidegate.stats.estimate import UNKNOWN, Estimate, Floats


def label_numbers(labels: NDArray[Any], classes: list[str]) -> Floats:
    """Labels as numbers; texts are classes and become their place among ``classes``. NaN where there is no (such) label."""
    if labels.dtype.kind in "biuf":
        return labels.astype(np.float64)
    places = {name: float(place) for place, name in enumerate(classes)}
    return np.array([places.get(str(value), np.nan) for value in labels]) if places else numbers(labels)


def score(metric: Metric, task: str, labels: Floats, outputs: Mapping[str, NDArray[Any]]) -> Estimate:
    """The metric with its 95% interval; unknown if an output is missing, a value is NaN, or a class does not occur.

    Args:
        metric: What to compute.
        task: ``binary``, ``multiclass`` or ``regression``.
        labels: [n] labels: 0/1, places of classes, or numbers.
        outputs: [n] outputs by their names in the signature.
    """
    name = {"binary": "probability", "multiclass": "label"}.get(task, "prediction")
    if name not in outputs or labels.size == 0:
        return UNKNOWN
    predictions = numbers(outputs[name])
    if np.isnan(predictions).any() or np.isnan(labels).any():
        return UNKNOWN
    if metric.kind == "counting":
        return _counting(metric, task, labels, predictions)
    if metric.kind == "ranking":
        if labels.min() == labels.max():
            return UNKNOWN
        return delong.auc(delong.ranking(labels, predictions), confidence=CONFIDENCE)
    assert metric.loss is not None
    summary = losses.root_mean if metric.kind == "root" else losses.mean
    return summary(metric.loss(labels, predictions), confidence=CONFIDENCE)


def _counting(metric: Metric, task: str, labels: Floats, predictions: Floats) -> Estimate:
    assert metric.ratio is not None
    if task == "multiclass":
        right = labels == predictions
        codes = cells.cell_codes(np.ones(right.size), right)
    else:
        codes = cells.cell_codes(labels > 0, predictions >= metric.threshold)
    return cells.linear(codes, metric.ratio, confidence=CONFIDENCE)
