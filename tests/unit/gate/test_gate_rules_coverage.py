"""Enough rows have a label; those without one do not count elsewhere."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gate_rows import binary_rows

from tidegate.errors import UsageError
from tidegate.gate import check
from tidegate.records.report import Report
from tidegate.records.verdict import Verdict


def _judged(unlabelled: int, value: float, *rules: dict[str, Any], rows: dict[str, Any] | None = None, **keys: Any) -> Report:
    table = binary_rows(1000) | {"half": np.where(np.arange(1000) < 500, "first", "second").astype(object)}
    table["y"] = table["y"].astype(np.float64)
    table["y"][:unlabelled] = np.nan
    coverage = {"test": "label_coverage", "value": value}
    policy = {"task": "binary", "label": "y", "candidate": "new", "champion": "old"}
    return check(table | (rows or {}), policy | {"rules": [coverage, *rules]} | keys)


def test_rows_without_a_label_are_counted_and_left_out() -> None:
    report = _judged(100, 0.9, {"metric": "log_loss", "test": "superior"})
    assert (report.verdict, report.rows) == (Verdict.PASS, 900)
    assert report.rules[0].candidate.estimate == 0.9
    warning = next(warning for warning in report.warnings if warning.code == "rows-without-label")
    assert "100 of 1,000 rows have no label" in warning.what


def test_the_same_rows_without_them_give_the_same_figures() -> None:
    rule = {"metric": "log_loss", "test": "superior"}
    policy = {"task": "binary", "label": "y", "candidate": "new", "champion": "old", "rules": [rule]}
    whole = binary_rows(1000)
    there = {name: values[100:] for name, values in whole.items()}
    assert _judged(100, 0.5, rule).rules[1] == check(there, policy).rules[0]


def test_too_few_labels_are_inconclusive_and_told() -> None:
    found = _judged(101, 0.9).rules[0]
    assert found.verdict is Verdict.INCONCLUSIVE
    assert found.details["labels_missing"] == 1
    assert "label 1 more" in found.reason


def test_slices_need_their_own() -> None:
    policy = {"task": "binary", "label": "y", "candidate": "new"}
    rows = binary_rows(1000) | {"half": np.where(np.arange(1000) < 500, "first", "second").astype(object)}
    rows["y"] = rows["y"].astype(np.float64)
    rows["y"][:100] = np.nan
    found = check(rows, policy | {"rules": [{"test": "label_coverage", "value": 0.85, "slices": ["half"]}]}).rules[0]
    assert found.verdict is Verdict.INCONCLUSIVE
    assert [(part.value, part.rows, part.candidate.estimate, part.verdict) for part in found.slices] == [
        ("first", 500, 0.8, Verdict.INCONCLUSIVE),
        ("second", 500, 1.0, Verdict.PASS),
    ]
    assert "half = first" in found.reason


def test_without_the_rule_a_missing_label_stays_invalid() -> None:
    report = _judged(1, 1.0)
    assert report.verdict is Verdict.INCONCLUSIVE
    rows = binary_rows(1000) | {"y": np.array([np.nan, *np.ones(499), *np.zeros(500)])}
    bare = check(
        rows, {"task": "binary", "label": "y", "candidate": "new", "rules": [{"metric": "f1", "test": "floor", "value": 0.1}]}
    )
    assert [problem.code for problem in bare.problems] == ["label-missing"]


def test_no_label_at_all_is_invalid() -> None:
    assert [problem.code for problem in _judged(1000, 0.5).problems] == ["label-missing"]


def test_classes_as_text() -> None:
    names = np.array(["cat", "dog", None, "nan"], dtype=object)[np.arange(1000) % 4]
    predicted = np.array(["cat", "dog"], dtype=object)[np.arange(1000) % 2]
    rule = {"test": "label_coverage", "value": 0.5}
    policy = {
        "task": "multiclass",
        "label": "y",
        "candidate": "new",
        "rules": [rule, {"metric": "accuracy", "test": "floor", "value": 0.9}],
    }
    report = check({"y": names, "new": predicted}, policy)
    assert (report.verdict, report.rows) == (Verdict.PASS, 500)


def test_a_share_is_a_share() -> None:
    with pytest.raises(UsageError, match="share of rows"):
        _judged(0, 90)
