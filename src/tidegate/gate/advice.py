"""What would change the verdict, in plain sentences.

Never that a margin or a threshold be loosened: the gain that was seen and the bound it must clear are told instead.
"""

from __future__ import annotations

from tidegate.gate.metrics.metric import MIN_CLUSTERS
from tidegate.gate.render.lines import Line, named, needed, rule_line, shown_gain, signed, slice_lines
from tidegate.gate.wording import about, capital, listed, noun_of, rounded
from tidegate.records.report import RuleResult
from tidegate.records.verdict import Verdict

MOST = 12
_NAMED = 3
_WRONG_LABELS = 0.033
"""Of ten much used test sets at least this share of the labels is wrong (Northcutt, Athalye & Mueller, NeurIPS Datasets 2021)."""


def advise(verdict: Verdict, rules: list[RuleResult], *, rows: int, clusters: int | None, task: str = "") -> list[str]:
    """At most twelve sentences, the most telling first."""
    said: list[str] = []
    if verdict is Verdict.INVALID:
        said.append("Mend what is wrong with the evidence and judge again: nothing was concluded about the candidate.")
    if verdict in {Verdict.FAIL, Verdict.INCONCLUSIVE}:
        said += [
            sentence
            for rule in rules
            if rule.verdict is Verdict.FAIL
            for sentence in _failed(rule, rows, noun_of(task, rule.test))
        ]
        said += [
            sentence
            for rule in rules
            if rule.verdict is Verdict.INCONCLUSIVE
            for sentence in _open(rule, rows, noun_of(task, rule.test))
        ]
        if clusters is not None and clusters < MIN_CLUSTERS:
            said.append(
                f"Collect {noun_of(task)} of at least {MIN_CLUSTERS - clusters} more clusters: more {noun_of(task)} of the same {clusters} add next to nothing."
            )
    if verdict is Verdict.PASS:
        said += _closest(rules, rows)
    tipping = _tipping([rule for rule in rules if rule.verdict is verdict], rows)
    return [*list(dict.fromkeys(said))[: MOST - len(tipping)], *tipping]


def _failed(rule: RuleResult, rows: int, noun: str) -> list[str]:
    stopped = [each for each in slice_lines(rule) if each.verdict is Verdict.FAIL]
    if stopped:
        first = stopped[0]
        bound = signed(first.bound) if first.bound else "0"
        there = (
            f" On {first.name} its gain is {shown_gain(first.gain)}, the bound is {bound}." if first.gain.low is not None else ""
        )
        return [
            f"{named(rule)} is stopped by {_listed(stopped, noun)}.{there} Look first at what the candidate gets wrong there."
        ]
    if rule.shown:
        keys = ", ".join(row.key for row in rule.shown[:_NAMED]) + (" and others" if len(rule.shown) > _NAMED else "")
        return [f"{named(rule)}: {f'get {keys} right' if rule.test == 'golden' else f'mend {keys}'}."]
    found = needed(rule, rule_line(rule, rows))
    if not found:
        return [f"{named(rule)}: {rule.reason.rstrip('.')}."]
    return [f"{named(rule)} fails: {found}. More {noun} will not change that; another candidate may."]


def _open(rule: RuleResult, rows: int, noun: str) -> list[str]:
    unsettled = [each for each in _must_hold(rule) if each.verdict is Verdict.INCONCLUSIVE]
    few = f"Collect about {about(rule.more_rows)} more {noun} like these" if rule.more_rows else ""
    if unsettled:
        said = few or f"Collect more {noun} of those slices"
        return [f"{said}: {named(rule)} is open on {_listed(unsettled, noun)}. {capital(noun)} of these slices alone would do."]
    found = needed(rule, rule_line(rule, rows))
    if not found:
        return [f"{few}: {rule.reason.rstrip('.')}." if few else f"{named(rule)}: {rule.reason.rstrip('.')}."]
    return [f"{few}: they would probably settle {named(rule)}; {found}." if few else f"{named(rule)} is open: {found}."]


def _must_hold(rule: RuleResult) -> list[Line]:
    """The slices that must themselves be shown to hold: not those that only must not be proven worse."""
    return [] if rule.slice_mode == "none_worse" else slice_lines(rule)


def _listed(lines: list[Line], noun: str) -> str:
    return listed([f"{line.name} ({line.rows:,} {noun})" for line in lines], _NAMED)


def _closest(rules: list[RuleResult], rows: int) -> list[str]:
    """The rule whose interval clears its bound by the least of its own width."""
    room: list[tuple[float, Line, RuleResult]] = []
    for rule in rules:
        for line in (rule_line(rule, rows), *_must_hold(rule)):
            gain = line.gain
            if gain.low is not None and gain.high is not None and gain.high > gain.low and gain.low >= line.bound:
                room.append(((gain.low - line.bound) / (gain.high - gain.low), line, rule))
    if not room:
        return []
    _, line, rule = min(room, key=lambda item: item[0])
    where = "" if line.asked else f" on {line.name}"
    return [f"The closest call is {named(rule)}{where}: {needed(rule, line).replace(' must be ', ' had to be ')}."]


def _tipping(rules: list[RuleResult], rows: int) -> list[str]:
    """How many wrong labels it takes, beside how many are usual; the rules that tip first."""
    found = sorted((rule for rule in rules if rule.tipping is not None), key=lambda rule: rule.tipping or 0)
    if not found or not rows:
        return []
    counts = [f"on {named(rule)} if {rule.tipping:,} were ({rounded(100 * (rule.tipping or 0) / rows, 2)}%)" for rule in found]
    said = f"Of {rows:,} labels some may be wrong: the verdict would change {', '.join(counts[:_NAMED])}."
    if (found[0].tipping or 0) / rows < _WRONG_LABELS:
        return [f"{said} In well-known test sets 3% and more are: check the labels of the rows that changed sides first."]
    return [f"{said} In well-known test sets about 3% are."]
