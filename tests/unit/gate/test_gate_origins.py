"""What is known about where two versions come from: read from real runs, snapshots and a real repository."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace

from tidegate.gate import find_diffs
from tidegate.records.model import Lineage, Manifest, ModelVersion, PackagedFile, Signature
from tidegate.records.report import Diffs
from tidegate.workspace import Workspace

VERSION = ModelVersion(
    digest="d" * 64,
    manifest=Manifest(
        name="delay", version=1, task="binary", format="onnx", loads_code=False, signature=Signature(inputs=[], outputs=[]),
        files=[PackagedFile(path="m", size=1, digest="e" * 64)], lineage=Lineage(), created_at=0,
    ),
)  # fmt: skip


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workspace]:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.py").write_text("rate = 1\n")
    (tmp_path / ".gitignore").write_text(".tidegate\n")
    for words in (["init", "-q"], ["add", "."], ["-c", "user.name=a", "-c", "user.email=a@example.com", "commit", "-qm", "one"]):
        subprocess.run(["git", *words], check=True, cwd=tmp_path)
    opened = Workspace.open(tmp_path, now="2026-01-01T00:00:00+00:00")
    yield opened
    opened.store.close()


def _trained(workspace: Workspace, number: int, rate: int) -> ModelVersion:
    data = workspace.datasets.snapshot({"x": np.arange(10 * number)}, "train")
    with workspace.runs.start("delay", params={"rate": rate}) as run:
        run.log(loss=1.0)
    lineage = Lineage(run=run.id, snapshots=[data.ref], git_commit=workspace.runs.get(run.id).environment.git_commit)
    return replace(VERSION, manifest=replace(VERSION.manifest, version=number, lineage=lineage))


def _diffs(workspace: Workspace, before: ModelVersion, after: ModelVersion) -> Diffs:
    return find_diffs(
        before,
        after,
        runs=workspace.runs,
        datasets=workspace.datasets,
        bucket=workspace.store.bucket,
        repository=workspace.project.folder,
    )


def test_code_data_and_params_are_read_from_runs_and_snapshots(workspace: Workspace) -> None:
    before = _trained(workspace, 1, rate=1)
    (workspace.project.folder / "train.py").write_text("rate = 2\nmore = 3\n")
    after = _trained(workspace, 2, rate=2)
    found = _diffs(workspace, before, after)
    assert [(change.what, change.before, change.after) for change in found.code] == [
        ("train.py", "-1", "+2"),
        ("see it", "", f"tidegate run compare {before.manifest.lineage.run} {after.manifest.lineage.run} --code"),
    ]
    assert ("param rate", "1", "2") in [(change.what, change.before, change.after) for change in found.model]
    data = {change.what: (change.before, change.after) for change in found.data}
    assert data["trained on train"] == ("train@1", "train@2")
    assert data["train: rows"] == ("10", "20")


def test_what_is_gone_is_told_and_raises_nothing(workspace: Workspace) -> None:
    before = _trained(workspace, 1, rate=1)
    (workspace.project.folder / "train.py").write_text("rate = 2\n")
    after = _trained(workspace, 2, rate=2)
    shutil.rmtree(workspace.project.folder / ".git")
    assert "not known" in [change.what for change in _diffs(workspace, before, after).code]
    gone = Lineage(run="nobody", snapshots=["never@1", "no reference"])
    lost = replace(VERSION, manifest=replace(VERSION.manifest, lineage=gone))
    assert _diffs(workspace, lost, lost) == Diffs()
