"""The label tipping point: exact for accuracy, and elsewhere a number of relabelled rows that does it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gate_rows import binary_rows, policy, rule

from tidegate.gate import check
from tidegate.gate.case import Case
from tidegate.gate.evidence import read_evidence
from tidegate.gate.rules import decide
from tidegate.gate.rules.tips import with_tipping
from tidegate.gate.tipping import MAX_ROWS
from tidegate.records.verdict import Verdict
from tidegate.stats import proportions


def _table(gained: int, lost: int, agree: int) -> dict[str, Any]:
    """Rows of which so many are right by the candidate alone, by the champion alone, and by both."""
    new = np.repeat([1, 0, 1], [gained, lost, agree])
    old = np.repeat([0, 1, 1], [gained, lost, agree])
    y = np.arange(gained + lost + agree) % 2
    return {"y": y, "new": np.where(new == 1, y, 1 - y), "old": np.where(old == 1, y, 1 - y)}


@pytest.mark.parametrize(("gained", "lost", "n"), [(40, 10, 300), (60, 20, 200), (25, 3, 1000), (90, 5, 120)])
def test_it_is_exact_for_accuracy(gained: int, lost: int, n: int) -> None:
    found = check(_table(gained, lost, n - gained - lost), policy(rule("accuracy"))).rules[0]
    assert found.verdict is Verdict.PASS
    k = next(k for k in range(n) if proportions.tango(gained - k, lost + k, n, confidence=0.95).low <= 0)
    assert found.tipping == k


def test_a_fail_tips_too() -> None:
    found = check(_table(10, 40, 250), policy(rule("accuracy", "not_worse"))).rules[0]
    k = next(k for k in range(300) if proportions.tango(10 + k, 40 - k, 300, confidence=0.95).high >= 0)
    assert (found.verdict, found.tipping) == (Verdict.FAIL, k)


def test_what_is_open_has_none() -> None:
    found = check(_table(12, 10, 100), policy(rule("accuracy"))).rules[0]
    assert (found.verdict, found.tipping) == (Verdict.INCONCLUSIVE, None)


@pytest.mark.parametrize("metric", ["accuracy", "log_loss", "brier", "roc_auc", "f1", "recall", "average_precision"])
def test_it_is_fewer_rows_than_chance_would_take(metric: str) -> None:
    rows = binary_rows(800, seed=4)
    asked = policy(rule(metric))
    found = check(rows, asked).rules[0]
    assert found.verdict is Verdict.PASS
    assert found.tipping is not None
    assert 0 < found.tipping < 200
    relabelled = rows["y"].copy()
    chosen = np.random.default_rng(0).permutation(800)[: found.tipping]
    relabelled[chosen] = 1 - relabelled[chosen]
    assert check(rows | {"y": relabelled}, asked).rules[0].verdict is Verdict.PASS


def test_the_tightest_slice_decides() -> None:
    rows = binary_rows(3000)
    whole = check(rows, policy(rule("accuracy", "not_worse", margin=0.02))).rules[0]
    sliced = check(rows, policy(rule("accuracy", "not_worse", margin=0.02, slices=["origin"]))).rules[0]
    assert whole.tipping is not None
    assert sliced.tipping is not None
    assert sliced.tipping < whole.tipping


def test_a_large_set_is_estimated_close_to_the_search() -> None:
    rows = binary_rows(MAX_ROWS)
    twice = {name: np.concatenate([values, values]) for name, values in rows.items()}
    for metric in ("accuracy", "log_loss", "roc_auc", "f1"):
        asked = policy(rule(metric, "not_worse", margin=0.001))
        counts = []
        for each in (rows, twice):
            evidence = read_evidence(each, asked).evidence
            assert evidence is not None
            result = decide(asked.rules[0], Case(evidence=evidence), confidence=0.95, seed=0)
            counts.append(with_tipping(asked.rules[0], result, evidence, confidence=0.95, seed=0).tipping or 0)
        assert counts[1] == pytest.approx(2 * counts[0], rel=0.1)


def test_numbers_have_no_wrong_class() -> None:
    rng = np.random.default_rng(1)
    y = rng.normal(size=300)
    rows = {"y": y, "new": y + 0.1 * rng.normal(size=300), "old": y + rng.normal(size=300)}
    assert check(rows, policy(rule("mae"), task="regression")).rules[0].tipping is None


def test_a_floor_and_many_classes() -> None:
    rng = np.random.default_rng(1)
    y = rng.integers(0, 3, 400)
    names = np.array(["a", "b", "c"])
    rows = {"y": names[y], "new": names[np.where(rng.random(400) < 0.1, (y + 1) % 3, y)]}
    rows["old"] = names[np.where(rng.random(400) < 0.3, (y + 2) % 3, y)]
    better, floor = check(rows, policy(rule("accuracy"), rule("accuracy", "floor", value=0.8), task="multiclass")).rules
    assert better.tipping is not None
    right = int((rows["new"] == rows["y"]).sum())
    k = next(k for k in range(400) if proportions.wilson(right - k, 400, confidence=0.95).low < 0.8)
    assert floor.tipping == k
