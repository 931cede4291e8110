"""What a metric is: its name, which direction is good, and how it is measured on rows, with its interval."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from tidegate.gate.evidence import Evidence
from tidegate.stats.estimate import Estimate, Floats, cluster_sums

Better = Literal["higher", "lower"]
Scarce = Literal["", "positive", "rarer"]

MIN_ROWS = 30
MIN_CLUSTERS = 10
MIN_CLASS = 10
_TINY = float(np.finfo(np.float64).tiny)


class Measured(NamedTuple):
    """A metric of both models on the same rows, and how it was done. Without a champion two of them are None."""

    candidate: Estimate
    champion: Estimate | None
    difference: Estimate | None
    method: str
    details: dict[str, float]


Measure: TypeAlias = Callable[[Evidence, float, np.random.Generator], Measured]
"""Evidence, two-sided confidence and randomness to what was measured. Values are NaN where the metric is not defined."""

Loss: TypeAlias = Callable[[ArrayLike, ArrayLike], Floats]
"""[n] labels and predictions to the [n] values whose mean the metric is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One metric, as a rule may name it."""

    name: str
    better: Better
    about: str
    measure: Measure
    loss: Loss | None = None
    """What one row adds to it, where it is a mean over rows."""
    threshold: float | None = None
    """From which probability on a prediction counts as positive, where decisions are counted."""
    scarce: Scarce = ""
    """Of which rows there must be some for an interval: those with label 1, or those of the rarer class."""
    needs_probability: bool = False

    @property
    def sign(self) -> int:
        """1 where higher is better, -1 where lower is."""
        return 1 if self.better == "higher" else -1


def shortage(metric: Metric, evidence: Evidence) -> tuple[str, int | None]:
    """Why these rows are too few for any interval of ``metric`` (empty: they are not), and about how many more it takes."""
    if evidence.rows < MIN_ROWS:
        return f"{evidence.rows} rows are too few: at least {MIN_ROWS} are needed", MIN_ROWS - evidence.rows
    clusters = evidence.cluster_count
    if clusters is not None and clusters < MIN_CLUSTERS:
        return f"{clusters} clusters are too few: at least {MIN_CLUSTERS} are needed", None
    counted, needed = _effective(evidence), MIN_ROWS if clusters is None else MIN_CLUSTERS
    if counted < needed:
        what = "the weights are" if clusters is None else "the clusters are"
        return f"{what} so uneven that they count as {counted:.1f} equal ones: at least {needed} are needed", None
    if metric.scarce and evidence.task == "binary":
        ones = int((evidence.labels > 0).sum())
        scarce, name = (
            (min(ones, evidence.rows - ones), "of the rarer class") if metric.scarce == "rarer" else (ones, "with label 1")
        )
        if scarce < MIN_CLASS:
            more = -(-evidence.rows * (MIN_CLASS - scarce) // scarce) if scarce else None
            return f"{scarce} rows {name} are too few: at least {MIN_CLASS} are needed", more
    return "", None


def grouped(evidence: Evidence) -> str:
    """What a method's name says about clusters and weights."""
    clusters = evidence.cluster_count
    parts = [f"over {clusters:,} clusters, t({clusters - 1})"] if clusters is not None else []
    parts += ["weighted"] if evidence.weights is not None else []
    return "".join(f", {part}" for part in parts)


def _effective(evidence: Evidence) -> float:
    """How many equal rows (clusters, if there are any) these are worth: a few heavy ones make every interval too narrow.

    Source: Kish, Survey Sampling (1965), section 11.7; of clusters: Carter, Schnepel & Steigerwald, Rev. Econ. Stat. 99 (2017).
    """
    if evidence.clusters is None and evidence.weights is None:
        return float(evidence.rows)
    sizes = np.ones(evidence.rows) if evidence.weights is None else evidence.weights
    if evidence.clusters is not None:
        sizes = cluster_sums(sizes / max(float(sizes.max()), _TINY), evidence.clusters)
    shares = sizes / max(float(sizes.max()), _TINY)
    return float(shares.sum() ** 2 / max(float(np.square(shares).sum()), _TINY))
