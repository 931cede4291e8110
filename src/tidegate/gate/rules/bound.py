"""An interval against a bound: the verdict of one test on one set of rows, and the sentence that says it.

Everything is turned so that up is good: the *gain* is the candidate's advantage, or for a floor its own value. The bound
splits the line in two; the interval lies wholly on the good side (PASS), wholly on the other (FAIL), or across (INCONCLUSIVE).

    superior    PASS: low > margin      FAIL: high <= margin
    not_worse   PASS: low >= -margin    FAIL: high < -margin
    floor       PASS: low >= value      FAIL: high < value

A relative margin is a share of the champion's value, which is itself only known with an interval. So it is no fixed amount:
the contrast "difference plus or minus share times champion" gets an interval of its own and is held against 0.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from tidegate.gate.evidence import Evidence
from tidegate.gate.metrics import Measured, Metric, shortage
from tidegate.gate.metrics.support import Support
from tidegate.gate.wording import rounded
from tidegate.records.policy import Rule
from tidegate.records.report import Interval
from tidegate.records.verdict import Verdict
from tidegate.stats.contrast import shifted
from tidegate.stats.estimate import Estimate, tail_probability
from tidegate.stats.power import more_rows

_DIGITS = 10
NOTHING = Interval(estimate=None, low=None, high=None)
"""Where there is no number to tell."""


class Ask(NamedTuple):
    """What is asked of some rows: a test with its margin (of a difference; absolute, or a share of the champion) or value (of a floor)."""

    test: str
    margin: float
    value: float | None
    share: float | None = None


class Answer(NamedTuple):
    """The verdict on some rows, its sentence, the rows still missing, and the p-value of harm (None: cannot be tested)."""

    verdict: Verdict
    reason: str
    more_rows: int | None
    harm: float | None


def ask(rule: Rule) -> Ask:
    """What a rule asks of all rows."""
    return Ask(rule.test, rule.margin, rule.value, rule.relative_margin)


def ask_slice(rule: Rule) -> Ask:
    """What a rule asks of each slice: the same floor, or "not worse" by the rule's margin; after ``superior`` by nothing."""
    if rule.test == "floor":
        return ask(rule)
    return Ask("not_worse", rule.margin, None, rule.relative_margin) if rule.test == "not_worse" else Ask("not_worse", 0.0, None)


def answer(question: Ask, metric: Metric, measured: Measured, evidence: Evidence | Support, *, confidence: float) -> Answer:
    """Judges one test on one set of rows. Never PASS without an interval."""
    few, more = shortage(metric, evidence)
    if few:
        return Answer(Verdict.INCONCLUSIVE, f"{metric.name}: {few}", more, None)
    gap = f"{metric.name}: {measured.few}" if measured.few else undefined(question, metric, measured)
    if gap:
        return Answer(Verdict.INCONCLUSIVE, gap, None, 0.0 if _lost(measured) else None)
    gains, bound = _gains(question, metric, measured)
    if not all(math.isfinite(gain.low) and math.isfinite(gain.high) for gain in gains):
        return Answer(Verdict.INCONCLUSIVE, f"{metric.name}: these rows allow no interval", None, None)
    placed = [_placed(gain, bound, strict=question.test == "superior") for gain in gains]
    verdict = _agreed(placed)
    known = [more_rows(gain, bound, evidence.rows, confidence=confidence) for gain in gains]
    more = max((count for count in known if count is not None), default=None) if verdict is Verdict.INCONCLUSIVE else None
    harm = max(tail_probability(gain, bound, confidence) for gain in gains)
    reason = _sentence(question, metric, measured, verdict, confidence)
    if placed[0] is not verdict:
        ends = f"{_number(gains[-1].low)} to {_number(gains[-1].high)}"
        reason += f": the interval that allows for skewness reaches from {ends}, and a verdict must hold by both"
    return Answer(verdict, reason, more, harm)


def _lost(measured: Measured) -> bool:
    """Whether the champion has a value here and the candidate has none: it finds nothing any more, say. That is harm, not doubt."""
    champion = measured.champion
    return champion is not None and math.isfinite(champion.value) and not math.isfinite(measured.candidate.value)


def _placed(gain: Estimate, bound: float, *, strict: bool) -> Verdict:
    if gain.low > bound or (gain.low == bound and not strict):
        return Verdict.PASS
    if gain.high < bound or (gain.high == bound and strict):
        return Verdict.FAIL
    return Verdict.INCONCLUSIVE


def _agreed(verdicts: list[Verdict]) -> Verdict:
    """What all intervals say; where one of them says otherwise, the rows cannot tell."""
    return verdicts[0] if len(set(verdicts)) == 1 else Verdict.INCONCLUSIVE


