"""The lines of a report as every rendering shows them: numbers as text, and gains, where up is always good."""

from __future__ import annotations

from typing import NamedTuple

from tidegate.gate.policy import PAIRED, SHARES
from tidegate.gate.rules.bound import NOTHING
from tidegate.gate.wording import amount, rounded
from tidegate.records.report import Change, Interval, Report, RuleResult, SliceResult
from tidegate.records.verdict import Verdict

ORDER = (Verdict.INVALID, Verdict.FAIL, Verdict.INCONCLUSIVE, Verdict.PASS)
_ASKED = {
    "golden": "every one right",
    "schema": "callers need no change",
    "leakage": "no row that it was trained on",
}
_UNITS = {"latency": " ms", "size": " MB"}


class Line(NamedTuple):
    """One rule, or one slice of a rule. ``gain`` and ``bound`` are in the metric's unit, turned so that up is good.

    Where no difference is asked about (a floor, a share, a size) the gain is the distance of the candidate's own interval from
    the demanded value, and the bound is 0. ``asked`` is empty for a slice.
    """

    name: str
    asked: str
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
    bound = _bound(rule, sliced=False)
    count = len(rule.slices)
    also = f"{count} slices not proven worse" if rule.slice_mode == "none_worse" else f"on {count} slices too"
    words = asked(rule) + (f", {also}" if count > 1 and rule.test != "gap" else "")  # a gap lies between the slices
    return Line(named(rule), words, rows, rule.verdict, rule.candidate, rule.champion, gain, bound, rule.reason)


def slice_line(rule: RuleResult, part: SliceResult) -> Line:
    """The line of one slice of a rule. A gap lies between slices, so no slice has a gain by itself."""
    gain = NOTHING if rule.test == "gap" else _gain(rule, part.candidate, part.difference)
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


def rules_in_order(report: Report) -> list[RuleResult]:
    """The rules, what cannot be judged first, then what fails."""
    return sorted(report.rules, key=lambda rule: ORDER.index(rule.verdict))


def named(rule: RuleResult) -> str:
    """What a rule is about: its metric, or the kind of the test; and whether it was judged against the anchor."""
    name = rule.metric or rule.test.replace("_", " ")
    name += " between slices" if rule.test == "gap" else ""
    return name + (f" (against the {rule.against})" if rule.against else "")


def asked(rule: RuleResult) -> str:
    """A rule's demand in a few words."""
    if rule.test in PAIRED:
        words = "better" if rule.test == "superior" else "not worse"
        return f"{words} by more than {rounded(rule.margin)}" if rule.margin else words
    if rule.test == "freshness":
        allowed = rule.details.get("allowed_days")
        return f"at most {allowed:g} days old" if allowed is not None else "recent rows"
    if rule.test == "gap" and rule.value is None:
        return f"wider than the champion's by at most {rounded(rule.margin)}" if rule.margin else "no wider than the champion's"
    if rule.value is None:
        return _ASKED.get(rule.test, rule.test)
    limit = "at least" if rule.better == "higher" and rule.test != "gap" else "at most"
    return f"{limit} {_demanded(rule, rule.value)}"


def asked_of_slices(rule: RuleResult) -> str:
    """A rule's demand on each slice: after "better" on all rows it is "not worse" there."""
    if rule.slice_mode == "none_worse":
        return "none proven worse"
    return "not worse" if rule.test == "superior" else asked(rule)


def _demanded(rule: RuleResult, value: float) -> str:
    if rule.relative:
        return f"{value:g} times the champion's"
    if rule.test in SHARES:
        return f"{rounded(100 * value)}% of the rows"
    if rule.test == "gap":
        return f"{value:g} apart"
    return f"{value:g}{_UNITS.get(rule.test, '')}"


def number(value: float | None) -> str:
    """Four significant digits, or a dash."""
    return "-" if value is None else rounded(value)


def signed(value: float | None) -> str:
    """Three significant digits with the sign, or a dash."""
    return "-" if value is None else rounded(value, 3, sign="+")


def shown_gain(interval: Interval) -> str:
    """An interval's gain as ``+0.014 (+0.0135 to +0.0145)``."""
    if interval.estimate is None:
        return "-"
    if interval.low is None or interval.low == interval.high:
        return signed(interval.estimate)
    return f"{signed(interval.estimate)} ({signed(interval.low)} to {signed(interval.high)})"


def needed(rule: RuleResult, line: Line) -> str:
    """What was found, as an interval, and what would have to be shown instead; empty where there is no interval."""
    if _compares(rule):
        found, demand = line.gain, f"lie above {signed(line.bound) if line.bound else '0'}"
        what = f"its gain is {signed(found.estimate)}"
        ends = f" ({signed(found.low)} to {signed(found.high)})"
    else:
        found, demand = line.candidate, f"be {asked(rule)}"
        what, ends = f"it is {number(found.estimate)}", f" ({number(found.low)} to {number(found.high)})"
    if found.estimate is None or (rule.value is None and not _compares(rule)):
        return ""
    return f"{what}{ends if found.low is not None and found.low != found.high else ''} and must be shown to {demand}"


def facts(report: Report) -> str:
    """How many rows (queries, items), clusters, and at which confidence."""
    clusters = f" in {report.clusters:,} clusters" if report.clusters is not None else ""
    return f"{amount(report.task, report.rows, report.units)}{clusters}, {100 * report.confidence:g}% intervals"


def side_words(report: Report) -> str:
    """How many rows changed sides, in one sentence; empty without a champion."""
    if report.flips is None:
        return ""
    what = report.flips.asked or "right"
    return f"Only the candidate is {what} on {report.flips.gained:,} rows, only the champion on {report.flips.lost:,}."


def diffs_of(report: Report) -> list[tuple[str, list[Change]]]:
    """What changed, under the headings of a reader; empty where nothing was compared."""
    found = report.diffs
    if found is None:
        return []
    return [("Code", found.code), ("Data", found.data), ("Model", found.model), ("Predictions", found.predictions)]


def _gain(rule: RuleResult, candidate: Interval, difference: Interval | None) -> Interval:
    sign = 1 if rule.better == "higher" and rule.test != "gap" else -1
    if _compares(rule):
        found, zero = difference, 0.0
    elif rule.value is not None:
        found, zero = _multiple(rule) if rule.relative else candidate, rule.value
    else:
        found, zero = None, 0.0
    ends = (found.estimate, found.low, found.high) if found else (None, None, None)
    estimate, low, high = (None if end is None else sign * (end - zero) + 0.0 for end in ends)
    return Interval(estimate=estimate, low=low, high=high) if sign > 0 else Interval(estimate=estimate, low=high, high=low)


def _multiple(rule: RuleResult) -> Interval:
    """The candidate's figure as a multiple of the champion's."""
    ratio, low, high = (rule.details.get(name) for name in ("ratio", "ratio_low", "ratio_high"))
    theirs = rule.champion.estimate if rule.champion else None
    if ratio is None and rule.candidate.estimate is not None and theirs:
        ratio = rule.candidate.estimate / theirs
    return Interval(estimate=ratio, low=low, high=high)


def _bound(rule: RuleResult, *, sliced: bool) -> float:
    if rule.test == "superior":
        return 0.0 if sliced else rule.margin
    return -rule.margin if _compares(rule) and rule.margin else 0.0


def _compares(rule: RuleResult) -> bool:
    """Whether the difference from the champion is asked about; of a gap without a value it is by how much it is wider."""
    return rule.test in PAIRED or (rule.test == "gap" and rule.value is None)
