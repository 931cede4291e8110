"""The report of one gate run, built from evidence and rules, and its bytes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
from msgspec.structs import replace

from tidegate import digest
from tidegate.errors import TidegateError
from tidegate.gate.advice import advise
from tidegate.gate.case import Case, History, Subject
from tidegate.gate.curves import draw_curves
from tidegate.gate.diffs import diff_predictions
from tidegate.gate.evidence import Evidence, Reading
from tidegate.gate.explore import explore
from tidegate.gate.metrics.support import support_of
from tidegate.gate.rules import decide_all
from tidegate.gate.rules.tips import tip_all
from tidegate.gate.shown import find_flips, find_sides, threshold_of
from tidegate.gate.streaming import Streamed
from tidegate.gate.wording import about, amount, noun_of
from tidegate.records.policy import CheckPolicy
from tidegate.records.report import SCHEMA, Change, Curve, Diffs, Flips, Problem, Report, RuleResult
from tidegate.records.verdict import Verdict, worst


@dataclass(frozen=True, slots=True, kw_only=True)
class Heading:
    """What a report is about, as people name it."""

    title: str
    candidate: str
    champion: str = ""
    snapshot: str = ""
    policy_digest: str = ""
    anchor: str = ""


@np.errstate(all="ignore")  # numbers near 1e100: what is not finite allows no verdict, and is no warning of a library
def build_report(
    reading: Reading,
    policy: CheckPolicy,
    heading: Heading,
    subject: Subject | None = None,
    history: History | None = None,
    streamed: Streamed | None = None,
) -> Report:
    """Judges every rule on what was read. Problems make it INVALID, whatever the rules say; without evidence none is judged.

    ``history`` says what changed in code, data and model, and how worn the rows are; what changed in the predictions is seen here.
    ``streamed``: the rules were judged while the rows went by; ``reading`` is its own.
    """
    diffs = history.diffs if history else None
    evidence = reading.evidence
    problems = list(reading.problems)
    rules = list(streamed.rules) if streamed else []
    if evidence is not None:
        case = Case(evidence=evidence, subject=subject)
        rules = decide_all(policy.rules, case, confidence=policy.confidence, seed=policy.seed)
        rules = tip_all(policy.rules, rules, evidence, confidence=policy.confidence, seed=policy.seed)
    problems += [
        rule.problem or Problem(code="rule-not-computable", what=rule.reason, fix="change the rule or the columns")
        for rule in rules
        if rule.verdict is Verdict.INVALID
    ]
    verdict = Verdict.INVALID if problems else worst([rule.verdict for rule in rules])
    flips, curves, moved = _pictures(evidence, policy) if evidence is not None and not reading.problems else (None, [], [])
    units = support_of(evidence).rows if evidence is not None and noun_of(policy.task) != "rows" else None
    clusters = evidence.cluster_count if evidence else streamed.clusters if streamed else None
    return Report(
        schema=SCHEMA,
        title=heading.title,
        verdict=verdict,
        sentence=_sentence(verdict, rules, problems, policy.task, amount(policy.task, reading.rows, units)),
        task=policy.task,
        candidate=heading.candidate,
        champion=heading.champion,
        rows=reading.rows,
        units=units,
        clusters=clusters,
        confidence=policy.confidence,
        seed=policy.seed,
        rules=rules,
        problems=problems,
        warnings=reading.warnings,
        snapshot=heading.snapshot,
        policy_digest=heading.policy_digest,
        anchor=heading.anchor,
        wear=history.wear if history else None,
        advice=advise(verdict, rules, rows=reading.rows, clusters=clusters, task=policy.task),
        flips=flips,
        curves=curves,
        explored=explore(evidence, policy) if evidence is not None and policy.explore and not problems else [],
        diffs=replace(diffs or Diffs(), predictions=moved) if diffs or moved else None,
    )


def _pictures(evidence: Evidence, policy: CheckPolicy) -> tuple[Flips | None, list[Curve], list[Change]]:
    """What a reader wants to see beside the verdict; none of it decides."""
    sides = find_sides(evidence, threshold_of(policy.rules, policy.task))
    flips = find_flips(evidence, sides) if sides else None
    return flips, draw_curves(evidence, sides), diff_predictions(evidence, sides, flips)


def refused(policy: CheckPolicy, heading: Heading, problems: list[Problem], history: History | None = None) -> Report:
    """The INVALID report of evidence that could not even be read."""
    return build_report(Reading(problems=problems), policy, heading, history=history)


def warn_of_loosening(reading: Reading, loosened: Sequence[str]) -> None:
    """Tells every way in which the policy asks for less than before."""
    for sentence in loosened:
        reading.warn(
            "policy-loosened", sentence, "let somebody approve it who did not change the policy, or take the change back"
        )


def as_problem(error: TidegateError) -> Problem:
    """An error as a reason for INVALID."""
    return Problem(code=error.code, what=error.what + (f": {error.why}" if error.why else ""), fix=error.fix)


def report_bytes(report: Report) -> bytes:
    """The report as canonical JSON: what is stored, hashed and printed by ``--json``."""
    return digest.canonical(report)


def parse_report(data: bytes) -> Report:
    """The report from its JSON; the inverse of ``report_bytes``."""
    return digest.parsed(data, Report)


def report_schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of a report; docs/reference/report.md says the same in words."""
    return msgspec.json.schema(Report)


def _sentence(verdict: Verdict, rules: list[RuleResult], problems: list[Problem], task: str, evidence: str) -> str:
    """Ship or not, and why, for a reader who is no statistician."""
    if verdict is Verdict.INVALID:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        return f"Do not ship: the evidence cannot be used: {_ended(problems[0].what.rstrip('.') + more)}"
    deciding = [rule for rule in rules if rule.verdict is verdict]
    if verdict is Verdict.PASS:
        all_of = "the rule holds" if len(rules) == 1 else f"all {len(rules)} rules hold"
        lead = next((rule for rule in rules if rule.test == "superior"), rules[0])
        return f"Ship: {all_of} on {evidence}. {lead.reason}"
    if verdict is Verdict.FAIL:
        failing = (
            f"{len(deciding)} of {len(rules)} rules {'fails' if len(deciding) == 1 else 'fail'}"
            if len(rules) > 1
            else "the rule fails"
        )
        return f"Do not ship: {failing} on {evidence}. {deciding[0].reason}"
    known = [(rule.more_rows, noun_of(task, rule.test)) for rule in deciding if rule.more_rows is not None]
    count, noun = max(known, default=(0, ""))
    need = f" About {about(count)} more {noun} would probably settle it." if known else ""
    return f"Do not ship yet: {evidence} are too few to tell.{need} {deciding[0].reason}"


def _ended(words: str) -> str:
    """A sentence with one mark at its end."""
    return words if words.endswith(("?", "!")) else words.rstrip(".") + "."
