"""A shop whose second version passed the gate, and evidence about it that the tests make up."""

from __future__ import annotations

import numpy as np

from tidegate import digest
from tidegate.clock import DAY, SECOND, Clock
from tidegate.gate import policy_digest, receipt_key, report_bytes
from tidegate.monitoring import Labels
from tidegate.records.policy import ModelPolicy, ReleasePolicy
from tidegate.records.receipt import Receipt
from tidegate.records.report import SCHEMA, Report
from tidegate.records.rollout import RolloutPolicy
from tidegate.records.verdict import Verdict
from tidegate.release import Release
from tidegate.serving.rollout import Controller
from tidegate.serving.rollout.evidence import Evidence
from tidegate.serving.rollout.pairs import Pair, write_pairs

NONE = float("nan")
REPORT = Report(
    schema=SCHEMA, title="", verdict=Verdict.PASS, sentence="", task="binary", candidate="", champion="", rows=1, clusters=None,
    confidence=0.95, seed=0, rules=[],
)  # fmt: skip


def policy(**rollout) -> ModelPolicy:
    plan = {"minimum_duration": "0s", "minimum_samples": 100, "label_maturity": "10s", "max_error_increase": 0.05, **rollout}
    return ModelPolicy(task="binary", release=ReleasePolicy(approvals=0), rollout=RolloutPolicy(**plan))


class Room:
    """The rollouts of a shop, at a time that the test sets; its second version has passed the gate."""

    def __init__(self, shop, now: int, *, judged: bool = True):
        self.shop, self.bucket, self.now = shop, shop.bucket, now
        self.clock = Clock(lambda: self.now, "replay")
        self.release = Release(self.bucket, self.clock, "ana")
        self.controller = Controller(self.bucket, self.release, self.clock)
        self.champion, self.candidate = shop.versions
        for version in shop.versions:
            self.release.register(version)
        if judged:
            self.judge()

    def judge(self):
        receipt = Receipt(
            model="delay", candidate=self.candidate.version, candidate_digest=self.candidate.digest,
            baseline=self.release.pointer("delay").champion, snapshot="eval@1", snapshot_digest="s",
            policy_digest=policy_digest(policy()), report_digest=digest.of_bytes(report_bytes(REPORT)), verdict=Verdict.PASS, code="c", seed=0, author="ana", judged_at=self.now,
            expires_at=self.now + 14 * DAY,
        )  # fmt: skip
        key = digest.of_json(receipt)
        self.bucket.put_if_absent(receipt_key("delay", key, ".json"), digest.canonical(receipt))
        self.bucket.put_if_absent(receipt_key("delay", key, ".report.json"), report_bytes(REPORT))
        self.release.judged(receipt)

    def start(self, **plan):
        self.policy = policy(**plan)
        return self.controller.start("delay", self.candidate.version, policy=self.policy)

    def tick(self):
        return self.controller.tick("delay", policy=self.policy)

    def answer(self, rows: int, *, quality: float = 1.0, failed: float = 0.0, seed: int = 0, skew: float = 1.0, seconds=0.001):
        """Rows of requests as servers would have kept them by now, and their labels; then the labels' maturity passes.

        The champion says what is so in nine of ten rows, the candidate in ``quality`` times as many.
        """
        rollout = self.release.rollouts.running("delay")
        rng = np.random.default_rng([seed, rollout.step, rows])
        labels = rng.random(rows) < 0.5
        pairs = []
        for row in range(rows):
            point = float(rng.random())
            right = rng.random() < 0.9
            says = labels[row] if right else not labels[row]
            also = says if rng.random() < quality else not says
            fails = rng.random() < failed
            pairs.append(
                Pair(
                    [f"{seed}-{rollout.step}-{rows}-{row}"], self.now + row, rollout.step, rollout.share, point,
                    point < rollout.share * skew, np.array([0.8 if says else 0.2]),
                    np.array([NONE if fails else 0.8 if also else 0.2]), 0.0, float(fails), seconds * (1 + rng.random()),
                )
            )  # fmt: skip
        write_pairs(self.bucket, "delay", rollout.seq, pairs)
        known = np.full(rows, self.now + SECOND, dtype="datetime64[us]")
        ids = np.array([pair.ids[0] for pair in pairs], dtype=object)
        self.labels().add({"prediction_id": ids, "label": labels.astype(np.int64), "known_at": known})
        self.now += 30 * SECOND

    def labels(self):
        return Labels(self.bucket, "delay")


def evidence(rows: int, *, share=0.5, step=1, assigned=None, candidate=None, champion=None, label=None, **changes) -> Evidence:
    """Rows of single requests; both models right and quick, unless said otherwise."""
    point = np.random.default_rng(rows).random(rows)
    label = np.full(rows, NONE) if label is None else np.asarray(label, dtype=float)
    right = np.where(np.isnan(label), 1.0, label)
    values = {
        "step": np.full(rows, step), "share": np.full(rows, share), "point": point, "first": np.ones(rows, bool),
        "assigned": point < share if assigned is None else assigned,
        "champion": right if champion is None else np.asarray(champion, float),
        "candidate": right if candidate is None else np.asarray(candidate, float),
        "champion_failed": np.zeros(rows), "candidate_failed": np.zeros(rows),
        "seconds": np.full(rows, 0.001), "label": label,
    }  # fmt: skip
    return Evidence(**{**values, **changes})
