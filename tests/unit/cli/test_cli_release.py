"""``tidegate approve``, ``promote``, ``rollback``, ``release`` and ``notify`` as a person types them; models are manifests alone."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from cli_caller import Caller
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

from tidegate import digest
from tidegate.clock import DAY, Clock, format_time, parse_time
from tidegate.gate import policy_digest, receipt_key, report_bytes
from tidegate.records.model import Lineage, Manifest, ModelVersion, Signature
from tidegate.records.policy import ModelPolicy
from tidegate.records.receipt import Receipt
from tidegate.records.report import SCHEMA, Report
from tidegate.records.verdict import Verdict
from tidegate.release import Release
from tidegate.release.ledger import entry_key, move_pointer
from tidegate.store.bucket import open_bucket

NOW = parse_time("2026-03-02T08:00:00")
POLICY = """
[roles]
ops = ["otto", "olga"]
[models.delay]
task = "binary"
[models.delay.release]
quorum = { ops = 1 }
break_glass = ["ops"]
"""
REPORT = Report(
    schema=SCHEMA, title="", verdict=Verdict.PASS, sentence="", task="binary", candidate="", champion="", rows=1, clusters=None,
    confidence=0.95, seed=0, rules=[],
)  # fmt: skip
SECRET = "whsec_" + base64.b64encode(b"thirty-two bytes of a test secret").decode()


class Project(Caller):
    """A folder whose version 1 serves, and the command line at a time that the test sets."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        super().__init__(capsys, NOW)
        self.bucket = open_bucket(Path(".tidegate").resolve())
        self.release = Release(self.bucket, Clock(lambda: self.now, "replay"), "ana")
        self.ready(1)
        self("--as", "otto", "approve", "delay@1", "--comment", "looks good")
        self("--as", "ana", "promote", "delay@1")

    def ready(self, number: int, verdict: Verdict = Verdict.PASS) -> None:
        """Registers and judges a version."""
        self.now += 60_000_000
        manifest = Manifest(
            name="delay", version=number, task="binary", format="onnx", loads_code=False, signature=Signature(inputs=[], outputs=[]),
            files=[], lineage=Lineage(), created_at=1, author="ana",
        )  # fmt: skip
        self.bucket.put_if_absent(f"models/delay/versions/{number}/manifest.json", digest.canonical(manifest))
        version = ModelVersion(digest=digest.of_json(manifest), manifest=manifest)
        self.release.register(version)
        receipt = Receipt(
            model="delay", candidate=number, candidate_digest=version.digest, baseline=self.release.pointer("delay").champion,
            snapshot="eval@1", snapshot_digest="s", policy_digest=policy_digest(ModelPolicy(task="binary")),
            report_digest=digest.of_bytes(report_bytes(REPORT)), verdict=verdict, code="c", seed=0, author="ana",
            judged_at=self.now, expires_at=self.now + 14 * DAY,
        )  # fmt: skip
        key = digest.of_json(receipt)
        self.bucket.put_if_absent(receipt_key("delay", key, ".json"), digest.canonical(receipt))
        self.bucket.put_if_absent(receipt_key("delay", key, ".report.json"), report_bytes(REPORT))
        self.release.judged(receipt)


@pytest.fixture
def tidegate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Project:
    monkeypatch.chdir(tmp_path)
    Path("tidegate.toml").write_text(POLICY, encoding="utf-8")
    return Project(capsys)


def test_a_quorum_of_a_role_is_asked_for_and_a_revoked_approval_is_missed(tidegate: Project) -> None:
    tidegate.ready(2)
    assert "next: tidegate approve delay@2    (delay@2 has 1 of 1 approvals)" in tidegate("--as", "ben", "approve", "delay@2")
    assert "still missing: 1 of ops" in tidegate("--as", "ana", "promote", "delay@2", code=6)
    tidegate("--as", "olga", "approve", "delay@2")
    told = tidegate("--as", "ben", "release", "revoke", "delay@2", "--approver", "olga", "--reason", "new numbers")
    assert "revoked the approval of olga for version 2: new numbers" in told
    assert tidegate.json("release", "plan", "delay@2")["refusal"]["code"] == "approval-missing"


def test_a_plan_says_why_the_policy_did_not_approve_by_itself(tidegate: Project) -> None:
    tidegate.ready(2)
    assert "by itself" not in tidegate("release", "plan", "delay@2")
    Path("tidegate.toml").write_text(f"{POLICY}[models.delay.release.auto]\nper_week = 2\n", encoding="utf-8")
    told = tidegate("release", "plan", "delay@2")
    assert "the policy does not approve it by itself: no rule compared a metric with the champion's" in told
    assert told.endswith("next: tidegate approve delay@2\n")
    assert tidegate.json("release", "plan", "delay@2")["not_by_policy"]


