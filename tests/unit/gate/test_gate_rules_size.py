"""The size of a package, in megabytes or beside the champion's."""

from __future__ import annotations

import pytest
from gate_subjects import case, rule, version

from tidegate.clock import Clock
from tidegate.data import Datasets
from tidegate.errors import UsageError
from tidegate.gate.policy import check_rule
from tidegate.gate.rules import decide
from tidegate.records.report import RuleResult
from tidegate.records.verdict import Verdict
from tidegate.store import Store


def _judged(store: Store, clock: Clock, size: int, champion: int | None, value: float, *, relative: bool = False) -> RuleResult:
    datasets = Datasets(store.bucket, store.catalog, clock)
    incumbent = version(1, size=champion) if champion is not None else None
    asked = rule("size", value=value, relative=relative)
    return decide(asked, case(store, datasets, version(size=size), incumbent), confidence=0.95, seed=0)


@pytest.mark.parametrize(("size", "verdict"), [(2_500_000, Verdict.PASS), (2_500_001, Verdict.FAIL)])
def test_a_bound_in_megabytes(store: Store, clock: Clock, size: int, verdict: Verdict) -> None:
    found = _judged(store, clock, size, 1000, 2.5)
    assert (found.verdict, found.metric, found.relative) == (verdict, "size", False)
    assert found.details == {"candidate_bytes": size, "champion_bytes": 1000}
    assert "2.5 MB" in found.reason


@pytest.mark.parametrize(("size", "verdict"), [(1500, Verdict.PASS), (1501, Verdict.FAIL)])
def test_a_bound_by_the_champion(store: Store, clock: Clock, size: int, verdict: Verdict) -> None:
    found = _judged(store, clock, size, 1000, 1.5, relative=True)
    assert (found.verdict, found.relative) == (verdict, True)
    assert "1.5 times" in found.reason
    assert _judged(store, clock, 1, 0, 1.5, relative=True).verdict is Verdict.FAIL


def test_without_a_champion_nothing_is_to_be_kept(store: Store, clock: Clock) -> None:
    found = _judged(store, clock, 10**9, None, 1.5, relative=True)
    assert (found.verdict, found.champion) == (Verdict.PASS, None)
    assert "no champion yet" in found.reason
    assert _judged(store, clock, 10**9, None, 1.5).verdict is Verdict.FAIL


@pytest.mark.parametrize("value", [0.0, -1.0])
def test_a_bound_is_above_zero(value: float) -> None:
    with pytest.raises(UsageError, match="above 0"):
        check_rule(rule("size", value=value), "binary", "rules[0]")
