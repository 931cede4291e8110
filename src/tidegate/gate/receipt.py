"""Receipts: made from a report, kept in the bucket with the report beside them, found again by digest.

models/<name>/receipts/<digest>.json           the receipt; its digest is that of its canonical JSON
models/<name>/receipts/<digest>.report.json    the report that ``report_digest`` names
models/<name>/receipts/<digest>.html           the same report for people
models/<name>/receipts/<digest>.policy.json    the whole policy, which ``policy_document`` names: what a later one is compared with
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec

from tidegate import digest as digests
from tidegate.clock import parse_duration
from tidegate.errors import IntegrityError, NotFoundError, UsageError
from tidegate.gate.policy import policy_digest
from tidegate.gate.render import render_html
from tidegate.gate.report import parse_report, report_bytes
from tidegate.records.dataset import Snapshot
from tidegate.records.model import ModelVersion
from tidegate.records.names import parse_reference
from tidegate.records.policy import ModelPolicy
from tidegate.records.receipt import Baseline, Receipt
from tidegate.records.report import Report
from tidegate.store.ports import Bucket

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
        IntegrityError: its bytes were changed.
    """
    return msgspec.json.decode(_checked(bucket, receipt_key(model, digest), digest, "receipt"), type=Receipt)


def read_report(bucket: Bucket, model: str, digest: str) -> Report:
    """The report of the receipt with this digest.

    Raises:
        NotFoundError: there is none.
        IntegrityError: receipt or report were changed.
    """
    receipt = read_receipt(bucket, model, digest)
    return parse_report(_checked(bucket, receipt_key(model, digest, ".report.json"), receipt.report_digest, "report"))


def read_policy(bucket: Bucket, model: str, digest: str) -> ModelPolicy | None:
    """The policy of the receipt with this digest; None if the receipt is from before policies were kept.

    Raises:
        NotFoundError: there is no receipt, or its policy was removed.
        IntegrityError: receipt or policy were changed, or a newer Tidegate wrote the policy.
    """
    receipt = read_receipt(bucket, model, digest)
    if not receipt.policy_document:
        return None
    key = receipt_key(model, digest, ".policy.json")
    try:
        return msgspec.json.decode(_checked(bucket, key, receipt.policy_document, "policy"), type=ModelPolicy)
    except msgspec.ValidationError as error:
        raise IntegrityError(
            "policy-unreadable",
            f"the policy at {key} cannot be read",
            why=str(error),
            fix="a newer Tidegate wrote it: use that one",
        ) from None


def receipts_in(bucket: Bucket, prefix: str = "models/") -> Iterator[tuple[str, str]]:
    """Model and digest of every receipt, in the order of the keys."""
    for key in bucket.keys(prefix):
        match = _KEY.fullmatch(key)
        if match:
            yield match[1], match[2]


def list_receipts(bucket: Bucket, model: str) -> list[tuple[str, Receipt]]:
    """Digests and receipts of a model, newest first."""
    found = [(digest, read_receipt(bucket, model, digest)) for _, digest in receipts_in(bucket, f"models/{model}/receipts/")]
    return sorted(found, key=lambda pair: (pair[1].judged_at, pair[0]), reverse=True)


def find_receipt(bucket: Bucket, text: str) -> tuple[str, str]:
    """Model and digest of the receipt that ``text`` names: a digest, its beginning, or ``delay@3`` for the newest of a version.

    Raises:
        NotFoundError: there is none.
        UsageError: the beginning fits several.
    """
    if re.fullmatch(r"[0-9a-f]{6,64}", text):
        matches = [(model, digest) for model, digest in receipts_in(bucket) if digest.startswith(text)]
        if len(matches) > 1:
            raise UsageError("ambiguous-receipt", f"{len(matches)} receipts begin with {text}", fix="give more characters")
        if matches:
            return matches[0]
    else:
        reference = parse_reference(text, "model")
        for digest, receipt in list_receipts(bucket, reference.name):
            if reference.number in {None, receipt.candidate}:
                return reference.name, digest
    raise NotFoundError("no-such-receipt", f"no receipt {text}", fix="run the gate: tidegate gate MODEL@VERSION")


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
