"""Signatures of packages: who made them, what they cover, and that OpenSSF's own tool agrees."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass

import msgspec
import pytest
from packages import FILES, Key, edwards, keep, model_signing

from tidegate import digest, pem
from tidegate.errors import BadInputError, IntegrityError, RefusedError
from tidegate.models import load_version
from tidegate.models.folder import write_folder
from tidegate.models.package import manifest_key
from tidegate.models.signing import (
    StoredSignature,
    check_signature,
    find_signatures,
    make_signature,
    read_signature,
    read_trusted_keys,
    require_signature,
    sign_version,
    signature_key,
)
from tidegate.store.objects import object_key


@pytest.fixture
def key(tmp_path):
    return Key(tmp_path, "release")


@pytest.fixture
def version(models, store):
    return keep(models, store.bucket)


@dataclass
class Payload:
    """What a signature says, to be said otherwise and signed again."""

    statement: dict

    def sign(self, private, **changes) -> StoredSignature:
        payload = json.dumps(self.statement).encode()
        message = pem.preauthentication("application/vnd.in-toto+json", payload)
        envelope = {
            "payload": base64.b64encode(payload).decode(),
            "payloadType": "application/vnd.in-toto+json",
            "signatures": [{"sig": base64.b64encode(pem.sign(private, message)).decode(), "keyid": ""}],
        } | changes
        bundle = {
            "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
            "verificationMaterial": {"publicKey": {"hint": pem.pem_id(private.public_key())}, "tlogEntries": []},
            "dsseEnvelope": envelope,
        }
        return read_signature(json.dumps(bundle).encode())


@pytest.fixture
def private(key):
    return pem.load_private_key(str(key.private))


@pytest.fixture
def payload(version, private):
    bundle = json.loads(make_signature(version, private).data)
    return Payload(json.loads(base64.b64decode(bundle["dsseEnvelope"]["payload"])))


def test_a_signature_is_stored_beside_the_manifest_once(models, version, key, store):
    signature = models.sign(version, str(key.private))
    assert signature.key_id == key.id == digest.of_file(key.public)
    assert store.bucket.find(signature_key(version, signature)).data == signature.data
    assert signature_key(version, signature) == f"models/delay/versions/1/signatures/{digest.of_bytes(signature.data)}.sig"
    assert models.sign(version, key.private.read_text()) == signature, "the key's text does as well as its path"
    assert find_signatures(store.bucket, version) == [signature]
    assert require_signature([signature], version, key.trusted) == key.trusted[0]
    assert models.list("delay") == [version], "a signature is no version"


def test_their_command_accepts_what_is_pulled(models, version, key, store, tmp_path):
    models.sign(version, str(key.private))
    other = Key(tmp_path, "other")
    models.sign(version, str(other.private))
    paths = write_folder(store.bucket, version, tmp_path / "pulled")
    assert len(paths) == 2, "the other signature must not count as a file that nobody signed"
    for path in paths:
        signer = next(k for k in (key, other) if k.id == read_signature((tmp_path / "pulled" / path).read_bytes()).key_id)
        done = model_signing(
            "verify", "key", tmp_path / "pulled", "--signature", tmp_path / "pulled" / path, "--public_key", signer.public
        )
        assert (done.returncode, "Verification succeeded" in done.stdout) == (0, True), done.stdout + done.stderr
    (tmp_path / "pulled/files/.gitattributes").write_bytes(b"changed")
    done = model_signing(
        "verify", "key", tmp_path / "pulled", "--signature", tmp_path / "pulled" / paths[0], "--public_key", signer.public
    )
    assert done.returncode != 0, "git's own files are covered too"


def test_their_signatures_are_accepted(models, version, key, store, tmp_path):
    write_folder(store.bucket, version, tmp_path / "pulled")
    done = model_signing("sign", "key", tmp_path / "pulled", "--signature", tmp_path / "their.sig", "--private_key", key.private)
    assert done.returncode == 0, done.stdout + done.stderr
    theirs = read_signature((tmp_path / "their.sig").read_bytes())
    assert theirs.key_id == key.id
    check_signature(theirs, version, key.trusted[0])
    other = keep(models, store.bucket, {**FILES, "model.onnx": b"others"})
    with pytest.raises(IntegrityError, match="does not hold") as caught:
        check_signature(theirs, other, key.trusted[0])
    assert "files/model.onnx" in caught.value.why


def test_serving_refuses_what_nobody_trusted_signed(models, candidate, key, store, tmp_path, columns):
    version = models.register(candidate)
    with pytest.raises(RefusedError, match="not signed by a key that is trusted") as caught:
        load_version(store.bucket, version, signed_by=key.trusted)
    assert (caught.value.code, caught.value.why) == ("package-not-signed", "it is not signed at all")
    stranger = Key(tmp_path, "stranger")
    models.sign(version, str(stranger.private))
    with pytest.raises(RefusedError) as caught:
        load_version(store.bucket, version, signed_by=key.trusted)
    assert caught.value.why == f"it is signed by {stranger.id[:12]} alone"
    models.sign(version, str(key.private))
    assert len(load_version(store.bucket, version, signed_by=key.trusted).predict(columns)["probability"]) == 400
    assert len(load_version(store.bucket, version, signed_by=stranger.trusted + key.trusted).predict(columns)["label"]) == 400


def test_a_manifest_that_was_edited_after_it_was_signed(models, version, key, store):
    models.sign(version, str(key.private))
    edited = msgspec.structs.replace(version.manifest, description="better than it is")
    data = digest.canonical(edited)
    path = store.root / "bucket" / manifest_key("delay", 1)
    path.chmod(0o644)
    path.write_bytes(data)
    found = models.get("delay@1")
    assert found.digest != version.digest
    with pytest.raises(IntegrityError) as caught:
        load_version(store.bucket, found, signed_by=key.trusted)
    assert (caught.value.code, caught.value.why) == ("package-signature-wrong", "what was signed differs in manifest.json")


def test_a_damaged_package_is_not_signed(models, version, key, store):
    path = store.root / "bucket" / object_key(version.manifest.files[0].digest)
    path.chmod(0o644)
    path.write_bytes(b"something else")
    with pytest.raises(IntegrityError, match="not as it was registered") as caught:
        models.sign(version, str(key.private))
    assert caught.value.code == "package-changed"
    assert find_signatures(store.bucket, version) == []


def test_another_packages_signature_does_not_hold(models, version, key, store):
    other = keep(models, store.bucket, name="arrival")
    signature = models.sign(other, str(key.private))
    store.bucket.put_if_absent(signature_key(version, signature), signature.data)
    with pytest.raises(IntegrityError, match="a signature of delay@1 does not hold"):
        require_signature(find_signatures(store.bucket, version), version, key.trusted)
    good = models.sign(version, str(key.private))
    assert require_signature(find_signatures(store.bucket, version), version, key.trusted) == key.trusted[0]
    assert good in find_signatures(store.bucket, version)


def test_what_is_no_signature_is_passed_over(models, version, key, store):
    store.bucket.put_if_absent("models/delay/versions/1/signatures/notes.txt", b"hello")
    store.bucket.put_if_absent("models/delay/versions/1/signatures/broken.sig", b"{" * 10_000)
    assert find_signatures(store.bucket, version) == []
    with pytest.raises(RefusedError):
        require_signature(find_signatures(store.bucket, version), version, key.trusted)


def test_a_signature_whose_bytes_were_changed(version, private, key):
    data = json.loads(make_signature(version, private).data)
    payload = base64.b64decode(data["dsseEnvelope"]["payload"]).replace(b"delay-1", b"delay-2")
    data["dsseEnvelope"]["payload"] = base64.b64encode(payload).decode()
    with pytest.raises(IntegrityError) as caught:
        check_signature(read_signature(json.dumps(data).encode()), version, key.trusted[0])
    assert "did not make it" in caught.value.why


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda s: s["predicate"]["resources"].pop(), "it contradicts itself"),
        (lambda s: s["predicate"]["resources"].append(s["predicate"]["resources"][0]), "lists a file twice"),
        (lambda s: s["predicate"]["resources"][0].update(algorithm="md5"), "by something else than SHA-256"),
        (lambda s: s["predicate"]["resources"][0].update(digest="zz" * 32), "it contradicts itself"),
        (lambda s: s["subject"].append(s["subject"][0]), "it contradicts itself"),
        (lambda s: s["predicate"]["serialization"].update(method="shards"), "of another kind"),
        (lambda s: s.update(predicateType="https://model_signing/Digests/v0.1"), "of another kind"),
        (lambda s: s.update(predicate=None), "cannot be read"),
    ],
)
def test_a_signed_statement_that_says_something_else(version, private, key, payload, change, why):
    check_signature(payload.sign(private), version, key.trusted[0])
    change(payload.statement)
    with pytest.raises(IntegrityError) as caught:
        check_signature(payload.sign(private), version, key.trusted[0])
    assert why in caught.value.why


def test_an_envelope_of_another_kind(version, private, key, payload):
    with pytest.raises(IntegrityError, match="does not hold"):
        check_signature(payload.sign(private, payloadType="text/plain"), version, key.trusted[0])
    with pytest.raises(IntegrityError, match="does not hold"):
        check_signature(payload.sign(private, signatures=[]), version, key.trusted[0])


def test_an_ed25519_key_signs_receipts_but_no_packages(models, version, tmp_path, store):
    key = edwards(tmp_path)
    with pytest.raises(BadInputError, match="cannot be signed by an Ed25519 key"):
        models.sign(version, str(key.private))
    with pytest.raises(BadInputError):
        read_trusted_keys([str(key.public)], tmp_path)
    assert find_signatures(store.bucket, version) == []


@pytest.mark.parametrize("text", ["", "no key", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"])
def test_a_trusted_key_that_is_none(text, tmp_path):
    (tmp_path / "key.pub").write_text(text)
    with pytest.raises(BadInputError) as caught:
        read_trusted_keys(["key.pub"], tmp_path)
    assert caught.value.code == "bad-signing-key"
    with pytest.raises(BadInputError, match="cannot be used"):
        read_trusted_keys(["missing.pub"], tmp_path)


def test_a_huge_bundle_is_not_read():
    with pytest.raises(IntegrityError) as caught:
        read_signature(b" " * (16 * 1024 * 1024 + 1))
    assert "more than" in caught.value.why


def test_two_signatures_by_one_key_are_two_files_and_both_hold(version, key, private, store):
    one, other = make_signature(version, private), make_signature(version, private)
    assert one.file != other.file
    for signature in (one, other):
        check_signature(signature, version, key.trusted[0])
    store.bucket.put_if_absent(signature_key(version, other), other.data)
    assert sign_version(store.bucket, version, str(key.private)) == other
