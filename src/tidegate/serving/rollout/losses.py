"""What one labelled row says about a model: a loss, and the largest one that there can be."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from tidegate.stats import losses
from tidegate.stats.estimate import Floats

CLIP = 0.001
"""Probabilities are kept this far from 0 and 1, so that no single row's log loss is above 6.9."""


class RowLoss(NamedTuple):
    """A loss row by row: lower is better; ``limit`` is the largest, infinite where there is none."""

    of: Callable[[Floats, Floats], Floats]
    """Labels [n], values [n] to losses [n]."""
    limit: float


def row_loss(metric: str, task: str) -> RowLoss:
    """The loss whose mean is the metric, or 1 minus it: ``accuracy`` counts rows that are wrong."""
    if metric == "accuracy":
        return RowLoss(_wrong_half if task == "binary" else _wrong_class, 1.0)
    return {
        "brier": RowLoss(losses.brier, 1.0),
        "log_loss": RowLoss(_log_loss, -float(np.log(CLIP))),
        "mae": RowLoss(losses.absolute_error, float("inf")),
        "mse": RowLoss(losses.squared_error, float("inf")),
    }[metric]


def decided(values: Floats, task: str) -> Floats:
    """What values come to where a decision is asked for: at one half, the class itself, the number itself."""
    return (values >= 0.5).astype(np.float64) if task == "binary" else values


def _wrong_half(labels: Floats, values: Floats) -> Floats:
    return ((values >= 0.5) != (labels > 0)).astype(np.float64)


def _wrong_class(labels: Floats, values: Floats) -> Floats:
    return (labels != values).astype(np.float64)


def _log_loss(labels: Floats, values: Floats) -> Floats:
    return losses.log_loss(labels, np.clip(values, CLIP, 1 - CLIP))
