"""Metrics that are a mean over rows, or a smooth function of such means."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from tidegate.errors import UsageError
from tidegate.gate.evidence import Evidence
from tidegate.gate.metrics.entry import Entry, Named, entry
from tidegate.gate.metrics.mean_sums import MeanSums
from tidegate.gate.metrics.metric import Better, Loss, Metric, measured_at_once, refuses_codes
from tidegate.gate.metrics.shares import Shares
from tidegate.stats import losses
from tidegate.stats.estimate import Floats

_QUANTILE = 0.5


def loss_metric(name: str, loss: Loss, about: str, *, limit: float | None = None, needs_probability: bool = False) -> Metric:
    """The mean of a loss: lower is better.

    Args:
        name: The metric's name.
        loss: What one row adds.
        about: What it is, in a few words.
        limit: The largest loss that a row could plausibly have; None: that of taking the least label for the greatest.
        needs_probability: Whether decisions (0 and 1 only) will not do.
    """
    return mean_metric(name, about, MeanSums(loss=loss, limit=limit), needs_probability=needs_probability)


def mean_metric(name: str, about: str, sums: MeanSums, *, better: Better = "lower", needs_probability: bool = False) -> Metric:
    """A smooth function of means of rows, measured from its sums."""
    return Metric(
        name=name,
        better=better,
        about=about,
        loss=sums.loss,
        additive=sums,
        measure=measured_at_once(sums),
        needs_probability=needs_probability,
        refuses=refuses_codes,
    )


def root(loss: Any, shared: Any) -> Any:
    """The root of a mean; where the mean is 0 a constant, as it has no slope there."""
    del shared
    return np.sqrt(np.where(np.real(loss) > 0, loss, 0.0))


def explained(loss: Any, shared: Any) -> Any:
    """R2: 1 minus the share of the label's variance that is left; ``shared`` are the means of label and squared label."""
    mean, square = shared
    return 1 - loss / (square - mean * mean)


def label_powers(labels: Floats) -> Sequence[Floats]:
    """What R2 needs to know of labels: they and their squares."""
    return labels, np.square(labels)


@dataclass(frozen=True, slots=True)
class Pinball:
    """The pinball loss of one quantile."""

    quantile: float = _QUANTILE

    def __call__(self, labels: Any, predictions: Any) -> Floats:
        """[n] losses."""
        return losses.pinball(labels, predictions, quantile=self.quantile)


def _refuses_zero(evidence: Evidence) -> str:
    return "divides by the label, and a label is 0: use mae" if np.any(evidence.labels == 0) else ""


def _quantile(metric: Metric, named: Named, task: str) -> Metric:
    del task
    text = named.at or ""
    if not re.fullmatch(r"\d*\.?\d+", text) or not 0 < float(text) < 1:
        raise UsageError(
            "bad-quantile",
            f"{text!r} is no quantile",
            why="it lies above 0 and below 1",
            fix=f"write {named.stem}@0.9",
        )
    quantile = float(text)
    about = f"mean pinball loss of the {100 * quantile:g}% quantile"
    return replace(loss_metric(named.name, Pinball(quantile), about), better=metric.better)


def _mape() -> Metric:
    metric = loss_metric("mape", losses.relative_error, "mean absolute error as a share of the label")
    return replace(metric, refuses=_refuses_zero)


def _coverage() -> Metric:
    sums = Shares(holds=_below)
    return Metric(
        name="coverage",
        better="higher",
        about="share of labels at or below the predicted quantile",
        additive=sums,
        measure=measured_at_once(sums),
    )


def _below(labels: Floats, predictions: Floats) -> Any:
    return labels <= predictions


_Of = Callable[..., Metric]
_probability: _Of = partial(loss_metric, limit=1.0)
_ABOUT_LABELS = ("binary", "multiclass", "multilabel")

ENTRIES: tuple[Entry, ...] = (
    entry(
        _probability("log_loss", losses.log_loss, "minus the mean log-likelihood of the labels", needs_probability=True),
        *_ABOUT_LABELS,
    ),
    entry(_probability("brier", losses.brier, "mean squared distance of probability and label"), *_ABOUT_LABELS),
    entry(loss_metric("mae", losses.absolute_error, "mean absolute error"), "regression"),
    entry(loss_metric("mse", losses.squared_error, "mean squared error"), "regression"),
    entry(mean_metric("rmse", "root of the mean squared error", MeanSums(loss=losses.squared_error, value=root)), "regression"),
    entry(
        mean_metric(
            "r2",
            "share of the label's variance that is explained",
            MeanSums(loss=losses.squared_error, value=explained, shared=label_powers),
            better="higher",
        ),
        "regression",
    ),
    entry(_mape(), "regression"),
    Entry(metric=loss_metric("pinball", Pinball(), "mean pinball loss of the median"), tasks=("regression",), at=_quantile),
    entry(_coverage(), "regression"),
)
