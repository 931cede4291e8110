"""Receipts bind what they say, and are found again."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from gate_rows import binary_rows, policy, rule

from tidegate import digest
from tidegate.clock import DAY
from tidegate.errors import IntegrityError, UsageError
from tidegate.gate import (
    check,
    find_wear,
    make_receipt,
    parse_model_policy,
    read_receipt,
    read_report,
    receipt_key,
    store_receipt,
)
from tidegate.records.dataset import Snapshot
from tidegate.records.model import Lineage, Manifest, ModelVersion, Signature
from tidegate.records.receipt import Baseline, Receipt
from tidegate.records.report import Report
from tidegate.records.verdict import Verdict
from tidegate.store.bucket.folder import FolderBucket

REPORT = check(binary_rows(300), policy())
POLICY = parse_model_policy("delay", {"task": "binary", "gate": {"snapshot": "e@1", "label": "y", "rules": [rule("log_loss")]}})


def _version(number: int) -> ModelVersion:
    nothing = Signature(inputs=[], outputs=[])
    manifest = Manifest(
        name="delay", version=number, task="binary", format="onnx", loads_code=False, signature=nothing, files=[],
        lineage=Lineage(), created_at=1,
    )  # fmt: skip
    return ModelVersion(digest=digest.of_json(manifest), manifest=manifest)


def _receipt(number: int = 3, report: Report = REPORT, **changes: Any) -> Receipt:
    keys: dict[str, Any] = {
        "candidate": _version(number),
        "baseline": Baseline(version=2, digest="d", move=7),
        "snapshot": Snapshot(name="e", number=1, digest="s", files=[], created_at=0),
        "policy": POLICY,
        "code": "tidegate 0.1.0, git 1a2b3c",
        "author": "ana",
        "now": 50 * DAY,
    }
    return make_receipt(report, **(keys | changes))


def test_a_receipt_names_everything() -> None:
    found = _receipt()
    assert (found.model, found.candidate, found.candidate_digest) == ("delay", 3, _version(3).digest)
    assert (found.snapshot, found.snapshot_digest, found.baseline.move) == ("e@1", "s", 7)
    assert found.verdict is REPORT.verdict is Verdict.PASS
    assert found.report_digest == digest.of_json(REPORT)
    assert found.expires_at == 64 * DAY


def test_it_is_stored_with_its_report(bucket: FolderBucket) -> None:
    receipt = _receipt()
    stored = store_receipt(bucket, receipt, REPORT, POLICY)
    assert stored == digest.of_json(receipt) == store_receipt(bucket, receipt, REPORT, POLICY)
    assert read_receipt(bucket, "delay", stored) == receipt
    assert read_report(bucket, "delay", stored) == REPORT
    page = bucket.find(receipt_key("delay", stored, ".html"))
    assert page is not None
    assert page.data.startswith(b"<!doctype html>")


def _planted(bucket: FolderBucket, data: bytes, model: str = "delay") -> str:
    """Stores bytes as a receipt, under their own digest, as anybody can who may write to the bucket."""
    planted = digest.of_bytes(data)
    bucket.put_if_absent(receipt_key(model, planted), data)
    return planted


@pytest.mark.parametrize("data", [b"{}", b"[", b'{"model":"\xff"}'])
def test_bytes_that_are_no_receipt_are_refused_and_count_as_no_use(bucket: FolderBucket, data: bytes) -> None:
    with pytest.raises(IntegrityError) as refused:
        read_receipt(bucket, "delay", _planted(bucket, data))
    assert refused.value.code == "receipt-unreadable"
    snapshot = Snapshot(name="e", number=1, digest="s", files=[], created_at=0)
    assert find_wear(bucket, snapshot, judged={}, confidence=0.95, now=1).uses == 0


def test_a_report_that_is_none_is_refused(bucket: FolderBucket) -> None:
    stored = _planted(bucket, digest.canonical(msgspec.structs.replace(_receipt(), report_digest=digest.of_bytes(b"{}"))))
    bucket.put_if_absent(receipt_key("delay", stored, ".report.json"), b"{}")
    with pytest.raises(IntegrityError) as refused:
        read_report(bucket, "delay", stored)
    assert refused.value.code == "receipt-unreadable"


def test_a_receipt_among_those_of_another_model_is_refused(bucket: FolderBucket) -> None:
    stored = _planted(bucket, digest.canonical(_receipt()), model="other")
    with pytest.raises(IntegrityError) as refused:
        read_receipt(bucket, "other", stored)
    assert refused.value.code == "receipt-misplaced"


def test_a_changed_receipt_or_report_is_refused(bucket: FolderBucket) -> None:
    stored = store_receipt(bucket, _receipt(), REPORT, POLICY)
    for ending in (".report.json", ".json"):
        path = bucket.local(receipt_key("delay", stored, ending))
        path.chmod(0o644)
        path.write_bytes(path.read_bytes().replace(b"PASS", b"FAIL"))
        with pytest.raises(IntegrityError, match="was changed"):
            read_report(bucket, "delay", stored)


def test_a_model_without_a_gate_gets_none() -> None:
    with pytest.raises(UsageError, match="no gate"):
        _receipt(policy=parse_model_policy("delay", {"task": "binary"}))
