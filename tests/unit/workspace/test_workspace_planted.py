"""Documents of the bucket that somebody wrote over: whatever stands there, the answer is a documented error and never a crash."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from sklearn.linear_model import LinearRegression

from tidegate import digest
from tidegate.data.datasets import manifest_key
from tidegate.errors import IntegrityError
from tidegate.gate import read_policy, read_receipt, read_report, receipt_key
from tidegate.gate.attestation import find_envelope
from tidegate.models import Candidate
from tidegate.monitoring.windows import Span, read_windows, window_key
from tidegate.release import audit_ledger, audit_write, verify_ledger
from tidegate.workspace import Workspace

TOML = """
[models.sums]
task = "regression"
[models.sums.gate]
snapshot = "rows@1"
label = "y"
baseline = { kind = "constant" }
rules = [{ metric = "mae", test = "superior" }]
[models.sums.release]
approvals = 0
"""
SPAN = Span(0, 10)
DEEP = b"[" * 100_000
PLANTED = [b"", b"{}", b"[]", b"null", b"\xff\xfe", b'{"name":"\xff","model":"\xff","seq":"\xff"}', DEEP, b'{"seq":' + DEEP]
NAMES = ["empty", "no fields", "a list", "null", "no UTF-8", "text that is no UTF-8", "deep", "a deep field"]


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a champion."""
    folder = tmp_path_factory.mktemp("planted") / "project"
    folder.mkdir()
    (folder / "tidegate.toml").write_text(TOML)
    workspace = Workspace.open(folder, actor="ana")
    x = np.linspace(0, 10, 200)
    rows = pl.DataFrame({"x": x, "y": x + 0.1 * np.sin(50 * x)})
    workspace.datasets.snapshot(rows, "rows")
    fitted = LinearRegression().fit(x.reshape(-1, 1), x)
    workspace.register(Candidate("sums", fitted, rows.select("x"), "regression"))
    workspace.judge("sums@1")
    workspace.release.promote("sums", 1, policy=workspace.policy("sums"))
    return folder


@pytest.fixture
def workspace(begun: Path, tmp_path: Path) -> Workspace:
    return Workspace.open(shutil.copytree(begun, tmp_path / "project"), actor="ana")


def _plant(workspace: Workspace, key: str, data: bytes) -> None:
    bucket = workspace.store.bucket
    bucket.delete(key)
    bucket.put_if_absent(key, data)


def _receipt(workspace: Workspace) -> str:
    return workspace.release.newest_receipt("sums", 1)


def _ending(ending: str) -> Callable[[Workspace], str]:
    return lambda workspace: receipt_key("sums", _receipt(workspace), ending)


READS: dict[str, tuple[Callable[[Workspace], str], Callable[[Workspace], Any], set[str]]] = {
    "ledger": (
        lambda _: "models/sums/ledger/00000002.json",
        lambda workspace: Workspace.open(workspace.project.folder).release.state("sums"),
        {"ledger-damaged"},
    ),
    "pointer": (lambda _: "models/sums/current.json", lambda workspace: workspace.release.pointer("sums"), {"pointer-damaged"}),
    "manifest": (
        lambda _: "models/sums/versions/1/manifest.json",
        lambda workspace: workspace.models.get("sums@1"),
        {"manifest-unreadable"},
    ),
    "snapshot": (lambda _: manifest_key("rows", 1), lambda workspace: workspace.datasets.get("rows@1"), {"snapshot-changed"}),
    "receipt": (_ending(".json"), lambda w: read_receipt(w.store.bucket, "sums", _receipt(w)), {"receipt-changed"}),
    "report": (_ending(".report.json"), lambda w: read_report(w.store.bucket, "sums", _receipt(w)), {"receipt-changed"}),
    "policy": (_ending(".policy.json"), lambda w: read_policy(w.store.bucket, "sums", _receipt(w)), {"receipt-changed"}),
    "envelope": (_ending(".dsse.json"), lambda w: find_envelope(w.store.bucket, "sums", _receipt(w)), {"signature-wrong"}),
    "window": (
        lambda _: window_key("sums", SPAN),
        lambda workspace: read_windows(workspace.store.bucket, "sums"),
        {"window-damaged"},
    ),
}


@pytest.mark.parametrize("data", PLANTED, ids=NAMES)
@pytest.mark.parametrize("kind", READS)
def test_reading_it_says_what_is_damaged(workspace: Workspace, kind: str, data: bytes) -> None:
    key, read, codes = READS[kind]
    place = key(workspace)
    if kind not in {"envelope", "window"}:  # these two are not there yet
        assert workspace.store.bucket.find(place) is not None
    _plant(workspace, place, data)
    with pytest.raises(IntegrityError) as damaged:
        read(workspace)
    assert damaged.value.code in codes


@pytest.mark.parametrize("data", PLANTED, ids=NAMES)
@pytest.mark.parametrize("kind", READS)
def test_verifying_tells_it_among_the_other_problems(workspace: Workspace, kind: str, data: bytes) -> None:
    _plant(workspace, READS[kind][0](workspace), data)
    if kind not in {"envelope", "window"}:  # a window is made again, and an envelope is checked with its key
        assert workspace.verify().problems
    assert isinstance(audit_ledger(workspace.store.bucket, "sums"), list)
    assert isinstance(verify_ledger(workspace.store.bucket, "sums"), list)


@pytest.mark.parametrize("data", PLANTED, ids=NAMES)
def test_a_receipt_that_hashes_to_its_name_may_still_be_none(workspace: Workspace, data: bytes) -> None:
    """Anybody can hash."""
    name = digest.of_bytes(data)
    _plant(workspace, receipt_key("sums", name), data)
    with pytest.raises(IntegrityError) as damaged:
        read_receipt(workspace.store.bucket, "sums", name)
    assert damaged.value.code == "receipt-unreadable"


@pytest.mark.parametrize("data", PLANTED, ids=NAMES)
@pytest.mark.parametrize("key", ["models/sums/ledger/00000009.json", "models/sums/current.json"])
def test_nobody_may_write_it_by_hand(workspace: Workspace, key: str, data: bytes) -> None:
    (problem,) = audit_write(workspace.store.bucket, key, data, allow_ungated=True)
    assert problem.startswith(f"{key} would be unreadable")


@pytest.mark.parametrize("kind", ["manifest", "snapshot", "receipt", "report", "policy"])
def test_what_the_champion_rests_on_makes_the_next_verdict_no_pass(workspace: Workspace, kind: str) -> None:
    """The gate judges on, and says what it could not read."""
    fitted = LinearRegression().fit(np.arange(50.0).reshape(-1, 1), np.arange(50.0) + 0.05)
    second = workspace.register(Candidate("sums", fitted, pl.DataFrame({"x": np.arange(50.0)}), "regression"))
    _plant(workspace, READS[kind][0](workspace), b"{}")
    judged = workspace.judge(second.ref)
    assert judged.verdict != "PASS" or judged.receipt.loosened
