"""Many slices at once: the two modes hold what they promise."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from gate_rows import policy, rule
from hypothesis import given, settings
from hypothesis import strategies as st

from tidegate.gate.case import Case
from tidegate.gate.evidence import Evidence, Slicing
from tidegate.gate.rules import decide
from tidegate.records.report import RuleResult
from tidegate.records.verdict import Verdict
from tidegate.stats.multiplicity import holm


def _evidence(tables: list[tuple[int, int]], n: int) -> Evidence:
    """Slices of ``n`` rows each, of which so many are right by the candidate alone and by the champion alone."""
    new = np.concatenate([np.repeat([1.0, 0.0, 1.0], [gained, lost, n - gained - lost]) for gained, lost in tables])
    old = np.concatenate([np.repeat([0.0, 1.0, 1.0], [gained, lost, n - gained - lost]) for gained, lost in tables])
    y = np.arange(new.size) % 2.0
    slicing = Slicing(np.repeat(np.arange(len(tables)), n), [f"s{place}" for place in range(len(tables))])
    return Evidence("binary", y, np.where(new == 1, y, 1 - y), np.where(old == 1, y, 1 - y), slices={"g": slicing})


def _judged(evidence: Evidence, mode: str, margin: float = 0.05) -> RuleResult:
    asked = policy(rule("accuracy", "not_worse", margin=margin, slices=["g"], slice_mode=mode)).rules[0]
    return decide(asked, Case(evidence=evidence), confidence=0.95, seed=0)


TABLES = st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)), min_size=1, max_size=6)


@settings(max_examples=40)
@given(TABLES)
def test_every_slice_must_be_proven_by_itself(tables: list[tuple[int, int]]) -> None:
    n = 100
    result = _judged(_evidence(tables, n), "all_not_worse")
    alone = [
        decide(
            policy(rule("accuracy", "not_worse", margin=0.05)).rules[0],
            Case(evidence=_evidence([table], n)),
            confidence=0.95,
            seed=0,
        )
        for table in tables
    ]
    assert [part.verdict for part in result.slices] == [each.verdict for each in alone]
    if result.verdict is Verdict.PASS:
        assert all(each.verdict is Verdict.PASS for each in alone)
    if any(each.verdict is Verdict.FAIL for each in alone):
        assert result.verdict is Verdict.FAIL


@settings(max_examples=40)
@given(TABLES)
def test_holm_never_calls_more_slices_worse_than_one_by_one(tables: list[tuple[int, int]]) -> None:
    each = [_judged(_evidence([table], 100), "none_worse") for table in tables]
    together = _judged(_evidence(tables, 100), "none_worse")
    called = [part.verdict is Verdict.FAIL for part in together.slices]
    alone = [part.slices[0].verdict is Verdict.FAIL for part in each]
    assert all(one for one, both in zip(alone, called, strict=True) if both)
    overall = _judged(_evidence(tables, 100), "none_worse", margin=0.99)
    assert overall.verdict is Verdict.PASS


@given(st.lists(st.floats(0, 1), min_size=2, max_size=12), st.floats(0, 1))
def test_holm_rejects_more_where_a_p_value_falls(p_values: list[float], smaller: float) -> None:
    before = holm(p_values)
    after = holm([min(p_values[0], smaller), *p_values[1:]])
    assert (after <= before + 1e-12).all()


@pytest.mark.parametrize("slices", [2, 6])
def test_one_slice_on_its_bound_passes_as_rarely_as_if_it_stood_alone(slices: int) -> None:
    rng = np.random.default_rng(slices)
    trials, n, margin, alpha = 400, 300, 0.05, 0.025
    passed = 0
    for _ in range(trials):
        gained, lost, _ = rng.multinomial(n, [0.05, 0.10, 0.85])  # worse by exactly the margin
        tables = [(int(gained), int(lost)), *[(60, 0)] * (slices - 1)]
        passed += _judged(_evidence(tables, n), "all_not_worse", margin).verdict is Verdict.PASS
    assert passed / trials <= alpha + 3 * np.sqrt(alpha * (1 - alpha) / trials)


def test_holm_keeps_the_chance_of_one_false_call_below_five_percent() -> None:
    rng = np.random.default_rng(1)
    trials, called = 300, 0
    for _ in range(trials):
        drawn = rng.multinomial(200, [0.1, 0.1, 0.8], size=8)
        called += _judged(_evidence([(int(a), int(b)) for a, b, _ in drawn], 200), "none_worse", 0.0).verdict is Verdict.FAIL
    assert called / trials <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / trials)


def test_a_candidate_that_finds_nothing_in_a_slice_is_harm_and_not_a_small_slice() -> None:
    rng = np.random.default_rng(0)
    y = np.arange(2000) % 2.0
    old = np.where(rng.random(2000) < 0.85, y, 1 - y)
    new = np.where(rng.random(2000) < 0.95, y, 1 - y)
    new[:500] = 0
    slicing = Slicing(np.repeat([0, 1], [500, 1500]), ["a", "b"])
    asked = policy(rule("precision", "not_worse", slices=["g"], slice_mode="none_worse")).rules[0]
    evidence = Evidence("binary", y, new, old, slices={"g": slicing})
    found = decide(asked, Case(evidence=evidence), confidence=0.95, seed=0)
    assert [part.verdict for part in found.slices] == [Verdict.FAIL, Verdict.PASS]
    assert found.verdict is Verdict.FAIL


def test_slices_that_are_only_not_proven_worse_are_told_so() -> None:
    rows = _evidence([(3, 3)], 4000)
    codes = np.repeat([0, 1], [3980, 20])
    found = _judged(replace(rows, slices={"g": Slicing(codes, ["many", "tiny"])}), "none_worse")
    assert (found.verdict, found.slice_mode) == (Verdict.PASS, "none_worse")
    assert "None of 2 slices is proven worse" in found.reason
    assert [(part.value, part.verdict) for part in found.slices] == [("many", Verdict.PASS), ("tiny", Verdict.INCONCLUSIVE)]
    few = replace(_evidence([(40, 38)], 400), slices={"g": Slicing(np.repeat([0, 1], [398, 2]), ["many", "tiny"])})
    bills = [_judged(few, mode, margin=0.02).more_rows for mode in ("none_worse", "all_not_worse")]
    assert bills[0] is not None
    assert bills[1] is not None
    assert bills[0] < 28 * 400 / 2 <= bills[1]  # what the tiny slice lacks is no bill of the milder rule
