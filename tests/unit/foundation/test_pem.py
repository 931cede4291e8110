from __future__ import annotations

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from tidegate import digest, pem
from tidegate.errors import BadInputError

PRIVATE, PUBLIC = serialization.PrivateFormat.PKCS8, serialization.PublicFormat.SubjectPublicKeyInfo
PEM, OPEN = serialization.Encoding.PEM, serialization.NoEncryption()


def texts(key, locked=OPEN):
    return key.private_bytes(PEM, PRIVATE, locked).decode(), key.public_key().public_bytes(PEM, PUBLIC).decode()


@pytest.mark.parametrize(
    "key", [ec.generate_private_key(ec.SECP256R1()), ed25519.Ed25519PrivateKey.generate()], ids=["ecdsa", "ed25519"]
)
def test_a_key_signs_from_its_text_and_from_its_file(key, tmp_path):
    private, public = texts(key)
    (tmp_path / "key.pem").write_text(private)
    (tmp_path / "key.pub").write_text(public)
    signature = pem.sign(pem.load_private_key(str(tmp_path / "key.pem")), b"message")
    for found in (pem.load_public_key(public), pem.load_public_key(str(tmp_path / "key.pub"))):
        assert pem.is_signed(found, signature, b"message")
        assert not pem.is_signed(found, signature, b"messagE")
        assert not pem.is_signed(found, b"", b"message")
    other = pem.load_private_key(
        texts(ed25519.Ed25519PrivateKey.generate() if pem.is_edwards(key) else ec.generate_private_key(ec.SECP256R1()))[0]
    )
    assert not pem.is_signed(found, pem.sign(other, b"message"), b"message")
    assert pem.pem_id(found) == digest.of_file(tmp_path / "key.pub")
    assert pem.der_id(found) == digest.of_bytes(key.public_key().public_bytes(serialization.Encoding.DER, PUBLIC))
    assert pem.is_edwards(found) == isinstance(key, ed25519.Ed25519PrivateKey)


def test_what_is_signed_is_unambiguous():
    """Source: DSSE v1, protocol.md, the example of the pre-authentication encoding."""
    assert (
        pem.preauthentication("http://example.com/HelloWorld", b"hello world")
        == b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    )


@pytest.mark.parametrize(
    "key", [ec.generate_private_key(ec.SECP384R1()), rsa.generate_private_key(65537, 2048)], ids=["another curve", "rsa"]
)
def test_keys_of_other_kinds_are_refused(key):
    private, public = texts(key)
    for load, text in ((pem.load_private_key, private), (pem.load_public_key, public)):
        with pytest.raises(BadInputError) as caught:
            load(text)
        assert caught.value.why == "it is a key of another kind"


def test_no_message_repeats_a_key(tmp_path):
    key = ec.generate_private_key(ec.SECP256R1())
    locked, _ = texts(key, serialization.BestAvailableEncryption(b"secret"))
    private, public = texts(key)
    broken = private.replace("A", "B", 3)
    for load, text in (
        (pem.load_private_key, locked),
        (pem.load_private_key, broken),
        (pem.load_private_key, public),
        (pem.load_public_key, private),
    ):
        with pytest.raises(BadInputError) as caught:
            load(text)
        assert caught.value.code == "bad-signing-key"
        assert not any(line and line in str(caught.value) for line in text.splitlines())
    with pytest.raises(BadInputError, match="cannot be used"):
        pem.load_private_key(str(tmp_path / "missing.pem"))
