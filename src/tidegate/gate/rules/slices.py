"""A rule on the values of its slice columns.

``all_not_worse``: every slice must itself be proven. This is an intersection-union test, so no correction is due: the rule
passes only if all do (Berger, Technometrics 24, 1982). ``none_worse``: no slice may be proven worse; many are looked at,
so the p-values of harm are Holm's. A slice too small to test cannot be proven worse there, and says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from msgspec.structs import replace

from tidegate.gate.metrics import Metric
from tidegate.gate.rules.bound import Answer, answer, ask_slice, interval
from tidegate.gate.rules.parts import SlicePart
from tidegate.gate.wording import listed
from tidegate.records.policy import Rule
from tidegate.records.report import SliceResult
from tidegate.records.verdict import Verdict, worst
from tidegate.stats.multiplicity import holm


class Sliced(NamedTuple):
    """The outcome over all slices of a rule: the verdict, its sentence, rows still missing over the whole set, the slices."""

    verdict: Verdict
    reason: str
    more_rows: int | None
    results: list[SliceResult]


def judge_slices(rule: Rule, metric: Metric, parts: Sequence[SlicePart], rows: int, *, confidence: float) -> Sliced:
    """Judges every value of the rule's slice columns and folds them by the rule's mode. ``rows``: of the whole set."""
    results: list[SliceResult] = []
    answers: list[Answer] = []
    for column, value, (measured, support) in parts:
        found = answer(ask_slice(rule), metric, measured, support, confidence=confidence)
        answers.append(found)
        results.append(
            SliceResult(
                column=column,
                value=value,
                rows=support.rows,
                verdict=found.verdict,
                candidate=interval(measured.candidate),
                champion=interval(measured.champion) if measured.champion else None,
                difference=interval(measured.difference) if measured.difference else None,
                reason=found.reason,
            )
        )
    missing: list[int | None] = []
    if rule.slice_mode == "none_worse":
        results = _none_worse(results, answers, confidence)
        verdict = Verdict.FAIL if any(result.verdict is Verdict.FAIL for result in results) else Verdict.PASS
    else:
        verdict = worst([result.verdict for result in results])
        missing = [_over_all(found, result, rows) for found, result in zip(answers, results, strict=True)]
    return Sliced(verdict, _reason(rule, verdict, results), _most(missing), results)


def _none_worse(results: list[SliceResult], answers: list[Answer], confidence: float) -> list[SliceResult]:
    tested = [place for place, found in enumerate(answers) if found.harm is not None]
    adjusted = dict(zip(tested, holm([answers[place].harm or 0.0 for place in tested]), strict=True))
    judged: list[SliceResult] = []
    for place, result in enumerate(results):
        if place not in adjusted:
            judged.append(replace(result, verdict=Verdict.INCONCLUSIVE, reason=f"{result.reason}; too small to be proven worse"))
        elif adjusted[place] <= 1 - confidence:
            judged.append(
                replace(result, verdict=Verdict.FAIL, reason=f"{result.reason}; proven worse (Holm p = {adjusted[place]:.2g})")
            )
        else:
            judged.append(
                replace(
                    result, verdict=Verdict.PASS, reason=f"{result.reason}; not proven worse (Holm p = {adjusted[place]:.2g})"
                )
            )
    return judged


def _over_all(found: Answer, result: SliceResult, rows: int) -> int | None:
    """Rows missing in a slice, as rows of the whole evaluation set."""
    if found.more_rows is None or result.verdict is not Verdict.INCONCLUSIVE or result.rows == 0:
        return None
    return -(-found.more_rows * rows // result.rows)


def _most(missing: list[int | None]) -> int | None:
    known = [count for count in missing if count is not None]
    return max(known) if known else None


def _reason(rule: Rule, verdict: Verdict, results: list[SliceResult]) -> str:
    count = len(results)
    if verdict is Verdict.PASS and rule.slice_mode == "none_worse":
        return f"None of {count} slices is proven worse" if count > 1 else "Its one slice is not proven worse"
    if verdict is Verdict.PASS:
        return f"All {count} slices hold" if count > 1 else "Its one slice holds"
    bad = [result for result in results if result.verdict is verdict]
    bad.sort(key=lambda result: -_size(result))
    named = listed([f"{result.column} = {result.value}" for result in bad])
    verb = "worse than allowed" if verdict is Verdict.FAIL else "not settled"
    return f"{len(bad)} of {count} slices {'is' if len(bad) == 1 else 'are'} {verb}: {named}"


def _size(result: SliceResult) -> float:
    return abs(result.difference.estimate or 0.0) if result.difference else 0.0
