"""Slices that nobody asked about, in which the candidate looks worse: single columns and pairs of them, for the report only.

Looked at are all values of the explored columns and all pairs of values of two columns. The p-values of harm, one-sided, are adjusted over
all that were looked at (Benjamini-Hochberg), for each metric by itself. What is found is a place to look, no proof: it was looked for.

Metrics that are means over rows are summed by slice, so a million rows cost about a second; with clusters, sums of each cluster in each
slice. Other metrics are measured on a sample of rows, on single columns only, and say so.

Source: Chung et al., Slice Finder, ICDE (2019); Benjamini & Hochberg, JRSS B 57 (1995).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations
from math import isfinite
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tidegate.gate.evidence import Evidence, Groups
from tidegate.gate.metrics import Metric, parse_metric, shortage
from tidegate.gate.policy import PAIRED
from tidegate.gate.right import right_rows
from tidegate.gate.rules.bound import interval
from tidegate.gate.rules.parts import generator
from tidegate.records.policy import CheckPolicy, Rule
from tidegate.records.report import Explored, Interval
from tidegate.stats.distributions import special
from tidegate.stats.estimate import Estimate, Floats, around, tail_probability
from tidegate.stats.multiplicity import benjamini_hochberg

MOST = 10
"""So many slices are told at most."""
RATE = 0.1
"""The expected share of false finds among them."""
MIN_ROWS = 50
MIN_CLUSTERS = 20
MAX_CELLS = 2500
"""A pair of columns with more pairs of values is left out."""
MAX_SAMPLED = 20_000
_MAX_SUMS = 20_000_000


class _Found(NamedTuple):
    """A slice with its gain (up is good) and the p-value of "not below 0"."""

    where: str
    rows: int
    gain: Estimate
    p: float
    note: str = ""
    parts: tuple[str, ...] = ()
    """Of a pair the two slices that it lies in: it is told beside one of them only if it is worse still."""


def explore(evidence: Evidence, policy: CheckPolicy) -> list[Explored]:
    """At most ten slices of the policy's ``explore`` columns, the least p-value first. Empty where nothing is found."""
    columns = [name for name in policy.explore if name in evidence.slices]
    if evidence.champion is None or not columns or evidence.queries is not None:
        return []
    rules = {rule.metric: rule for rule in policy.rules if rule.test in PAIRED and rule.metric}
    told: list[Explored] = []
    for rule in rules.values():
        metric = parse_metric(rule.metric, evidence.task, rule.costs)
        if metric.costly:
            continue
        gains = _gains(metric, evidence)
        if gains is None:
            found = list(_measured(rule, metric, evidence, columns, policy))
        else:
            found = list(_summed(gains, evidence, columns, policy.confidence))
        told += _told(metric, found)
    return sorted(told, key=lambda each: (each.p, each.where))[:MOST]


def _told(metric: Metric, found: list[_Found]) -> list[Explored]:
    adjusted = benjamini_hochberg([each.p for each in found]) if found else np.empty(0)
    bad = {each.where: each.gain for each, p in zip(found, adjusted, strict=True) if p <= RATE}
    return [
        Explored(
            where=each.where,
            rows=each.rows,
            metric=metric.name,
            difference=_turned(each.gain, metric),
            p=float(f"{p:.4g}"),
            note=each.note,
        )
        for each, p in zip(found, adjusted, strict=True)
        if p <= RATE and not any(single in bad and bad[single].low <= each.gain.value for single in each.parts)
    ]


def _turned(gain: Estimate, metric: Metric) -> Interval:
    return interval(gain if metric.sign > 0 else gain.negated())


def _gains(metric: Metric, evidence: Evidence) -> Floats | None:
    """[n] what each row adds to the gain, up is good; None for a metric that is no mean over rows.

    Where the metric is a function of a mean loss (its root, say) it is the loss itself: better in one is better in the other.
    """
    if evidence.champion is None or evidence.labels.ndim > 1:
        return None
    if metric.is_accuracy:
        right = [right_rows(each, evidence.labels, evidence.task, metric.threshold or 0.5) for each in evidence.models]
        return right[0].astype(np.float64) - right[1]
    if metric.loss is None or metric.better != "lower" or metric.name == "rmse":
        return None
    ours, theirs = (np.asarray(metric.loss(evidence.labels, each)) for each in (evidence.candidate, evidence.champion))
    return np.asarray(theirs - ours, dtype=np.float64) if ours.ndim == 1 else None


class _Rows(NamedTuple):
    """What is summed by slice, [n] each; without weights the first two are None and stand for ones."""

    weights: Floats | None
    squared: Floats | None
    gains: Floats
    first: Floats
    second: Floats
    clusters: Groups | None


