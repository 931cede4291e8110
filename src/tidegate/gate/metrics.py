"""The metrics that a rule may name: which direction is good, for which tasks, and how their interval is made."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from numpy.typing import ArrayLike

from tidegate.errors import UsageError
from tidegate.records.names import nearest
from tidegate.stats import cells, losses
from tidegate.stats.estimate import Floats

Kind = Literal["counting", "loss", "root", "ranking"]
Better = Literal["higher", "lower"]
_THRESHOLD = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One metric. ``counting``: a ratio of counts at a threshold; ``loss``: a mean over rows; ``root``: the root of one."""

    name: str
    kind: Kind
    better: Better
    tasks: tuple[str, ...]
    about: str
    ratio: cells.Ratio | None = None
    loss: Callable[[ArrayLike, ArrayLike], Floats] | None = None
    threshold: float = _THRESHOLD
    needs_probability: bool = False

    @property
    def sign(self) -> int:
        """1 where higher is better, -1 where lower is."""
        return 1 if self.better == "higher" else -1


def _counting(name: str, ratio: cells.Ratio, about: str, tasks: tuple[str, ...] = ("binary",)) -> Metric:
    return Metric(name=name, kind="counting", better="higher", tasks=tasks, ratio=ratio, about=about)


def _loss(name: str, loss: Callable[[ArrayLike, ArrayLike], Floats], task: str, about: str) -> Metric:
    return Metric(name=name, kind="loss", better="lower", tasks=(task,), loss=loss, about=about)


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        _counting("accuracy", cells.ACCURACY, "share of rows that are right", ("binary", "multiclass")),
        _counting("precision", cells.PRECISION, "share of predicted positives that are positive"),
        _counting("recall", cells.RECALL, "share of positives that are found"),
        _counting("f1", cells.F1, "harmonic mean of precision and recall"),
        Metric(
            name="roc_auc",
            kind="ranking",
            better="higher",
            tasks=("binary",),
            about="chance that a positive is ranked above a negative",
        ),
        replace(
            _loss("log_loss", losses.log_loss, "binary", "minus the mean log-likelihood of the labels"), needs_probability=True
        ),
        _loss("brier", losses.squared_error, "binary", "mean squared distance of probability and label"),
        _loss("mae", losses.absolute_error, "regression", "mean absolute error"),
        _loss("mse", losses.squared_error, "regression", "mean squared error"),
        replace(_loss("rmse", losses.squared_error, "regression", "root of the mean squared error"), kind="root"),
    )
}


def metric_names(task: str) -> list[str]:
    """Names of the metrics of a task, sorted."""
    return sorted(name for name, metric in METRICS.items() if task in metric.tasks)


def parse_metric(name: str, task: str) -> Metric:
    """The metric that a rule names, such as ``log_loss``, ``f1`` (at 0.5) or ``recall@0.3``.

    Raises:
        UsageError: no such metric for this task, a threshold where none belongs, or one outside (0, 1].
    """
    stem, at, threshold = name.partition("@")
    metric = METRICS.get(stem)
    if metric is None or task not in metric.tasks:
        known = metric_names(task)
        why = f"{stem} is for {' and '.join(metric.tasks)}" if metric else nearest(stem, known) if known else ""
        raise UsageError(
            "unknown-metric",
            f"there is no metric {name!r} for task {task!r}",
            why=why,
            fix=f"use one of: {', '.join(known)}" if known else "this version judges the tasks binary, multiclass and regression",
        )
    if not at:
        return metric
    if metric.kind != "counting" or task != "binary":
        raise UsageError("bad-threshold", f"{stem} takes no threshold: {name!r}", fix=f"write {stem!r}")
    if not re.fullmatch(r"\d*\.?\d+", threshold) or not 0 < float(threshold) <= 1:
        raise UsageError(
            "bad-threshold",
            f"{threshold!r} is no threshold of a probability",
            why="it lies above 0 and at most at 1",
            fix=f"write {stem}@0.5",
        )
    return replace(metric, name=name, threshold=float(threshold))
