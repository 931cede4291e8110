"""The report of one gate run, built from evidence and rules, and its bytes."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from tidegate import digest
from tidegate.errors import TidegateError
from tidegate.gate.case import Case, Subject
from tidegate.gate.evidence import Reading
from tidegate.gate.rules import decide
from tidegate.records.policy import CheckPolicy
from tidegate.records.report import SCHEMA, Problem, Report, RuleResult
from tidegate.records.verdict import Verdict, worst


@dataclass(frozen=True, slots=True, kw_only=True)
class Heading:
    """What a report is about, as people name it."""

    title: str
    candidate: str
    champion: str = ""
    snapshot: str = ""
    policy_digest: str = ""


def build_report(reading: Reading, policy: CheckPolicy, heading: Heading, subject: Subject | None = None) -> Report:
    """Judges every rule on what was read. Problems make it INVALID; then no rule is judged."""
    evidence = reading.evidence
    problems = list(reading.problems)
    rules: list[RuleResult] = []
    if evidence is not None and not problems:
        case = Case(evidence=evidence, subject=subject)
        rules = [decide(rule, case, confidence=policy.confidence, seed=policy.seed) for rule in policy.rules]
        problems += [
            Problem(code="rule-not-computable", what=rule.reason, fix="change the rule or the columns")
            for rule in rules
            if rule.verdict is Verdict.INVALID
        ]
    verdict = Verdict.INVALID if problems else worst([rule.verdict for rule in rules])
    return Report(
        schema=SCHEMA,
        title=heading.title,
        verdict=verdict,
        sentence=_sentence(verdict, rules, problems, reading.rows),
        task=policy.task,
        candidate=heading.candidate,
        champion=heading.champion,
        rows=reading.rows,
        clusters=evidence.cluster_count if evidence else None,
        confidence=policy.confidence,
        seed=policy.seed,
        rules=rules,
        problems=problems,
        warnings=reading.warnings,
        snapshot=heading.snapshot,
        policy_digest=heading.policy_digest,
    )


def refused(policy: CheckPolicy, heading: Heading, problems: list[Problem]) -> Report:
    """The INVALID report of evidence that could not even be read."""
    return build_report(Reading(problems=problems), policy, heading)


def as_problem(error: TidegateError) -> Problem:
    """An error as a reason for INVALID."""
    return Problem(code=error.code, what=error.what + (f": {error.why}" if error.why else ""), fix=error.fix)


def report_bytes(report: Report) -> bytes:
    """The report as canonical JSON: what is stored, hashed and printed by ``--json``."""
    return digest.canonical(report)


def parse_report(data: bytes) -> Report:
    """The report from its JSON; the inverse of ``report_bytes``."""
    return msgspec.json.decode(data, type=Report)


def _sentence(verdict: Verdict, rules: list[RuleResult], problems: list[Problem], rows: int) -> str:
    """Ship or not, and why, for a reader who is no statistician."""
    if verdict is Verdict.INVALID:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        return f"Do not ship: the evidence cannot be used: {problems[0].what.rstrip('.')}{more}."
    counted = f"{rows:,} rows"
    deciding = [rule for rule in rules if rule.verdict is verdict]
    if verdict is Verdict.PASS:
        all_of = "the rule holds" if len(rules) == 1 else f"all {len(rules)} rules hold"
        lead = next((rule for rule in rules if rule.test == "superior"), rules[0])
        return f"Ship: {all_of} on {counted}. {lead.reason}"
    if verdict is Verdict.FAIL:
        return f"Do not ship: {len(deciding)} of {len(rules)} rules {'fails' if len(deciding) == 1 else 'fail'} on {counted}. {deciding[0].reason}"
    known = [rule.more_rows for rule in deciding if rule.more_rows is not None]
    need = f" About {_about(max(known))} more rows would probably settle it." if known else ""
    return f"Do not ship yet: {counted} are too few to tell.{need} {deciding[0].reason}"


def _about(count: int) -> str:
    """Two significant digits: the estimate is no better than that."""
    return f"{int(float(f'{count:.2g}')):,}"
