"""``golden``: rows that the candidate must have right, every one. They are chosen, not drawn, so there is no interval: only a count."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tidegate.gate.case import Case
from tidegate.gate.evidence import Evidence
from tidegate.gate.right import right_rows
from tidegate.gate.rules.outcome import exactly, invalid, outcome
from tidegate.gate.shown import show_row
from tidegate.records.policy import Rule
from tidegate.records.report import RuleResult
from tidegate.records.verdict import Verdict
from tidegate.stats.estimate import Floats

SHOWN = 20


def judge_golden(rule: Rule, case: Case, confidence: float, seed: int) -> RuleResult:
    """Every marked row must be right: the decision is the label, or the number lies within ``tolerance`` of it."""
    del confidence, seed
    evidence = case.evidence
    rows = np.flatnonzero(evidence.marks[rule.rows])
    if rows.size == 0:
        fix = "mark the rows that must never be wrong with 1, or take the rule out"
        return invalid(rule, "no-golden-rows", f"no row is marked in {rule.rows!r}", fix)
    marked = evidence.take(rows)
    wrong = rows[~_right(rule, marked, marked.candidate)]
    details = {"marked": float(rows.size), "wrong": float(wrong.size)}
    before = ""
    champion = None
    if marked.champion is not None:
        theirs = ~_right(rule, marked, marked.champion)
        details |= {"champion_wrong": float(theirs.sum())}
        champion = exactly(1 - float(theirs.mean()))
        before = f" (the champion has {int(theirs.sum()):,} of them wrong)"
    whole = f"{rows.size:,} golden rows" if rows.size > 1 else "1 golden row"
    if wrong.size:
        verdict, reason = Verdict.FAIL, f"{wrong.size:,} of {whole} {'is' if wrong.size == 1 else 'are'} wrong{before}."
        reason += f" The first {SHOWN} are shown." if wrong.size > SHOWN else ""
    else:
        verdict, reason = (
            Verdict.PASS,
            f"All {whole} are right{before}." if rows.size > 1 else f"The one golden row is right{before}.",
        )
    return outcome(
        rule,
        verdict,
        reason,
        better="higher",
        method="every marked row is looked at; none may be wrong",
        candidate=exactly(1 - wrong.size / rows.size),
        champion=champion,
        details=details,
        shown=[show_row(evidence, int(row), _note(rule, evidence, int(row))) for row in wrong[:SHOWN]],
    )


def _right(rule: Rule, evidence: Evidence, predictions: Floats) -> NDArray[np.bool_]:
    return right_rows(predictions, evidence.labels, evidence.task, tolerance=rule.tolerance)


def _note(rule: Rule, evidence: Evidence, row: int) -> str:
    if evidence.task != "regression":
        return "wrong"
    return f"off by {abs(evidence.candidate[row] - evidence.labels[row]):.4g}, allowed is {rule.tolerance:g}"