def undefined(question: Ask, metric: Metric, measured: Measured) -> str:
    """Why the metric has no value on these rows; empty if it has."""
    if not math.isfinite(measured.candidate.value):
        return f"{metric.name} of the candidate is not defined on these rows: it divides by zero"
    if question.test != "floor" and (measured.difference is None or not math.isfinite(measured.difference.value)):
        return f"{metric.name} of the champion is not defined on these rows: it divides by zero"
    if measured.champion is not None and no_margin(question, measured):
        return f"{metric.name} of the champion is {_number(measured.champion.value)}: a share of a negative number is no margin, use margin"
    return ""


def no_margin(question: Ask, measured: Measured) -> bool:
    """Whether a relative margin is asked for, and the champion's value is negative, so that a share of it is no amount."""
    return question.share is not None and measured.champion is not None and measured.champion.value < 0


def allowed(question: Ask, measured: Measured) -> float:
    """The margin as an amount in the metric's unit; a relative one by the champion's estimated value."""
    if question.share is None or measured.champion is None or not math.isfinite(measured.champion.value):
        return question.margin
    return question.share * measured.champion.value


def interval(estimate: Estimate) -> Interval:
    """An estimate as the report keeps it."""
    return Interval(estimate=tidy(estimate.value), low=tidy(estimate.low), high=tidy(estimate.high))


def at_most(estimate: Estimate, limit: float) -> Verdict:
    """Where an interval lies that should end at or below ``limit``."""
    if estimate.high <= limit:
        return Verdict.PASS
    return Verdict.FAIL if estimate.low > limit else Verdict.INCONCLUSIVE


def tidy(value: float) -> float | None:
    """A number for the report: ten significant digits, so that the order of additions does not show; None if not finite."""
    return float(f"{value:.{_DIGITS}g}") + 0.0 if math.isfinite(value) else None


def _gains(question: Ask, metric: Metric, measured: Measured) -> tuple[list[Estimate], float]:
    """What is held against the bound: one interval, or two where the metric has a careful one."""
    if question.test == "floor":
        assert question.value is not None
        found = [measured.candidate, measured.careful_candidate]
        return [_turned(each, metric) for each in found if each is not None], metric.sign * question.value
    found = [_shifted(each, question, metric, measured) for each in (measured.difference, measured.careful_difference) if each]
    gains = [_turned(each, metric) for each in found]
    if question.share is not None:
        return gains, 0.0
    return gains, question.margin if question.test == "superior" else -question.margin


def _shifted(difference: Estimate, question: Ask, metric: Metric, measured: Measured) -> Estimate:
    """The difference itself, or moved by a share of the champion: down for ``superior``, up for ``not_worse``."""
    if question.share is None or measured.champion is None:
        return difference
    share = question.share * metric.sign * (-1 if question.test == "superior" else 1)
    return shifted(difference, measured.candidate, measured.champion, share)


def _turned(estimate: Estimate, metric: Metric) -> Estimate:
    return estimate if metric.sign > 0 else estimate.negated()


def _sentence(question: Ask, metric: Metric, measured: Measured, verdict: Verdict, confidence: float) -> str:
    ours, percent = measured.candidate, f"{100 * confidence:g}%"
    if question.test == "floor":
        limit = f"{'at least' if metric.sign > 0 else 'at most'} {question.value:g}"
        ends = {
            Verdict.PASS: f"it is shown to be {limit}",
            Verdict.FAIL: f"it is shown not to be {limit}",
            Verdict.INCONCLUSIVE: f"these rows cannot tell whether it is {limit}",
        }
        return f"{metric.name} is {_number(ours.value)}; {ends[verdict]} ({percent} interval {_number(ours.low)} to {_number(ours.high)})"
    assert measured.champion is not None
    assert measured.difference is not None
    gain = _turned(measured.difference, metric)
    moved = "the same" if gain.value == 0 else f"{'better' if gain.value > 0 else 'worse'} by {_number(abs(gain.value))}"
    facts = (
        f"{metric.name} is {_number(ours.value)} against {_number(measured.champion.value)}: {moved} "
        f"({percent} interval of the gain: {_number(gain.low)} to {_number(gain.high)})"
    )
    return f"{facts}; {_conclusion(question, gain, verdict)}"


def _conclusion(question: Ask, gain: Estimate, verdict: Verdict) -> str:
    amount = "" if question.share is None else f"{100 * question.share:g}% of the champion's value"
    margin = amount or (f"{question.margin:g}" if question.margin else "")
    if question.test == "superior":
        more = f" by more than {margin}" if margin else ""
        if verdict is Verdict.PASS:
            return f"it is better{more}"
        if verdict is Verdict.FAIL:
            return "it is worse" if gain.high < 0 else f"it is not better{more}"
        return f"these rows cannot tell whether it is better{more}"
    if verdict is Verdict.PASS:
        return f"it is not worse{f' by more than {margin}' if margin else ''}"
    if verdict is Verdict.FAIL:
        return f"it is worse{f' by more than the {margin} allowed' if margin else ''}"
    return f"these rows cannot tell whether it is worse{f' by more than the {margin} allowed' if margin else ''}"


def _number(value: float) -> str:
    return rounded(value) if abs(value) >= 0.001 or value == 0 else f"{value:.2g}"
