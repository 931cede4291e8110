"""Where the policy names keys, only what one of them signed is promoted: by the gate, by breaking the glass, or by an alias."""

import pytest
from conftest_release_house import asking
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tidegate import digest
from tidegate.clock import Clock
from tidegate.errors import BadInputError, IntegrityError, RefusedError
from tidegate.gate.loosening import loosened
from tidegate.models.signing import sign_version, signature_key
from tidegate.release import Release


def key(folder, name):
    made = ec.generate_private_key(ec.SECP256R1())
    spki = serialization.PublicFormat.SubjectPublicKeyInfo
    (folder / f"{name}.pub").write_bytes(made.public_key().public_bytes(serialization.Encoding.PEM, spki))
    form = (serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return made.private_bytes(serialization.Encoding.PEM, *form).decode()


@pytest.fixture
def signing(house, tmp_path):
    """A house whose versions stand in the bucket, whose policy trusts one key, and in which ben has approved version 1."""

    def version(number, **changes):
        made = type(house).version(house, number, **changes)
        house.bucket.put_if_absent(f"models/delay/versions/{number}/manifest.json", digest.canonical(made.manifest))
        return made

    house.version = version
    house.private, house.folder = key(tmp_path, "team"), tmp_path
    house.policy = asking(signed_by=["team.pub"], break_glass=["otto"])
    house.first = house.ready(1)
    house.project = lambda who="ana", **how: Release(
        house.bucket, Clock(lambda: house.now, "replay"), who, folder=tmp_path, **how
    )
    return house


def ways(house):
    return [
        lambda: house.project().promote("delay", 1, policy=house.policy),
        lambda: house.project("otto").break_glass("delay", 1, policy=house.policy, reason="fire"),
        lambda: house.project(allow_ungated=True).name_champion("delay", 1, policy=house.policy),
    ]


def test_what_no_trusted_key_signed_is_not_promoted_by_any_way(signing):
    sign_version(signing.bucket, signing.first, key(signing.folder, "stranger"))
    for way in ways(signing):
        with pytest.raises(RefusedError, match="not signed by a key that is trusted") as refused:
            way()
        assert refused.value.code == "package-not-signed"
    plan = signing.project().plan("delay", 1, policy=signing.policy)
    assert "no  a trusted key signed it, where the policy asks for that" in plan.explain()
    assert signing.project().plan("delay", 1, policy=asking()).event is not None, "who asks for no signature needs none"
    sign_version(signing.bucket, signing.first, signing.private)
    ways(signing)[0]()
    assert signing.project().pointer("delay").champion.version == 1


def test_a_signature_of_another_version_or_of_nobody_does_not_do(signing):
    other = sign_version(signing.bucket, signing.version(2), signing.private)
    signing.bucket.put_if_absent(signature_key(signing.first, other), other.data)
    with pytest.raises(IntegrityError, match="does not hold"):
        ways(signing)[0]()
    signing.bucket.delete("models/delay/versions/1/manifest.json")
    with pytest.raises(Exception, match="there is no delay@1"):
        ways(signing)[0]()


def test_a_key_that_is_not_there_lets_nothing_pass(signing):
    (signing.folder / "team.pub").unlink()
    sign_version(signing.bucket, signing.first, signing.private)
    for way in ways(signing):
        with pytest.raises(BadInputError, match="cannot be used"):
            way()


def test_to_ask_for_no_signature_any_more_is_to_ask_for_less():
    for weaker in (asking(), asking(signed_by=["a.pub", "b.pub"])):
        assert loosened(asking(signed_by=["a.pub"]), weaker)
        assert not loosened(weaker, asking(signed_by=["a.pub"]))
