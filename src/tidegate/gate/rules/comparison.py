"""``superior``, ``not_worse`` and ``floor``: a metric's interval against a bound, on all rows and on slices."""

from __future__ import annotations

from tidegate.gate.evidence import Evidence
from tidegate.gate.metrics import Metric, parse_metric, shortage
from tidegate.gate.rules.bound import answer, ask, interval, tidy, undefined
from tidegate.gate.rules.slices import generator, judge_slices
from tidegate.records.policy import Rule
from tidegate.records.report import Interval, RuleResult
from tidegate.records.verdict import Verdict, worst


def compare(rule: Rule, evidence: Evidence, *, confidence: float, seed: int) -> RuleResult:
    """Judges one rule on all rows and on its slices. The same arguments give the same result."""
    metric = parse_metric(rule.metric, evidence.task)
    if metric.needs_probability and evidence.hard:
        why = f"{metric.name} needs probabilities, but a column holds only 0 and 1: use accuracy, f1 or brier, or give probabilities"
        return _refused(rule, metric, why)
    measured = metric.measure(evidence, confidence, generator(seed, rule.metric))
    enough = not shortage(metric, evidence)[0]
    gap = undefined(ask(rule), metric, measured)
    if gap and enough:
        return _refused(rule, metric, gap)
    found = answer(ask(rule), metric, measured, evidence, confidence=confidence)
    verdicts, reasons, missing = [found.verdict], [found.reason], [found.more_rows]
    sliced = judge_slices(rule, metric, evidence, confidence=confidence, seed=seed) if rule.slices else None
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
        margin=rule.margin,
        value=rule.value,
        verdict=verdict,
        reason=". ".join(reasons) + ".",
        method=measured.method,
        candidate=interval(measured.candidate),
        champion=interval(measured.champion) if measured.champion else None,
        difference=interval(measured.difference) if measured.difference else None,
        more_rows=max(known) if known and verdict is Verdict.INCONCLUSIVE else None,
        slices=sliced.results if sliced else [],
        details={key: tidy(value) for key, value in measured.details.items()},
    )


def _refused(rule: Rule, metric: Metric, reason: str) -> RuleResult:
    nothing = Interval(estimate=None, low=None, high=None)
    return RuleResult(
        metric=metric.name,
        test=rule.test,
        better=metric.better,
        margin=rule.margin,
        value=rule.value,
        verdict=Verdict.INVALID,
        reason=reason + ".",
        method="",
        candidate=nothing,
        champion=None,
        difference=None,
    )
