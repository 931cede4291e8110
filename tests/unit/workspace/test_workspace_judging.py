"""Judging in a project: the ratchet anchor stops many small losses, and what is gone or changed is INVALID, never PASS."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from sklearn.linear_model import LinearRegression

from tidegate.gate import plan_evaluation, selftest
from tidegate.models import Candidate
from tidegate.records.model import ModelVersion
from tidegate.records.verdict import Verdict
from tidegate.workspace import Judged, Workspace

TOML = """
[models.minutes]
task = "regression"
[models.minutes.gate]
snapshot = "rows@1"
label = "y"
max_uses = {max_uses}
baseline = {{ kind = "constant" }}
{rules}
[models.minutes.release]
approvals = 0
"""
BETTER = '[[models.minutes.gate.rules]]\nmetric = "mae"\ntest = "superior"\n'
NOT_WORSE = '[[models.minutes.gate.rules]]\nmetric = "mae"\ntest = "not_worse"\nmargin = 0.12\n'


def _declare(folder: Path, rules: str, *, max_uses: int = 0) -> None:
    (folder / "tidegate.toml").write_text(TOML.format(rules=rules, max_uses=max_uses))


def _register(workspace: Workspace, loss: float) -> ModelVersion:
    """A model whose mean absolute error on the rows is about ``loss``: it answers so much too high."""
    x = np.linspace(0, 10, 50).reshape(-1, 1)
    fitted = LinearRegression().fit(x, x[:, 0] + loss)
    return workspace.register(Candidate("minutes", fitted, pl.DataFrame({"x": x[:, 0]}), "regression", trained_on=["train@1"]))


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose champion was proven better than a constant."""
    folder = tmp_path_factory.mktemp("judging") / "project"
    folder.mkdir()
    _declare(folder, BETTER)
    workspace = Workspace.open(folder, actor="ana")
    rng = np.random.default_rng(0)
    x = rng.uniform(0, 10, 800)
    rows = pl.DataFrame({"x": x, "y": x + 0.01 * rng.normal(size=800)})
    workspace.datasets.snapshot(rows, "rows")
    workspace.datasets.snapshot(rows.with_columns(pl.col("x") + 20, pl.col("y") + 20), "train")
    _promote(workspace, _register(workspace, 0.2))
    return folder


@pytest.fixture
def folder(begun: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(begun, tmp_path / "project"))


def _promote(workspace: Workspace, version: ModelVersion) -> Judged:
    judged = workspace.judge(version.ref)
    assert judged.verdict is Verdict.PASS, judged.report.sentence
    policy = workspace.policy("minutes")
    Workspace.open(workspace.project.folder, actor="ben").release.approve("minutes", version.version, policy=policy)
    workspace.release.promote("minutes", version.version, policy=policy)
    return judged


def test_many_small_losses_stop_at_the_margin_against_the_anchor(folder: Path) -> None:
    _declare(folder, NOT_WORSE)
    workspace = Workspace.open(folder, actor="ana")
    first = _promote(workspace, _register(workspace, 0.3))  # loses 0.1 of the 0.12 that are allowed
    assert (first.report.anchor, len(first.report.rules)) == ("", 1)  # the champion is the anchor itself
    second = workspace.judge(_register(workspace, 0.4).ref)  # loses 0.1 again: 0.2 since the last that was proven better
    assert second.verdict is Verdict.FAIL
    assert second.report.anchor == "minutes@1"
    assert [(rule.against, rule.verdict) for rule in second.report.rules] == [("", Verdict.PASS), ("anchor", Verdict.FAIL)]
    assert "last proven better" in second.report.sentence
    within = _promote(workspace, _register(workspace, 0.31))
    assert [rule.verdict for rule in within.report.rules] == [Verdict.PASS, Verdict.PASS]


def test_a_version_that_is_proven_better_is_the_new_anchor(folder: Path) -> None:
    _declare(folder, NOT_WORSE)
    workspace = Workspace.open(folder, actor="ana")
    _promote(workspace, _register(workspace, 0.3))
    _declare(folder, BETTER)
    better = _promote(workspace, _register(workspace, 0.1))
    _declare(folder, NOT_WORSE)
    _promote(workspace, _register(workspace, 0.2))
    last = workspace.judge(_register(workspace, 0.3).ref)
    assert (last.verdict, last.report.anchor) == (Verdict.FAIL, better.version.ref)


def _manifest(workspace: Workspace, number: int) -> Path:
    return _local(workspace, f"models/minutes/versions/{number}/manifest.json")


def _object(workspace: Workspace, digest: str) -> Path:
    return _local(workspace, f"objects/sha256/{digest[:2]}/{digest[2:]}")


def _local(workspace: Workspace, key: str) -> Path:
    path = workspace.store.bucket.local(key)
    assert path is not None
    return path


def _spoil(path: Path) -> None:
    path.chmod(0o644)
    path.write_bytes(path.read_bytes().replace(b'"author"', b'"autorh"') + b" ")


def _package(workspace: Workspace, number: int) -> Path:
    return _object(workspace, workspace.models.get(f"minutes@{number}").manifest.files[0].digest)


