"""A metric of the gate, computed on labelled rows of one version's predictions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidegate.gate.evidence import Evidence
from tidegate.gate.metrics import Metric, shortage
from tidegate.gate.outputs import OUTPUTS
from tidegate.monitoring.performance import CONFIDENCE
from tidegate.monitoring.profile import numbers
from tidegate.stats.estimate import UNKNOWN, Estimate, Floats


def label_numbers(labels: NDArray[Any], classes: list[str]) -> Floats:
    """Labels as numbers; texts are classes and become their place among ``classes``. NaN where there is no (such) label."""
    if labels.dtype.kind in "biuf":
        return labels.astype(np.float64)
    places = {name: float(place) for place, name in enumerate(classes)}
    return np.array([places.get(str(value), np.nan) for value in labels]) if places else numbers(labels)


def score(metric: Metric, task: str, labels: Floats, outputs: Mapping[str, NDArray[Any]]) -> Estimate:
    """The metric with its 95% interval; unknown if an output is missing, a value is NaN, or a class is too rare.

    Args:
        metric: What to compute.
        task: ``binary``, ``multiclass`` or ``regression``.
        labels: [n] labels: 0/1, places of classes, or numbers.
        outputs: [n] outputs by their names in the signature.
    """
    name = OUTPUTS.get(task, "")
    if name not in outputs or labels.size == 0:
        return UNKNOWN
    predictions = numbers(outputs[name])
    evidence = Evidence(task=task, labels=labels, candidate=predictions)
    if not np.isfinite(predictions).all() or not np.isfinite(labels).all() or shortage(metric, evidence)[0]:
        return UNKNOWN
    return metric.measure(evidence, CONFIDENCE, np.random.default_rng(0)).candidate
