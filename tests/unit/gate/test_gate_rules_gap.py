"""The gap between slices: against a value, against the champion's, too few rows, clusters, and how often it is wrong."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tidegate.errors import UsageError
from tidegate.gate import check, parse_check_policy
from tidegate.gate.case import Case
from tidegate.gate.evidence import Evidence, Slicing
from tidegate.gate.rules import decide, decide_all
from tidegate.records.policy import Rule
from tidegate.records.report import RuleResult
from tidegate.records.verdict import Verdict


def evidence(
    found: tuple[float, ...], before: tuple[float, ...] | None = None, n: int = 4000, seed: int = 0, **more: Any
) -> Evidence:
    """Rows of a slice column ``region`` with as many values as there are shares of positives ``found`` in each."""
    rng = np.random.default_rng(seed)
    regions = rng.integers(0, len(found), n)
    labels = (rng.random(n) < 0.5).astype(float)

    def decisions(shares: tuple[float, ...]) -> Any:
        right = rng.random(n) < np.where(labels > 0, np.array(shares)[regions], 0.8)
        return np.where(right, labels, 1 - labels)

    return Evidence(
        task="binary",
        labels=labels,
        candidate=decisions(found),
        champion=None if before is None else decisions(before),
        slices={"region": Slicing(regions, [f"r{place}" for place in range(len(found))])},
        **more,
    )


def judge(rows: Evidence, *, metric: str = "recall", **keys: Any) -> RuleResult:
    """The rule ``gap`` on rows."""
    rule = Rule(test="gap", metric=metric, slices=["region"], **keys)
    return decide(rule, Case(evidence=rows), confidence=0.95, seed=0)


@pytest.mark.parametrize(
    ("shares", "verdict"),
    [
        ((0.8, 0.8, 0.8), Verdict.PASS),
        ((0.8, 0.8, 0.5), Verdict.FAIL),
        ((0.8, 0.8, 0.7), Verdict.INCONCLUSIVE),
    ],
)
def test_equal_opportunity_against_a_value(shares: tuple[float, ...], verdict: Verdict) -> None:
    found = judge(evidence(shares), value=0.1)
    assert found.verdict is verdict
    assert found.candidate.estimate is not None
    assert found.candidate.low is not None
    assert found.candidate.high is not None
    assert found.candidate.low <= found.candidate.estimate <= found.candidate.high
    values = [part.candidate.estimate or 0.0 for part in found.slices]
    assert found.candidate.estimate == pytest.approx(max(values) - min(values))
    assert found.details["gap_region"] == found.candidate.estimate
    assert found.better == "lower"
    assert "between region = r" in found.reason


def test_demographic_parity_and_any_other_metric() -> None:
    rows = evidence((0.9, 0.5))
    for metric, verdict in (
        ("positive_rate", Verdict.FAIL),
        ("specificity", Verdict.PASS),
        ("f1", Verdict.FAIL),
        ("brier", Verdict.FAIL),
    ):
        assert judge(rows, metric=metric, value=0.1).verdict is verdict


@pytest.mark.parametrize(
    ("shares", "before", "margin", "verdict"),
    [
        ((0.8, 0.6), (0.8, 0.6), 0.1, Verdict.PASS),
        ((0.9, 0.5), (0.8, 0.8), 0.1, Verdict.FAIL),
        ((0.8, 0.8), (0.9, 0.5), 0.5, Verdict.PASS),
        ((0.8, 0.7), (0.8, 0.75), 0.02, Verdict.INCONCLUSIVE),
    ],
)
def test_against_the_gap_of_the_champion(
    shares: tuple[float, ...], before: tuple[float, ...], margin: float, verdict: Verdict
) -> None:
    found = judge(evidence(shares, before), margin=margin)
    assert found.verdict is verdict
    assert found.champion is not None
    assert found.difference is not None
    assert found.difference.low is not None
    assert found.difference.estimate is not None
    assert found.difference.high is not None
    assert found.difference.low <= found.difference.estimate <= found.difference.high
    assert "of the champion by" in found.reason


def test_slices_with_too_few_rows_are_named() -> None:
    rows = evidence((0.8, 0.8, 0.8), n=600)
    codes = rows.slices["region"].codes.copy()
    codes[:12] = 2
    codes[12:] %= 2
    small = Evidence(
        task="binary",
        labels=rows.labels,
        candidate=rows.candidate,
        slices={"region": Slicing(codes, ["r0", "r1", "tiny"])},
    )
    found = judge(small, value=0.3)
    assert found.verdict is Verdict.INCONCLUSIVE
    assert found.reason.startswith("1 of 3 slices are too small to be compared: region = tiny (12 rows are too few")
    assert [part.verdict for part in found.slices if part.value == "tiny"] == [Verdict.INCONCLUSIVE]
    assert judge(evidence((0.8,)), value=0.3).verdict is Verdict.INCONCLUSIVE


def test_clusters_that_reach_into_several_slices_widen_the_gap() -> None:
    rng = np.random.default_rng(1)
    rows = evidence((0.8, 0.75))
    apart = rows.slices["region"].codes * 1000 + rng.integers(0, 100, rows.rows)
    across = rng.integers(0, 200, rows.rows)
    widths = []
    for clusters in (apart, across):
        grouped = Evidence(task="binary", labels=rows.labels, candidate=rows.candidate, slices=rows.slices, clusters=clusters)
        found = judge(grouped, value=0.1).candidate
        assert found.high is not None
        assert found.estimate is not None
        widths.append(found.high - found.estimate)
    assert widths[1] > 1.2 * widths[0]


def test_several_columns_are_judged_one_by_one() -> None:
    rows = evidence((0.8, 0.5))
    even = Slicing(np.arange(rows.rows) % 2, ["even", "odd"])
    both = Evidence(task="binary", labels=rows.labels, candidate=rows.candidate, slices={**rows.slices, "parity": even})
    rule = Rule(test="gap", metric="recall", slices=["parity", "region"], value=0.1)
    found = decide(rule, Case(evidence=both), confidence=0.95, seed=0)
    assert found.verdict is Verdict.FAIL
    assert set(found.details) == {"gap_parity", "gap_region"}
    assert "region" in found.reason
    assert "parity" not in found.reason


def test_what_cannot_be_measured_is_invalid() -> None:
    found = judge(evidence((0.8, 0.8)), metric="recall")
    assert found.verdict is Verdict.INVALID
    assert "give a value" in found.reason
    flat = evidence((0.8, 0.8), hard=True)
    assert judge(flat, metric="log_loss", value=0.1).verdict is Verdict.INVALID


def test_in_a_policy() -> None:
    rng = np.random.default_rng(2)
    n = 3000
    labels = rng.integers(0, 2, n)
    frame = {"y": labels, "new": np.where(rng.random(n) < 0.8, labels, 1 - labels), "sex": rng.choice(["f", "m"], n)}
    columns = {"task": "binary", "label": "y", "candidate": "new"}
    rules = [{"test": "gap", "metric": "recall", "slices": ["sex"], "value": 0.15}]
    report = check(frame, {**columns, "rules": rules})
    assert report.verdict is Verdict.PASS
    assert report.rules[0].test == "gap"
    for extra, words in (({}, "champion"), ({"value": 0.1, "margin": 0.1}, "a value and a margin")):
        with pytest.raises(UsageError, match=words):
            parse_check_policy({**columns, "rules": [{"test": "gap", "metric": "recall", "slices": ["sex"], **extra}]})


@pytest.mark.slow
@pytest.mark.parametrize("shares", [(0.8, 0.7), (0.8, 0.7, 0.7, 0.7), (0.8, 0.8, 0.7, 0.7)])
def test_pass_is_wrong_at_most_as_often_as_alpha(shares: tuple[float, ...]) -> None:
    """The true gap is 0.1, just above the bound; and the gap of the champion is none, just above the margin."""
    trials = 400
    wrong = np.zeros(2)
    for seed in range(trials):
        rows = evidence(shares, (0.75,) * len(shares), n=1500, seed=seed)
        wrong += [judge(rows, **keys).verdict is Verdict.PASS for keys in ({"value": 0.0999}, {"margin": 0.0999})]
    assert (wrong / trials).max() <= 0.025 + 3 * np.sqrt(0.025 * 0.975 / trials)


def test_a_gap_may_not_grow_step_by_step_either() -> None:
    rows = evidence((0.8, 0.6), (0.8, 0.65))
    asked = Rule(test="gap", metric="recall", slices=["region"], margin=0.15)
    alone = decide_all([asked], Case(evidence=rows), confidence=0.95, seed=0)
    assert [each.verdict for each in alone] == [Verdict.PASS]
    anchored = Case(evidence=replace(rows, anchor=rows.labels))
    found = decide_all([asked], anchored, confidence=0.95, seed=0)
    assert [(each.against, each.verdict) for each in found] == [("", Verdict.PASS), ("anchor", Verdict.FAIL)]
    assert found[1].reason.startswith("Against the version that was last proven better: recall differs by")
    bounded = Rule(test="gap", metric="recall", slices=["region"], value=0.3)
    assert len(decide_all([bounded], anchored, confidence=0.95, seed=0)) == 1
