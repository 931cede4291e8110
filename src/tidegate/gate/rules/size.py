"""``size``: the bytes of the candidate's package, in megabytes (1 MB is 1,000,000 bytes) or as a ratio to the champion's."""

from __future__ import annotations

from tidegate.gate.case import Case
from tidegate.gate.rules.outcome import exactly, outcome, subject_of
from tidegate.records.policy import Rule
from tidegate.records.report import RuleResult
from tidegate.records.verdict import Verdict

MEGABYTE = 1_000_000


def judge_size(rule: Rule, case: Case, confidence: float, seed: int) -> RuleResult:
    """At most ``value`` megabytes, or ``value`` times the champion's size. Files are counted as they are stored."""
    del confidence, seed
    subject = subject_of(case)
    assert rule.value is not None
    ours = subject.candidate.manifest.size
    theirs = subject.champion.manifest.size if subject.champion else None
    figures = {
        "method": "bytes of the package's files, by the manifest",
        "candidate": exactly(ours / MEGABYTE),
        "champion": None if theirs is None else exactly(theirs / MEGABYTE),
        "details": {"candidate_bytes": float(ours)} | ({} if theirs is None else {"champion_bytes": float(theirs)}),
    }
    if not rule.relative:
        verdict = Verdict.PASS if ours <= rule.value * MEGABYTE else Verdict.FAIL
        return outcome(rule, verdict, f"The package has {_megabytes(ours)}; allowed are {rule.value:g} MB.", **figures)
    if theirs is None:
        return outcome(rule, Verdict.PASS, "There is no champion yet, so there is no size to keep to.", **figures)
    verdict = Verdict.PASS if ours <= rule.value * theirs else Verdict.FAIL
    ratio = f" ({ours / theirs:.3g} times)" if theirs else ""
    reason = f"The package has {_megabytes(ours)} against {_megabytes(theirs)}{ratio}; allowed are {rule.value:g} times."
    return outcome(rule, verdict, reason, **figures)


def _megabytes(size: int) -> str:
    return f"{size / MEGABYTE:.3g} MB" if size >= MEGABYTE / 1000 else f"{size:,} bytes"
