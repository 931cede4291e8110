"""Rules: one file per kind of test. ``decide`` gives a rule and a case to the one that knows it."""

from __future__ import annotations

from collections.abc import Callable

from tidegate.gate.case import Case
from tidegate.gate.rules.comparison import compare
from tidegate.records.policy import Rule
from tidegate.records.report import RuleResult

Decide = Callable[[Rule, Case, float, int], RuleResult]
"""A rule, a case, the confidence of intervals and the seed to the rule's result."""


def _comparison(rule: Rule, case: Case, confidence: float, seed: int) -> RuleResult:
    return compare(rule, case.evidence, confidence=confidence, seed=seed)


_KINDS: dict[str, Decide] = {
    "superior": _comparison,
    "not_worse": _comparison,
    "floor": _comparison,
}


def decide(rule: Rule, case: Case, *, confidence: float, seed: int) -> RuleResult:
    """Judges one rule. The same arguments give the same result."""
    return _KINDS[rule.test](rule, case, confidence, seed)
