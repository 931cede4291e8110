"""The lines of a report as every rendering shows them: numbers as text, and gains, where up is always good."""

from __future__ import annotations

from typing import NamedTuple

from tidegate.gate.rules.bound import rounded
from tidegate.records.report import Interval, Report, RuleResult, SliceResult
from tidegate.records.verdict import Verdict

ORDER = (Verdict.INVALID, Verdict.FAIL, Verdict.INCONCLUSIVE, Verdict.PASS)


class Line(NamedTuple):
    """One rule, or one slice of a rule. ``gain`` and ``bound`` are in the metric's unit, turned so that up is good.

    For a floor the gain is the distance of the candidate's own interval from the demanded value, and the bound is 0.
    """

    name: str
    test: str
    rows: int
    verdict: Verdict
    candidate: Interval
    champion: Interval | None
    gain: Interval
    bound: float
    reason: str


def rule_line(rule: RuleResult, rows: int) -> Line:
    """The line of a rule on all rows."""
    gain = _gain(rule, rule.candidate, rule.difference)
    return Line(
        rule.metric, asked(rule), rows, rule.verdict, rule.candidate, rule.champion, gain, _bound(rule, sliced=False), rule.reason
    )


def slice_line(rule: RuleResult, part: SliceResult) -> Line:
    """The line of one slice of a rule."""
    gain = _gain(rule, part.candidate, part.difference)
    bound = _bound(rule, sliced=True)
    return Line(
        f"{part.column} = {part.value}", "", part.rows, part.verdict, part.candidate, part.champion, gain, bound, part.reason
    )


def slice_lines(rule: RuleResult) -> list[Line]:
    """The slices of a rule, what stops the release first, then the worst gains."""
    lines = [slice_line(rule, part) for part in rule.slices]
    return sorted(
        lines, key=lambda line: (ORDER.index(line.verdict), line.gain.estimate if line.gain.estimate is not None else 0.0)
    )


def asked(rule: RuleResult) -> str:
    """A rule's demand in a few words."""
    if rule.test == "floor":
        return f"{'at least' if rule.better == 'higher' else 'at most'} {rule.value:g}"
    words = "better" if rule.test == "superior" else "not worse"
    return f"{words} by more than {rule.margin:g}" if rule.margin else words


def number(value: float | None) -> str:
    """Four significant digits, or a dash."""
    return "-" if value is None else rounded(value)


def signed(value: float | None) -> str:
    """Three significant digits with the sign, or a dash."""
    return "-" if value is None else rounded(value, 3, sign="+")


def spread(interval: Interval) -> str:
    """An interval's gain as ``+0.014 (+0.0135 to +0.0145)``."""
    if interval.estimate is None:
        return "-"
    if interval.low is None:
        return signed(interval.estimate)
    return f"{signed(interval.estimate)} ({signed(interval.low)} to {signed(interval.high)})"


def facts(report: Report) -> str:
    """How many rows, clusters, and at which confidence."""
    clusters = f" in {report.clusters:,} clusters" if report.clusters is not None else ""
    return f"{report.rows:,} rows{clusters}, {100 * report.confidence:g}% intervals"


def _gain(rule: RuleResult, candidate: Interval, difference: Interval | None) -> Interval:
    sign = 1 if rule.better == "higher" else -1
    if rule.test == "floor":
        value = rule.value or 0.0
        shifted = [None if end is None else sign * (end - value) for end in (candidate.estimate, candidate.low, candidate.high)]
    else:
        ends = difference or Interval(estimate=None, low=None, high=None)
        shifted = [None if end is None else sign * end for end in (ends.estimate, ends.low, ends.high)]
    estimate, low, high = shifted
    return Interval(estimate=estimate, low=low, high=high) if sign > 0 else Interval(estimate=estimate, low=high, high=low)


def _bound(rule: RuleResult, *, sliced: bool) -> float:
    if rule.test == "superior":
        return 0.0 if sliced else rule.margin
    return -rule.margin if rule.test == "not_worse" else 0.0
