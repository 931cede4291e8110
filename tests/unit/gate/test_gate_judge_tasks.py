"""Models of several labels and of rankings are judged as files of their predictions are; scores are nobody's but a file's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.multiclass import OneVsRestClassifier

from tidegate import digest
from tidegate.errors import UsageError
from tidegate.gate import check, parse_model_policy, plan_evaluation
from tidegate.gate.outputs import CANDIDATE, CHAMPION
from tidegate.models import Candidate
from tidegate.records.model import ModelVersion
from tidegate.records.report import RuleResult
from tidegate.records.verdict import Verdict
from tidegate.workspace import Judged, Workspace

NAMES = ["late", "long"]
TAGS = """
[models.tags]
task = "multilabel"
[models.tags.gate]
snapshot = "tags@1"
label = "{label}"
baseline = {{ kind = "constant" }}
rules = [
  {{ metric = "log_loss", test = "superior" }},
  {{ metric = "brier", test = "not_worse", margin = 0.02 }},
  {{ test = "leakage" }},
]
[models.tags.release]
approvals = 0
"""
SEARCH = """
[models.search]
task = "ranking"
[models.search.gate]
snapshot = "search@1"
label = "relevance"
query = "query"
key = "item"
baseline = { kind = "constant" }
rules = [{ metric = "ndcg@5", test = "superior" }, { metric = "map", test = "not_worse", margin = 0.02 }]
[models.search.release]
approvals = 0
"""


def _tagged(n: int, seed: int) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 3))
    late, long = x[:, 0] + 0.5 * rng.normal(size=n) > 0, x[:, 1] + x[:, 2] + 0.5 * rng.normal(size=n) > 0.5
    tags = [[name for name, has in zip(NAMES, row, strict=True) if has] for row in zip(late, long, strict=True)]
    return pl.DataFrame(
        {
            "a": x[:, 0], "b": x[:, 1], "c": x[:, 2], "is_late": late.astype(int), "is_long": long.astype(int),
            "both": np.column_stack([late, long]).astype(int).tolist(), "tags": tags,
        }
    )  # fmt: skip


def _found(queries: int, seed: int) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    n = queries * 8
    a, b = rng.normal(size=n), rng.normal(size=n)
    relevance = np.clip(np.round(a + b + 0.5 * rng.normal(size=n)), 0, 4).astype(int)
    return pl.DataFrame({"a": a, "b": b, "query": np.arange(n) // 8, "item": np.arange(n), "relevance": relevance})


def _tagger(workspace: Workspace, columns: list[str]) -> ModelVersion:
    train = _tagged(600, 1)
    fitted = OneVsRestClassifier(LogisticRegression()).fit(
        train.select(columns).to_numpy(), train["is_late", "is_long"].to_numpy()
    )
    example = train.select(columns).head(200)
    return workspace.register(Candidate("tags", fitted, example, "multilabel", classes=NAMES, trained_on="tags-train@1"))


def _ranker(workspace: Workspace, columns: list[str]) -> ModelVersion:
    train = _found(100, 1)
    fitted = LinearRegression().fit(train.select(columns).to_numpy(), train["relevance"].to_numpy())
    return workspace.register(Candidate("search", fitted, train.select(columns).head(200), "ranking"))


def _promoted(workspace: Workspace, version: ModelVersion) -> Judged:
    judged = workspace.judge(version.ref)
    assert judged.verdict is Verdict.PASS, judged.report.sentence
    workspace.release.promote(version.name, version.version, policy=workspace.policy(version.name))
    return judged


def _measured(rules: list[RuleResult]) -> list[Any]:
    """All that was measured of the rules about metrics."""
    return [digest.canonical(rule) for rule in rules if rule.test != "leakage"]


@pytest.mark.parametrize("label", ["is_*", "both", "tags"])
def test_models_of_several_labels_are_judged_like_a_file_of_their_predictions(tmp_path: Path, label: str) -> None:
    (tmp_path / "tidegate.toml").write_text(TAGS.format(label=label))
    workspace = Workspace.open(tmp_path)
    rows = _tagged(800, 2)
    workspace.datasets.snapshot(rows, "tags")
    workspace.datasets.snapshot(_tagged(600, 1), "tags-train")
    poor, good = _tagger(workspace, ["c"]), _tagger(workspace, ["a", "b", "c"])
    first = _promoted(workspace, poor)
    assert first.report.champion == "baseline constant"
    shares = {name: float(rows[f"is_{name}"].mean()) for name in NAMES}  # pyright: ignore[reportArgumentType]
    loss = -np.mean([p * np.log(p) + (1 - p) * np.log(1 - p) for p in shares.values()])
    assert first.report.rules[0].champion is not None
    assert first.report.rules[0].champion.estimate == pytest.approx(loss, abs=1e-6)
    better = workspace.judge(good.ref)
    assert better.verdict is Verdict.PASS, better.report.sentence
    columns: dict[str, Any] = {"label": np.array(rows["both"].to_list())}
    for role, version in (("new", good), ("old", poor)):
        inputs = {name: rows[name].to_numpy() for name in version.manifest.signature.input_names}
        columns[role] = workspace.models.load(version).predict(inputs)["probabilities"]
    rules = [{"metric": "log_loss", "test": "superior"}, {"metric": "brier", "test": "not_worse", "margin": 0.02}]
    asked = {"task": "multilabel", "label": "label", "candidate": "new", "champion": "old", "classes": NAMES, "rules": rules}
    assert _measured(check(columns, asked).rules) == _measured(better.report.rules)
    _promoted(workspace, good)
    assert workspace.judge(poor.ref).verdict is Verdict.FAIL
    rehearsed = workspace.rehearse(good.ref)
    assert {f"{CANDIDATE}: late", f"{CHAMPION}: long"} <= set(rehearsed.predictions)
    assert plan_evaluation(rehearsed.predictions, rehearsed.policy)[0].rows == 800


def test_rankers_are_judged_like_a_file_of_their_scores(tmp_path: Path) -> None:
    (tmp_path / "tidegate.toml").write_text(SEARCH)
    workspace = Workspace.open(tmp_path)
    rows = _found(200, 2)
    workspace.datasets.snapshot(rows, "search")
    poor, good = _ranker(workspace, ["b"]), _ranker(workspace, ["a", "b"])
    _promoted(workspace, poor)
    better = workspace.judge(good.ref)
    assert (better.verdict, better.report.units) == (Verdict.PASS, 200), better.report.sentence
    columns: dict[str, Any] = {name: rows[name].to_numpy() for name in ("query", "item", "relevance")}
    for role, version in (("new", good), ("old", poor)):
        inputs = {name: rows[name].to_numpy() for name in version.manifest.signature.input_names}
        columns[role] = workspace.models.load(version).predict(inputs)["score"]
    rules = [{"metric": "ndcg@5", "test": "superior"}, {"metric": "map", "test": "not_worse", "margin": 0.02}]
    named = {"label": "relevance", "query": "query", "key": "item", "candidate": "new", "champion": "old"}
    assert _measured(check(columns, {"task": "ranking", "rules": rules, **named}).rules) == _measured(better.report.rules)
    _promoted(workspace, good)
    assert workspace.judge(poor.ref).verdict is Verdict.FAIL


@pytest.mark.parametrize(
    ("task", "keys", "code"),
    [
        ("scores", {}, "task-not-for-models"),
        ("ranking", {}, "bad-policy"),
        ("binary", {"query": "q"}, "bad-policy"),
        ("binary", {"label": ""}, "bad-policy"),
    ],
)
def test_a_gate_that_no_model_of_the_task_can_be_judged_by_is_refused(task: str, keys: dict[str, Any], code: str) -> None:
    metric = {"scores": "mean_score", "ranking": "map"}.get(task, "accuracy")
    gate = {"snapshot": "rows@1", "label": "y", "rules": [{"metric": metric, "test": "superior"}], **keys}
    with pytest.raises(UsageError) as refused:
        parse_model_policy("m", {"task": task, "gate": gate})
    assert refused.value.code == code
