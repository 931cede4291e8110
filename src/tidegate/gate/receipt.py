"""Receipts: made from a report, kept in the bucket with the report beside them, read again by digest.

models/<name>/receipts/<digest>.json           the receipt; its digest is that of its canonical JSON
models/<name>/receipts/<digest>.report.json    the report that ``report_digest`` names
models/<name>/receipts/<digest>.html           the same report for people
models/<name>/receipts/<digest>.policy.json    the whole policy, which ``policy_document`` names: what a later one is compared with
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TypeVar

import msgspec

from tidegate import digest as digests
from tidegate.clock import parse_duration
from tidegate.errors import IntegrityError, NotFoundError, UsageError
from tidegate.gate.policy import policy_digest
from tidegate.gate.render import render_html
from tidegate.gate.report import report_bytes
from tidegate.records.dataset import Snapshot
from tidegate.records.model import ModelVersion
from tidegate.records.policy import ModelPolicy
from tidegate.records.receipt import Baseline, Receipt
from tidegate.records.report import Report
from tidegate.store.ports import Bucket

_Record = TypeVar("_Record", Receipt, Report, ModelPolicy)
_KEY = re.compile(r"models/([^/]+)/receipts/([0-9a-f]{64})\.json")


def make_receipt(
    report: Report,
    *,
    candidate: ModelVersion,
    baseline: Baseline,
    snapshot: Snapshot,
    policy: ModelPolicy,
    code: str,
    author: str,
    now: int,
) -> Receipt:
    """Binds a report to exactly what it was reached on; valid for the policy's receipt lifetime from ``now`` (us UTC).

    Raises:
        UsageError: the policy has no gate.
    """
    if policy.gate is None:
        raise UsageError("no-gate", f"no gate is declared for {candidate.name}", fix=f"add [models.{candidate.name}.gate]")
    return Receipt(
        model=candidate.name,
        candidate=candidate.version,
        candidate_digest=candidate.digest,
        baseline=baseline,
        snapshot=snapshot.ref,
        snapshot_digest=snapshot.digest,
        policy_digest=policy_digest(policy),
        report_digest=digests.of_bytes(report_bytes(report)),
        verdict=report.verdict,
        code=code,
        seed=report.seed,
        author=author,
        judged_at=now,
        expires_at=now + parse_duration(policy.gate.receipt_lifetime),
        policy_document=digests.of_json(policy),
    )


def receipt_key(model: str, digest: str, ending: str = ".json") -> str:
    """Where a receipt, or with ``.report.json`` or ``.html`` its report, stands in the bucket."""
    return f"models/{model}/receipts/{digest}{ending}"


def store_receipt(bucket: Bucket, receipt: Receipt, report: Report, policy: ModelPolicy) -> str:
    """Stores report, page, policy and receipt, the receipt last, and returns its digest. Storing the same again changes nothing."""
    data = digests.canonical(receipt)
    digest = digests.of_bytes(data)
    bucket.put_if_absent(receipt_key(receipt.model, digest, ".report.json"), report_bytes(report))
    bucket.put_if_absent(receipt_key(receipt.model, digest, ".html"), render_html(report).encode())
    bucket.put_if_absent(receipt_key(receipt.model, digest, ".policy.json"), digests.canonical(policy))
    bucket.put_if_absent(receipt_key(receipt.model, digest), data)
    return digest


def read_receipt(bucket: Bucket, model: str, digest: str) -> Receipt:
    """The receipt with this digest.

    Raises:
        NotFoundError: there is none.
        IntegrityError: its bytes were changed, it cannot be read, or it is another model's.
    """
    key = receipt_key(model, digest)
    found = _decoded(_checked(bucket, key, digest, "receipt"), key, "receipt", Receipt)
    if found.model != model:
        raise IntegrityError(
            "receipt-misplaced",
            f"the receipt at {key} is not about {model}",
            why=f"it is about {found.model}, and was put there by hand",
            fix=f"run the gate on a version of {model}",
        )
    return found


def read_report(bucket: Bucket, model: str, digest: str) -> Report:
    """The report of the receipt with this digest.

    Raises:
        NotFoundError: there is none.
        IntegrityError: receipt or report were changed, or cannot be read.
    """
    receipt = read_receipt(bucket, model, digest)
    key = receipt_key(model, digest, ".report.json")
    return _decoded(_checked(bucket, key, receipt.report_digest, "report"), key, "report", Report)


def read_policy(bucket: Bucket, model: str, digest: str) -> ModelPolicy | None:
    """The policy of the receipt with this digest; None if the receipt is from before policies were kept.

    Raises:
        NotFoundError: there is no receipt, or its policy was removed.
        IntegrityError: receipt or policy were changed, or cannot be read.
    """
    receipt = read_receipt(bucket, model, digest)
    if not receipt.policy_document:
        return None
    key = receipt_key(model, digest, ".policy.json")
    return _decoded(_checked(bucket, key, receipt.policy_document, "policy"), key, "policy", ModelPolicy)


def receipts_in(bucket: Bucket, prefix: str = "models/") -> Iterator[tuple[str, str]]:
    """Model and digest of every receipt, in the order of the keys."""
    for key in bucket.keys(prefix):
        match = _KEY.fullmatch(key)
        if match:
            yield match[1], match[2]


def _decoded(data: bytes, key: str, noun: str, kind: type[_Record]) -> _Record:
    """Bytes that hash to their digest may still be no record: anybody can hash."""
    try:
        return digests.parsed(data, kind)
    except msgspec.MsgspecError as error:
        raise IntegrityError(
            "receipt-unreadable",
            f"the {noun} at {key} cannot be read",
            why=str(error),
            fix="a newer Tidegate wrote it: use that one; or it was put there by hand: remove it",
        ) from None


def _checked(bucket: Bucket, key: str, digest: str, noun: str) -> bytes:
    blob = bucket.find(key)
    if blob is None:
        raise NotFoundError("no-such-receipt", f"no {noun} at {key}", fix="run the gate again")
    if digests.of_bytes(blob.data) != digest:
        raise IntegrityError(
            "receipt-changed",
            f"the {noun} at {key} was changed",
            why="its bytes do not hash to its digest",
            fix="run the gate again",
        )
    return blob.data
