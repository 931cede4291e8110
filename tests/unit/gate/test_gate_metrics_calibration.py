"""Calibration error as a metric: bins, tasks, verdicts."""

from __future__ import annotations

import numpy as np
import pytest
from gate_rows import binary_rows, policy, rule

from tidegate.errors import UsageError
from tidegate.gate import check
from tidegate.gate.evidence import Evidence
from tidegate.gate.metrics import parse_metric
from tidegate.records.verdict import Verdict
from tidegate.stats.calibration import calibration


def test_a_floor_and_a_comparison() -> None:
    rows = binary_rows(4000)
    report = check(rows, policy(rule("calibration_error", "floor", value=0.005), rule("calibration_error@20")))
    assert report.verdict is Verdict.PASS
    floor, better = report.rules
    assert floor.better == "lower"
    assert floor.candidate.estimate == pytest.approx(calibration(rows["y"], rows["new"]).value)
    assert better.candidate.estimate == pytest.approx(calibration(rows["y"], rows["new"], bins=20).value)
    assert floor.candidate.estimate is not None
    assert floor.details["root_candidate"] == pytest.approx(max(floor.candidate.estimate, 0) ** 0.5)
    assert "20 bins" in better.method
    reverse = check(rows, policy(rule("calibration_error"), candidate="old", champion="new"))
    assert reverse.verdict is Verdict.FAIL


def test_few_rows_do_not_pass_and_fewer_bins_need_fewer() -> None:
    rows = binary_rows(200)
    many, few = check(
        rows, policy(rule("calibration_error", "floor", value=0.9), rule("calibration_error@5", "floor", value=0.9))
    ).rules
    assert (many.verdict, few.verdict) == (Verdict.INCONCLUSIVE, Verdict.PASS)
    assert "200 rows are too few for 15 bins: at least 450 are needed, or fewer bins: @6" in many.reason
    assert many.candidate.low is None


def test_decisions_are_not_probabilities() -> None:
    rows = binary_rows(200)
    rows["new"] = (rows["new"] > 0.5).astype(int)
    assert check(rows, policy(rule("calibration_error", "floor", value=0.5))).verdict is Verdict.INVALID


def test_of_several_classes_it_is_the_likeliest() -> None:
    rng = np.random.default_rng(0)
    said = rng.dirichlet([1, 1, 1], 500)
    labels = rng.integers(0, 3, 500).astype(float)
    evidence = Evidence(task="multiclass", labels=labels, candidate=said, classes=["a", "b", "c"])
    metric = parse_metric("calibration_error", "multiclass")
    found = metric.measure(evidence, 0.95, rng)
    expected = calibration(said.argmax(1) == labels, said.max(1))
    assert found.candidate.value == expected.value > 0.04
    assert found.candidate.low > 0.03
    codes = Evidence(task="multiclass", labels=labels, candidate=labels, classes=["a", "b", "c"])
    assert metric.refuses is not None
    assert metric.refuses(codes)


def test_of_a_multilabel_task_it_is_one_label() -> None:
    rng = np.random.default_rng(0)
    said = rng.random((500, 2))
    labels = (rng.random((500, 2)) < said).astype(float)
    evidence = Evidence(task="multilabel", labels=labels, candidate=said, champion=said**2, classes=["a", "b"])
    metric = parse_metric("calibration_error[b]@10", "multilabel")
    found = metric.measure(evidence, 0.95, rng)
    assert found.candidate.value == calibration(labels[:, 1], said[:, 1], bins=10).value
    assert found.difference is not None
    assert found.difference.high < 0
    refuses = parse_metric("calibration_error[c]", "multilabel").refuses
    assert refuses is not None
    assert "occurs nowhere" in refuses(evidence)


@pytest.mark.parametrize(
    ("name", "task", "code"),
    [
        ("calibration_error@0", "binary", "bad-bins"),
        ("calibration_error@1001", "binary", "bad-bins"),
        ("calibration_error@1.5", "binary", "bad-bins"),
        ("calibration_error[a]", "multiclass", "bad-metric"),
        ("calibration_error", "multilabel", "bad-metric"),
        ("calibration_error", "regression", "unknown-metric"),
    ],
)
def test_odd_names(name: str, task: str, code: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_metric(name, task)
    assert caught.value.code == code
