"""The rows that a gate judges by, as plain arrays."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from tidegate.gate.evidence.labelling import Labelling
from tidegate.stats.estimate import Floats, cluster_count

MIN_ROWS = 30
"""Fewer rows (queries, items) allow no interval."""
MIN_CLUSTERS = 10

_SHORT = 32_000

Groups: TypeAlias = NDArray[np.int64]
_Derived = TypeVar("_Derived")


@dataclass(frozen=True, slots=True)
class Slicing:
    """One slice column: the code of each row, and the value that each code stands for, sorted."""

    codes: Groups
    values: list[str]


@dataclass(frozen=True, slots=True)
class Evidence:
    """Labels and predictions with what groups and weighs them, [n] each unless it is said otherwise.

    Binary: labels 0/1, predictions are probabilities or 0/1. Multiclass: labels are codes of ``classes``; predictions are codes
    of both models, or [n, K] probabilities of both. Multilabel: [n, K] labels 0/1 and probabilities or 0/1 of the labels named
    in ``classes``. Ranking: relevance of at least 0, and scores within ``queries``. Scores: one row per item, runs averaged; no
    labels (zeros); predictions are the scores.
    """

    task: str
    labels: Floats
    candidate: Floats
    champion: Floats | None = None
    anchor: Floats | None = None
    """Predictions of the version that was last proven better."""
    classes: list[str] = field(default_factory=list[str])
    queries: Groups | None = None
    wins: Floats | None = None
    """Scores: 1 where the candidate did better, 0 where the champion did, 0.5 for a tie; raters of an item are averaged."""
    keys: NDArray[Any] | None = None
    """What names each row for a reader: whole numbers as they are, anything else as NumPy's text; None: its number does."""
    clusters: Groups | None = None
    weights: Floats | None = None
    slices: dict[str, Slicing] = field(default_factory=dict[str, Slicing])
    marks: dict[str, NDArray[np.bool_]] = field(default_factory=dict[str, NDArray[np.bool_]])
    """Rows that a rule's ``rows`` column marks, by that column."""
    hard: bool = False
    """Whether one of the models gives decisions (0 and 1, or classes) and no probabilities."""
    labelling: Labelling | None = None
    """Where a rule asks for label coverage: how many rows have a label. Those without one are not among the rows here."""
    _derived: dict[Any, Any] = field(init=False, default_factory=dict[Any, Any], compare=False, repr=False)

    def derive(self, key: Any, make: Callable[[], _Derived]) -> _Derived:
        """What ``make`` makes of these rows, made once and kept under ``key``: rules and slices share losses, sorts and decisions."""
        if key not in self._derived:
            self._derived[key] = make()
        return self._derived[key]

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return len(self.labels)

    @property
    def models(self) -> list[Floats]:
        """Predictions of the candidate and, if there is one, of the champion."""
        return [self.candidate] if self.champion is None else [self.candidate, self.champion]

    @property
    def weights_or_ones(self) -> Floats:
        """[n] weights; ones without a weight column."""
        return np.ones(self.rows) if self.weights is None else self.weights

    @property
    def cluster_count(self) -> int | None:
        """How many clusters there are, None without a cluster column."""
        return None if self.clusters is None else cluster_count(self.clusters)

    def take(self, rows: slice | Groups) -> Evidence:
        """The evidence of some rows, without its slices."""

        def some(values: NDArray[Any] | None) -> Any:
            return None if values is None else values[rows]

        return Evidence(
            task=self.task,
            labels=self.labels[rows],
            candidate=self.candidate[rows],
            champion=some(self.champion),
            anchor=some(self.anchor),
            classes=self.classes,
            queries=some(self.queries),
            wins=some(self.wins),
            keys=some(self.keys),
            clusters=some(self.clusters),
            weights=some(self.weights),
            marks={name: values[rows] for name, values in self.marks.items()},
            hard=self.hard,
        )

    def split(self, column: str) -> list[tuple[str, Evidence]]:
        """The evidence of each value of a slice column, in the order of the values."""
        slicing = self.slices[column]
        codes = slicing.codes if len(slicing.values) > _SHORT else slicing.codes.astype(np.int16)  # so short, sorting is counting
        order = np.argsort(codes, kind="stable")
        ordered = self.take(order)
        ends = np.cumsum(np.bincount(slicing.codes, minlength=len(slicing.values)))
        starts = np.concatenate([[0], ends[:-1]])
        return [(name, ordered.take(slice(int(a), int(b)))) for name, a, b in zip(slicing.values, starts, ends, strict=True)]


def is_hard(predictions: Floats) -> bool:
    """Whether these are decisions (0 and 1 only) and no probabilities."""
    return bool(np.all((predictions == 0) | (predictions == 1)))
