"""The sums of a metric that is a smooth function of means, and how it is measured from them.

Without weights and clusters a unit is a row: (shared columns, candidate's loss less the champion's, champion's loss). With them
it is the row's or cluster's weight, then the weighted sums of these. The same function of means of units serves all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from tidegate.gate.evidence import Evidence, Groups
from tidegate.gate.metrics.metric import Loss, Measured
from tidegate.gate.metrics.support import find_evidence_units
from tidegate.stats.bootstrap import bca_means
from tidegate.stats.estimate import SPARSE, Estimate, Floats, steadiness
from tidegate.stats.moments import Moments, gather_moments, merge_moments
from tidegate.stats.smooth import Function, Local, abc, flip_probability, hall, influence_values, localise, student, wider
from tidegate.stats.units import UnitSums, merge_units

KEPT = 2000
"""Of so many units the bootstrap is drawn; of more it is ABC's closed form."""
_CANDIDATE, _CHAMPION, _PAIR = range(3)


class Form(NamedTuple):
    """What the numbers of a unit are."""

    paired: bool
    weighted: bool
    clustered: bool

    def split(self, unit: Any) -> tuple[list[Any], list[Any]]:
        """[..., k] means of units to the means of the shared columns and of the models' own."""
        start = int(self.weighted or self.clustered)
        with np.errstate(invalid="ignore", divide="ignore"):  # rows that weigh nothing have no mean
            values = [unit[..., place] / unit[..., 0] if start else unit[..., place] for place in range(start, unit.shape[-1])]
        tail = 2 if self.paired else 1
        return values[:-tail], values[-tail:]


class Facts(NamedTuple):
    """What the guards ask of the rows of [size] groups; the last two only where fewer than 20 rows differ in some way."""

    differing: Floats
    """[size, 3] rows where the candidate, the champion have any loss, and where their losses differ."""
    largest: Floats
    """[size, 3] the largest of these three values."""
    greatest: Floats
    """[size] the largest loss of all."""
    labels: Floats
    """[size, 2] the least and the greatest label."""


class State(NamedTuple):
    """Sums of rows by group: moments of rows, or units of clusters; of few rows in one group the rows themselves."""

    facts: Facts
    rows: Moments | None
    clusters: UnitSums | None
    """Their last three columns count the rows that differ, as in ``Facts``."""
    kept: Floats | None
    """[n, k]"""
    form: Form


class Units(NamedTuple):
    """One group, ready to be measured. ``all`` are the units themselves where they are at hand."""

    form: Form
    moments: Moments
    all: Floats | None
    differing: Floats
    largest: Floats


def _same(loss: Any, shared: Any) -> Any:
    del shared
    return loss


