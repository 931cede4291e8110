"""Builds a project in the middle of a release, without training anything: versions, verdicts, approvals, and a rollout with its evidence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tidegate import digest
from tidegate.clock import DAY, HOUR, SECOND, format_time, parse_time
from tidegate.gate import policy_digest, receipt_key, report_bytes
from tidegate.monitoring import Labels
from tidegate.records.model import Allowed, Lineage, Manifest, ModelVersion, PackagedFile, Signature, Tensor
from tidegate.records.policy import ModelPolicy
from tidegate.records.receipt import Receipt
from tidegate.records.report import SCHEMA, Report
from tidegate.records.verdict import Verdict
from tidegate.serving.rollout.pairs import Pair, write_pairs
from tidegate.workspace import Workspace

START = parse_time("2026-03-02T08:00:00")
LONG = "x" * 200
TURNED = "\u202egnp.exe"
HOSTILE = f"<script>alert(1)</script>{TURNED}<img src=x onerror=alert(2)>"
CARD = f"# Card\n\nFor **flights**. {HOSTILE}\n\n| a | b |\n|--:|---|\n| 1 | {LONG} |\n\n![p](http://x/y.png) [z](javascript:alert(3))\n"
POLICY = """
[roles]
risk = ["rita", "rob"]
ops = ["otto", "rita"]
[models.delay]
task = "binary"
[models.delay.release]
quorum = { risk = 1, ops = 1 }
approvers = ["rita", "rob", "otto", "ana"]
[models.delay.rollout]
steps = [0.0, 0.1, 0.5]
harm = { accuracy = 0.02 }
minimum_samples = 100
minimum_duration = "0s"
label_maturity = "10s"
max_error_increase = 0.05
"""
REPORT = Report(
    schema=SCHEMA, title="", verdict=Verdict.PASS, sentence="", task="binary", candidate="", champion="", rows=1, clusters=None,
    confidence=0.95, seed=0, rules=[],
)  # fmt: skip


class Shipping:
    """The project at ``now``, acted on by whoever ``as_`` names; the server is ana's."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "tidegate.toml").write_text(POLICY, encoding="utf-8")
        self.folder, self.settings, self.now = folder, settings, START
        self.workspace = self.as_("ana")
        self.versions: dict[int, ModelVersion] = {}

    def as_(self, actor: str) -> Workspace:
        return Workspace.open(self.folder, recover=False, actor=actor, now=format_time(self.now), **self.settings)

    def register(self, number: int) -> ModelVersion:
        inputs = [
            Tensor(name="distance", dtype="float32", shape=[-1, 1], unit="miles", allowed=Allowed(minimum=0, maximum=6000)),
            Tensor(name=HOSTILE, dtype="string", shape=[-1, 1], nullable=True, allowed=Allowed(choices=["AA", LONG])),
        ]
        outputs = [Tensor(name="probability", dtype="float32", shape=[-1])]
        manifest = Manifest(
            name="delay", version=number, task="binary", format="onnx", loads_code=False, created_at=self.now, author="ana",
            signature=Signature(inputs=inputs, outputs=outputs), lineage=Lineage(code_tree=f"{number}" * 40), card=CARD,
            files=[PackagedFile(path="model.onnx", size=1000 * number, digest=f"{number}" * 64)], requirements=["numpy==2.4.6"],
            python="3.11.9", description=HOSTILE,
        )  # fmt: skip
        version = self.versions[number] = ModelVersion(digest=digest.of_json(manifest), manifest=manifest)
        self.workspace.store.bucket.put_if_absent(f"models/delay/versions/{number}/manifest.json", digest.canonical(manifest))
        self.workspace.models.reindex()
        self.workspace.release.register(version)
        return version

    def judge(self, number: int) -> str:
        receipt = Receipt(
            model="delay", candidate=number, candidate_digest=self.versions[number].digest,
            baseline=self.workspace.release.pointer("delay").champion, snapshot="eval@1", snapshot_digest="s",
            policy_digest=policy_digest(ModelPolicy(task="binary")), report_digest=digest.of_bytes(report_bytes(REPORT)),
            verdict=Verdict.PASS, code="c", seed=0, author="ana", judged_at=self.now, expires_at=self.now + 14 * DAY,
        )  # fmt: skip
        key, bucket = digest.of_json(receipt), self.workspace.store.bucket
        bucket.put_if_absent(receipt_key("delay", key, ".json"), digest.canonical(receipt))
        bucket.put_if_absent(receipt_key("delay", key, ".report.json"), report_bytes(REPORT))
        self.workspace.release.judged(receipt)
        return key

    def approve(self, number: int, *names: str) -> None:
        for name in names:
            workspace = self.as_(name)
            workspace.release.approve("delay", number, policy=workspace.policy("delay"), comment=HOSTILE, via="cli")
            workspace.store.close()

    def answer(self, rows: int, *, right: float = 1.0) -> None:
        """Rows of requests as servers would have kept them, their labels, and a tick that looks at them. See the rollout's own tests."""
        rollout = self.workspace.release.rollouts.running("delay")
        assert rollout is not None
        rng = np.random.default_rng([rollout.step, rows])
        labels = rng.random(rows) < 0.5
        pairs: list[Pair] = []
        for row, label in enumerate(labels.tolist()):
            point, says = float(rng.random()), label if rng.random() < 0.9 else not label
            also = says if rng.random() < right else not says
            pairs.append(
                Pair(
                    [f"{rollout.step}-{rows}-{row}"], self.now + row, rollout.step, rollout.share, point, point < rollout.share,
                    np.array([0.8 if says else 0.2]), np.array([0.8 if also else 0.2]), 0.0, 0.0, 0.001 * (1 + float(rng.random())),
                )
            )  # fmt: skip
        bucket = self.workspace.store.bucket
        write_pairs(bucket, "delay", rollout.seq, pairs)
        known = np.full(rows, self.now + SECOND, dtype="datetime64[us]")
        ids = np.array([pair.ids[0] for pair in pairs], dtype=object)
        Labels(bucket, "delay").add({"prediction_id": ids, "label": labels.astype(np.int64), "known_at": known})
        self.now += HOUR
        self.look()

    def look(self) -> None:
        self.reopen()
        self.workspace.rollouts.tick("delay", policy=self.workspace.policy("delay"))

    def reopen(self) -> None:
        """The server's own workspace, at the present time."""
        self.workspace.store.close()
        self.workspace = self.as_("ana")


def build_shipping(folder: Path, **settings: Any) -> Shipping:
    """Version 1 serves, 2 was stopped as harmful, 3 is being rolled out, 4 waits for ops, and 5 is not judged."""
    made = Shipping(folder, **settings)
    policy = made.workspace.policy("delay")
    for number in (1, 2, 3):
        made.register(number)
        made.judge(number)
        made.approve(number, "rita", "rob") if number == 1 else None
        if number == 1:
            made.approve(1, "otto")
            made.workspace.release.promote("delay", 1, policy=policy)
            continue
        made.approve(number, "rob", "otto")
        made.workspace.rollouts.start("delay", number, policy=policy)
        made.answer(3000, right=0.8 if number == 2 else 1.0)
    made.answer(2000)
    made.register(4)
    made.judge(4)
    made.approve(4, "rob")
    made.register(5)
    made.workspace.release.freeze("delay", reason=HOSTILE)
    made.workspace.release.unfreeze("delay", reason=LONG)
    return made
