"""Statements of receipts: what they say, and that other people's tools can check who signed them."""

from __future__ import annotations

import base64
import json
import subprocess
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from gate_rows import binary_rows, policy, rule
from securesystemslib.dsse import Envelope as TheirEnvelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import SSlibKey

from tidegate import digest, pem
from tidegate.errors import BadInputError, IntegrityError, NotFoundError
from tidegate.gate import check, parse_model_policy, receipt_key, store_receipt
from tidegate.gate.attestation import (
    PAYLOAD,
    Envelope,
    Signature,
    make_statement,
    sign,
    store_attestation,
    verify,
    verify_attestation,
)
from tidegate.records.receipt import Baseline, Receipt
from tidegate.records.report import Report
from tidegate.records.verdict import Verdict
from tidegate.store.bucket.folder import FolderBucket

RULES = [rule("log_loss"), rule("accuracy", "floor", value=0.99)]
REPORT = check(binary_rows(300), policy(*RULES))
POLICY = parse_model_policy("delay", {"task": "binary", "gate": {"snapshot": "e@4", "label": "y", "rules": RULES}})


def _receipt(report: Report = REPORT, **changes: Any) -> Receipt:
    fields: dict[str, Any] = {
        "model": "delay", "candidate": 12, "candidate_digest": "a" * 64, "baseline": Baseline(version=11, digest="b" * 64, move=7),
        "snapshot": "e@4", "snapshot_digest": "c" * 64, "policy_digest": "d" * 64, "report_digest": digest.of_json(report),
        "verdict": report.verdict, "code": "tidegate 0.1.0, git 1a2b", "seed": 0, "author": "ci", "judged_at": 1, "expires_at": 2,
        "policy_document": digest.of_json(POLICY),
    }  # fmt: skip
    return Receipt(**fields | changes)


@pytest.fixture(params=["ed25519", "p256"])
def keys(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, Path]:
    """A private and a public key, made by openssl."""
    return _keys(tmp_path, request.param)


def _keys(folder: Path, kind: str, name: str = "key") -> tuple[Path, Path]:
    private, public = folder / f"{name}.pem", folder / f"{name}.pub"
    words = ["-algorithm", "ed25519"] if kind == "ed25519" else ["-algorithm", "EC", "-pkeyopt", f"ec_paramgen_curve:{'P-256' if kind == 'p256' else kind}"]  # fmt: skip
    subprocess.run(["openssl", "genpkey", *words, "-out", private], check=True, capture_output=True)
    subprocess.run(["openssl", "pkey", "-in", private, "-pubout", "-out", public], check=True, capture_output=True)
    return private, public


def test_the_statement_binds_everything() -> None:
    found = json.loads(make_statement(_receipt(), "e" * 64, REPORT))
    assert found["_type"] == "https://in-toto.io/Statement/v1"
    assert found["subject"] == [{"name": "delay@12", "digest": {"sha256": "a" * 64}}]
    digests = {item["name"]: item["digest"]["sha256"] for item in found["predicate"]["configuration"]}
    assert digests == {"policy": "d" * 64, "e@4": "c" * 64, "delay@11": "b" * 64, "report": digest.of_json(REPORT), "receipt": "e" * 64}  # fmt: skip
    assert found["predicate"]["passedTests"] == ["superior log_loss"]
    assert found["predicate"]["failedTests"] == ["floor accuracy"]


@pytest.mark.parametrize(
    ("verdict", "loosened", "result"),
    [("PASS", [], "PASSED"), ("PASS", ["x"], "WARNED"), ("FAIL", [], "FAILED"), ("INCONCLUSIVE", [], "FAILED"), ("INVALID", ["x"], "FAILED")],
)  # fmt: skip
def test_only_a_clean_pass_is_passed(verdict: str, loosened: list[str], result: str) -> None:
    receipt = _receipt(verdict=Verdict(verdict), loosened=loosened)
    assert json.loads(make_statement(receipt, "e" * 64, REPORT))["predicate"]["result"] == result


def test_what_is_signed_is_the_encoding_of_the_specification() -> None:
    assert pem.preauthentication("http://example.com/HelloWorld", b"hello world") == (
        b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"  # the example of DSSE's protocol.md
    )


def test_an_independent_verifier_agrees(keys: tuple[Path, Path]) -> None:
    private, public = keys
    envelope = sign(make_statement(_receipt(), "e" * 64, REPORT), str(private))
    theirs = TheirEnvelope.from_dict(json.loads(msgspec.json.encode(envelope)))
    key = SSlibKey.from_crypto(load_pem_public_key(public.read_bytes()), envelope.signatures[0].keyid)
    assert set(theirs.verify([key], 1)) == {key.keyid}
    assert theirs.payload_type == PAYLOAD
    other = SSlibKey.from_crypto(load_pem_public_key(_keys(public.parent, "ed25519", "other")[1].read_bytes()))
    with pytest.raises(VerificationError):
        theirs.verify([other], 1)


