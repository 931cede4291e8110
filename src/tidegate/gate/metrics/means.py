"""Metrics that are a mean over rows, or a smooth function of such means."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from tidegate.gate.evidence import Evidence
from tidegate.gate.metrics.entry import entry
from tidegate.gate.metrics.metric import Loss, Measured, Metric, grouped
from tidegate.stats import losses
from tidegate.stats.estimate import Estimate, Floats


def loss_metric(name: str, loss: Loss, about: str, *, needs_probability: bool = False) -> Metric:
    """The mean of a loss: lower is better."""
    return Metric(
        name=name,
        better="lower",
        about=about,
        loss=loss,
        measure=partial(_measure, loss, False),
        needs_probability=needs_probability,
    )


def root_metric(name: str, loss: Loss, about: str) -> Metric:
    """The root of the mean of a loss."""
    return Metric(name=name, better="lower", about=about, loss=loss, measure=partial(_measure, loss, True))


def _measure(loss: Loss, root: bool, evidence: Evidence, confidence: float, rng: np.random.Generator) -> Measured:
    del rng
    rows: list[Floats] = [loss(evidence.labels, evidence.candidate)]
    if evidence.champion is not None:
        rows.append(loss(evidence.labels, evidence.champion))
    one: Callable[..., Estimate] = losses.root_mean if root else losses.mean
    two: Callable[..., Estimate] = losses.root_mean_difference if root else losses.mean_difference
    grouping: Any = {
        "confidence": confidence,
        "weights": evidence.weights,
        "clusters": evidence.clusters,
        "scale": _plausible(loss, root, evidence),
    }
    singles = [one(values, **grouping) for values in rows]
    method = f"paired t interval{' of the difference of roots (delta method)' if root else ''}" + grouped(evidence)
    return Measured(singles[0], *((singles[1], two(*rows, **grouping)) if len(rows) > 1 else (None, None)), method, {})


def _plausible(loss: Loss, root: bool, evidence: Evidence) -> float:
    """A loss that a row could have although none here may show it: 1 for probabilities, else of always saying the mean."""
    if evidence.task == "binary":
        return 1.0
    mean = np.full(evidence.rows, evidence.labels.mean())
    largest = float(loss(evidence.labels, mean).max())
    return float(np.sqrt(largest)) if root else largest


ENTRIES = (
    entry(
        loss_metric("log_loss", losses.log_loss, "minus the mean log-likelihood of the labels", needs_probability=True), "binary"
    ),
    entry(loss_metric("brier", losses.squared_error, "mean squared distance of probability and label"), "binary"),
    entry(loss_metric("mae", losses.absolute_error, "mean absolute error"), "regression"),
    entry(loss_metric("mse", losses.squared_error, "mean squared error"), "regression"),
    entry(root_metric("rmse", losses.squared_error, "root of the mean squared error"), "regression"),
)
