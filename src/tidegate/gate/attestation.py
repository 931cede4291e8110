"""A receipt as others can check it without Tidegate: an in-toto statement, signed in a DSSE envelope where a key is configured.

models/<name>/receipts/<digest>.intoto.json    the statement, always
models/<name>/receipts/<digest>.dsse.json      the envelope around it, where a key is configured

in-toto Attestation Framework v1 (Statement), predicate ``test-result/v0.1``; DSSE v1.0.2 (envelope and pre-authentication encoding).
An envelope must carry a signature, so without a key there is a bare statement and no envelope: nobody can take one for the other.
Keys are ECDSA P-256 (signed with SHA-256) or Ed25519, in PEM.
"""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any

import msgspec

from tidegate import digest as digests
from tidegate import pem
from tidegate.errors import IntegrityError, NotFoundError
from tidegate.gate.receipt import read_receipt, read_report, receipt_key
from tidegate.records.receipt import Receipt
from tidegate.records.report import Report, RuleResult
from tidegate.records.verdict import Verdict
from tidegate.store.ports import Bucket

STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE = "https://in-toto.io/attestation/test-result/v0.1"
PAYLOAD = "application/vnd.in-toto+json"


class Signature(msgspec.Struct, frozen=True):
    """One signature of an envelope. ``keyid`` is a hint: the SHA-256 of the public key's SubjectPublicKeyInfo in DER."""

    sig: str
    keyid: str = ""


class Envelope(msgspec.Struct, frozen=True, rename="camel"):
    """A DSSE envelope; ``payload`` and signatures are base64."""

    payload: str
    payload_type: str
    signatures: list[Signature]


def make_statement(receipt: Receipt, digest: str, report: Report) -> bytes:
    """The in-toto statement of a receipt: which package was tested, against what, and with which result. Canonical JSON.

    A PASS with warnings is WARNED; whatever is no PASS is FAILED, and the annotations of the receipt tell the verdict. A rule that
    could not be settled is among the failed tests.
    """
    champion = receipt.baseline
    annotations: dict[str, Any] = {
        "verdict": receipt.verdict,
        "code": receipt.code,
        "seed": receipt.seed,
        "confidence": report.confidence,
        "rows": report.rows,
        "expiresAt": receipt.expires_at,
        "judgedAt": receipt.judged_at,
    }
    annotations |= {"policyLoosened": receipt.loosened} if receipt.loosened else {}
    configuration = [
        {"name": "policy", "digest": {"sha256": receipt.policy_digest}},
        {"name": receipt.snapshot, "digest": {"sha256": receipt.snapshot_digest}},
        {"name": "report", "digest": {"sha256": receipt.report_digest}, "mediaType": "application/json"},
        {"name": "receipt", "digest": {"sha256": digest}, "mediaType": "application/json", "annotations": annotations},
    ]
    if champion.version:
        configuration.insert(2, {"name": f"{receipt.model}@{champion.version}", "digest": {"sha256": champion.digest}})
    passed = [_name(rule) for rule in report.rules if rule.verdict is Verdict.PASS]
    failed = [_name(rule) for rule in report.rules if rule.verdict is not Verdict.PASS]
    good = "WARNED" if report.warnings or receipt.loosened else "PASSED"
    return digests.canonical(
        {
            "_type": STATEMENT,
            "subject": [{"name": f"{receipt.model}@{receipt.candidate}", "digest": {"sha256": receipt.candidate_digest}}],
            "predicateType": PREDICATE,
            "predicate": {
                "result": good if receipt.verdict is Verdict.PASS else "FAILED",
                "configuration": configuration,
                "passedTests": passed,
                "warnedTests": [],
                "failedTests": failed,
            },
        }
    )


def sign(statement: bytes, key: str, payload_type: str = PAYLOAD) -> Envelope:
    """The statement in an envelope, signed. ``key`` is a private key in PEM, or the path of one.

    Raises:
        BadInputError: it is no such key, or it is locked by a password.
        UnavailableError: the extra ``sign`` is not installed.
    """
    private = pem.load_private_key(key)
    signature = pem.sign(private, pem.preauthentication(payload_type, statement))
    one = Signature(sig=base64.b64encode(signature).decode(), keyid=pem.der_id(private.public_key()))
    return Envelope(payload=base64.b64encode(statement).decode(), payload_type=payload_type, signatures=[one])