def _none(labels: Floats) -> Sequence[Floats]:
    del labels
    return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class MeanSums:
    """``value`` of the mean of ``loss`` over rows and of the means of the ``shared`` columns, which belong to both models."""

    loss: Loss
    value: Callable[[Any, Any], Any] = _same
    shared: Callable[[Floats], Sequence[Floats]] = _none
    limit: float | None = None
    """The largest loss that a row could plausibly have; None: that of taking the least label for the greatest."""

    def gather(self, evidence: Evidence, groups: Groups | None, size: int) -> State:
        """See ``Additive``."""
        candidate, champion = evidence.derive(("losses", self.loss), lambda: self._losses(evidence))
        difference = candidate if champion is None else candidate - champion
        columns = [*self.shared(evidence.labels), *([candidate] if champion is None else [difference, champion])]
        form = Form(champion is not None, evidence.weights is not None, evidence.clusters is not None)
        told = [candidate, difference if champion is None else champion, difference]
        if form.weighted or form.clustered:
            weight = evidence.weights_or_ones
            columns = [weight, *(weight * column for column in columns)]
            told = [weight * values for values in told]
        facts = _facts(told, evidence.labels, groups, size)
        if evidence.clusters is not None:
            differs = [(values != 0).astype(np.float64) for values in told]
            return State(facts, None, find_evidence_units(evidence, groups).sums([*columns, *differs]), None, form)
        kept = np.column_stack(columns) if groups is None and evidence.rows <= KEPT else None
        return State(facts, gather_moments(columns, groups, size, evidence.weights), None, kept, form)

    def merge(self, first: State, second: State) -> State:
        """See ``Additive``."""
        kept = None
        if first.kept is not None and second.kept is not None and len(first.kept) + len(second.kept) <= KEPT:
            kept = np.concatenate([first.kept, second.kept])
        rows = merge_moments(first.rows, second.rows) if first.rows is not None and second.rows is not None else None
        clusters = merge_units(first.clusters, second.clusters) if first.clusters and second.clusters else None
        return first._replace(facts=_merge_facts(first.facts, second.facts), rows=rows, clusters=clusters, kept=kept)

    def settle(self, state: State, place: int, confidence: float, rng: np.random.Generator) -> Measured:
        """See ``Additive``."""
        units = _units(state, place)
        ours, theirs, pair = self._functions(units.form)
        scale = self._scale(state.facts, units, place)
        smooth = "" if self.value is _same else ", delta method"
        candidate, local = _estimate(ours, units, _CANDIDATE, confidence, scale)
        careful = _careful(_bca(ours, units, local, _CANDIDATE, confidence), local, confidence)
        if theirs is None or pair is None:
            return Measured(candidate, None, None, f"t interval{smooth}{_grouping(units)}", {}, careful)
        champion, _ = _estimate(theirs, units, _CHAMPION, confidence, scale)
        difference, local = _estimate(pair, units, _PAIR, confidence, scale)
        draws = rng if len(state.facts.greatest) == 1 else None  # slices are many
        second = _bca(pair, units, local, _PAIR, confidence, draws)
        details = {
            "bca_low": float("nan") if second is None else second.low,
            "bca_high": float("nan") if second is None else second.high,
            "sign_flip_p": _flip_probability(local, units, rng),
        }
        method = f"paired t interval{smooth}{_grouping(units)}"
        return Measured(candidate, champion, difference, method, details, careful, _careful(second, local, confidence))

    def _losses(self, evidence: Evidence) -> tuple[Floats, Floats | None]:
        champion = None if evidence.champion is None else self.loss(evidence.labels, evidence.champion)
        return self.loss(evidence.labels, evidence.candidate), champion

    def _functions(self, form: Form) -> tuple[Function, Function | None, Function | None]:
        """Of means of units: the candidate's value, the champion's, and their difference."""

        def ours(unit: Any) -> Any:
            shared, own = form.split(unit)
            return self.value(own[0] if len(own) == 1 else own[0] + own[1], shared)

        def theirs(unit: Any) -> Any:
            shared, own = form.split(unit)
            return self.value(own[-1], shared)

        def pair(unit: Any) -> Any:
            return ours(unit) - theirs(unit)

        return (ours, theirs, pair) if form.paired else (ours, None, None)

    def _scale(self, facts: Facts, units: Units, place: int) -> float:
        """What one row could have added to the value: it matters only where no row adds anything."""
        low, high = facts.labels[place]
        if low > high:
            return 0.0
        largest = self.limit if self.limit is not None else float(self.loss(np.array([low]), np.array([high]))[0])
        shared, _ = units.form.split(units.moments.mean[0])
        with np.errstate(all="ignore"):
            reach = self.value(max(largest, float(facts.greatest[place])), shared) - self.value(0.0, shared)
        return abs(float(reach))


def _estimate(function: Function, units: Units, which: int, confidence: float, scale: float) -> tuple[Estimate, Local]:
    local = localise(function, units.moments)
    largest = 0.0
    if np.isfinite(local.variance):
        if units.all is not None:
            largest = float(np.abs(influence_values(local, units.all)).max())
        else:
            mean = units.moments.mean[0]
            own = -1 if which == _CHAMPION or not units.form.paired else -2
            centre = mean[-2] + mean[-1] if which == _CANDIDATE and units.form.paired else mean[own]
            largest = abs(float(local.gradient[own])) * (float(units.largest[which]) + abs(float(centre))) / local.number
    found = student(local, confidence=confidence, differing=float(units.differing[which]), largest=largest, scale=scale)
    return found, local


def _careful(bca: Estimate | None, local: Local, confidence: float) -> Estimate | None:
    """What a verdict must hold by beside Student's interval: BCa's and Hall's outer ends."""
    return None if bca is None else wider(bca, hall(local, confidence=confidence))


