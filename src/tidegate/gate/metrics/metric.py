"""What a metric is: its name, which direction is good, and how it is measured on rows, with its interval."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from tidegate.gate.evidence import MIN_CLUSTERS, MIN_ROWS, Evidence, Groups
from tidegate.gate.metrics.support import Support, support_of
from tidegate.gate.wording import noun_of
from tidegate.stats.estimate import Estimate, Floats

Better = Literal["higher", "lower"]
Scarce = Literal["", "positive", "rarer"]

MIN_CLASS = 10
MIN_RANKED = 40
"""Of each class, for a metric of how rows are ranked: with fewer, one of its ends is wrong up to 11% of the time."""
_SLACK = 1e-9


class Measured(NamedTuple):
    """A metric of both models on the same rows, and how it was done. Without a champion two of them are None."""

    candidate: Estimate
    champion: Estimate | None
    difference: Estimate | None
    method: str
    details: dict[str, float]
    careful_candidate: Estimate | None = None
    """A second interval of the candidate's value by another method; a verdict must hold by both."""
    careful_difference: Estimate | None = None
    """The same of the difference."""
    few: str = ""
    """Why these rows are too few for an interval, where only measuring tells; see ``shortage`` for the rest."""


Measure: TypeAlias = Callable[[Evidence, float, np.random.Generator], Measured]
"""Evidence, two-sided confidence and randomness to what was measured. Values are NaN where the metric is not defined."""

Loss: TypeAlias = Callable[[ArrayLike, ArrayLike], Floats]
"""[n] labels and predictions to the [n] values whose mean the metric is."""


class Additive(Protocol):
    """How a metric is made of sums: rows may be taken in portions, and all slices of a column at once.

    What ``gather`` returns is its own affair (``Any`` here); it holds the sums of ``size`` groups side by side and must not grow
    with the rows, except by clusters and by a fixed number of rows of small groups.
    """

    def gather(self, evidence: Evidence, groups: Groups | None, size: int) -> Any:
        """Sums of rows by group. ``groups``: [n] codes from 0 to below ``size``; None: one group (``size`` is 1).

        Codes of ``evidence.clusters`` mean the same cluster in every portion.
        """
        ...

    def merge(self, first: Any, second: Any) -> Any:
        """Sums of the rows of two portions, ``first`` before ``second``; the groups are the same."""
        ...

    def settle(self, state: Any, place: int, confidence: float, rng: np.random.Generator) -> Measured:
        """What was measured in the group ``place``. A group may have no rows: then values are NaN."""
        ...


def measured_at_once(additive: Additive) -> Measure:
    """The measure of all rows in one portion."""

    def measure(evidence: Evidence, confidence: float, rng: np.random.Generator) -> Measured:
        return additive.settle(additive.gather(evidence, None, 1), 0, confidence, rng)

    return measure


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
    least: int = MIN_CLASS
    """How many of them."""
    needs_probability: bool = False
    refuses: Callable[[Evidence], str] | None = None
    """Says why these rows cannot be measured at all ("mape" + " divides by ..."); empty: they can. Asked of any portion of rows."""
    costly: bool = False
    """Whether it takes thousands of calls of somebody's function: then it is measured only where that decides."""
    additive: Additive | None = None
    """Its sums, where it is made of such; ``measure`` must then be ``measured_at_once(additive)``."""

    @property
    def sign(self) -> int:
        """1 where higher is better, -1 where lower is."""
        return 1 if self.better == "higher" else -1

    @property
    def is_accuracy(self) -> bool:
        """Whether it is the share of rows that are right, at whatever threshold."""
        return self.name.partition("@")[0] == "accuracy"


def shortage(metric: Metric, evidence: Evidence | Support) -> tuple[str, int | None]:
    """Why these rows are too few for any interval of ``metric`` (empty: they are not), and about how many more it takes."""
    there = evidence if isinstance(evidence, Support) else support_of(evidence)
    noun = noun_of(there.task)
    if there.rows < MIN_ROWS:
        return f"{there.rows} {noun} are too few: at least {MIN_ROWS} are needed", MIN_ROWS - there.rows
    if there.clusters is not None and there.clusters < MIN_CLUSTERS:
        return f"{there.clusters} clusters are too few: at least {MIN_CLUSTERS} are needed", None
    needed = MIN_ROWS if there.clusters is None else MIN_CLUSTERS
    if there.effective < needed * (1 - _SLACK):
        what = "the weights are" if there.clusters is None else "the clusters are"
        return f"{what} so uneven that they count as {there.effective:.1f} equal ones: at least {needed} are needed", None
    if metric.scarce and there.task == "binary":
        scarce, name = (
            (min(there.ones, there.rows - there.ones), "of the rarer class")
            if metric.scarce == "rarer"
            else (there.ones, "with label 1")
        )
        if scarce < metric.least:
            more = -(-there.rows * (metric.least - scarce) // scarce) if scarce else None
            return f"{scarce} rows {name} are too few: at least {metric.least} are needed", more
    return "", None


def refuses_codes(evidence: Evidence) -> str:
    """The refusal of a metric that takes the probability of every class."""
    if evidence.task == "multiclass" and evidence.candidate.ndim == 1:
        return "needs the probability of every class, but the columns hold only the predicted class: use accuracy"
    return ""


def grouped(evidence: Evidence) -> str:
    """What a method's name says about clusters and weights."""
    clusters = evidence.cluster_count
    parts = [f"over {clusters:,} clusters, t({clusters - 1})"] if clusters is not None else []
    parts += ["weighted"] if evidence.weights is not None else []
    return "".join(f", {part}" for part in parts)
