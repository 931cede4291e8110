"""``tidegate rollout`` as a person types it; models are manifests alone, and the evidence is made up."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from cli_caller import Caller

from tidegate import digest
from tidegate.clock import DAY, MINUTE, Clock, parse_time
from tidegate.gate import policy_digest, receipt_key, report_bytes
from tidegate.records.ledger import Promoted
from tidegate.records.model import Lineage, Manifest, ModelVersion, Signature, Tensor
from tidegate.records.policy import ModelPolicy
from tidegate.records.receipt import Baseline, Receipt
from tidegate.records.report import SCHEMA, Report
from tidegate.records.verdict import Verdict
from tidegate.release import Release
from tidegate.release.ledger import append
from tidegate.serving.rollout.pairs import Pair, write_pairs
from tidegate.store.bucket import open_bucket

NOW = parse_time("2026-03-02T08:00:00")
POLICY = """
[models.delay]
task = "binary"
[models.delay.release]
approvals = 0
[models.delay.rollout]
steps = [0, 0.2]
minimum_duration = "1m"
minimum_samples = 500
"""
REPORT = Report(
    schema=SCHEMA, title="", verdict=Verdict.PASS, sentence="", task="binary", candidate="", champion="", rows=1, clusters=None,
    confidence=0.95, seed=0, rules=[],
)  # fmt: skip


class Project(Caller):
    """A folder with a champion, a version that passed the gate, and the command line at a time that the test sets."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        super().__init__(capsys, NOW)
        self.bucket = open_bucket(Path(".tidegate").resolve())
        clock = Clock(lambda: self.now, "replay")
        self.release = Release(self.bucket, clock, "ana")
        versions = [self._version(number) for number in (1, 2)]
        event = Promoted(version=1, digest=versions[0].digest, receipt="r", previous=Baseline())
        append(self.bucket, "delay", lambda _state: event, clock=clock, actor="ana")
        self._judge(versions[1])

    def _version(self, number: int) -> ModelVersion:
        signature = Signature(inputs=[Tensor(name="x", dtype="float64", shape=[-1, 1])], outputs=[])
        manifest = Manifest(
            name="delay", version=number, task="binary", format="onnx", loads_code=False, signature=signature, files=[],
            lineage=Lineage(), created_at=1, author="ana",
        )  # fmt: skip
        self.bucket.put_if_absent(f"models/delay/versions/{number}/manifest.json", digest.canonical(manifest))
        version = ModelVersion(digest=digest.of_json(manifest), manifest=manifest)
        self.release.register(version)
        return version

    def _judge(self, version: ModelVersion) -> None:
        receipt = Receipt(
            model="delay", candidate=version.version, candidate_digest=version.digest,
            baseline=self.release.pointer("delay").champion, snapshot="eval@1", snapshot_digest="s",
            policy_digest=policy_digest(ModelPolicy(task="binary")), report_digest=digest.of_bytes(report_bytes(REPORT)),
            verdict=Verdict.PASS, code="c", seed=0, author="ana", judged_at=NOW, expires_at=NOW + 14 * DAY,
        )  # fmt: skip
        key = digest.of_json(receipt)
        self.bucket.put_if_absent(receipt_key("delay", key, ".json"), digest.canonical(receipt))
        self.bucket.put_if_absent(receipt_key("delay", key, ".report.json"), report_bytes(REPORT))
        self.release.judged(receipt)

    def answer(self, rows: int, *, failed: float = 0.0) -> None:
        """Requests that servers paired; then ten minutes pass."""
        rollout = self.release.rollouts.running("delay")
        assert rollout is not None
        rng = np.random.default_rng(rollout.step)
        pairs: list[Pair] = []
        for row in range(rows):
            point, ids = float(rng.random()), [f"{rollout.step}-{row}"]
            says, fails = np.array([0.8]), float(rng.random() < failed)
            share, assigned = rollout.share, point < rollout.share
            pairs.append(Pair(ids, self.now + row, rollout.step, share, point, assigned, says, says, 0.0, fails, 0.002))
        write_pairs(self.bucket, "delay", rollout.seq, pairs)
        self.now += 10 * MINUTE


