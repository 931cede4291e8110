"""What the overview says of a model: never good without evidence, and always the next thing that a person must do."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from server_project import FEATURES, POLICY, START, flights, register

from tidegate.clock import DAY, parse_time
from tidegate.records.ledger import Judged, LedgerEntry, Promoted, RolledBack
from tidegate.records.monitoring import Finding, Window
from tidegate.records.receipt import Baseline
from tidegate.records.verdict import Verdict
from tidegate.server.summary import Condition, serving_since, summarise
from tidegate.workspace import Workspace

LATER = parse_time("2013-07-20T00:00:00+00:00")


@pytest.fixture
def copy(project: Workspace, tmp_path: Path) -> Iterator[Workspace]:
    """The project again, to be changed."""
    shutil.copytree(project.project.folder, tmp_path / "copy")
    workspace = Workspace.open(tmp_path / "copy", now="2013-07-22T00:00:00+00:00", actor="ana")
    yield workspace
    workspace.store.close()


def performance(ratio: float | None, version: int = 2, kind: str = "performance") -> Finding:
    return Finding(kind=kind, subject="log_loss", statistic=0.5, bound=0.6, ratio=ratio, rows=300, version=version)


def window(findings: list[Finding], versions: list[int], rows: int = 300) -> Window:
    return Window(
        model="delay",
        start=LATER,
        end=LATER + DAY,
        versions=versions,
        rows=rows,
        labelled=rows,
        closed_at=LATER + 2 * DAY,
        findings=findings,
    )


@pytest.mark.parametrize(
    ("newest", "condition", "words"),
    [
        (window([performance(0.5)], [2]), Condition.OK, "within their bounds"),
        (window([performance(1.01)], [2]), Condition.TROUBLE, "Performance of log_loss crossed its bound."),
        (window([performance(0.5), performance(1.2, kind="nulls")], [2]), Condition.TROUBLE, "Nulls of log_loss crossed"),
        (window([performance(0.5), performance(9.0, kind="input_drift")], [2]), Condition.OK, "within their bounds"),
        (window([performance(None)], [2]), Condition.UNKNOWN, "not known yet"),
        (window([performance(0.5), performance(float("nan"))], [2]), Condition.UNKNOWN, "not known yet"),
        (window([], [2]), Condition.UNKNOWN, "not known yet"),
        (window([performance(0.5, version=1)], [1]), Condition.UNKNOWN, "served by version 1"),
        (window([performance(0.5, version=1)], [1, 2]), Condition.UNKNOWN, "not known yet"),
        (window([], [], rows=0), Condition.TROUBLE, "asked nothing"),
    ],
)
def test_a_model_is_ok_only_on_evidence(copy: Workspace, newest: Window, condition: Condition, words: str) -> None:
    key = f"monitoring/delay/windows/{newest.start}-{newest.end}.json"
    assert copy.store.bucket.put_if_absent(key, msgspec.json.encode(newest))
    found = summarise(copy, "delay")
    assert (found.condition, words in found.sentence) == (condition, True), found.sentence


def test_a_candidate_is_followed_from_the_gate_to_the_pointer(tmp_path: Path) -> None:
    folder = tmp_path / "new"
    folder.mkdir()
    (folder / "tidegate.toml").write_text(POLICY, encoding="utf-8")
    ana = Workspace.open(folder, now="2013-06-01T09:00:00+00:00", actor="ana")
    bo = Workspace.open(folder, now="2013-06-01T10:00:00+00:00", actor="bo")
    rows = flights(3000, START - 40 * DAY, 20, seed=1)
    ana.datasets.snapshot(rows, "flights-train")
    ana.datasets.snapshot(flights(4000, START - 20 * DAY, 20, seed=2), "flights-eval")

    def needs() -> list[str]:
        return [need.command for need in summarise(ana, "delay").needs]

    assert needs() == []
    assert summarise(ana, "delay").condition is Condition.UNKNOWN
    register(ana, rows, FEATURES)
    assert needs() == ["tidegate gate delay@1"]
    ana.judge("delay@1")
    assert needs() == ["tidegate approve delay@1"]
    bo.release.approve("delay", 1, policy=bo.policy("delay"))
    assert needs() == ["tidegate promote delay@1"]
    ana.release.freeze("delay", reason="holidays")
    assert needs() == []
    assert summarise(ana, "delay").frozen == "holidays"
    ana.release.unfreeze("delay", reason="over")
    ana.release.promote("delay", 1, policy=ana.policy("delay"))
    found = summarise(ana, "delay")
    assert (needs(), found.champion.version, found.champion.verdict) == ([], 1, Verdict.PASS)
    assert found.condition is Condition.UNKNOWN, "it serves, and nothing is known yet"
    ana.store.close()
    bo.store.close()


def test_after_a_rollback_the_earlier_receipt_speaks_for_the_champion() -> None:
    events = [
        Judged(version=1, receipt="r1", verdict=Verdict.PASS),
        Promoted(version=1, digest="d1", receipt="r1", previous=Baseline()),
        Judged(version=2, receipt="r2", verdict=Verdict.PASS),
        Promoted(version=2, digest="d2", receipt="r2", previous=Baseline(version=1, digest="d1", move=2)),
        RolledBack(version=1, digest="d1", previous=Baseline(version=2, digest="d2", move=4), reason="late flights"),
    ]
    entries = [
        LedgerEntry(seq=seq, at=seq, clock="system", actor="ana", event=event, before="") for seq, event in enumerate(events, 1)
    ]
    found = serving_since(entries)
    assert (found.version, found.how, found.receipt, found.verdict, found.at) == (1, "rolled back to", "r1", Verdict.PASS, 5)
    assert serving_since([]).version == 0
