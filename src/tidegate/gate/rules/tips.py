"""The label tipping point of a rule: the least over all rows and those slices whose change would change its verdict."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from msgspec.structs import replace

from tidegate.gate.evidence import Evidence
from tidegate.gate.metrics import Metric, parse_metric
from tidegate.gate.policy import MEASURED
from tidegate.gate.rules.bound import Ask, answer, ask, ask_slice
from tidegate.gate.rules.parts import generator
from tidegate.gate.tipping import Stand, tipping_point
from tidegate.records.policy import Rule
from tidegate.records.report import RuleResult
from tidegate.records.verdict import Verdict

_TIGHTEST = 4
"""So many parts with the least slack are looked at."""


def with_tipping(rule: Rule, result: RuleResult, evidence: Evidence, *, confidence: float, seed: int) -> RuleResult:
    """The result with its label tipping point. Kept apart from the judging, as it judges relabelled rows about twenty times."""
    if result.test not in MEASURED or result.verdict not in {Verdict.PASS, Verdict.FAIL} or rule.slice_mode != "all_not_worse":
        return result
    metric = parse_metric(rule.metric, evidence.task, rule.costs)
    if metric.costly:
        return result
    decisive = [part for part in _parts(rule, result, metric) if part.stand.verdict is result.verdict]
    if result.verdict is Verdict.FAIL and len(decisive) != 1:
        return result  # several must change: nobody has asked for so many labels
    found: list[int] = []
    for part in sorted(decisive, key=lambda each: each.slack)[:_TIGHTEST]:

        def reach(rows: Evidence, part: _Part = part) -> Verdict:
            measured = metric.measure(rows, confidence, generator(seed, rule.metric, *part.names))
            return answer(part.question, metric, measured, rows, confidence=confidence).verdict

        count = tipping_point(metric, _rows(part, evidence), part.stand, reach)
        found += [] if count is None else [count]
    return replace(result, tipping=min(found, default=None))


def tip_all(
    rules: list[Rule], results: list[RuleResult], evidence: Evidence, *, confidence: float, seed: int
) -> list[RuleResult]:
    """The results with their tipping points: ``results`` begins with those of ``rules``, in their order."""
    tipped = [
        with_tipping(rule, result, evidence, confidence=confidence, seed=seed)
        for rule, result in zip(rules, results, strict=False)
    ]
    return tipped + results[len(rules) :]


class _Part(NamedTuple):
    """All rows, or one slice: what was asked there, what was said, and how far that is from being another thing."""

    names: tuple[str, ...]
    question: Ask
    stand: Stand
    slack: float


def _parts(rule: Rule, result: RuleResult, metric: Metric) -> list[_Part]:
    whole = ask(rule)
    overall = result.verdict if not result.slices else _overall(whole, result, metric)
    stands: list[tuple[tuple[str, ...], Ask, Stand]] = [
        ((), whole, Stand(whole.test, overall, result.margin, rule.value, result.candidate, result.difference))
    ]
    sliced = ask_slice(rule)
    margin = result.margin if sliced.test == whole.test else 0.0
    for part in result.slices:
        stand = Stand(sliced.test, part.verdict, margin, rule.value, part.candidate, part.difference)
        stands.append(((part.column, part.value), sliced, stand))
    found = [_Part(names, question, stand, stand.slack(metric.sign)) for names, question, stand in stands]
    return [part for part in found if part.slack >= 0]


def _overall(question: Ask, result: RuleResult, metric: Metric) -> Verdict:
    """The verdict on all rows, where the result's own is that of all parts."""
    for verdict in (Verdict.PASS, Verdict.FAIL):
        stand = Stand(question.test, verdict, result.margin, question.value, result.candidate, result.difference)
        if stand.slack(metric.sign) >= 0:
            return verdict
    return Verdict.INCONCLUSIVE


def _rows(part: _Part, evidence: Evidence) -> Evidence:
    if not part.names:
        return evidence
    column, value = part.names
    slicing = evidence.slices[column]
    return evidence.take(np.flatnonzero(slicing.codes == slicing.values.index(value)))
