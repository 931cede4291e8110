from tidegate import digest
from tidegate.clock import DAY, Clock
from tidegate.gate import policy_digest, receipt_key, report_bytes
from tidegate.records.model import Lineage, Manifest, ModelVersion, Signature
from tidegate.records.policy import ModelPolicy, ReleasePolicy
from tidegate.records.receipt import Receipt
from tidegate.records.report import SCHEMA, Report
from tidegate.records.verdict import Verdict
from tidegate.release import Release


def asking(**release):
    """A policy that says this about releases, and has no gate."""
    return ModelPolicy(task="binary", release=ReleasePolicy(**release))


POLICY = asking(approvals=1)
REPORT = Report(
    schema=SCHEMA, title="", verdict=Verdict.PASS, sentence="", task="binary", candidate="", champion="", rows=1, clusters=None,
    confidence=0.95, seed=0, rules=[],
)  # fmt: skip


class House:
    """A bucket in which people act at a time that the test sets."""

    def __init__(self, bucket):
        self.bucket = bucket
        self.now = 100 * DAY

    def release(self, actor):
        return Release(self.bucket, Clock(lambda: self.now, "replay"), actor)

    def version(self, number, author="ana"):
        manifest = Manifest(
            name="delay", version=number, task="binary", format="onnx", loads_code=False,
            signature=Signature(inputs=[], outputs=[]), files=[], lineage=Lineage(), created_at=1, author=author,
        )  # fmt: skip
        version = ModelVersion(digest=digest.of_json(manifest), manifest=manifest)
        self.release(author).register(version)
        return version

    def judge(self, version, verdict=Verdict.PASS, **changes):
        release = self.release("ana")
        fields = {
            "model": "delay", "candidate": version.version, "candidate_digest": version.digest,
            "baseline": release.pointer("delay").champion, "snapshot": "eval@1", "snapshot_digest": "s",
            "policy_digest": policy_digest(POLICY), "report_digest": digest.of_bytes(report_bytes(REPORT)), "verdict": verdict, "code": "c", "seed": 0, "author": "ana", "judged_at": self.now,
            "expires_at": self.now + 14 * DAY,
        }  # fmt: skip
        receipt = Receipt(**{**fields, **changes})
        key = digest.of_json(receipt)
        self.bucket.put_if_absent(f"models/delay/receipts/{key}.json", digest.canonical(receipt))
        if "report_digest" not in changes:
            self.bucket.put_if_absent(receipt_key("delay", key, ".report.json"), report_bytes(REPORT))
        release.judged(receipt)
        return key

    def ready(self, number):
        """A version that is judged and approved."""
        version = self.version(number)
        self.judge(version)
        self.release("ben").approve("delay", number, policy=POLICY)
        return version

    def champion(self, number):
        version = self.ready(number)
        self.release("ana").promote("delay", number, policy=POLICY)
        return version