def verify(envelope: Envelope, key: str, payload_type: str = PAYLOAD) -> bytes:
    """The statement of an envelope that the public ``key`` (PEM, or its path) has signed.

    Raises:
        IntegrityError: no signature in it is of this key.
        BadInputError: it is no such key.
    """
    public = pem.load_public_key(key)
    if envelope.payload_type != payload_type:
        raise _not_signed(f"it holds {envelope.payload_type}, not {payload_type}")
    payload = _decode(envelope.payload)
    signatures = [_decode(item.sig) for item in envelope.signatures]
    message = pem.preauthentication(envelope.payload_type, payload)
    if any(pem.is_signed(public, signature, message) for signature in signatures):
        return payload
    raise _not_signed(f"none of its {len(signatures)} signatures is of this key")


def require_signing_key(key: str) -> None:
    """Makes sure that a private key can be used, before anything rests on it; an empty one means that nobody signs.

    Raises:
        BadInputError: it cannot.
        UnavailableError: the extra ``sign`` is not installed.
    """
    if key:
        pem.load_private_key(key)


def store_attestation(bucket: Bucket, model: str, digest: str, key: str = "") -> Envelope | bytes:
    """Stores the statement of a stored receipt, and with ``key`` its envelope, unless they are there; returns what is there.

    Whose signature an envelope carries is not looked at: ``verify_attestation`` does.

    Raises:
        NotFoundError: there is no such receipt.
        IntegrityError: receipt or report were changed, or the envelope that is there holds another statement.
        BadInputError: the key cannot be used.
    """
    statement = _statement(bucket, model, digest)
    bucket.put_if_absent(receipt_key(model, digest, ".intoto.json"), statement)
    place = receipt_key(model, digest, ".dsse.json")
    if key and bucket.find(place) is None:
        bucket.put_if_absent(place, digests.canonical(sign(statement, key)))
    envelope = find_envelope(bucket, model, digest)
    if envelope is None:
        return statement
    if _decode(envelope.payload) != statement:
        raise _not_signed("the envelope beside the receipt says something else than the receipt and its report")
    return envelope


def find_envelope(bucket: Bucket, model: str, digest: str) -> Envelope | None:
    """The stored envelope of a receipt, unchecked; None if it was not signed.

    Raises:
        IntegrityError: it cannot be read.
    """
    blob = bucket.find(receipt_key(model, digest, ".dsse.json"))
    if blob is None:
        return None
    try:
        return digests.parsed(blob.data, Envelope)
    except msgspec.MsgspecError as error:
        raise _not_signed(f"the envelope cannot be read: {error}") from None


def verify_attestation(bucket: Bucket, model: str, digest: str, key: str) -> dict[str, Any]:
    """The statement that ``key`` signed about a stored receipt, after it was held against receipt and report.

    Raises:
        NotFoundError: there is no such receipt, or it was not signed.
        IntegrityError: receipt or report were changed, the signature is of another key, or it says something else than they do.
    """
    expected = _statement(bucket, model, digest)
    envelope = find_envelope(bucket, model, digest)
    if envelope is None:
        raise NotFoundError(
            "not-signed",
            f"the receipt {digests.short(digest)} was not signed",
            why="no signing_key was configured when the gate ran",
            fix=f"set signing_key, then: tidegate gate attest {digests.short(digest)}",
        )
    statement = verify(envelope, key)
    if statement != expected:
        raise _not_signed("the signed statement says something else than the receipt and its report")
    return json.loads(statement)


def _statement(bucket: Bucket, model: str, digest: str) -> bytes:
    return make_statement(read_receipt(bucket, model, digest), digest, read_report(bucket, model, digest))


def _name(rule: RuleResult) -> str:
    return " ".join(word for word in (rule.test, rule.metric, f"({rule.against})" if rule.against else "") if word)


def _not_signed(why: str) -> IntegrityError:
    return IntegrityError(
        "signature-wrong",
        "the statement is not signed as it should be",
        why=why,
        fix="check that this is the public key of who signs receipts; if it is, trust nothing that rests on this receipt",
    )


def _decode(text: str) -> bytes:
    """Standard or URL-safe base64: DSSE lets a verifier meet either.

    Raises:
        IntegrityError: it is neither.
    """
    try:
        return base64.b64decode(text.replace("-", "+").replace("_", "/"), validate=True)
    except (binascii.Error, ValueError) as error:
        raise _not_signed(str(error)) from None