@pytest.mark.parametrize(
    "words", [["log", "dela"], ["history", "dela"], ["freeze", "dela", "--reason", "x"], ["unfreeze", "dela", "--reason", "x"]]
)
def test_a_misspelt_model_has_no_ledger(tidegate: Project, words: list[str]) -> None:
    assert "no version of dela is registered" in tidegate("release", *words, code=1)
    assert tidegate.bucket.find(entry_key("dela", 1)) is None


def test_in_a_ci_job_the_job_is_recorded(tidegate: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    tidegate.ready(2)
    for name, value in {
        "GITHUB_ACTIONS": "true", "GITHUB_REPOSITORY": "shop/delay", "GITHUB_RUN_ID": "9", "GITHUB_TRIGGERING_ACTOR": "olga",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    event = tidegate.json("--as", "runner", "approve", "delay@2")["event"]
    assert (event["via"], event["ci"]["actor"], event["ci"]["repository"]) == ("ci", "olga", "shop/delay")
    assert event["ci"]["run"] == "https://github.com/shop/delay/actions/runs/9"
    tidegate("--as", "ana", "promote", "delay@2")
    monkeypatch.setenv("GITHUB_TRIGGERING_ACTOR", "ana")
    tidegate.ready(3)
    assert "ana is the author" in tidegate("--as", "runner", "approve", "delay@3", code=1)


def test_breaking_the_glass_is_loud(tidegate: Project) -> None:
    tidegate.ready(2, Verdict.FAIL)
    assert "may not break the glass" in tidegate("--as", "ana", "promote", "delay@2", "--break-glass", "--reason", "x", code=1)
    assert "reason" in tidegate("--as", "otto", "promote", "delay@2", "--break-glass", code=2)
    told = tidegate("--as", "otto", "promote", "delay@2", "--break-glass", "--reason", "the champion answers nonsense")
    assert "delay@2 serves past the gate, by otto: the champion answers nonsense" in told
    assert "tidegate gate delay@2" in told
    assert any("broke the glass" in flag for flag in tidegate.json("doctor")["red_flags"])


def test_a_reason_belongs_to_breaking_the_glass(tidegate: Project) -> None:
    tidegate.ready(2)
    assert "--break-glass" in tidegate("promote", "delay@2", "--reason", "why not", code=2)


def test_history_says_what_served_then_and_why(tidegate: Project) -> None:
    first = tidegate.now
    tidegate.ready(2)
    tidegate("--as", "olga", "approve", "delay@2")
    tidegate("--as", "ana", "promote", "delay@2")
    tidegate.now += DAY
    tidegate("--as", "ben", "rollback", "delay", "--reason", "too many false alarms")
    at = format_time(first).replace("Z", "")
    found = tidegate.json("release", "history", "delay", "--at", at)
    assert (found["version"], found["by"], [item["approver"] for item in found["approvals"]]) == (1, "ana", ["otto"])
    assert tidegate.bucket.find(found["report"]) is not None
    told = tidegate("release", "history", "delay")
    assert told.startswith("delay@1: rolled back to by ben at")
    assert "too many false alarms" in told
    assert f"report    models/delay/receipts/{found['receipt']}.report.json" in told
    assert "otto at 2026-03-02 08:01:00Z by cli: looks good" in told
    assert tidegate("release", "history", "delay", "--at", "2020-01-01").startswith("nothing served")


@pytest.fixture
def signed(tidegate: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    key = ed25519.Ed25519PrivateKey.generate()
    form = serialization.PrivateFormat.PKCS8
    Path("key.pem").write_bytes(key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()))
    public = serialization.PublicFormat.SubjectPublicKeyInfo
    Path("key.pub").write_bytes(key.public_key().public_bytes(serialization.Encoding.PEM, public))
    monkeypatch.setenv("TIDEGATE_SIGNING_KEY", "key.pem")
    monkeypatch.setenv("TIDEGATE_CHECKPOINT_BUCKET", "second-place")
    return tidegate


def test_a_ledger_that_was_cut_short_does_not_verify(signed: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    assert signed.json("release", "checkpoint", "delay")["checkpoint"]["seq"] == 4
    assert "4 entries, chain, pointer and receipts hold; 1 checkpoint in agreement" in signed("release", "verify", "delay")
    signed.bucket.delete(entry_key("delay", 4))
    move_pointer(signed.bucket, "delay")
    assert "it was cut short" in signed("release", "verify", code=1)
    assert not signed.json("release", "verify", "delay", code=1)["ok"]
    assert any("cut short" in text for text in signed.json("store", "verify", code=1)["problems"])
    monkeypatch.delenv("TIDEGATE_SIGNING_KEY")
    assert "it was cut short" in signed("release", "verify", "delay", "--key", "key.pub", code=1)


def test_a_rollback_takes_a_checkpoint_by_itself(signed: Project) -> None:
    signed.ready(2)
    signed("--as", "olga", "approve", "delay@2")
    signed("--as", "ana", "promote", "delay@2")
    signed("--as", "ben", "rollback", "delay", "--reason", "bad")
    assert signed.json("release", "verify", "delay")["ledgers"][0]["checkpoints"] >= 1
    assert max(path.name for path in Path("second-place/checkpoints/delay").iterdir()) == "00000009.json"


def test_a_command_that_ends_has_told_and_checkpointed_a_long_ledger(signed: Project, hook: Receiver) -> None:
    signed.ready(2)
    signed("--as", "olga", "approve", "delay@2")
    signed("--as", "ana", "promote", "delay@2")
    command = [sys.executable, "-m", "tidegate", "--as", "ben"]
    done = subprocess.run([*command, "rollback", "delay", "--reason", "bad"], capture_output=True, text=True, check=True)
    assert "Error" not in done.stderr
    assert Path("second-place/checkpoints/delay/00000009.json").exists()
    assert b"rolled_back" in hook.got[-1][1]


def test_without_a_place_no_checkpoint_is_taken_and_verify_says_so(tidegate: Project) -> None:
    assert "checkpoint_bucket" in tidegate("release", "checkpoint", "delay", code=1)
    assert "nobody would see a cut" in tidegate("release", "verify")


class Receiver(ThreadingHTTPServer):
    """Takes webhooks on this machine."""

    def __init__(self) -> None:
        self.got: list[tuple[dict[str, str], bytes]] = []
        self.status = 200
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                outer.got.append(({name.lower(): value for name, value in self.headers.items()}, body))
                self.send_response(outer.status)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *arguments: Any) -> None:
                pass

        super().__init__(("127.0.0.1", 0), Handler)


@pytest.fixture
def hook(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    receiver = Receiver()
    thread = threading.Thread(target=receiver.serve_forever, daemon=True)
    thread.start()
    monkeypatch.setenv("TIDEGATE_WEBHOOKS", json.dumps([f"http://127.0.0.1:{receiver.server_port}/"]))
    monkeypatch.setenv("TIDEGATE_WEBHOOK_SECRET", SECRET)
    monkeypatch.setenv("TIDEGATE_WEBHOOK_NETWORKS", '["127.0.0.0/8"]')
    yield receiver
    receiver.shutdown()
    receiver.server_close()
    thread.join()


def test_a_promotion_is_told_to_webhooks(tidegate: Project, hook: Receiver) -> None:
    tidegate.ready(2)
    tidegate("--as", "olga", "approve", "delay@2")
    tidegate("--as", "ana", "promote", "delay@2")
    assert not tidegate.json("notify", "send")["waiting"]
    types = [json.loads(body)["type"] for _, body in hook.got]
    assert sorted(types) == ["release.approved", "release.promoted"]
    headers, body = hook.got[0]
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    expected = base64.b64encode(hmac.new(b"thirty-two bytes of a test secret", signed, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{expected}"


def test_a_test_is_sent_at_once_and_what_is_not_taken_is_listed(tidegate: Project, hook: Receiver) -> None:
    assert tidegate.json("notify", "test") == {"targets": [{"name": "webhook at 127.0.0.1", "error": ""}]}
    hook.status = 500
    assert "it answered 500" in tidegate("notify", "test", code=1)
    tidegate("--as", "ben", "release", "freeze", "delay", "--reason", "audit")
    tidegate("notify", "send")
    (waiting,) = tidegate.json("notify", "list")["waiting"]
    assert waiting["notice"]["title"] == "delay: froze promotions"
    assert "it answered 500" in tidegate("notify", "list")


def test_who_is_nobody_is_told_nothing(tidegate: Project) -> None:
    assert "nobody-to-notify" in tidegate("notify", "test", code=2)
    assert "everything was taken" in tidegate("notify", "list")


def test_settings_do_not_show_where_webhooks_go(tidegate: Project, hook: Receiver) -> None:
    assert hook.got == []
    assert SECRET not in tidegate("settings", "explain")
    assert "http://127.0.0.1" not in tidegate("settings", "explain")
