"""``label_coverage``: enough of the rows have a label. They are counted, not estimated, so there is no interval."""

from __future__ import annotations

from math import ceil

from tidegate.gate.case import Case
from tidegate.gate.evidence.labelling import Coverage
from tidegate.gate.rules.outcome import exactly, outcome
from tidegate.gate.wording import listed
from tidegate.records.policy import Rule
from tidegate.records.report import RuleResult, SliceResult
from tidegate.records.verdict import Verdict, worst


def judge_coverage(rule: Rule, case: Case, confidence: float, seed: int) -> RuleResult:
    """At least a share ``value`` of all rows has a label, and of each slice. More labels may come, so less is INCONCLUSIVE."""
    del confidence, seed
    found = case.evidence.labelling
    assert found is not None
    assert rule.value is not None
    slices = [
        _judged(rule.value, column, value, counted) for column in rule.slices for value, counted in found.slices.get(column, [])
    ]
    few = [part for part in slices if part.verdict is not Verdict.PASS]
    rows, labelled = found.whole
    missing = _missing(rule.value, found.whole)
    reason = f"{labelled:,} of {rows:,} rows have a label ({_share(found.whole):.1%}); at least {rule.value:.1%} are asked for"
    if missing:
        reason += f": label {missing:,} more"
    if few:
        named = listed([f"{part.column} = {part.value}" for part in few])
        reason += f". {len(few)} of {len(slices)} slices {'has' if len(few) == 1 else 'have'} too few labels: {named}"
    return outcome(
        rule,
        worst([Verdict.INCONCLUSIVE if missing else Verdict.PASS, *(part.verdict for part in slices)]),
        reason + ".",
        better="higher",
        method="labels are counted",
        candidate=exactly(_share(found.whole)),
        details={"labelled": float(labelled), "rows": float(rows), "labels_missing": float(missing)},
        slices=slices,
    )


def _judged(value: float, column: str, name: str, counted: Coverage) -> SliceResult:
    missing = _missing(value, counted)
    reason = f"{counted.labelled:,} of {counted.rows:,} rows have a label" + (f": label {missing:,} more" if missing else "")
    return SliceResult(
        column=column,
        value=name,
        rows=counted.rows,
        verdict=Verdict.INCONCLUSIVE if missing else Verdict.PASS,
        candidate=exactly(_share(counted)),
        champion=None,
        difference=None,
        reason=reason,
    )


def _share(counted: Coverage) -> float:
    return counted.labelled / counted.rows if counted.rows else 0.0


def _missing(value: float, counted: Coverage) -> int:
    """How many labels more it takes; the product is rounded first, as 0.9 x 100 may be a hair above 90."""
    return max(ceil(round(value * counted.rows, 6)) - counted.labelled, 0)