def _summed(gains: Floats, evidence: Evidence, columns: Sequence[str], confidence: float) -> Iterator[_Found]:
    """Every slice with rows enough, from sums."""
    weights = evidence.weights
    squared = None if weights is None else np.square(weights)
    rows = _Rows(
        weights=weights,
        squared=squared,
        gains=gains if weights is None else weights * gains,
        first=gains if squared is None else squared * gains,
        second=np.square(gains) if squared is None else squared * np.square(gains),
        clusters=evidence.clusters,
    )
    for names in [*((name,) for name in columns), *combinations(columns, 2)]:
        sizes = [len(evidence.slices[name].values) for name in names]
        cells = int(np.prod(sizes))
        if cells > MAX_CELLS:
            continue
        codes = evidence.slices[names[0]].codes
        codes = codes if len(names) == 1 else codes * sizes[1] + evidence.slices[names[1]].codes
        counts = np.bincount(codes, minlength=cells)
        means, errors, df = _errors(rows, codes, counts)
        for cell in np.flatnonzero((counts >= MIN_ROWS) & (counts < evidence.rows) & (errors > 0) & (df >= 1)):
            gain = around(float(means[cell]), float(errors[cell]), float(df[cell]), confidence)
            p = float(special().stdtr(df[cell], means[cell] / errors[cell]))
            places = [int(cell)] if len(names) == 1 else list(divmod(int(cell), sizes[1]))
            parts = tuple(f"{name} = {evidence.slices[name].values[place]}" for name, place in zip(names, places, strict=True))
            yield _Found(" and ".join(parts), int(counts[cell]), gain, p, parts=parts if len(parts) > 1 else ())


def _errors(rows: _Rows, codes: Groups, counts: NDArray[np.intp]) -> tuple[Floats, Floats, Floats]:
    """Of each slice the mean gain, its standard error and degrees of freedom (below 1: not to be trusted)."""

    def add(values: Floats | None) -> Floats:
        if values is None:
            return counts.astype(np.float64)
        return np.bincount(codes, weights=values, minlength=counts.size).astype(np.float64, copy=False)

    total = add(rows.weights)
    safe = np.where(total > 0, total, 1.0)
    sums = add(rows.gains)
    means = sums / safe
    if rows.clusters is None:
        units = counts.astype(np.float64)
        first = sums if rows.weights is None else add(rows.first)
        squares = np.maximum(add(rows.second) - 2 * means * first + np.square(means) * add(rows.squared), 0.0)
    else:
        units, squares = _by_cluster(rows, codes, rows.clusters, means)
    errors = np.sqrt(squares * units / np.maximum(units - 1, 1)) / safe
    return means, errors, units - 1


def _by_cluster(rows: _Rows, codes: Groups, clusters: Groups, means: Floats) -> tuple[Floats, Floats]:
    """Of each slice how many clusters it has (0 where they are too few), and the squared deviations of their sums."""
    cells, count = means.size, int(clusters.max()) + 1
    if count * cells > _MAX_SUMS:
        return np.zeros(cells), np.zeros(cells)
    joint = codes * count + clusters
    present = np.bincount(joint, minlength=cells * count).reshape(cells, count)
    weight = present if rows.weights is None else np.bincount(joint, weights=rows.weights, minlength=cells * count)
    sums = np.bincount(joint, weights=rows.gains, minlength=cells * count).reshape(cells, count)
    squares = np.square(sums - means[:, None] * weight.reshape(cells, count)).sum(axis=1)
    units = np.count_nonzero(present, axis=1).astype(np.float64)
    return np.where(units < MIN_CLUSTERS, 0.0, units), squares


def _measured(rule: Rule, metric: Metric, evidence: Evidence, columns: Sequence[str], policy: CheckPolicy) -> Iterator[_Found]:
    """Slices of single columns by the metric's own interval, on a sample of rows."""
    step = max(evidence.rows // MAX_SAMPLED, 1)
    part = evidence if step == 1 else evidence.take(slice(None, None, step))
    note = f"measured on {part.rows:,} of the rows" if step > 1 else ""
    for name in columns:
        slicing = evidence.slices[name]
        codes = slicing.codes[::step]
        for place in np.flatnonzero(np.bincount(codes, minlength=len(slicing.values)) >= MIN_ROWS):
            rows = part.take(np.flatnonzero(codes == place))
            if rows.rows == part.rows or shortage(metric, rows)[0]:
                continue
            value = slicing.values[int(place)]
            found = metric.measure(rows, policy.confidence, generator(policy.seed, rule.metric, name, value)).difference
            if found is None or not isfinite(found.high - found.low):
                continue
            gain = found if metric.sign > 0 else found.negated()
            yield _Found(f"{name} = {value}", rows.rows, gain, tail_probability(gain, 0.0, policy.confidence), note)
