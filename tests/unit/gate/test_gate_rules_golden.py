"""Golden rows: one wrong row fails, whatever the rest looks like."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tidegate.errors import UsageError
from tidegate.gate import check
from tidegate.records.report import Report
from tidegate.records.verdict import Verdict


def _rows(n: int = 100) -> dict[str, Any]:
    labels = np.arange(n) % 2
    return {
        "id": np.array([f"case {row}" for row in range(n)], dtype=object),
        "y": labels,
        "new": np.where(labels == 1, 0.9, 0.1),
        "old": np.where(labels == 1, 0.8, 0.6),
        "gold": (np.arange(n) < 10).astype(np.int64),
    }


def _judged(rows: dict[str, Any], **keys: Any) -> Report:
    policy = {"task": "binary", "label": "y", "candidate": "new", "champion": "old", "key": "id"}
    return check(rows, policy | {"rules": [{"test": "golden", "rows": "gold"}]} | keys)


def test_all_right_passes_and_the_champion_is_told() -> None:
    report = _judged(_rows())
    found = report.rules[0]
    assert report.verdict is Verdict.PASS
    assert found.details == {"marked": 10, "wrong": 0, "champion_wrong": 5}
    assert (found.candidate.estimate, found.candidate.low) == (1, None)
    assert found.champion is not None
    assert found.champion.estimate == 0.5
    assert "All 10 golden rows are right (the champion has 5 of them wrong)" in report.sentence


def test_one_wrong_row_fails_and_is_shown() -> None:
    rows = _rows()
    rows["new"][3] = 0.49
    report = _judged(rows)
    assert report.verdict is Verdict.FAIL
    assert [(row.label, row.candidate, row.champion) for row in report.rules[0].shown] == [("1", "0.49", "0.8")]
    assert "1 of 10 golden rows is wrong" in report.rules[0].reason
    rows["new"][3], rows["new"][50] = 0.5, 0.9  # at the threshold it is a 1; row 50 is wrong and not marked
    assert _judged(rows).verdict is Verdict.PASS


def test_at_most_twenty_are_shown_and_all_are_counted() -> None:
    rows = _rows(200)
    rows["gold"] = np.ones(200, dtype=bool)
    rows["new"] = 1 - rows["new"]
    found = _judged(rows).rules[0]
    assert (len(found.shown), found.details["wrong"]) == (20, 200)
    assert "The first 20 are shown" in found.reason


def test_no_marked_row_is_invalid_and_a_null_marks_nothing() -> None:
    rows = _rows()
    rows["gold"] = np.zeros(100)
    report = _judged(rows)
    assert (report.verdict, report.problems[0].code) == (Verdict.INVALID, "no-golden-rows")
    rows["gold"] = np.array([1.0, 1.0, *[np.nan] * 98])
    assert _judged(rows).rules[0].details["marked"] == 2
    rows["gold"] = np.array([2.0, *[0.0] * 99])
    assert [problem.code for problem in _judged(rows).problems] == ["bad-marks"]
    rows["gold"] = np.array(["yes"] * 100, dtype=object)
    assert [problem.code for problem in _judged(rows).problems] == ["bad-marks"]


def test_a_column_that_is_not_there_is_named() -> None:
    report = _judged(_rows(), rules=[{"test": "golden", "rows": "golden"}])
    assert report.problems[0].code == "column-missing"
    assert "golden" in report.problems[0].what


def test_classes_and_numbers() -> None:
    rows = _rows()
    names = np.array(["cat", "dog"], dtype=object)
    classes = rows | {"y": names[rows["y"]], "new": names[rows["y"]], "old": names[rows["y"] * 0]}
    assert _judged(classes, task="multiclass").verdict is Verdict.PASS
    classes["new"] = classes["new"].copy()
    classes["new"][1] = "cat"
    failed = _judged(classes, task="multiclass").rules[0]
    assert (failed.verdict, failed.shown[0].label, failed.shown[0].candidate) == (Verdict.FAIL, "dog", "cat")
    numbers = rows | {"y": np.arange(100.0), "new": np.arange(100.0) + 2, "old": np.arange(100.0)}
    strict, loose = ({"test": "golden", "rows": "gold", "tolerance": within} for within in (1.0, 2.0))
    assert _judged(numbers, task="regression", rules=[loose]).verdict is Verdict.PASS
    off = _judged(numbers, task="regression", rules=[strict]).rules[0]
    assert (off.verdict, off.shown[0].note) == (Verdict.FAIL, "off by 2, allowed is 1")


@pytest.mark.parametrize("task", ["scores", "ranking"])
def test_tasks_without_right_rows_are_refused(task: str) -> None:
    keys = {"scores": {"label": ""}, "ranking": {"query": "id"}}[task]
    with pytest.raises(UsageError, match="right or wrong") as caught:
        _judged(_rows(), task=task, **keys)
    assert caught.value.code == "test-not-for-task"
