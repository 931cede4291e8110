"""A deployment that asks for signatures, and one that serves a version whatever the pointer says."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tidegate.errors import NotFoundError, RefusedError
from tidegate.models.signing import read_trusted_keys, sign_version
from tidegate.serving.follow import Follower


@pytest.fixture
def release(tmp_path):
    """A private key's text, and the keys that a policy names."""
    key = ec.generate_private_key(ec.SECP256R1())
    spki = serialization.PublicFormat.SubjectPublicKeyInfo
    (tmp_path / "release.pub").write_bytes(key.public_key().public_bytes(serialization.Encoding.PEM, spki))
    form = (serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    text = key.private_bytes(serialization.Encoding.PEM, *form).decode()
    return text, read_trusted_keys(["release.pub"], tmp_path)


def test_a_pointer_to_an_unsigned_version_is_not_followed(shop, release):
    private, trusted = release
    first, second = shop.versions[:2]
    with pytest.raises(RefusedError, match="not signed by a key that is trusted here"):
        Follower(shop.bucket, "delay", signed_by=trusted)
    sign_version(shop.bucket, first, private)
    follower = Follower(shop.bucket, "delay", signed_by=trusted)
    shop.promote(second)
    follower.look()
    assert follower.handle.version == first
    assert "package-not-signed" in follower.problem
    sign_version(shop.bucket, second, private)
    follower._failed = ("", 0.0)  # five seconds later
    follower.look()
    assert (follower.handle.version, follower.problem) == (second, "")


def test_a_fixed_version_stays_whatever_the_pointer_names(shop):
    first, second = shop.versions[:2]
    follower = Follower(shop.bucket, "delay", version=second.version)
    assert follower.handle.version == second
    shop.promote(first)
    follower.look()
    assert (follower.handle.version, follower.problem) == (second, "")
    with pytest.raises(NotFoundError, match="there is no delay@99"):
        Follower(shop.bucket, "delay", version=99)
