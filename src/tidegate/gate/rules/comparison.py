"""``superior``, ``not_worse`` and ``floor``: a metric's interval against a bound, on all rows and on slices."""

from __future__ import annotations

from collections.abc import Sequence

from tidegate.gate.evidence import Evidence
from tidegate.gate.metrics import Measured, Metric, parse_metric, shortage
from tidegate.gate.rules.bound import NOTHING, allowed, answer, ask, interval, no_margin, tidy, undefined
from tidegate.gate.rules.parts import Part, SlicePart, measure_slices, measure_whole
from tidegate.gate.rules.slices import judge_slices
from tidegate.records.policy import Rule
from tidegate.records.report import Problem, RuleResult
from tidegate.records.verdict import Verdict, worst

NOT_COMPUTABLE = "rule-not-computable"
"""The code of a rule whose metric has no value on these rows."""


def compare(rule: Rule, evidence: Evidence, *, confidence: float, seed: int) -> RuleResult:
    """Judges the metric that a rule names, on all rows and on its slices. The same arguments give the same result."""
    return judge_metric(rule, parse_metric(rule.metric, evidence.task, rule.costs), evidence, confidence=confidence, seed=seed)


def judge_metric(rule: Rule, metric: Metric, evidence: Evidence, *, confidence: float, seed: int) -> RuleResult:
    """Judges ``metric`` as ``rule`` asks, whatever metric the rule itself names."""
    why = refusal(metric, hard=evidence.hard, said=metric.refuses(evidence) if metric.refuses else "")
    if why:
        return refused(rule, metric, why)
    whole = measure_whole(metric, evidence, rule.metric, confidence=confidence, seed=seed)
    slices = measure_slices(metric, evidence, rule.slices, rule.metric, confidence=confidence, seed=seed)
    return judge_parts(rule, metric, whole, slices, confidence=confidence)


def refusal(metric: Metric, *, hard: bool, said: str) -> str:
    """Why a metric cannot be computed on some rows; empty: it can. ``hard``, ``said``: what the evidence and the metric say of them."""
    if metric.needs_probability and hard:
        return f"{metric.name} needs probabilities, but a column holds only decisions: use accuracy, f1 or brier, or give probabilities"
    return f"{metric.name} {said}" if said else ""


def judge_parts(rule: Rule, metric: Metric, whole: Part, slices: Sequence[SlicePart], *, confidence: float) -> RuleResult:
    """Judges a metric that was measured on all rows and on the rule's slices."""
    measured, support = whole
    enough = not shortage(metric, support)[0]
    question = ask(rule)
    gap = undefined(question, metric, measured)
    if gap and enough:
        code = "relative-margin-undefined" if no_margin(question, measured) else NOT_COMPUTABLE
        return refused(rule, metric, gap, code)
    found = answer(question, metric, measured, support, confidence=confidence)
    verdicts, reasons, missing = [found.verdict], [found.reason], [found.more_rows]
    sliced = judge_slices(rule, metric, slices, support.rows, confidence=confidence) if rule.slices else None
    if sliced:
        verdicts.append(sliced.verdict)
        reasons.append(sliced.reason)
        missing.append(sliced.more_rows)
    verdict = worst(verdicts)
    if sliced and verdict is not found.verdict:
        reasons = [reasons[1], f"On all rows {reasons[0]}"]  # what decides is told first
    known = [count for count in missing if count is not None]
    return RuleResult(
        metric=metric.name,
        test=rule.test,
        better=metric.better,
        margin=tidy(allowed(question, measured)) or 0.0,
        value=rule.value,
        verdict=verdict,
        reason=". ".join(reasons) + ".",
        method=measured.method,
        candidate=interval(measured.candidate),
        champion=interval(measured.champion) if measured.champion else None,
        difference=interval(measured.difference) if measured.difference else None,
        more_rows=max(known) if known and verdict is Verdict.INCONCLUSIVE else None,
        slices=sliced.results if sliced else [],
        details=_details(rule, measured),
        slice_mode=rule.slice_mode,
    )


def _details(rule: Rule, measured: Measured) -> dict[str, float | None]:
    details = {key: tidy(value) for key, value in measured.details.items()}
    return details if rule.relative_margin is None else details | {"relative_margin": rule.relative_margin}


def refused(rule: Rule, metric: Metric, reason: str, code: str = NOT_COMPUTABLE) -> RuleResult:
    """The result of a rule that cannot be computed."""
    return RuleResult(
        metric=metric.name,
        test=rule.test,
        better=metric.better,
        margin=rule.margin,
        value=rule.value,
        verdict=Verdict.INVALID,
        reason=reason + ".",
        method="",
        candidate=NOTHING,
        champion=None,
        difference=None,
        problem=Problem(code=code, what=reason + ".", fix="change the rule or the columns"),
    )
