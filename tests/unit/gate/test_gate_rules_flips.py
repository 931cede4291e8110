"""The share of rows that only the champion has right, against a bound."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tidegate.errors import UsageError
from tidegate.gate import check
from tidegate.records.report import RuleResult
from tidegate.records.verdict import Verdict
from tidegate.stats.proportions import wilson


def _rows(n: int = 1000, lost: int = 10, gained: int = 30) -> dict[str, Any]:
    labels = np.arange(n) % 2
    right, wrong = np.where(labels == 1, 0.9, 0.1), np.where(labels == 1, 0.1, 0.9)
    place = np.arange(n)
    return {
        "y": labels,
        "new": np.where(place < lost, wrong, right),
        "old": np.where((place >= n - gained), wrong, right),
        "half": np.where(place < n // 2, "first", "second").astype(object),
        "tail": place // 5,
        "weight": np.where(place < lost, 3.0, 1.0),
    }


def _judged(rows: dict[str, Any], value: float, *, policy: dict[str, Any] | None = None, **keys: Any) -> RuleResult:
    whole = {"task": "binary", "label": "y", "candidate": "new", "champion": "old"} | (policy or {})
    return check(rows, whole | {"rules": [{"test": "flips", "value": value} | keys]}).rules[0]


def test_the_interval_is_wilsons_and_decides() -> None:
    expected = wilson(10, 1000, confidence=0.95)
    found = _judged(_rows(), 0.02)
    assert (found.candidate.estimate, found.candidate.low, found.candidate.high) == pytest.approx(expected[:3])
    assert (found.verdict, found.test, found.better) == (Verdict.PASS, "flips", "lower")
    assert found.details == {"lost": 10, "gained": 30}
    assert _judged(_rows(), expected.high).verdict is Verdict.PASS
    assert _judged(_rows(), expected.high - 1e-6).verdict is Verdict.INCONCLUSIVE
    assert _judged(_rows(), expected.low - 1e-6).verdict is Verdict.FAIL


def test_none_at_all_cannot_be_proven() -> None:
    assert _judged(_rows(lost=0), 0.0).verdict is Verdict.INCONCLUSIVE


def test_slices_and_thresholds() -> None:
    found = _judged(_rows(), 0.02, slices=["half"])
    assert [(part.value, part.verdict) for part in found.slices] == [("first", Verdict.INCONCLUSIVE), ("second", Verdict.PASS)]
    assert found.verdict is Verdict.INCONCLUSIVE
    assert _judged(_rows(), 0.02, slices=["half"], slice_mode="none_worse").verdict is Verdict.PASS
    assert _judged(_rows(lost=40), 0.05, slices=["half"], slice_mode="none_worse").verdict is Verdict.FAIL
    assert _judged(_rows(), 0.02, metric="accuracy@0.95").details == {"lost": 0, "gained": 0}


def test_clusters_and_weights_widen_it() -> None:
    plain, clustered, weighted = (_judged(_rows(), 0.5, policy=keys) for keys in ({}, {"cluster": "tail"}, {"weight": "weight"}))
    assert plain.candidate.high is not None
    assert clustered.candidate.high is not None
    assert clustered.candidate.high > plain.candidate.high
    assert weighted.candidate.estimate == pytest.approx(30 / 1020)
    assert "200 clusters" in clustered.method


def test_numbers_need_a_tolerance() -> None:
    rows = _rows() | {"y": np.arange(1000.0), "new": np.arange(1000.0) + 2.0 * (np.arange(1000) < 10), "old": np.arange(1000.0)}
    regression = {"task": "regression"}
    assert _judged(rows, 0.05, policy=regression, tolerance=1.0).details == {"lost": 10, "gained": 0}
    with pytest.raises(UsageError, match="lacks tolerance"):
        _judged(rows, 0.05, policy=regression)
    with pytest.raises(UsageError, match="for numbers alone"):
        _judged(_rows(), 0.05, tolerance=1.0)
