"""``gap``: how far a metric differs between the slices of a column: equal opportunity (of recall), demographic parity (of
positive_rate), or any other metric.

With ``value``: PASS where the upper end of the candidate's gap is at most ``value``, FAIL where its lower end is above it.
With a champion and ``margin``: the candidate's gap is at most that much larger than the champion's. Between any two slices the
candidate's difference exceeds the champion's by the difference of the two paired differences, and the champion's gap is at least
its difference there. So PASS where no two paired differences are further apart than ``margin``. This asks for more than that the
gap has not grown: a difference that changes its direction counts in full.

Source of the criteria: Hardt, Price & Srebro, NeurIPS (2016); Dwork et al., ITCS (2012). Of the intervals: ``tidegate.stats.gaps``.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from tidegate.gate.case import Case
from tidegate.gate.evidence import Evidence
from tidegate.gate.metrics import Metric, parse_metric, shortage
from tidegate.gate.rules.bound import NOTHING, at_most, interval, tidy
from tidegate.gate.rules.comparison import refused
from tidegate.gate.rules.parts import SlicePart, measure_slices
from tidegate.gate.wording import listed, rounded
from tidegate.records.policy import Rule
from tidegate.records.report import RuleResult, SliceResult
from tidegate.records.verdict import Verdict, worst
from tidegate.stats.estimate import Estimate
from tidegate.stats.gaps import Gap, gap

_METHOD = (
    "all pairs of slices: upper ends by intersection-union (Berger 1982), lower ends by Bonferroni; pairs by Zou & Donner 2008"
)


class _Column(NamedTuple):
    """One slice column: the slices that were large enough, the gaps between them, and what follows."""

    name: str
    parts: list[SlicePart]
    few: list[SlicePart]
    candidate: Gap | None
    champion: Gap | None
    growth: Estimate | None
    """By how much the candidate's gap exceeds the champion's."""
    verdict: Verdict


def judge_gap(rule: Rule, case: Case, confidence: float, seed: int) -> RuleResult:
    """The metric's gap is at most ``value``, or at most ``margin`` larger than the champion's, in every slice column."""
    evidence = case.evidence
    metric = parse_metric(rule.metric, evidence.task, rule.costs)
    why = _refusal(rule, metric, evidence)
    if why:
        return refused(rule, metric, why)
    columns: list[_Column] = []
    for name in rule.slices:
        parts = measure_slices(metric, evidence, [name], rule.metric, confidence=confidence, seed=seed)
        columns.append(_judge_column(rule, metric, name, parts, confidence, dependent=_crossing(evidence, name)))
    verdict = worst([column.verdict for column in columns])
    told = [column for column in columns if column.verdict is verdict]
    leading = max(told, key=lambda column: column.candidate.estimate.value if column.candidate else -1.0)
    ours, theirs = leading.candidate, leading.champion
    return RuleResult(
        metric=metric.name,
        test=rule.test,
        better="lower",
        margin=rule.margin,
        value=rule.value,
        verdict=verdict,
        reason=". ".join(_sentence(rule, metric, column, confidence) for column in told) + ".",
        method=_METHOD,
        candidate=interval(ours.estimate) if ours else NOTHING,
        champion=interval(theirs.estimate) if theirs else None,
        difference=interval(leading.growth) if leading.growth else None,
        slices=[_slice(rule, metric, column, part) for column in columns for part in [*column.parts, *column.few]],
        details={f"gap_{column.name}": tidy(column.candidate.estimate.value) for column in columns if column.candidate},
    )


def _refusal(rule: Rule, metric: Metric, evidence: Evidence) -> str:
    if metric.needs_probability and evidence.hard:
        return f"{metric.name} needs probabilities, but a column holds only decisions: use another metric, or give probabilities"
    if rule.value is None and evidence.champion is None:
        return f"the gap of {metric.name} has no value to be held against, and there is no champion: give a value"
    refusal = metric.refuses(evidence) if metric.refuses is not None else ""
    return f"{metric.name} {refusal}" if refusal else ""


def _judge_column(
    rule: Rule, metric: Metric, name: str, parts: list[SlicePart], confidence: float, *, dependent: bool
) -> _Column:
    large = [part for part in parts if not _few(rule, metric, part)]
    few = [part for part in parts if _few(rule, metric, part)]
    if len(large) < 2:
        return _Column(name, large, few, None, None, None, Verdict.INCONCLUSIVE)
    settings: Any = {"confidence": confidence, "dependent": dependent}
    ours = [_wider(part.part.measured.candidate, part.part.measured.careful_candidate) for part in large]
    found = gap(ours, **settings)
    champions = [part.part.measured.champion for part in large]
    theirs = [each for each in champions if each is not None]
    before = gap(theirs, **settings) if len(theirs) == len(large) else None
    if rule.value is not None:
        verdict = at_most(found.estimate, rule.value)
        return _Column(name, large, few, found, before, None, worst([verdict, *_open(few)]))
    changes = [_wider(part.part.measured.difference, part.part.measured.careful_difference) for part in large]
    most = gap(changes, **settings).estimate.high
    assert before is not None
    halved = [gap(each, parts=2, **settings).estimate for each in (ours, theirs)]
    growth = Estimate(found.estimate.value - before.estimate.value, halved[0].low - halved[1].high, most)
    return _Column(name, large, few, found, before, growth, worst([at_most(growth, rule.margin), *_open(few)]))


def _open(few: list[SlicePart]) -> list[Verdict]:
    return [Verdict.INCONCLUSIVE] if few else []


def _few(rule: Rule, metric: Metric, slice_part: SlicePart) -> str:
    """Why a slice says nothing; empty: it does."""
    measured, support = slice_part.part
    few, _ = shortage(metric, support)
    if few or measured.few:
        return few or measured.few
    asked = [measured.candidate] if rule.value is not None else [measured.candidate, measured.champion, measured.difference]
    if any(each is None or not all(map(math.isfinite, each[:3])) for each in asked):
        return f"{metric.name} is not defined, or has no interval"
    return ""


def _wider(first: Estimate | None, second: Estimate | None) -> Estimate:
    """The interval that holds both."""
    assert first is not None
    if second is None:
        return first
    return Estimate(first.value, min(first.low, second.low), max(first.high, second.high), min(first.df, second.df))


def _crossing(evidence: Evidence, name: str) -> bool:
    """Whether a cluster has rows in several slices."""
    if evidence.clusters is None:
        return False
    codes = evidence.slices[name].codes
    order = np.argsort(evidence.clusters, kind="stable")
    clusters, slices = evidence.clusters[order], codes[order]
    return bool(np.any((np.diff(clusters) == 0) & (np.diff(slices) != 0)))


def _sentence(rule: Rule, metric: Metric, column: _Column, confidence: float) -> str:
    few = ""
    if column.few:
        named = listed([f"{part.column} = {part.value} ({_few(rule, metric, part)})" for part in column.few])
        few = f"{len(column.few)} of {len(column.parts) + len(column.few)} slices are too small to be compared: {named}"
    if column.candidate is None:
        return few or f"{column.name} has fewer than two slices to compare"
    ours, top, bottom = column.candidate.estimate, *(column.parts[at] for at in column.candidate[1:])
    facts = (
        f"{metric.name} differs by {rounded(ours.value)} between {column.name} = {top.value} "
        f"({rounded(top.part.measured.candidate.value)}) and {bottom.value} ({rounded(bottom.part.measured.candidate.value)})"
    )
    judged = ours if column.growth is None else column.growth
    ends = f"{100 * confidence:g}% interval: {rounded(judged.low)} to {rounded(judged.high)}"
    limit = rule.margin if rule.value is None else rule.value
    if column.growth is not None and column.champion is not None:
        facts += f", of the champion by {rounded(column.champion.estimate.value)}"
        ends = f"growth of the gap {rounded(judged.value, sign='+')}, {ends}"
    ending = {
        Verdict.PASS: f"this is within the {limit:g} allowed",
        Verdict.FAIL: f"this is more than the {limit:g} allowed",
        Verdict.INCONCLUSIVE: f"these rows cannot tell whether it is within the {limit:g} allowed",
    }[at_most(judged, limit)]
    told = f"{facts} ({ends}); {ending}"
    return f"{few}. {told}" if few else told


def _slice(rule: Rule, metric: Metric, column: _Column, part: SlicePart) -> SliceResult:
    measured, support = part.part
    few = _few(rule, metric, part)
    verdict, reason = Verdict.PASS, f"{metric.name} is {rounded(measured.candidate.value)}"
    if few:
        verdict, reason = Verdict.INCONCLUSIVE, f"{metric.name}: {few}"
    elif column.candidate is not None:
        place = column.parts.index(part)
        ends = {column.candidate.highest: "the highest", column.candidate.lowest: "the lowest"}
        if place in ends:
            judged = column.candidate.estimate if column.growth is None else column.growth
            verdict = at_most(judged, rule.margin if rule.value is None else rule.value)
            reason += f": {ends[place]} of {column.name}"
    return SliceResult(
        column=part.column,
        value=part.value,
        rows=support.rows,
        verdict=verdict,
        candidate=interval(measured.candidate),
        champion=interval(measured.champion) if measured.champion else None,
        difference=interval(measured.difference) if measured.difference else None,
        reason=reason,
    )
