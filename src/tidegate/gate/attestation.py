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
from pathlib import Path
from typing import Any

import msgspec

from tidegate import digest as digests
from tidegate.errors import BadInputError, IntegrityError, NotFoundError, missing_extra
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


def preauthentication(payload_type: str, payload: bytes) -> bytes:
    """The bytes that are signed (DSSE v1, PAE)."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def sign(statement: bytes, key: str) -> Envelope:
    """The statement in an envelope, signed. ``key`` is a private key in PEM, or the path of one.

    Raises:
        BadInputError: it is no such key, or it is locked by a password.
        UnavailableError: the extra ``sign`` is not installed.
    """
    private: Any = _load(key, private=True)
    message = preauthentication(PAYLOAD, statement)
    signature: bytes = private.sign(message) if _is_edwards(private) else private.sign(message, _ecdsa())
    one = Signature(sig=base64.b64encode(signature).decode(), keyid=_key_id(private.public_key()))
    return Envelope(payload=base64.b64encode(statement).decode(), payload_type=PAYLOAD, signatures=[one])


def verify(envelope: Envelope, key: str) -> bytes:
    """The statement of an envelope that the public ``key`` (PEM, or its path) has signed.

    Raises:
        IntegrityError: no signature in it is of this key.
        BadInputError: it is no such key.
    """
    public: Any = _load(key, private=False)
    invalid = _exceptions().InvalidSignature
    if envelope.payload_type != PAYLOAD:
        raise _not_signed(f"it holds {envelope.payload_type}, not {PAYLOAD}")
    try:
        payload = _decode(envelope.payload)
        signatures = [_decode(item.sig) for item in envelope.signatures]
    except (binascii.Error, ValueError) as error:
        raise _not_signed(str(error)) from None
    message = preauthentication(envelope.payload_type, payload)
    for signature in signatures:
        try:
            public.verify(signature, message) if _is_edwards(public) else public.verify(signature, message, _ecdsa())
        except invalid:
            continue
        return payload
    raise _not_signed(f"none of its {len(signatures)} signatures is of this key")


def require_signing_key(key: str) -> None:
    """Makes sure that a private key can be used, before anything rests on it; an empty one means that nobody signs.

    Raises:
        BadInputError: it cannot.
        UnavailableError: the extra ``sign`` is not installed.
    """
    if key:
        _load(key, private=True)


def store_attestation(bucket: Bucket, model: str, digest: str, key: str = "") -> Envelope | bytes:
    """Stores the statement of a stored receipt, and with ``key`` its envelope, unless they are there; returns what is there.

    Raises:
        NotFoundError: there is no such receipt.
        IntegrityError: receipt or report were changed.
        BadInputError: the key cannot be used.
    """
    statement = _statement(bucket, model, digest)
    bucket.put_if_absent(receipt_key(model, digest, ".intoto.json"), statement)
    place = receipt_key(model, digest, ".dsse.json")
    if key and bucket.find(place) is None:
        bucket.put_if_absent(place, digests.canonical(sign(statement, key)))
    return find_envelope(bucket, model, digest) or statement


def find_envelope(bucket: Bucket, model: str, digest: str) -> Envelope | None:
    """The stored envelope of a receipt, unchecked; None if it was not signed.

    Raises:
        IntegrityError: it cannot be read.
    """
    blob = bucket.find(receipt_key(model, digest, ".dsse.json"))
    if blob is None:
        return None
    try:
        return msgspec.json.decode(blob.data, type=Envelope)
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
    """Standard or URL-safe base64: DSSE lets a verifier meet either."""
    return base64.b64decode(text.replace("-", "+").replace("_", "/"), validate=True)


def _load(key: str, *, private: bool) -> Any:
    """A key from PEM or from a file of it. No message repeats what stands in it."""
    try:
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ec, ed25519
    except ImportError:
        raise missing_extra("sign", "cryptography", "signing receipts") from None
    kind = "private" if private else "public"
    try:
        data = key.encode() if "-----BEGIN" in key else Path(key).expanduser().read_bytes()
        found: Any = serialization.load_pem_private_key(data, None) if private else serialization.load_pem_public_key(data)
    except OSError as error:
        raise _bad_key(f"the file cannot be read: {error.strerror}", kind) from None
    except (ValueError, TypeError, UnsupportedAlgorithm):  # TypeError: it is locked by a password
        raise _bad_key(f"it is no {kind} key in PEM, or it is locked by a password", kind) from None
    curves = (ec.EllipticCurvePrivateKey, ec.EllipticCurvePublicKey)
    if isinstance(found, ed25519.Ed25519PrivateKey | ed25519.Ed25519PublicKey) or (
        isinstance(found, curves) and isinstance(found.curve, ec.SECP256R1)
    ):
        return found
    raise _bad_key("it is a key of another kind", kind)


def _bad_key(why: str, kind: str) -> BadInputError:
    hint = (
        "openssl genpkey -algorithm ed25519 -out key.pem"
        if kind == "private"
        else "openssl pkey -in key.pem -pubout -out key.pub"
    )
    return BadInputError(
        "bad-signing-key", f"the {kind} key cannot be used", why=why, fix=f"ECDSA P-256 or Ed25519 in PEM, such as: {hint}"
    )


def _is_edwards(key: Any) -> bool:
    return type(key).__name__.startswith(("Ed25519", "_Ed25519"))


def _ecdsa() -> Any:
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec

    return ec.ECDSA(hashes.SHA256())


def _exceptions() -> Any:
    from cryptography import exceptions

    return exceptions


def _key_id(public: Any) -> str:
    from cryptography.hazmat.primitives import serialization

    return digests.of_bytes(public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo))