def _bca(function: Function, units: Units, local: Local, which: int, confidence: float, rng: Any = None) -> Estimate | None:
    """BCa's interval; ABC's where there is no randomness or there are too many units to draw from. None where too few differ."""
    if units.differing[which] < SPARSE or not np.isfinite(local.variance):
        return None
    if rng is None or units.all is None or len(units.all) > KEPT:
        return abc(function, units.moments, local, confidence=confidence)
    with np.errstate(all="ignore"):
        return bca_means(units.all[_order(units.all)], function, confidence=confidence, rng=rng)


def _order(units: Floats) -> Groups:
    """An order in which neither that of the rows nor which model is which shows, so that the same units are drawn."""
    difference, champion = units.T[-2:]
    return np.lexsort((difference + 2 * champion, np.abs(units[:, 0]), np.abs(difference)))


def _flip_probability(local: Local, units: Units, rng: np.random.Generator) -> float:
    if not np.isfinite(local.gradient).all() or units.differing[_PAIR] == 0:
        return float("nan")
    if units.all is None or len(units.all) > KEPT:
        return flip_probability(local, None, rng)
    return flip_probability(local, influence_values(local, units.all[_order(units.all)]), rng)


def _grouping(units: Units) -> str:
    parts = [f"over {int(units.moments.number[0]):,} clusters"] if units.form.clustered else []
    if units.form.clustered or units.form.weighted:
        _, df = steadiness(units.moments.powers[0])
        parts.append(f"t({df:.1f})")
    parts += ["weighted"] if units.form.weighted else []
    return "".join(f", {part}" for part in parts)


def _units(state: State, place: int) -> Units:
    """One group of a state."""
    if state.rows is not None:
        whole = state.rows if len(state.rows.number) == 1 else state.rows.of(place)
        return Units(state.form, whole, state.kept, state.facts.differing[place], state.facts.largest[place])
    assert state.clusters is not None
    sums = state.clusters.of(place)
    units, differing = sums[:, :-3], np.count_nonzero(sums[:, -3:], axis=0).astype(np.float64)
    moments = gather_moments(list(units.T), sizes=units[:, 0])
    return Units(state.form, moments, units, differing, state.facts.largest[place])


def _facts(told: Sequence[Floats], labels: Floats, groups: Groups | None, size: int) -> Facts:
    """``told``: three times [n], what the candidate and the champion lose by row, and the difference; weighted."""
    rows = np.array([len(labels)]) if groups is None else np.bincount(groups, minlength=size)
    differing = np.empty((size, 3))
    for which, values in enumerate(told):
        same = np.flatnonzero(values == 0)
        differing[:, which] = rows - (len(same) if groups is None else np.bincount(groups[same], minlength=size))
    largest, greatest = np.zeros((size, 3)), np.zeros(size)
    ends = np.stack([np.full(size, np.inf), np.full(size, -np.inf)], axis=-1)
    for which, values in enumerate(told):
        if groups is None:
            largest[0, which] = np.abs(values).max(initial=0.0)
        else:
            np.maximum.at(largest[:, which], groups, np.abs(values))
    quiet = differing.min(axis=1) < SPARSE
    if quiet.any():
        chosen = np.arange(len(labels)) if groups is None else np.flatnonzero(quiet[groups])
        places = np.zeros(len(chosen), dtype=np.int64) if groups is None else groups[chosen]
        np.maximum.at(greatest, places, np.abs([values[chosen] for values in told]).max(axis=0))
        truth = labels[chosen] if labels.ndim == 1 else labels[chosen].max(axis=1)
        np.minimum.at(ends[:, 0], places, truth)
        np.maximum.at(ends[:, 1], places, truth)
    return Facts(differing, largest, greatest, ends)


def _merge_facts(first: Facts, second: Facts) -> Facts:
    ends = [np.minimum(first.labels[:, 0], second.labels[:, 0]), np.maximum(first.labels[:, 1], second.labels[:, 1])]
    return Facts(
        first.differing + second.differing,
        np.maximum(first.largest, second.largest),
        np.maximum(first.greatest, second.greatest),
        np.stack(ends, axis=-1),
    )
