"""An interval against a bound: the verdict of one test on one set of rows, and the sentence that says it.

Everything is turned so that up is good: the *gain* is the candidate's advantage, or for a floor its own value. The bound
splits the line in two; the interval lies wholly on the good side (PASS), wholly on the other (FAIL), or across (INCONCLUSIVE).

    superior    PASS: low > margin      FAIL: high <= margin
    not_worse   PASS: low >= -margin    FAIL: high < -margin
    floor       PASS: low >= value      FAIL: high < value
"""

from __future__ import annotations

import math
from typing import NamedTuple

from tidegate.gate.evidence import Evidence
from tidegate.gate.metrics import Measured, Metric, shortage
from tidegate.records.policy import Rule
from tidegate.records.report import Interval
from tidegate.records.verdict import Verdict
from tidegate.stats.estimate import Estimate, tail_probability
from tidegate.stats.power import more_rows

_DIGITS = 10


class Ask(NamedTuple):
    """What is asked of some rows: a test with its margin (of a difference) or value (of a floor)."""

    test: str
    margin: float
    value: float | None


class Answer(NamedTuple):
    """The verdict on some rows, its sentence, the rows still missing, and the p-value of harm (None: cannot be tested)."""

    verdict: Verdict
    reason: str
    more_rows: int | None
    harm: float | None


def ask(rule: Rule) -> Ask:
    """What a rule asks of all rows."""
    return Ask(rule.test, rule.margin, rule.value)


def ask_slice(rule: Rule) -> Ask:
    """What a rule asks of each slice: the same floor, or "not worse" by the rule's margin; after ``superior`` by nothing."""
    if rule.test == "floor":
        return ask(rule)
    return Ask("not_worse", rule.margin if rule.test == "not_worse" else 0.0, None)


def answer(question: Ask, metric: Metric, measured: Measured, evidence: Evidence, *, confidence: float) -> Answer:
    """Judges one test on one set of rows. Never PASS without an interval."""
    few, more = shortage(metric, evidence)
    if few:
        return Answer(Verdict.INCONCLUSIVE, f"{metric.name}: {few}", more, None)
    gap = undefined(question, metric, measured)
    if gap:
        return Answer(Verdict.INCONCLUSIVE, gap, None, None)
    gain, bound = _gain(question, metric, measured)
    if not (math.isfinite(gain.low) and math.isfinite(gain.high)):
        return Answer(Verdict.INCONCLUSIVE, f"{metric.name}: these rows allow no interval", None, None)
    strict = question.test == "superior"
    if gain.low > bound or (gain.low == bound and not strict):
        verdict = Verdict.PASS
    elif gain.high < bound or (gain.high == bound and strict):
        verdict = Verdict.FAIL
    else:
        verdict = Verdict.INCONCLUSIVE
    more = more_rows(gain, bound, evidence.rows, confidence=confidence) if verdict is Verdict.INCONCLUSIVE else None
    return Answer(
        verdict, _sentence(question, metric, measured, verdict, confidence), more, tail_probability(gain, bound, confidence)
    )


def undefined(question: Ask, metric: Metric, measured: Measured) -> str:
    """Why the metric has no value on these rows; empty if it has."""
    if not math.isfinite(measured.candidate.value):
        return f"{metric.name} of the candidate is not defined on these rows: it divides by zero"
    if question.test != "floor" and (measured.difference is None or not math.isfinite(measured.difference.value)):
        return f"{metric.name} of the champion is not defined on these rows: it divides by zero"
    return ""


def interval(estimate: Estimate) -> Interval:
    """An estimate as the report keeps it."""
    return Interval(estimate=tidy(estimate.value), low=tidy(estimate.low), high=tidy(estimate.high))


def tidy(value: float) -> float | None:
    """A number for the report: ten significant digits, so that the order of additions does not show; None if not finite."""
    return float(f"{value:.{_DIGITS}g}") + 0.0 if math.isfinite(value) else None


def _gain(question: Ask, metric: Metric, measured: Measured) -> tuple[Estimate, float]:
    if question.test == "floor":
        assert question.value is not None
        return _turned(measured.candidate, metric), metric.sign * question.value
    assert measured.difference is not None
    return _turned(measured.difference, metric), question.margin if question.test == "superior" else -question.margin


def _turned(estimate: Estimate, metric: Metric) -> Estimate:
    return estimate if metric.sign > 0 else estimate.negated()


def _sentence(question: Ask, metric: Metric, measured: Measured, verdict: Verdict, confidence: float) -> str:
    ours, percent = measured.candidate, f"{100 * confidence:g}%"
    if question.test == "floor":
        limit = f"{'at least' if metric.sign > 0 else 'at most'} {question.value:g}"
        ends = {
            Verdict.PASS: f"reaches {limit}",
            Verdict.FAIL: f"misses {limit}",
            Verdict.INCONCLUSIVE: f"may or may not reach {limit}",
        }
        return f"{metric.name} is {_number(ours.value)}: it {ends[verdict]} ({percent} interval {_number(ours.low)} to {_number(ours.high)})"
    assert measured.champion is not None
    gain, _ = _gain(question, metric, measured)
    moved = "the same" if gain.value == 0 else f"{'better' if gain.value > 0 else 'worse'} by {_number(abs(gain.value))}"
    facts = (
        f"{metric.name} is {_number(ours.value)} against {_number(measured.champion.value)}: {moved} "
        f"({percent} interval of the gain: {_number(gain.low)} to {_number(gain.high)})"
    )
    return f"{facts}; {_conclusion(question, gain, verdict)}"


def _conclusion(question: Ask, gain: Estimate, verdict: Verdict) -> str:
    margin = question.margin
    if question.test == "superior":
        more = f" by more than {margin:g}" if margin else ""
        if verdict is Verdict.PASS:
            return f"it is better{more}"
        if verdict is Verdict.FAIL:
            return "it is worse" if gain.high < 0 else f"it is not better{more}"
        return f"these rows cannot tell whether it is better{more}"
    if verdict is Verdict.PASS:
        return f"it is not worse{f' by more than {margin:g}' if margin else ''}"
    if verdict is Verdict.FAIL:
        return f"it is worse{f' by more than the {margin:g} allowed' if margin else ''}"
    return f"these rows cannot tell whether it is worse{f' by more than the {margin:g} allowed' if margin else ''}"


def rounded(value: float, digits: int = 4, *, sign: str = "") -> str:
    """A number with so many significant digits; a large one with all its digits before the point, never as 1.8e+05."""
    large = 10.0**digits <= abs(value) < 1e12
    return f"{value:{sign},.0f}" if large else f"{value + 0.0:{sign}.{digits}g}"


def _number(value: float) -> str:
    return rounded(value) if abs(value) >= 0.001 or value == 0 else f"{value:.2g}"
