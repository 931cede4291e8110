"""The loop with a real ledger and real documents; training and gate are small functions that count their calls."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgspec
import pytest

from tidegate import digest
from tidegate.clock import DAY, HOUR, Clock, parse_time
from tidegate.errors import ConflictError, NotFoundError, RefusedError, UnavailableError
from tidegate.gate import policy_digest, receipt_key, report_bytes
from tidegate.loop import Decisions, Machinery, TickReport, TrainingOutcome, folder_lock, tick
from tidegate.monitoring import list_alerts, raise_alert
from tidegate.records.decision import Decision, DecisionState
from tidegate.records.model import Lineage, Manifest, ModelVersion, Signature
from tidegate.records.monitoring import Alert, Severity, Window
from tidegate.records.policy import ModelPolicy, MonitoringPolicy, ReleasePolicy, RetrainPolicy
from tidegate.records.receipt import Receipt
from tidegate.records.report import Report
from tidegate.records.rollout import Look
from tidegate.records.verdict import Verdict
from tidegate.release import Release
from tidegate.store import Store

NOW = parse_time("2013-07-01T06:00:00")
S = DecisionState


class Killed(BaseException):
    """A kill -9 as a test can do it: nothing may catch it."""


class Judged(NamedTuple):
    verdict: Verdict
    receipt_digest: str
    report: Report


class NoMonitor:
    """Of a monitor, what a tick asks."""

    def __init__(self, windows: list[Window]) -> None:
        self._windows = windows

    def close_windows(self, now: int) -> list[Window]:
        return [window for window in self._windows if window.end <= now]


POLICY = ModelPolicy(
    task="binary",
    release=ReleasePolicy(approvals=1),
    monitoring=MonitoringPolicy(),
    retrain=RetrainPolicy(pipeline="flights:train", params={"until": "{now}", "depth": 3}, evaluation="flights:freeze"),
)


@dataclass
class Project:
    """One model in production, and the outside of the loop."""

    store: Store
    now: int = NOW
    verdict: Verdict = Verdict.PASS
    calls: list[str] = field(default_factory=list)
    fails: dict[str, BaseException] = field(default_factory=dict)
    windows: list[Window] = field(default_factory=list)
    policy: ModelPolicy = POLICY
    locks: Callable[[str], Any] | None = None

    def release(self, actor: str = "tick") -> Release:
        return Release(self.store.bucket, Clock.replay(self.now), actor)

    def register(self, version: int) -> ModelVersion:
        manifest = Manifest(
            name="delay", version=version, task="binary", format="onnx", loads_code=False, files=[], lineage=Lineage(),
            signature=Signature(inputs=[], outputs=[]), created_at=NOW,
        )  # fmt: skip
        made = ModelVersion(digest=f"{version:064x}", manifest=manifest)
        self.release().register(made)
        return made

    def judge(self, ref: str, snapshot: str) -> Judged:
        self._call(f"judge {ref} on {snapshot}", before=True)
        version = int(ref.split("@")[1])
        report = Report(
            schema=1, title="", verdict=self.verdict, sentence="it is better", task="binary", candidate=ref, champion="", rows=1,
            clusters=None, confidence=0.95, seed=0, rules=[],
        )  # fmt: skip
        receipt = Receipt(
            model="delay", candidate=version, candidate_digest=f"{version:064x}", snapshot=snapshot or "flights@1", snapshot_digest="",
            baseline=self.release().pointer("delay").champion, policy_digest=policy_digest(self.policy),
            report_digest=digest.of_bytes(report_bytes(report)), verdict=self.verdict, code="",
            seed=0, author="tick", judged_at=self.now, expires_at=self.now + 30 * DAY,
        )  # fmt: skip
        key = digest.of_json(receipt)
        self.store.bucket.put_if_absent(receipt_key("delay", key), digest.canonical(receipt))
        self.store.bucket.put_if_absent(receipt_key("delay", key, ".report.json"), report_bytes(report))
        self.release().judged(receipt)
        self._call("judged", before=False)
        return Judged(self.verdict, key, report)

    def train(self, target: str, params: Mapping[str, Any]) -> TrainingOutcome:
        self._call(f"train {target} {dict(params)}", before=True)
        self.register(2)
        self._call("trained", before=False)
        return TrainingOutcome("run-1", 2)

    def freeze(self, target: str, at: int) -> str:
        self._call(f"freeze {target} {at}", before=True)
        self._call("frozen", before=False)
        return "flights@7"

    def _call(self, name: str, *, before: bool) -> None:
        if before:
            self.calls.append(name)
        fault = self.fails.pop(name.split(" ", maxsplit=1)[0], None)
        if fault is not None:
            raise fault

    def tick(self) -> TickReport:
        @contextmanager
        def free(_name: str) -> Iterator[bool]:
            yield True

        monitor: Any = NoMonitor(self.windows)
        return tick(
            Machinery(
                policies={"delay": self.policy},
                documents=self.store.documents,
                monitor=lambda _: monitor,
                release=self.release(),
                clock=Clock.replay(self.now),
                actor="tick",
                train=self.train,
                freeze_evaluation=self.freeze,
                judge=self.judge,
                exclusive=self.locks or free,
            )
        )

    def alert(self, name: str = "a1", *, kind: str = "performance", end: int = NOW - DAY, version: int = 1) -> None:
        raise_alert(
            self.store.documents,
            Alert(
                id=name, model="delay", kind=kind, subject="log_loss", severity=Severity.PAGE, window_start=end - DAY, window_end=end,
                ratio=2.0, message="log_loss is worse", raised_at=self.now, version=version,
            ),
        )  # fmt: skip

    def approve(self, version: int = 2) -> None:
        self.release("bea").approve("delay", version, policy=self.policy)

    @property
    def decisions(self) -> list[Decision]:
        return Decisions(self.store.documents, "t").list("delay")

    @property
    def states(self) -> list[DecisionState]:
        return [decision.state for decision in self.decisions]

    def retrain(self, **changes: Any) -> None:
        self.policy = msgspec.structs.replace(self.policy, retrain=msgspec.structs.replace(self.policy.retrain, **changes))


@pytest.fixture
def project(store: Store) -> Project:
    """delay@1 was promoted ten days ago."""
    made = Project(store, now=NOW - 10 * DAY)
    made.register(1)
    made.judge("delay@1", "")
    made.approve(1)
    made.release().promote("delay", 1, policy=made.policy)
    made.calls.clear()
    made.now = NOW
    return made


def test_the_whole_loop_from_alert_to_promotion(project: Project) -> None:
    project.alert()
    report = project.tick()
    assert [move.state for move in report.moves] == [S.OPEN, S.TRAINED, S.TRAINED, S.WAITING]
    assert project.calls == [
        "train flights:train {'until': '2013-07-01T06:00:00+00:00', 'depth': 3}",
        f"freeze flights:freeze {NOW}",
        "judge delay@2 on flights@7",
    ]
    assert "tidegate approve delay@2" in report.next[0]
    assert project.release().pointer("delay").champion.version == 1

    project.now += HOUR
    assert project.tick().moves == []
    project.approve()
    assert [move.state for move in project.tick().moves] == [S.PROMOTED]
    assert project.release().pointer("delay").champion.version == 2
    decision = project.decisions[0]
    assert (decision.id, decision.candidate, decision.evaluation, decision.alerts) == ("delay-0001", 2, "flights@7", ["a1"])
    assert [step.state for step in decision.steps] == [S.OPEN, S.TRAINED, S.TRAINED, S.WAITING, S.PROMOTED]
    assert len(project.calls) == 3
    assert project.tick().moves == []


STEPS = ["train", "trained", "freeze", "frozen", "judge", "judged"]


@pytest.mark.parametrize("step", STEPS)
def test_a_pass_that_is_killed_anywhere_is_continued_by_the_next(project: Project, step: str) -> None:
    project.alert()
    project.fails[step] = Killed()
    with pytest.raises(Killed):
        project.tick()
    project.tick()
    assert project.states == [S.WAITING]
    project.approve()
    project.tick()
    assert project.states == [S.PROMOTED]
    events = [type(entry.event).__name__ for entry in project.release().history("delay")]
    # Whatever was repeated, the ledger has each thing once.
    assert events == ["Registered", "Judged", "Approved", "Promoted", "Registered", "Judged", "Approved", "Promoted"]
    assert [decision.state for decision in project.decisions[0].steps].count(S.WAITING) == 1


def test_a_pass_that_is_killed_between_any_two_writes_is_continued(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    project.alert()
    documents, update = project.store.documents, project.store.documents.update
    attempts = 0
    while True:
        with monkeypatch.context() as patch:

            def killed(document: Any) -> Any:
                update(document)
                raise Killed

            patch.setattr(documents, "update", killed)
            try:
                project.tick()
            except Killed:
                attempts += 1
                if project.states == [S.WAITING]:
                    project.approve()
                continue
        break
    assert project.states == [S.PROMOTED]
    assert attempts == 4
    assert [call.split(" ")[0] for call in project.calls] == ["train", "freeze", "judge"]


def test_promoted_but_not_recorded_is_recorded_by_the_next_pass(project: Project) -> None:
    project.alert()
    project.tick()
    project.approve()
    project.release().promote("delay", 2, policy=project.policy)
    assert [move.state for move in project.tick().moves] == [S.PROMOTED]
    assert sum(type(entry.event).__name__ == "Promoted" for entry in project.release().history("delay")) == 2


@pytest.mark.parametrize("verdict", [Verdict.FAIL, Verdict.INCONCLUSIVE, Verdict.INVALID])
def test_what_does_not_pass_is_rejected_and_the_no_is_kept(project: Project, verdict: Verdict) -> None:
    project.verdict = verdict
    project.alert()
    project.tick()
    assert project.states == [S.REJECTED]
    assert project.decisions[0].steps[-1].note.startswith(verdict.value)
    assert project.decisions[0].receipt
    assert project.release().pointer("delay").champion.version == 1
    project.now += HOUR
    assert project.tick().moves == []


def test_a_training_that_fails_is_a_no(project: Project) -> None:
    project.alert()
    project.fails["train"] = ValueError("one class only")
    project.tick()
    assert project.states == [S.REJECTED]
    assert "ValueError: one class only" in project.decisions[0].steps[-1].note


def test_surroundings_that_fail_say_nothing_about_the_candidate(project: Project) -> None:
    project.alert()
    project.fails["train"] = UnavailableError("disk-full", "the disk is full", fix="make room")
    report = project.tick()
    assert [problem.code for problem in report.problems] == ["disk-full"]
    assert project.states == [S.OPEN]
    project.tick()
    assert project.states == [S.WAITING]


def test_nobody_consents_and_the_decision_expires(project: Project) -> None:
    project.alert()
    project.tick()
    project.now += 14 * DAY - 1
    project.tick()
    assert project.states == [S.WAITING]
    project.now += 1
    project.tick()
    assert project.states == [S.EXPIRED]
    assert project.release().pointer("delay").champion.version == 1


def test_a_moved_champion_means_that_the_gate_is_asked_again(project: Project) -> None:
    project.alert()
    project.tick()
    project.register(3)
    project.judge("delay@3", "")
    project.approve(3)
    project.approve(2)
    project.release().promote("delay", 3, policy=project.policy)
    project.calls.clear()
    project.now += HOUR
    report = project.tick()
    assert [move.state for move in report.moves] == [S.TRAINED, S.WAITING]
    assert project.calls == ["judge delay@2 on flights@7"]
    assert project.states == [S.WAITING]


def test_never_a_second_decision_while_one_is_open(project: Project) -> None:
    project.alert()
    project.tick()
    project.alert("a2")
    project.now += 8 * DAY
    project.tick()
    assert project.states == [S.WAITING]
    with pytest.raises(ConflictError):
        Decisions(project.store.documents, "ann").open("delay", trigger="manual", reason="again", now=project.now)


def test_cooldown_holds_an_alert_back_and_does_not_lose_it(project: Project) -> None:
    project.verdict = Verdict.FAIL
    project.alert()
    project.tick()
    project.now += 2 * DAY
    project.alert("a2", end=project.now - HOUR)
    report = project.tick()
    assert report.moves == []
    assert "cooldown" in report.notes[0]
    project.now += 5 * DAY
    project.tick()
    assert project.states == [S.REJECTED, S.REJECTED]
    assert project.decisions[0].alerts == ["a2"]


@pytest.mark.parametrize("told", [{"kind": "input_drift"}, {"version": 7}, {"end": NOW - 11 * DAY}])
def test_drift_and_news_about_former_champions_trigger_nothing(project: Project, told: dict[str, Any]) -> None:
    project.alert(**told)
    assert project.tick().moves == []


def test_without_a_champion_there_is_nothing_to_retrain(store: Store) -> None:
    project = Project(store)
    project.alert()
    assert project.tick().moves == []


def test_a_schedule_opens_decisions(project: Project) -> None:
    project.retrain(every="30d")
    assert project.tick().moves == []
    project.now += 20 * DAY
    project.tick()
    assert project.decisions[0].trigger == "schedule"


def test_a_person_opens_and_declines(project: Project) -> None:
    decisions = Decisions(project.store.documents, "ann")
    opened = decisions.open("delay", trigger="manual", reason="new sensor", now=NOW)
    project.tick()
    assert project.states == [S.WAITING]
    declined = decisions.decline(opened.id, reason="not now", now=NOW + 1)
    assert (declined.state, declined.steps[-1].actor, declined.steps[-1].note) == (S.DECLINED, "ann", "not now")
    project.approve()
    assert project.tick().moves == []
    assert project.release().pointer("delay").champion.version == 1
    with pytest.raises(RefusedError):
        decisions.decline(opened.id, reason="again", now=NOW + 2)
    with pytest.raises(NotFoundError):
        decisions.decline("delay-0099", reason="?", now=NOW)


def test_a_decision_declined_while_it_trains_stays_declined(project: Project) -> None:
    project.alert()
    train = project.train

    def slow(target: str, params: Mapping[str, Any]) -> TrainingOutcome:
        Decisions(project.store.documents, "ann").decline("delay-0001", reason="stop", now=NOW)
        return train(target, params)

    project.train = slow
    project.tick()
    assert project.states == [S.DECLINED]


def test_training_that_gives_the_champion_is_no_answer(project: Project) -> None:
    project.alert()
    project.train = lambda *_: TrainingOutcome("run-2", 1)
    project.tick()
    assert project.states == [S.REJECTED]


def test_of_two_passes_at_once_one_trains(project: Project, tmp_path: Any) -> None:
    project.locks = folder_lock(tmp_path / "locks")
    project.alert()
    train = project.train
    inner: list[TickReport] = []

    def slow(target: str, params: Mapping[str, Any]) -> TrainingOutcome:
        inner.append(project.tick())
        return train(target, params)

    project.train = slow
    project.tick()
    assert inner[0].moves == []
    assert "another pass" in inner[0].notes[0]
    assert [call.split(" ")[0] for call in project.calls] == ["train", "freeze", "judge"]


def test_windows_and_alerts_are_reported_and_one_bad_model_does_not_stop_the_others(project: Project) -> None:
    window = Window(
        model="delay", start=NOW - 2 * DAY, end=NOW - DAY, versions=[1], rows=10, labelled=4, closed_at=NOW, findings=[]
    )
    project.windows = [window]
    report = project.tick()
    assert [(item.rows, item.labelled) for item in report.windows] == [(10, 4)]

    def broken(_now: int) -> list[Window]:
        raise ZeroDivisionError

    monitor: Any = NoMonitor([window])
    bad: Any = NoMonitor([])
    bad.close_windows = broken
    machinery = Machinery(
        policies={"bad": project.policy, "delay": project.policy}, documents=project.store.documents, release=project.release(),
        monitor=lambda name: bad if name == "bad" else monitor, clock=Clock.replay(NOW), actor="tick", train=project.train,
        freeze_evaluation=project.freeze, judge=project.judge, exclusive=folder_lock(project.store.root / "locks"),
    )  # fmt: skip
    mixed = tick(machinery)
    assert [(problem.model, problem.code) for problem in mixed.problems] == [("bad", "internal")]
    assert len(mixed.windows) == 1
    assert list_alerts(project.store.documents) == []


def test_rollouts_and_monitoring_do_not_keep_each_other_waiting(project: Project) -> None:
    look = Look(
        model="well", version=3, rollout=7, at=NOW, mode="canary", step=2, share=0.5, action="done", sentence="every step held",
        conditions=[], rows=10,
    )  # fmt: skip
    window = Window(
        model="well", start=NOW - 2 * DAY, end=NOW - DAY, versions=[1], rows=10, labelled=4, closed_at=NOW, findings=[]
    )

    def roll(model: str) -> Look | None:
        if model == "broken":
            raise ZeroDivisionError
        return look if model == "well" else None

    monitor: Any = NoMonitor([window])
    machinery = Machinery(
        policies=dict.fromkeys(["broken", "idle", "well"], project.policy), documents=project.store.documents,
        release=project.release(), monitor=lambda _name: monitor, clock=Clock.replay(NOW), actor="tick", train=project.train,
        freeze_evaluation=project.freeze, judge=project.judge, exclusive=folder_lock(project.store.root / "locks"), roll=roll,
    )  # fmt: skip
    report = tick(machinery)
    assert [(problem.model, problem.code) for problem in report.problems] == [("broken", "internal")]
    assert len(report.windows) == 3
    assert report.looks == [look]
    assert "tidegate promote well@3" in report.next
