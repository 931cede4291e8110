"""Areas under curves as metrics: of one class, of several, in slices, with too few rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gate_rows import binary_rows, policy, rule
from sklearn.metrics import average_precision_score, roc_auc_score

from tidegate.errors import UsageError
from tidegate.gate import check
from tidegate.gate.evidence import Evidence
from tidegate.gate.metrics import Measured, parse_metric
from tidegate.records.verdict import Verdict

BOTH = pytest.mark.parametrize("name", ["roc_auc", "average_precision"])
CLASSES = ["early", "late", "on time"]


def several(task: str, n: int = 600) -> Evidence:
    """Three classes or labels, and a candidate that knows more of them than the champion."""
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 3, n) if task == "multiclass" else (rng.random((n, 3)) < [0.2, 0.3, 0.5]).astype(float)
    hot = np.eye(3)[truth] if task == "multiclass" else truth
    candidate, champion = (np.exp(hot * strength + rng.normal(size=(n, 3))) for strength in (1.6, 0.8))
    ours, theirs = (each / each.sum(axis=1, keepdims=True) for each in (candidate, champion))
    return Evidence(task=task, labels=truth.astype(float), candidate=ours, champion=theirs, classes=CLASSES)


def measured(name: str, evidence: Evidence) -> Measured:
    return parse_metric(name, evidence.task).measure(evidence, 0.95, np.random.default_rng(0))


@BOTH
def test_of_a_binary_task(name: str) -> None:
    rows = binary_rows(800)
    oracle: Any = roc_auc_score if name == "roc_auc" else average_precision_score
    report = check(rows, policy(rule(name)))
    result = report.rules[0]
    assert report.verdict is Verdict.PASS
    assert result.candidate.estimate == pytest.approx(oracle(rows["y"], rows["new"]))
    assert result.champion is not None
    assert result.champion.estimate == pytest.approx(oracle(rows["y"], rows["old"]))
    assert "score interval" in result.method


@BOTH
@pytest.mark.parametrize("task", ["multiclass", "multilabel"])
def test_of_several_classes_and_of_one(name: str, task: str) -> None:
    evidence = several(task)
    oracle: Any = roc_auc_score if name == "roc_auc" else average_precision_score
    hot = np.eye(3)[evidence.labels.astype(int)] if task == "multiclass" else evidence.labels
    assert evidence.champion is not None
    mean, one = measured(name, evidence), measured(f"{name}[late]", evidence)
    assert mean.candidate.value == pytest.approx(oracle(hot, evidence.candidate, average="macro"))
    assert one.candidate.value == pytest.approx(oracle(hot[:, 1], evidence.candidate[:, 1]))
    for found in (mean, one):
        assert found.difference is not None
        assert found.champion is not None
        assert 0 < found.difference.low < found.difference.value < found.difference.high
        assert found.difference.value == pytest.approx(found.candidate.value - found.champion.value)
    assert mean.candidate.high - mean.candidate.low < one.candidate.high - one.candidate.low
    assert "mean over 3" in mean.method


@BOTH
def test_the_mean_holds_as_a_bootstrap_says(name: str) -> None:
    evidence = several("multiclass", 300)
    rng = np.random.default_rng(1)
    drawn = [measured(name, evidence.take(rng.integers(0, 300, 300))).candidate.value for _ in range(300)]
    found = measured(name, evidence).candidate
    assert (found.high - found.low) / 2 / 1.96 == pytest.approx(np.std(drawn), rel=0.2)


def test_a_rare_class_is_too_few() -> None:
    evidence = several("multilabel")
    labels = evidence.labels.copy()
    labels[:, 1] = 0
    labels[:4, 1] = 1
    few = measured("roc_auc", Evidence(task="multilabel", labels=labels, candidate=evidence.candidate, classes=CLASSES)).few
    assert few == "4 rows with label late are too few: at least 40 are needed"
    assert not measured("roc_auc[early]", evidence).few


def test_what_cannot_be_asked() -> None:
    for name, task in (
        ("roc_auc[1]", "binary"),
        ("roc_auc[]", "multiclass"),
        ("roc_auc@0.5", "binary"),
        ("roc_auc", "regression"),
    ):
        with pytest.raises(UsageError):
            parse_metric(name, task)
    evidence = several("multiclass")
    codes = Evidence(task="multiclass", labels=evidence.labels, candidate=evidence.labels, classes=CLASSES)
    refuses = parse_metric("average_precision", "multiclass").refuses
    assert refuses is not None
    assert "probability of every class" in refuses(codes)
    assert refuses(evidence) == ""
    refuses = parse_metric("roc_auc[lat]", "multiclass").refuses
    assert refuses is not None
    assert "late" in refuses(evidence)


@BOTH
def test_slices_weights_and_clusters(name: str) -> None:
    rows = binary_rows(3000)
    report = check(rows, policy(rule(name, "not_worse", margin=0.05, slices=["origin"]), weight="weight", cluster="tail"))
    assert [each.value for each in report.rules[0].slices] == ["EWR", "JFK", "LGA"]
    assert report.verdict is Verdict.PASS
    assert "300 clusters" in report.rules[0].method


@BOTH
def test_few_positives_tell_nothing(name: str) -> None:
    rows = binary_rows(100)
    rows["y"] = (np.arange(100) < 8).astype(int)
    assert check(rows, policy(rule(name))).verdict is Verdict.INCONCLUSIVE


@BOTH
def test_a_candidate_that_is_its_champion_is_neither_better_nor_certain(name: str) -> None:
    rows = binary_rows(2000)
    same = Evidence(task="binary", labels=rows["y"].astype(float), candidate=rows["new"], champion=rows["new"].copy())
    found = measured(name, same).difference
    assert found is not None
    assert found.value == 0
    assert 0.001 < found.high == -found.low < 0.01


@pytest.mark.parametrize("name", ["roc_auc", "average_precision"])
def test_few_rows_of_a_class_or_few_clusters_of_it_allow_no_interval(name: str) -> None:
    rng = np.random.default_rng(0)
    tail = rng.integers(0, 100, 2000)
    rows = {"tail": tail, "y": (tail < 2).astype(np.int64)}  # all positives belong to two tails
    rows |= {model: np.clip(0.3 + 0.4 * rows["y"] + rng.normal(size=2000) / 10, 0, 1) for model in ("new", "old")}
    clustered = check(rows, policy(rule(name, "floor", value=0.5), cluster="tail"))
    assert clustered.verdict is Verdict.INCONCLUSIVE
    assert "clusters of the rarer class" in clustered.rules[0].reason
    few = rows | {"y": (np.arange(2000) < 39).astype(np.int64)}
    found = check(few, policy(rule(name, "floor", value=0.1)))
    assert (found.verdict, "at least 40 are needed" in found.rules[0].reason) == (Verdict.INCONCLUSIVE, True)