@pytest.fixture
def tidegate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Project:
    monkeypatch.chdir(tmp_path)
    Path("tidegate.toml").write_text(POLICY, encoding="utf-8")
    return Project(capsys)


def test_a_rollout_from_start_to_done(tidegate: Project) -> None:
    assert "no version of delay is being rolled out" in tidegate("rollout", "status", "delay")
    plan = tidegate("rollout", "plan", "delay@2")
    assert "yes the verdict is PASS" in plan
    assert "canary: in the shadow, then 20 % of keys; each for 1m and 500 rows at least" in plan
    started = tidegate("rollout", "start", "delay@2")
    assert "delay@2 is rolled out: canary, step 1 of 2, in the shadow" in started
    assert "watched: errors, latency_p99_ms, disagreement. Labels are not looked at: no harm is declared" in started
    assert "rollout-running" in tidegate("rollout", "start", "delay@2", code=1)
    tidegate.answer(2500)
    assert "delay@2 moves to step 1, 20 % of keys: 2,500 rows and every condition held" in tidegate("rollout", "plan", "delay")
    assert "rollout of delay@2: advance: 2,500 rows" in tidegate("tick")
    tidegate.answer(4000)
    assert "next: tidegate promote delay@2" in tidegate("tick")
    status = tidegate("rollout", "status", "delay")
    assert "delay@2: canary, every step is over, 20 % of keys" in status
    assert "held: errors is 0 % (0 to 0.0" in status
    assert "next: tidegate promote delay@2" in status
    assert "promoted" in tidegate("promote", "delay@2")
    log = tidegate("release", "log", "delay")
    assert "moved the rollout of version 2 to 20 % of requests" in log


def test_a_candidate_that_fails_is_stopped_by_tick(tidegate: Project) -> None:
    tidegate("rollout", "start", "delay@2")
    tidegate.answer(600, failed=0.1)
    report = tidegate.json("tick")
    assert (report["looks"][0]["action"], report["looks"][0]["outcome"]) == ("stop", "harmful")
    assert "version-quarantined" in tidegate("rollout", "start", "delay@2", code=1)
    assert tidegate.json("tick")["looks"] == []


def test_json_is_one_object(tidegate: Project) -> None:
    assert tidegate.json("rollout", "plan", "delay@2")["possible"] is True
    started = tidegate.json("rollout", "start", "delay@2")
    assert (started["version"], started["share"], started["plan"]["steps"]) == (2, 0.0, [0.0, 0.2])
    tidegate.answer(300)
    status = tidegate.json("rollout", "status", "delay")
    assert (status["look"]["rows"], status["rollout"]) == (300, started["rollout"])
    assert tidegate.json("rollout", "plan", "delay")["event"] is None
    stopped = tidegate.json("rollout", "stop", "delay", "--reason", "the wrong one")
    assert stopped["event"]["outcome"] == "cancelled"
    assert tidegate.json("rollout", "status", "delay") == {"model": "delay", "look": None}
    assert tidegate.json("rollout", "plan", "delay") == {"model": "delay", "look": None, "event": None}


def test_what_is_missing_is_named(tidegate: Project) -> None:
    assert "version-missing" in tidegate("rollout", "start", "delay", code=2)
    assert "no-rollout" in tidegate("rollout", "stop", "delay", "--reason", "x", code=1)
    tidegate("rollout", "start", "delay@2")
    assert "reason-missing" in tidegate("rollout", "stop", "delay", code=2)
    Path("tidegate.toml").write_text(POLICY.replace("steps", "stepz"), encoding="utf-8")
    assert "did you mean 'steps'" in tidegate("rollout", "start", "delay@2", code=2)
