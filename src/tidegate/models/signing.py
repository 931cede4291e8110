"""A version's signatures: who holds a key vouches for the manifest and every file of its package.

    models/<name>/versions/<n>/signatures/<digest>.sig

A signature is a bundle in the format of OpenSSF Model Signing 1.0, so that its own command line accepts what ``model pull``
wrote. It is over an in-toto statement, predicate ``https://model_signing/signature/v1.0``, which lists the files of that folder
with their SHA-256: ``manifest.json`` and ``files/...``. Keys are one's own, ECDSA P-256; nothing is asked of a network.

Source: github.com/sigstore/model-transparency, README, "Model Signing Format"; Sigstore bundle 0.3; DSSE v1.
The bundle is written and read here, not by the package model-signing: that brings the whole Sigstore client (54 MB of memory and
0.9 s of start for a server that checks one signature). Tests hold both against each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import msgspec

from tidegate import digest as digests
from tidegate import pem
from tidegate.errors import BadInputError, IntegrityError, RefusedError
from tidegate.records.model import ModelVersion
from tidegate.store.ports import Bucket

MANIFEST, FILES, SIGNATURES = "manifest.json", "files", "signatures"
"""A package as a folder: its manifest, the folder of its files, the folder of its signatures."""

MEDIA_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"

_STATEMENT = "https://in-toto.io/Statement/v1"
_PREDICATE = "https://model_signing/signature/v1.0"
_PAYLOAD = "application/vnd.in-toto+json"
_SERIALIZATION = {"method": "files", "hash_type": "sha256", "allow_symlinks": False, "ignore_paths": [SIGNATURES]}
_LARGEST = 16 * 1024 * 1024


class TrustedKey(NamedTuple):
    """A public key whose signatures count. ``id`` is the SHA-256 of its file, as ``openssl pkey -pubout`` writes it."""

    id: str
    key: Any
    name: str


class StoredSignature(NamedTuple):
    """A signature as it is stored, unchecked: the id of the key that it says it is of, and its bytes."""

    key_id: str
    data: bytes

    @property
    def file(self) -> str:
        """``<digest>.sig``."""
        return f"{digests.of_bytes(self.data)}.sig"


class _Signature(msgspec.Struct, frozen=True):
    sig: bytes
    keyid: str = ""


class _Envelope(msgspec.Struct, frozen=True, rename="camel"):
    payload: bytes
    payload_type: str
    signatures: list[_Signature]


class _PublicKey(msgspec.Struct, frozen=True):
    hint: str = ""


class _Material(msgspec.Struct, frozen=True, rename="camel"):
    public_key: _PublicKey
    tlog_entries: list[Any] = []


class _Bundle(msgspec.Struct, frozen=True, rename="camel"):
    media_type: str
    verification_material: _Material
    dsse_envelope: _Envelope


class _Resource(msgspec.Struct, frozen=True):
    name: str
    algorithm: str
    digest: str


class _Predicate(msgspec.Struct, frozen=True):
    resources: list[_Resource]
    serialization: dict[str, Any]


class _Subject(msgspec.Struct, frozen=True):
    name: str
    digest: dict[str, str]


class _Statement(msgspec.Struct, frozen=True, rename={"type": "_type", "predicate_type": "predicateType"}):
    type: str
    subject: list[_Subject]
    predicate_type: str
    predicate: _Predicate


def read_trusted_keys(paths: Sequence[str], folder: Path) -> tuple[TrustedKey, ...]:
    """The public keys in PEM files; relative paths begin at ``folder``.

    Raises:
        BadInputError: a file cannot be read, or holds no ECDSA P-256 key.
        UnavailableError: the extra ``sign`` is not installed.
    """
    found: list[TrustedKey] = []
    for path in paths:
        key = pem.load_public_key(str(folder / Path(path).expanduser()))
        _refuse_edwards(key)
        found.append(TrustedKey(pem.pem_id(key), key, path))
    return tuple(found)


def package_digests(version: ModelVersion) -> dict[str, str]:
    """What a signature covers: path in the folder to SHA-256."""
    return {MANIFEST: version.digest} | {f"{FILES}/{file.path}": file.digest for file in version.manifest.files}


def make_signature(version: ModelVersion, private: Any) -> StoredSignature:
    """A signature of a version by a private key. Two of one key differ: ECDSA draws a number."""
    payload = digests.canonical(_statement(version))
    signature = _Signature(pem.sign(private, pem.preauthentication(_PAYLOAD, payload)))
    key_id = pem.pem_id(private.public_key())
    bundle = _Bundle(MEDIA_TYPE, _Material(_PublicKey(key_id)), _Envelope(payload, _PAYLOAD, [signature]))
    return StoredSignature(key_id, msgspec.json.encode(bundle))


def read_signature(data: bytes) -> StoredSignature:
    """A signature from the bytes of its bundle, unchecked.

    Raises:
        IntegrityError: they are no bundle.
    """
    return StoredSignature(_decoded(data).verification_material.public_key.hint, data)


def check_signature(signature: StoredSignature, version: ModelVersion, trusted: TrustedKey) -> None:
    """Makes sure that a key signed exactly this version.

    Raises:
        IntegrityError: the signature is of another key, or of another package.
    """
    bundle = _decoded(signature.data)
    hint = bundle.verification_material.public_key.hint
    if hint and hint != trusted.id:
        raise _wrong(version.ref, f"it is of the key {digests.short(hint)}, not of {digests.short(trusted.id)}")
    envelope = bundle.dsse_envelope
    if bundle.media_type != MEDIA_TYPE or envelope.payload_type != _PAYLOAD:
        raise _wrong(version.ref, "it is of another kind than Model Signing 1.0")
    message = pem.preauthentication(_PAYLOAD, envelope.payload)
    if not any(pem.is_signed(trusted.key, one.sig, message) for one in envelope.signatures):
        raise _wrong(version.ref, f"the key {digests.short(trusted.id)} did not make it")
    try:
        statement = digests.parsed(envelope.payload, _Statement)
    except msgspec.MsgspecError as error:
        raise _wrong(version.ref, f"what is signed cannot be read: {error}") from None
    _check_statement(statement, version)


def find_signatures(bucket: Bucket, version: ModelVersion) -> list[StoredSignature]:
    """The stored signatures of a version, unchecked; what is no signature is passed over."""
    found: list[StoredSignature] = []
    for key in bucket.keys(_folder(version)):
        blob = bucket.find(key)
        if blob is None or not key.endswith(".sig"):
            continue
        try:
            found.append(read_signature(blob.data))
        except IntegrityError:
            continue
    return found


def store_signature(bucket: Bucket, version: ModelVersion, signature: StoredSignature) -> str:
    """Stores a signature beside the manifest, under its own digest; returns its key."""
    key = signature_key(version, signature)
    bucket.put_if_absent(key, signature.data)
    return key


def signature_key(version: ModelVersion, signature: StoredSignature) -> str:
    """The key of a signature in the bucket."""
    return _folder(version) + signature.file


def sign_version(bucket: Bucket, version: ModelVersion, key: str) -> StoredSignature:
    """Signs a version by a private key (PEM, or the path of one), unless it has done so already.

    Who calls has held the version's files against their digests.

    Raises:
        BadInputError: the key cannot be used.
        UnavailableError: the extra ``sign`` is not installed.
    """
    private = pem.load_private_key(key)
    _refuse_edwards(private)
    public = private.public_key()
    own = TrustedKey(pem.pem_id(public), public, "")
    for signature in find_signatures(bucket, version):
        if signature.key_id == own.id and not _fault(signature, version, own):
            return signature
    made = make_signature(version, private)
    store_signature(bucket, version, made)
    return made


def require_signature(signatures: Sequence[StoredSignature], version: ModelVersion, trusted: Sequence[TrustedKey]) -> TrustedKey:
    """The first of the trusted keys that signed a version.

    Raises:
        RefusedError: none of them did.
        IntegrityError: a signature claims to be of a trusted key, and is not, or is of another package.
    """
    faults: list[IntegrityError] = []
    for key in trusted:
        for signature in signatures:
            if signature.key_id and signature.key_id != key.id:
                continue
            fault = _fault(signature, version, key)
            if fault is None:
                return key
            faults += [fault] if signature.key_id else []
    if faults:
        raise faults[0]
    others = ", ".join(sorted({digests.short(signature.key_id) or "a key without a name" for signature in signatures}))
    raise RefusedError(
        "package-not-signed",
        f"{version.ref} is not signed by a key that is trusted here",
        why=f"it is signed by {others} alone" if signatures else "it is not signed at all",
        fix=f"tidegate model sign {version.ref}, with the private half of {' or '.join(key.name for key in trusted)}",
    )


def _fault(signature: StoredSignature, version: ModelVersion, key: TrustedKey) -> IntegrityError | None:
    try:
        check_signature(signature, version, key)
    except IntegrityError as error:
        return error
    return None


def _folder(version: ModelVersion) -> str:
    return f"models/{version.name}/versions/{version.version}/{SIGNATURES}/"


def _statement(version: ModelVersion) -> _Statement:
    wanted = package_digests(version)
    # The order is the format's: that of the parts of the paths. The subject's digest is over the digests in this order.
    names = sorted(wanted, key=PurePosixPath)
    return _Statement(
        type=_STATEMENT,
        subject=[_Subject(f"{version.name}-{version.version}", {"sha256": _root([wanted[name] for name in names])})],
        predicate_type=_PREDICATE,
        predicate=_Predicate([_Resource(name, "sha256", wanted[name]) for name in names], _SERIALIZATION),
    )


def _check_statement(statement: _Statement, version: ModelVersion) -> None:
    predicate = statement.predicate
    kind = (predicate.serialization.get("method"), predicate.serialization.get("hash_type"))
    if (statement.type, statement.predicate_type) != (_STATEMENT, _PREDICATE) or kind != ("files", "sha256"):
        raise _wrong(version.ref, "what is signed is of another kind than a list of files by SHA-256")
    signed = {resource.name: resource.digest for resource in predicate.resources if resource.algorithm == "sha256"}
    if len(signed) != len(predicate.resources):
        raise _wrong(version.ref, "it lists a file twice, or by something else than SHA-256")
    roots = [subject.digest.get("sha256", "") for subject in statement.subject]
    if not all(map(_is_digest, signed.values())) or roots != [_root([resource.digest for resource in predicate.resources])]:
        raise _wrong(version.ref, "it contradicts itself: its digest is not that of its files")
    expected = package_digests(version)
    if signed != expected:
        odd = sorted(name for name in signed.keys() | expected.keys() if signed.get(name) != expected.get(name))
        raise _wrong(version.ref, f"what was signed differs in {', '.join(odd[:5])}{' and more' if len(odd) > 5 else ''}")


def _root(hashes: list[str]) -> str:
    return digests.of_bytes(bytes.fromhex("".join(hashes)))


def _is_digest(text: str) -> bool:
    return len(text) == 64 and set(text) <= set("0123456789abcdef")


def _decoded(data: bytes) -> _Bundle:
    try:
        if len(data) > _LARGEST:
            raise msgspec.ValidationError(f"it has more than {_LARGEST} bytes")
        return digests.parsed(data, _Bundle)
    except msgspec.MsgspecError as error:
        raise IntegrityError(
            "package-signature-wrong",
            "a signature cannot be read",
            why=str(error)[:200],
            fix="sign the version again: tidegate model sign",
        ) from None


def _wrong(ref: str, why: str) -> IntegrityError:
    return IntegrityError(
        "package-signature-wrong",
        f"a signature of {ref} does not hold",
        why=why,
        fix="check that this is the key of who signs; if it is, do not use the package",
    )


def _refuse_edwards(key: Any) -> None:
    if pem.is_edwards(key):
        raise BadInputError(
            "bad-signing-key",
            "a package cannot be signed by an Ed25519 key",
            why="the format of OpenSSF Model Signing knows elliptic curves such as ECDSA P-256",
            fix="openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out key.pem",
        )
