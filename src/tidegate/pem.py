"""Keys that sign, from PEM: ECDSA P-256 (with SHA-256) or Ed25519; and the bytes that a DSSE envelope signs.

``cryptography`` is imported where it is needed: it belongs to the extra ``sign``.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from tidegate.errors import BadInputError, missing_extra


def load_private_key(key: str) -> Any:
    """The private key of a PEM text, or of the file that it is the path of. No message repeats what stands in it.

    Raises:
        BadInputError: it is no such key, or it is locked by a password.
        UnavailableError: the extra ``sign`` is not installed.
    """
    return _load(key, private=True)


def load_public_key(key: str) -> Any:
    """The public key of a PEM text, or of the file that it is the path of.

    Raises:
        BadInputError: it is no such key.
        UnavailableError: the extra ``sign`` is not installed.
    """
    return _load(key, private=False)


def public_pem(key: str) -> str:
    """The public half of a private key, in PEM. Errors: see ``load_private_key``."""
    public = load_private_key(key).public_key()
    from cryptography.hazmat.primitives import serialization

    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return public.public_bytes(serialization.Encoding.PEM, form).decode()


def preauthentication(payload_type: str, payload: bytes) -> bytes:
    """The bytes that are signed (DSSE v1, PAE)."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def sign(private: Any, message: bytes) -> bytes:
    """The private key's signature of a message."""
    return private.sign(message) if is_edwards(private) else private.sign(message, _ecdsa())


def is_signed(public: Any, signature: bytes, message: bytes) -> bool:
    """Whether a signature of a message is of the public key's other half."""
    from cryptography.exceptions import InvalidSignature

    try:
        public.verify(signature, message) if is_edwards(public) else public.verify(signature, message, _ecdsa())
    except InvalidSignature:
        return False
    return True


def der_id(public: Any) -> str:
    """SHA-256 of a public key's SubjectPublicKeyInfo in DER."""
    return _id(public, "DER")


def pem_id(public: Any) -> str:
    """SHA-256 of a public key's PEM text: what ``sha256sum`` says of the file that ``openssl pkey -pubout`` writes."""
    return _id(public, "PEM")


def is_edwards(key: Any) -> bool:
    """Whether a key is of the kind Ed25519."""
    return type(key).__name__.startswith(("Ed25519", "_Ed25519"))


def _load(key: str, *, private: bool) -> Any:
    try:
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ec, ed25519
    except ImportError:
        raise missing_extra("sign", "cryptography", "signing and checking signatures") from None
    kind = "private" if private else "public"
    try:
        data = key.encode() if "-----BEGIN" in key else Path(key).expanduser().read_bytes()
        found: Any = serialization.load_pem_private_key(data, None) if private else serialization.load_pem_public_key(data)
    except OSError as error:
        named = "signing_key is no key in PEM, and the file of that name" if private else key[:300]
        raise _bad_key(f"{named} cannot be read: {error.strerror}", kind) from None
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
        "openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out key.pem"
        if kind == "private"
        else "openssl pkey -in key.pem -pubout -out key.pub"
    )
    return BadInputError(
        "bad-signing-key", f"the {kind} key cannot be used", why=why, fix=f"ECDSA P-256 or Ed25519 in PEM, such as: {hint}"
    )


def _ecdsa() -> Any:
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec

    return ec.ECDSA(hashes.SHA256())


def _id(public: Any, encoding: str) -> str:
    from cryptography.hazmat.primitives import serialization

    wanted = serialization.Encoding.PEM if encoding == "PEM" else serialization.Encoding.DER
    written = public.public_bytes(wanted, serialization.PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(written).hexdigest()
