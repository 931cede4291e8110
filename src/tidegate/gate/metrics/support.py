"""How much evidence there is, whatever the metric: rows, clusters, weights and positive labels, by group of rows."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tidegate.gate.evidence import Evidence, Groups
from tidegate.stats.estimate import Floats
from tidegate.stats.moments import group_sums
from tidegate.stats.units import UnitPlaces, UnitSums, find_units, merge_units

_TINY = float(np.finfo(np.float64).tiny)


class Support(NamedTuple):
    """What some rows count for. ``rows`` are queries in a ranking."""

    task: str
    rows: int
    clusters: int | None
    effective: float
    """How many equal rows (clusters, if there are any) they are worth: a few heavy ones make every interval too narrow."""
    weighted: bool
    ones: int
    """Rows with a label above 0, where labels are single numbers."""


class Supports(NamedTuple):
    """Sums of [size] groups of rows, of which ``settle`` makes each one's support."""

    task: str
    weighted: bool
    sums: Floats
    """[size, 4]: rows, positive labels, weights, squared weights"""
    clusters: UnitSums | None

    def merge(self, other: Supports) -> Supports:
        """Of the rows of both."""
        both = merge_units(self.clusters, other.clusters) if self.clusters and other.clusters else None
        return self._replace(sums=self.sums + other.sums, clusters=both)

    def settle(self, place: int) -> Support:
        """One group's support.

        Source: Kish, Survey Sampling (1965), section 11.7; of clusters: Carter, Schnepel & Steigerwald, Rev. Econ. Stat. 99 (2017).
        """
        rows, ones, weight, square = self.sums[place].tolist()
        count = None
        if self.clusters is not None:
            sizes = self.clusters.of(place)[:, 0]
            count, weight, square = len(sizes), float(sizes.sum()), float(np.square(sizes).sum())
        return Support(self.task, int(rows), count, weight * weight / max(square, _TINY), self.weighted, int(ones))


def gather_supports(evidence: Evidence, groups: Groups | None, size: int) -> Supports:
    """Supports of [size] groups; of a ranking every query counts once."""
    if evidence.queries is not None:
        _, places = np.unique(evidence.queries, return_index=True)
        evidence, groups = evidence.take(places), None if groups is None else groups[places]
    rows = np.ones(evidence.rows)
    weights = rows if evidence.weights is None else evidence.weights
    positive = evidence.labels > 0 if evidence.labels.ndim == 1 else np.zeros(evidence.rows)
    count = group_sums(rows, groups, size)
    sums = [count, group_sums(positive.astype(np.float64), groups, size), count, count]
    if evidence.weights is not None:
        sums[2:] = [group_sums(weights, groups, size), group_sums(np.square(weights), groups, size)]
    clusters = None
    if evidence.clusters is not None:
        clusters = find_evidence_units(evidence, groups).sums([weights])
    return Supports(evidence.task, evidence.weights is not None, np.stack(sums, axis=-1), clusters)


def find_evidence_units(evidence: Evidence, groups: Groups | None) -> UnitPlaces:
    """The clusters of rows within groups; found once for all metrics."""
    assert evidence.clusters is not None
    clusters = evidence.clusters
    key = ("units", None if groups is None else id(groups))
    return evidence.derive(key, lambda: (find_units(clusters, groups), groups))[0]  # keeps groups, so that their id stays theirs


def support_of(evidence: Evidence) -> Support:
    """The support of all rows."""
    return evidence.derive("support", lambda: gather_supports(evidence, None, 1)).settle(0)
