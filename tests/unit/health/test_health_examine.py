"""Doctor climbs the levels only as far as the evidence carries."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from tidegate import digest
from tidegate.clock import DAY, HOUR, Clock, format_time, parse_time
from tidegate.data import Datasets, parse_contract
from tidegate.errors import UnavailableError
from tidegate.gate import policy_digest, receipt_key, report_bytes
from tidegate.health import LEVELS, examine, maturity
from tidegate.health.questions import QUESTIONS
from tidegate.loop import Decisions
from tidegate.models import Models
from tidegate.monitoring import PredictionLog, raise_alert
from tidegate.records.decision import DecisionState
from tidegate.records.health import Check, CheckState, Health
from tidegate.records.ledger import RolloutStarted
from tidegate.records.model import Lineage, Manifest, Signature
from tidegate.records.monitoring import Alert, Finding, Severity, Window
from tidegate.records.policy import (
    BaselineModel,
    GatePolicy,
    ModelPolicy,
    MonitoringPolicy,
    ReleasePolicy,
    RetrainPolicy,
    Rule,
)
from tidegate.records.receipt import Receipt
from tidegate.records.report import SCHEMA, Report
from tidegate.records.rollout import Look
from tidegate.records.run import Run, RunState
from tidegate.records.serving import Prediction
from tidegate.records.verdict import Verdict
from tidegate.release import Release
from tidegate.release.ledger import append
from tidegate.serving.rollout.looks import write_look
from tidegate.store import Store
from tidegate.store.ports import Document

NOW = parse_time("2013-07-01T06:00:00")
MIDNIGHT = NOW - 6 * HOUR
CONTRACT = {
    "apiVersion": "v3.1.0", "kind": "DataContract", "id": "f", "version": "1", "status": "active", "name": "flights",
    "schema": [{"name": "flights", "properties": [{"name": "x", "logicalType": "number"}]}],
}  # fmt: skip
POLICY = ModelPolicy(
    task="binary",
    gate=GatePolicy(
        snapshot="eval@1",
        label="late",
        rules=[Rule(metric="log_loss", test="floor", value=0.5)],
        baseline=BaselineModel(value=0.2),
    ),
    release=ReleasePolicy(approvals=1),
)
REPORT = Report(
    schema=SCHEMA, title="", verdict=Verdict.PASS, sentence="", task="binary", candidate="", champion="", rows=1, clusters=None,
    confidence=0.95, seed=0, rules=[],
)  # fmt: skip
MONITORING = MonitoringPolicy(window="1d", label_wait="1d", metrics=["log_loss"])
LINEAGE = Lineage(
    run="run-1", pipeline="flights:train", git_commit="a" * 40, git_dirty=False, snapshots=["train@1"], packages={"numpy": "2.4"}
)


@dataclass
class Project:
    """A store into which evidence is brought piece by piece."""

    store: Store
    folder: Path
    policy: ModelPolicy = POLICY
    versions: list[int] = field(default_factory=list)

    def datasets(self) -> Datasets:
        return Datasets(self.store.bucket, self.store.catalog, Clock.replay(NOW), "ann")

    def release(self, actor: str = "ann") -> Release:
        return Release(self.store.bucket, Clock(lambda: NOW, "system"), actor)

    def data(self) -> None:
        for name in ("train", "eval"):
            self.datasets().snapshot({"x": np.arange(5.0) + len(name)}, name, contract=parse_contract(json.dumps(CONTRACT)))

    def trained(self, number: int, *, lineage: Lineage = LINEAGE) -> None:
        """A version with its run."""
        run = Run(id=lineage.run or f"r{number}", experiment="delay", name="", state=RunState.FINISHED, started_at=1)
        if not self.versions and lineage.run:
            self.store.runs.create(run)
        self.versions.append(number)
        manifest = Manifest(
            name="delay", version=number, task="binary", format="onnx", loads_code=False, files=[], lineage=lineage,
            signature=Signature(inputs=[], outputs=[]), created_at=NOW, author="ann",
        )  # fmt: skip
        self.store.bucket.put_if_absent(f"models/delay/versions/{number}/manifest.json", digest.canonical(manifest))
        self.release().register(self.models().get(f"delay@{number}"))

    def models(self) -> Models:
        return Models(self.store.bucket, self.store.catalog, Clock.replay(NOW), "ann")

    def promoted(self, number: int, **changes: Any) -> None:
        """A version through gate and approval into production."""
        version = self.models().get(f"delay@{number}")
        receipt = Receipt(
            model="delay", candidate=number, candidate_digest=version.digest, snapshot=changes.get("snapshot", "eval@1"),
            snapshot_digest="", baseline=self.release().pointer("delay").champion, policy_digest=policy_digest(self.policy),
            report_digest=digest.of_bytes(report_bytes(REPORT)),
            verdict=Verdict.PASS, code="", seed=0, author="ann", judged_at=NOW, expires_at=NOW + DAY,
        )  # fmt: skip
        key = digest.of_json(receipt)
        self.store.bucket.put_if_absent(receipt_key("delay", key), digest.canonical(receipt))
        self.store.bucket.put_if_absent(receipt_key("delay", key, ".report.json"), report_bytes(REPORT))
        self.release().judged(receipt)
        if self.policy.release.approvals:
            self.release("bea").approve("delay", number, policy=self.policy)
        self.release().promote("delay", number, policy=self.policy)

    def in_production(self) -> None:
        """Level 2."""
        self.data()
        self.trained(1)
        self.promoted(1)

    def watched(self, **changes: Any) -> None:
        """Level 3."""
        self.policy = msgspec.structs.replace(self.policy, monitoring=MONITORING)
        self.trained(2)
        self.promoted(2)
        self.release().rollback("delay", reason="drill")
        PredictionLog(self.store.bucket, "delay").append(
            [Prediction(id="p", model="delay", version=1, event_at=MIDNIGHT - 2 * DAY, served_at=NOW, seconds=0.1, inputs={}, outputs={})]
        )  # fmt: skip
        finding = Finding(kind="performance", subject="log_loss", statistic=0.4, bound=0.5, ratio=0.5, rows=9, version=1)
        window = Window(
            model="delay", start=MIDNIGHT - 2 * DAY, end=MIDNIGHT - DAY, versions=[1], rows=10, labelled=9, closed_at=NOW,
            findings=[finding],
        )  # fmt: skip
        changed = msgspec.structs.replace(window, **changes)
        self.store.bucket.put_if_absent(
            f"monitoring/delay/windows/{window.start}-{window.end}.json", msgspec.json.encode(changed)
        )

    def alert(self) -> None:
        raise_alert(
            self.store.documents,
            Alert(
                id="a1", model="delay", kind="performance", subject="log_loss", severity=Severity.PAGE, window_start=NOW - 2 * DAY,
                window_end=NOW - DAY, ratio=2.0, message="worse", raised_at=NOW,
            ),
        )  # fmt: skip

    def looped(self) -> None:
        """Level 4."""
        self.policy = msgspec.structs.replace(self.policy, retrain=RetrainPolicy(pipeline="flights:train"))
        self.alert()
        decisions = Decisions(self.store.documents, "tick")
        decisions.open("delay", trigger="alert", reason="worse", now=NOW, alerts=["a1"])
        for state in (DecisionState.TRAINED, DecisionState.WAITING, DecisionState.PROMOTED):
            kept = decisions.find_open("delay")
            assert kept is not None
            decisions.move(kept, state, note="", now=NOW, receipt="abc", candidate=3)

    def examine(self) -> Health:
        return examine(
            store=self.store, datasets=self.datasets(), models=self.models(), release=self.release(),
            policies={"delay": self.policy}, clock=Clock.replay(NOW), folder=self.folder,
        )  # fmt: skip

    def state(self, name: str) -> CheckState:
        return next(check.state for check in self.examine().checks if check.name == name)


@pytest.fixture
def project(store: Store, tmp_path: Path) -> Project:
    """An empty store."""
    return Project(store, tmp_path)


def test_an_empty_store_is_level_0_and_nothing_about_models_is_ok(project: Project) -> None:
    health = project.examine()
    assert health.level == 0
    assert health.blocked_by
    assert {check.state for check in health.checks if check.section in {"model", "data", "monitoring"}} == {CheckState.UNKNOWN}
    assert len(health.checks) == len(QUESTIONS)


def test_the_levels_are_climbed_one_by_one(project: Project) -> None:
    project.in_production()
    assert project.examine().level == 2
    project.watched()
    assert project.examine().level == 3
    project.looped()
    health = project.examine()
    assert (health.level, health.blocked_by) == (4, "")


def test_every_check_that_is_not_ok_says_what_to_do(project: Project) -> None:
    project.in_production()
    for check in project.examine().checks:
        assert check.evidence
        assert bool(check.fix) is (check.state is not CheckState.OK)


@pytest.mark.parametrize(
    ("lineage", "level", "blocked_by", "flag"),
    [
        (msgspec.structs.replace(LINEAGE, git_dirty=True), 1, "it was trained from a clean commit", "uncommitted changes"),
        (msgspec.structs.replace(LINEAGE, git_commit="", git_dirty=None), 1, "it was trained from a clean commit", ""),
        (msgspec.structs.replace(LINEAGE, packages={}), 0, "its packages are recorded", "which packages"),
        (msgspec.structs.replace(LINEAGE, run=""), 0, "the champion comes from a tracked run", ""),
        (msgspec.structs.replace(LINEAGE, snapshots=["train@9"]), 0, "training data are snapshots", ""),
        (msgspec.structs.replace(LINEAGE, snapshots=["eval@1"]), 2, "a rollback was tried", "it was judged on"),
        (msgspec.structs.replace(LINEAGE, pipeline=""), 1, "a pipeline trained it", ""),
    ],
)
def test_where_a_champion_comes_from(project: Project, lineage: Lineage, level: int, blocked_by: str, flag: str) -> None:
    project.data()
    project.trained(1, lineage=lineage)
    project.promoted(1)
    health = project.examine()
    assert (health.level, health.blocked_by) == (level, blocked_by)
    assert any(flag in text for text in health.red_flags) if flag else health.red_flags == []


def test_evidence_that_is_weak(project: Project) -> None:
    gate = msgspec.structs.replace(POLICY.gate, snapshot="eval@latest", baseline=None)
    project.policy = msgspec.structs.replace(POLICY, gate=gate, release=ReleasePolicy(approvals=0))
    project.in_production()
    flags = " ".join(project.examine().red_flags)
    assert "not fixed" in flags
    assert "without a baseline" in flags
    assert "decides alone" in flags
    assert project.state("the evaluation snapshot is fixed") is CheckState.FAIL
    assert project.state("it was compared, not only measured") is CheckState.FAIL
    assert project.state("somebody else approved it") is CheckState.FAIL


def test_an_evaluation_set_that_is_worn_is_a_red_flag(project: Project) -> None:
    project.data()
    for number in range(1, 7):
        project.trained(number)
        project.promoted(number)
    flags = project.examine().red_flags
    assert any("6 promotions were decided on eval@1" in flag for flag in flags)
    assert any("rollback was never tried" in flag for flag in flags)


def test_windows_without_labels_hold_level_3_back(project: Project) -> None:
    project.in_production()
    project.watched(labelled=0)
    assert project.state("labels are joined") is CheckState.FAIL
    assert project.examine().level == 2


def test_windows_that_nobody_closes_are_overdue(project: Project) -> None:
    project.in_production()
    project.watched()
    log = PredictionLog(project.store.bucket, "delay")
    old = Prediction(id="q", model="delay", version=1, event_at=NOW - 30 * DAY, served_at=NOW, seconds=0.1, inputs={}, outputs={})
    log.append([old])
    assert project.state("windows are closed in time") is CheckState.FAIL


def test_a_rollout_that_nobody_looks_at_is_told(project: Project) -> None:
    project.in_production()
    project.watched()
    name = "rollouts are looked at every hour"
    assert project.state(name) is CheckState.OK
    digest_of = project.models().get("delay@2").digest

    def start(ago: int) -> None:
        clock, event = Clock(lambda: NOW - ago, "system"), RolloutStarted(version=2, digest=digest_of, receipt="r", plan={})
        append(project.store.bucket, "delay", lambda _state: event, clock=clock, actor="ann")

    start(2 * HOUR)
    assert project.state(name) is CheckState.FAIL
    seq = project.release().rollouts.running("delay")
    assert seq is not None
    look = Look(
        model="delay", version=2, rollout=seq.seq, at=NOW - HOUR // 2, mode="canary", step=0, share=0.0, action="continue",
        sentence="", conditions=[], rows=7,
    )  # fmt: skip
    write_look(project.store.bucket, look)
    assert project.state(name) is CheckState.OK
    write_look(project.store.bucket, msgspec.structs.replace(look, at=NOW))
    assert "7 rows" in next(check.evidence for check in project.examine().checks if check.name == name)


def test_an_alert_without_a_decision_holds_level_4_back(project: Project) -> None:
    project.in_production()
    project.watched()
    project.policy = msgspec.structs.replace(project.policy, retrain=RetrainPolicy(pipeline="flights:train"))
    assert project.state("alerts lead to decisions") is CheckState.UNKNOWN
    project.alert()
    assert project.state("alerts lead to decisions") is CheckState.FAIL
    assert any("no decision was ever opened" in flag for flag in project.examine().red_flags)


def test_a_verification_counts_while_it_is_young_and_clean(project: Project) -> None:
    name = "the store was verified within 30 days"
    assert project.state(name) is CheckState.UNKNOWN
    add = project.store.documents.add
    add(Document("verification", "v1", "store", "ok", NOW - 31 * DAY, {"problems": []}, 0))
    assert project.state(name) is CheckState.FAIL
    add(Document("verification", "v2", "store", "ok", NOW - DAY, {"problems": []}, 0))
    assert project.state(name) is CheckState.OK
    add(Document("verification", "v3", "store", "bad", NOW, {"problems": ["object changed"]}, 0))
    assert project.state(name) is CheckState.FAIL


def test_a_rehearsal_is_called_one(project: Project) -> None:
    project.in_production()
    assert project.examine().red_flags == []
    Release(project.store.bucket, Clock.replay(NOW), "ann").freeze("delay", reason="holiday")
    assert any("replayed clock" in flag for flag in project.examine().red_flags)


def test_what_cannot_be_asked_is_unknown(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    project.in_production()

    def broken(_key: str) -> Any:
        raise UnavailableError("store-locked", "the store is locked")

    monkeypatch.setattr(project.store.runs, "get", broken)
    assert project.state("the champion comes from a tracked run") is CheckState.UNKNOWN


def test_evidence_that_was_changed_is_a_red_flag_and_doctor_goes_on(project: Project) -> None:
    project.in_production()
    key = next(iter(project.store.bucket.keys("models/delay/receipts/")))
    path = project.store.bucket.local(key)
    path.chmod(0o644)
    path.write_bytes(path.read_bytes().replace(b'"seed":0', b'"seed":7'))
    health = project.examine()
    assert health.level < 2
    assert any("evidence cannot be read" in flag for flag in health.red_flags)


def test_a_ledger_that_was_changed_leaves_no_level(project: Project) -> None:
    project.in_production()
    key = next(iter(project.store.bucket.keys("models/delay/ledger/")))
    path = project.store.bucket.local(key)
    path.chmod(0o644)
    path.write_bytes(b"{")
    health = project.examine()
    assert health.level < 2
    assert any("ledger" in flag for flag in health.red_flags)


def check(level: int, state: CheckState) -> Check:
    return Check(name=f"{level} {state}", section="store", level=level, state=state, evidence="")


def test_a_level_needs_all_levels_below_and_every_check() -> None:
    ok, fail, unknown = CheckState.OK, CheckState.FAIL, CheckState.UNKNOWN
    full = [check(level, ok) for level in (1, 2, 3, 4)]
    assert maturity(full) == (4, "")
    assert maturity([*full, check(0, fail)]) == (4, "")
    assert maturity([*full, check(1, unknown)]) == (0, "1 unknown")
    assert maturity([*full, check(3, fail)]) == (2, "3 fail")
    assert maturity([]) == (0, "")
    assert set(LEVELS) == {0, 1, 2, 3, 4}


def test_conditional_writes_are_tried_only_when_asked(project: Project) -> None:
    def answer(*, probe: bool) -> CheckState:
        health = examine(
            store=project.store, datasets=project.datasets(), models=project.models(), release=project.release(),
            policies={}, clock=Clock.replay(NOW), folder=project.folder, probe=probe,
        )  # fmt: skip
        return next(check.state for check in health.checks if check.name == "conditional writes hold")

    assert answer(probe=False) is CheckState.UNKNOWN
    before = list(project.store.bucket.keys(""))
    assert answer(probe=True) is CheckState.OK
    assert list(project.store.bucket.keys("")) == before


def test_times_in_evidence_are_readable(project: Project) -> None:
    project.in_production()
    found = next(item for item in project.examine().checks if item.name == "its gate receipt stands")
    assert format_time(NOW) in found.evidence


def test_every_check_and_level_is_documented() -> None:
    page = (Path(__file__).parents[3] / "docs" / "reference" / "doctor.md").read_text(encoding="utf-8")
    for question in QUESTIONS:
        assert f"| {question.section} | {question.name} | {question.level or '-'} | {question.fix} |" in page
    for level, meaning in LEVELS.items():
        assert f"| {level} | {meaning} |" in page