def _rows(workspace: Workspace) -> Path:
    return _object(workspace, workspace.datasets.get("rows@1").files[0].digest)


CASES: dict[str, tuple[Callable[[Workspace], Any], str]] = {
    "champion's manifest gone": (lambda workspace: _manifest(workspace, 1).unlink(), "champion-missing"),
    "champion's manifest changed": (lambda workspace: _spoil(_manifest(workspace, 1)), "manifest-changed"),
    "champion's bytes gone": (lambda workspace: _package(workspace, 1).unlink(), "object-missing"),
    "champion's bytes changed": (lambda workspace: _spoil(_package(workspace, 1)), "object-changed"),
    "candidate's bytes gone": (lambda workspace: _package(workspace, 2).unlink(), "object-missing"),
    "candidate's bytes changed": (lambda workspace: _spoil(_package(workspace, 2)), "object-changed"),
    "evaluation rows gone": (lambda workspace: _rows(workspace).unlink(), "object-missing"),
    "evaluation rows changed": (lambda workspace: _spoil(_rows(workspace)), "object-changed"),
}


@pytest.mark.parametrize("name", list(CASES))
def test_what_is_gone_or_changed_is_invalid_and_recorded(folder: Path, name: str) -> None:
    workspace = Workspace.open(folder, actor="ana")
    version = _register(workspace, 0.05)
    assert version.version == 2
    damage, code = CASES[name]
    damage(workspace)
    judged = Workspace.open(folder, actor="ana").judge(version.ref)
    assert judged.verdict is Verdict.INVALID
    assert [problem.code for problem in judged.report.problems] == [code]
    assert judged.report.problems[0].fix
    about = {"champion's": "minutes@1", "candidate's": "minutes@2", "evaluation": "rows@1"}[name.split(maxsplit=1)[0]]
    assert about in judged.report.sentence
    assert judged.report.champion == "minutes@1"
    assert workspace.release.newest_receipt("minutes", 2) == judged.receipt_digest


def test_a_snapshot_whose_document_was_changed_is_invalid(folder: Path) -> None:
    workspace = Workspace.open(folder, actor="ana")
    version = _register(workspace, 0.05)
    path = _local(workspace, "datasets/rows/00000001/manifest.json")
    path.chmod(0o644)
    path.write_text(json.dumps(json.loads(path.read_text()) | {"digest": "f" * 64}))
    judged = workspace.judge(version.ref)
    assert judged.verdict is Verdict.INVALID
    assert "rows@1" in judged.report.sentence
    assert judged.receipt.snapshot == "rows@1"


def test_an_anchor_that_is_gone_is_invalid(folder: Path) -> None:
    _declare(folder, NOT_WORSE)
    workspace = Workspace.open(folder, actor="ana")
    _promote(workspace, _register(workspace, 0.3))
    version = _register(workspace, 0.31)
    _manifest(workspace, 1).unlink()
    judged = workspace.judge(version.ref)
    assert (judged.verdict, [problem.code for problem in judged.report.problems]) == (Verdict.INVALID, ["anchor-missing"])
    assert "roll back" in judged.report.problems[0].fix


def test_an_anchor_that_nobody_can_tell_is_invalid(folder: Path) -> None:
    workspace = Workspace.open(folder, actor="ana")
    receipt = workspace.release.newest_receipt("minutes", 1)
    _local(workspace, f"models/minutes/receipts/{receipt}.report.json").unlink()
    version = _register(workspace, 0.05)
    assert workspace.judge(version.ref).verdict is Verdict.PASS  # no rule asks for an anchor
    _declare(folder, NOT_WORSE)
    judged = workspace.judge(version.ref)
    assert judged.verdict is Verdict.INVALID
    assert judged.report.problems[0].code == "anchor-unknown"


def test_a_snapshot_that_was_used_up_is_invalid(folder: Path) -> None:
    _declare(folder, BETTER, max_uses=2)
    workspace = Workspace.open(folder, actor="ana")
    assert workspace.judge(_register(workspace, 0.05).ref).verdict is Verdict.PASS
    judged = workspace.judge(_register(workspace, 0.06).ref)
    assert judged.verdict is Verdict.INVALID
    assert judged.report.problems[0].code == "evaluation-used-up"
    assert judged.report.wear is not None
    assert judged.report.wear.uses == 2


def test_a_rehearsal_gives_what_plans_and_self_tests_need_and_records_nothing(folder: Path) -> None:
    _declare(folder, NOT_WORSE)
    workspace = Workspace.open(folder, actor="ana")
    version = _register(workspace, 0.25)
    before = list(workspace.store.bucket.keys("models/minutes/receipts/"))
    rows, rules = workspace.rehearse(version.ref)
    plan, _ = plan_evaluation(rows, rules)
    assert (plan.rows, plan.labelled, plan.rules[0].basis) == (800, 800, "labelled rows")
    assert [each.name for each in selftest(rows, rules, trials=5).spoilt][-1] == "missing"
    assert list(workspace.store.bucket.keys("models/minutes/receipts/")) == before