def test_openssl_agrees(tmp_path: Path) -> None:
    private, public = _keys(tmp_path, "p256")
    envelope = sign(b"{}", private.read_text())
    (tmp_path / "sig").write_bytes(base64.b64decode(envelope.signatures[0].sig))
    (tmp_path / "pae").write_bytes(pem.preauthentication(PAYLOAD, b"{}"))
    words = ["openssl", "dgst", "-sha256", "-verify", public, "-signature", tmp_path / "sig", tmp_path / "pae"]
    assert subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip() == "Verified OK"
    der = subprocess.run(["openssl", "pkey", "-pubin", "-in", public, "-outform", "DER"], capture_output=True, check=True).stdout
    assert envelope.signatures[0].keyid == digest.of_bytes(der)


def test_what_was_changed_is_refused(keys: tuple[Path, Path]) -> None:
    private, public = keys
    envelope = sign(b'{"a":1}', str(private))
    assert verify(envelope, str(public)) == b'{"a":1}'
    urlsafe = [
        Signature(base64.urlsafe_b64encode(base64.b64decode(item.sig)).decode(), item.keyid) for item in envelope.signatures
    ]
    assert verify(msgspec.structs.replace(envelope, signatures=urlsafe), public.read_text()) == b'{"a":1}'
    forged = [
        msgspec.structs.replace(envelope, payload=base64.b64encode(b'{"a":2}').decode()),
        msgspec.structs.replace(envelope, payload="no base64!"),
        msgspec.structs.replace(envelope, payload_type="text/plain"),
        msgspec.structs.replace(envelope, signatures=[]),
        msgspec.structs.replace(envelope, signatures=[Signature(base64.b64encode(b"\0" * 64).decode())]),
    ]
    for item in forged:
        with pytest.raises(IntegrityError) as refused:
            verify(item, str(public))
        assert refused.value.code == "signature-wrong"


@pytest.mark.parametrize("odd", ["p384", "rsa", "public", "locked", "missing", "words"])
def test_a_key_that_cannot_be_used_is_told_and_never_shown(tmp_path: Path, odd: str) -> None:
    place = tmp_path / "odd.pem"
    if odd == "p384":
        place = _keys(tmp_path, "P-384")[0]
    elif odd == "public":
        place = _keys(tmp_path, "p256")[1]
    elif odd == "rsa":
        subprocess.run(["openssl", "genpkey", "-algorithm", "RSA", "-out", place], check=True, capture_output=True)
    elif odd == "locked":
        words = ["openssl", "genpkey", "-algorithm", "ed25519", "-aes256", "-pass", "pass:secret", "-out", place]
        subprocess.run(words, check=True, capture_output=True)
    elif odd == "words":
        place.write_text("-----BEGIN PRIVATE KEY-----\nhunter2\n")
    with pytest.raises(BadInputError) as refused:
        sign(b"{}", str(place) if odd != "words" else place.read_text())
    assert refused.value.code == "bad-signing-key"
    assert "hunter2" not in str(refused.value)


def _stored(bucket: FolderBucket) -> str:
    return store_receipt(bucket, _receipt(), REPORT, POLICY)


def test_a_statement_is_kept_without_a_key_and_an_envelope_with_one(bucket: FolderBucket, keys: tuple[Path, Path]) -> None:
    private, public = keys
    stored = _stored(bucket)
    plain = store_attestation(bucket, "delay", stored)
    assert isinstance(plain, bytes)
    found = bucket.find(receipt_key("delay", stored, ".intoto.json"))
    assert found is not None
    assert found.data == plain
    with pytest.raises(NotFoundError, match="was not signed"):
        verify_attestation(bucket, "delay", stored, str(public))
    envelope = store_attestation(bucket, "delay", stored, str(private))
    assert isinstance(envelope, Envelope)
    assert store_attestation(bucket, "delay", stored, str(private)) == envelope  # once; ECDSA would sign otherwise each time
    assert verify_attestation(bucket, "delay", stored, str(public)) == json.loads(plain)


def test_a_signature_on_another_receipt_is_not_taken_for_this_ones(bucket: FolderBucket, tmp_path: Path) -> None:
    private, public = _keys(tmp_path, "ed25519")
    stored = _stored(bucket)
    other = sign(make_statement(_receipt(candidate=13), stored, REPORT), str(private))
    bucket.put_if_absent(receipt_key("delay", stored, ".dsse.json"), digest.canonical(other))
    with pytest.raises(IntegrityError, match="not signed as it should be"):
        verify_attestation(bucket, "delay", stored, str(public))


def test_an_envelope_that_is_none_is_refused(bucket: FolderBucket, tmp_path: Path) -> None:
    stored = _stored(bucket)
    bucket.put_if_absent(receipt_key("delay", stored, ".dsse.json"), b"[]")
    with pytest.raises(IntegrityError):
        verify_attestation(bucket, "delay", stored, str(_keys(tmp_path, "p256")[1]))


def test_a_planted_envelope_is_not_handed_out_as_the_receipts(bucket: FolderBucket, tmp_path: Path) -> None:
    private = str(_keys(tmp_path, "ed25519")[0])
    stored = _stored(bucket)
    other = json.loads(make_statement(_receipt(), stored, REPORT))
    other["subject"].append({"name": "another", "digest": {"sha256": "0" * 64}})
    bucket.put_if_absent(receipt_key("delay", stored, ".dsse.json"), digest.canonical(sign(digest.canonical(other), private)))
    for key in ("", private):
        with pytest.raises(IntegrityError) as refused:
            store_attestation(bucket, "delay", stored, key)
        assert refused.value.code == "signature-wrong"
