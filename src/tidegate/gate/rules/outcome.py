"""The result of a rule that compares no metric: its figures, and what went wrong."""

from __future__ import annotations

import math
from typing import Any

from tidegate.gate.case import Case, Subject
from tidegate.gate.rules.bound import NOTHING, tidy
from tidegate.gate.wording import capital
from tidegate.records.policy import Rule
from tidegate.records.report import Interval, Problem, RuleResult
from tidegate.records.verdict import Verdict

NAMES = {
    "golden": "golden rows",
    "flips": "flips",
    "latency": "latency",
    "size": "size",
    "schema": "schema",
    "leakage": "leakage",
    "freshness": "age",
    "label_coverage": "label coverage",
}
"""What stands where a comparing rule has its metric."""


def exactly(value: float) -> Interval:
    """A number that was counted, not estimated: it has no interval."""
    return Interval(estimate=tidy(value), low=None, high=None)


def outcome(rule: Rule, verdict: Verdict, reason: str, **figures: Any) -> RuleResult:
    """A result with the fields of ``RuleResult`` that ``figures`` names; ``details`` are rounded, and left out where not finite."""
    details: dict[str, float] = figures.pop("details", {})
    fields: dict[str, Any] = {
        "metric": NAMES.get(rule.test, rule.test), "better": "lower", "method": "", "candidate": NOTHING, "champion": None,
        "difference": None,
    }  # fmt: skip
    return RuleResult(
        test=rule.test,
        margin=0.0,
        value=rule.value,
        relative=rule.relative,
        verdict=verdict,
        reason=reason,
        details={name: tidy(value) for name, value in details.items() if math.isfinite(value)},
        **(fields | figures),
    )


def invalid(rule: Rule, code: str, what: str, fix: str, **figures: Any) -> RuleResult:
    """The evidence cannot be used, says this rule."""
    problem = Problem(code=code, what=what, fix=fix)
    return outcome(rule, Verdict.INVALID, f"{capital(what)}.", problem=problem, **figures)


def subject_of(case: Case) -> Subject:
    """The models and snapshots of a case; a policy for files is refused before it comes to this."""
    assert case.subject is not None
    return case.subject
