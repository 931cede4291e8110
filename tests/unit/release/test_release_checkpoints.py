"""A ledger that is shorter or other than a signed checkpoint of it was tampered with."""

import subprocess

import pytest
from conftest_release_house import POLICY
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from tidegate import pem
from tidegate.clock import Clock
from tidegate.errors import RefusedError, UnavailableError
from tidegate.release import Checkpoints
from tidegate.release.checkpoints import BucketPlace, TagPlace
from tidegate.release.ledger import entry_key, move_pointer


def make_key(kind=ed25519.Ed25519PrivateKey.generate):
    form = serialization.PrivateFormat.PKCS8
    return kind().private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()).decode()


KEY = make_key()


@pytest.fixture(params=["folder", "tags"])
def place(request, tmp_path):
    if request.param == "folder":
        return BucketPlace(str(tmp_path / "elsewhere"))
    repository = tmp_path / "repository"
    repository.mkdir()
    who = ["-c", "user.name=a", "-c", "user.email=a@b"]
    for words in (["init", "-q"], [*who, "commit", "-q", "--allow-empty", "-m", "first"]):
        subprocess.run(["git", *words], cwd=repository, check=True)
    return TagPlace(repository)


def checkpoints(house, place, key=KEY):
    return Checkpoints(house.bucket, Clock(lambda: house.now, "replay"), [place], key)


def test_a_checkpoint_agrees_with_its_ledger_and_with_all_that_follow(house, place):
    house.champion(1)
    mine = checkpoints(house, place)
    taken = mine.take("delay")
    assert (taken.seq, taken.head) == (4, house.release("x").state("delay").head_digest)
    assert mine.take("delay") == taken  # a second one of the same entry changes nothing
    house.champion(2)
    mine.take("delay")
    assert mine.verify("delay") == (2, [])
    assert (mine.newest("delay"), mine.models()) == (8, ["delay"])


def test_a_ledger_that_was_cut_short_is_found_though_its_chain_holds(house, place):
    house.champion(1)
    house.champion(2)
    checkpoints(house, place).take("delay")
    for seq in (8, 7):
        house.bucket.delete(entry_key("delay", seq))
    move_pointer(house.bucket, "delay")
    assert house.release("x").verify("delay") == []  # nothing else can see it
    (problem,) = checkpoints(house, place).problems(["delay"])
    assert "has seen entry 8, the ledger ends at 6: it was cut short" in problem


def test_a_ledger_that_was_removed_is_found(house, place):
    house.champion(1)
    checkpoints(house, place).take("delay")
    for key in list(house.bucket.keys("models/")):
        house.bucket.delete(key)
    (problem,) = checkpoints(house, place).problems([])
    assert "the ledger ends at 0" in problem


def test_a_history_that_was_written_anew_is_found(house, place):
    house.champion(1)
    checkpoints(house, place).take("delay")
    for seq in (4, 3):
        house.bucket.delete(entry_key("delay", seq))
    house.release("eve").approve("delay", 1, policy=POLICY)
    house.release("eve").freeze("delay", reason="x")
    assert house.release("x").verify("delay") == []
    (problem,) = checkpoints(house, place).problems(["delay"])
    assert "another entry 4 than the ledger holds: it was changed" in problem


@pytest.mark.parametrize("kind", ["another key", "no signature", "no json", "another model"])
def test_a_checkpoint_that_is_not_signed_by_the_key_is_no_checkpoint(house, place, kind):
    house.champion(1)
    other = checkpoints(house, place, make_key())
    if kind == "another key":
        other.take("delay")
    elif kind == "another model":
        checkpoints(house, place).take("delay")
        ((seq, data),) = place.read("delay")
        place.put("other", seq, data)
        (problem,) = checkpoints(house, place).verify("other")[1]
        assert "speaks of entry 4 of delay" in problem
        return
    else:
        data = (
            b"{}"
            if kind == "no json"
            else b'{"payload":"e30=","payloadType":"application/vnd.tidegate.checkpoint+json","signatures":[]}'
        )
        place.put("delay", 4, data)
    found, (problem,) = checkpoints(house, place).verify("delay")
    assert found == 1
    assert "cannot be trusted" in problem


@pytest.mark.parametrize("kind", [ed25519.Ed25519PrivateKey.generate, lambda: ec.generate_private_key(ec.SECP256R1())])
def test_the_public_key_alone_is_enough_to_check(house, place, kind):
    key = make_key(kind)
    house.champion(1)
    checkpoints(house, place, key).take("delay")
    assert checkpoints(house, place, "").verify("delay", pem.public_pem(key)) == (1, [])
    (problem,) = checkpoints(house, place, "").verify("delay")[1]
    assert "its signature was not checked" in problem


def test_without_key_or_place_none_is_taken(house, place):
    house.champion(1)
    with pytest.raises(RefusedError, match="no checkpoint"):
        checkpoints(house, place, "").take("delay")
    with pytest.raises(RefusedError, match="no checkpoint"):
        Checkpoints(house.bucket, Clock(), [], KEY).take("delay")
    assert checkpoints(house, place).take("nobody") is None


def test_a_place_that_is_away_is_told_and_the_others_have_it(house, place, tmp_path):
    house.champion(1)
    both = Checkpoints(house.bucket, Clock(), [TagPlace(tmp_path / "nowhere"), place], KEY)
    with pytest.raises(UnavailableError, match="cannot be used"):
        both.take("delay")
    assert len(place.read("delay")) == 1
    assert any("cannot be read" in problem for problem in both.verify("delay")[1])
    assert both.problems(["delay"])
