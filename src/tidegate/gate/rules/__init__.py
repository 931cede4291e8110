"""Rules: one file per kind of test. ``decide`` gives a rule and a case to the one that knows it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace as replaced

from msgspec.structs import replace

from tidegate.errors import TidegateError
from tidegate.gate.case import Case
from tidegate.gate.policy import asks_anchor
from tidegate.gate.rules.comparison import compare
from tidegate.gate.rules.coverage import judge_coverage
from tidegate.gate.rules.flips import judge_flips
from tidegate.gate.rules.freshness import judge_freshness
from tidegate.gate.rules.gap import judge_gap
from tidegate.gate.rules.golden import judge_golden
from tidegate.gate.rules.latency import judge_latency
from tidegate.gate.rules.leakage import judge_leakage
from tidegate.gate.rules.outcome import invalid
from tidegate.gate.rules.schema import judge_schema
from tidegate.gate.rules.size import judge_size
from tidegate.records.policy import Rule
from tidegate.records.report import RuleResult

Decide = Callable[[Rule, Case, float, int], RuleResult]
"""A rule, a case, the confidence of intervals and the seed to the rule's result."""

ANCHOR = "anchor"


def _comparison(rule: Rule, case: Case, confidence: float, seed: int) -> RuleResult:
    return compare(rule, case.evidence, confidence=confidence, seed=seed)


_KINDS: dict[str, Decide] = {
    "superior": _comparison,
    "not_worse": _comparison,
    "floor": _comparison,
    "golden": judge_golden,
    "flips": judge_flips,
    "gap": judge_gap,
    "latency": judge_latency,
    "size": judge_size,
    "schema": judge_schema,
    "leakage": judge_leakage,
    "freshness": judge_freshness,
    "label_coverage": judge_coverage,
}


def decide(rule: Rule, case: Case, *, confidence: float, seed: int) -> RuleResult:
    """Judges one rule. What cannot be read or computed makes it INVALID, with the error's code.

    The same arguments give the same result; only ``latency`` measures anew.
    """
    try:
        return _KINDS[rule.test](rule, case, confidence, seed)
    except TidegateError as error:
        return invalid(rule, error.code, error.what + (f": {error.why}" if error.why else ""), error.fix)
    except (ArithmeticError, ValueError, TypeError, LookupError) as error:  # numbers that nobody thought of
        what = f"the rule cannot be computed on these rows: {type(error).__name__}: {error}"
        return invalid(
            rule, "rule-failed", what, "look at the rows for odd numbers, and report it: the gate should have said more"
        )


def decide_all(rules: list[Rule], case: Case, *, confidence: float, seed: int) -> list[RuleResult]:
    """Judges all rules, and what may lose a little to the champion once more against the anchor, if there is one.

    Without that, each of several promotions could lose a little less than the margin, and together they would lose any amount.
    """
    found = [decide(rule, case, confidence=confidence, seed=seed) for rule in rules]
    if case.evidence.anchor is None:
        return found
    against = replaced(case, evidence=replaced(case.evidence, champion=case.evidence.anchor, anchor=None))
    again = [decide(rule, against, confidence=confidence, seed=seed) for rule in rules if asks_anchor(rule)]
    return found + [replace(result, against=ANCHOR, reason=_told(result.reason)) for result in again]


def _told(reason: str) -> str:
    return f"Against the version that was last proven better: {reason}"
