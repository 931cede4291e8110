import msgspec
import pytest
from conftest_release_house import POLICY, asking

from tidegate import digest
from tidegate.clock import DAY, Clock
from tidegate.records.ledger import Promoted
from tidegate.release import Release, audit_ledger, read_pointer, verify_ledger
from tidegate.release.ledger import append


@pytest.fixture
def whole(house):
    """A house whose versions and receipts stand in the bucket as they do in a project."""

    def version(number):
        made = type(house).version(house, number)
        house.bucket.put_if_absent(f"models/delay/versions/{number}/manifest.json", digest.canonical(made.manifest))
        return made

    house.version = version
    return house


def test_a_ledger_that_grew_by_the_rules_has_no_problem(whole):
    whole.champion(1)
    whole.champion(2)
    whole.release("ben").rollback("delay", reason="bad")
    assert audit_ledger(whole.bucket, "delay") == []


def test_a_promotion_written_by_hand_is_found_although_the_chain_holds(whole):
    whole.champion(1)
    version = whole.version(2)
    previous = read_pointer(whole.bucket, "delay").champion
    event = Promoted(version=2, digest=version.digest, receipt="0" * 64, previous=previous)
    append(whole.bucket, "delay", lambda _state: event, clock=Clock.replay(whole.now), actor="mallory")
    assert verify_ledger(whole.bucket, "delay") == []
    assert ["without a PASS" in problem for problem in audit_ledger(whole.bucket, "delay")] == [True]


def test_a_clock_that_is_set_back_makes_nothing_stand_that_had_expired(whole):
    whole.release = lambda actor: Release(whole.bucket, Clock(lambda: whole.now), actor)
    whole.champion(1)
    whole.ready(2)
    whole.now += 20 * DAY
    whole.release("ana").freeze("delay", reason="holidays")
    whole.release("ana").unfreeze("delay", reason="back")
    assert audit_ledger(whole.bucket, "delay") == verify_ledger(whole.bucket, "delay") == []
    whole.now -= 20 * DAY
    whole.release("ana").promote("delay", 2, policy=POLICY)
    (problem,) = audit_ledger(whole.bucket, "delay")
    assert "had expired" in problem
    (problem,) = verify_ledger(whole.bucket, "delay")
    assert "a clock was wrong" in problem


@pytest.mark.parametrize("ending", [".json", ".report.json"])
def test_a_receipt_or_report_that_is_gone_is_found(whole, ending):
    whole.champion(1)
    receipt = whole.release("ana").newest_receipt("delay", 1)
    whole.bucket.delete(f"models/delay/receipts/{receipt}{ending}")
    problems = audit_ledger(whole.bucket, "delay")
    assert len(problems) == 2  # the verdict and the promotion both rest on it
    assert all(receipt in problem for problem in problems)


def test_a_manifest_that_is_gone_or_other_is_found(whole):
    version = whole.champion(1)
    whole.bucket.delete("models/delay/versions/1/manifest.json")
    assert any("is missing" in problem for problem in audit_ledger(whole.bucket, "delay"))
    other = msgspec.structs.replace(version.manifest, author="eve")
    whole.bucket.put_if_absent("models/delay/versions/1/manifest.json", digest.canonical(other))
    assert any("not the one that was registered" in problem for problem in audit_ledger(whole.bucket, "delay"))


def test_a_ledger_that_was_removed_is_found(whole):
    whole.champion(1)
    for key in list(whole.bucket.keys("models/delay/ledger/")):
        whole.bucket.delete(key)
    whole.bucket.delete("models/delay/current.json")
    assert audit_ledger(whole.bucket, "delay") == ["delay has receipts but no ledger: it was removed"]


def test_a_loosened_policy_that_its_authors_alone_approved_is_found(whole):
    version = whole.version(1)
    receipt = whole.judge(version, author="ci", loosened=["confidence was 0.95 and is 0.8"])
    event = Promoted(version=1, digest=version.digest, receipt=receipt, previous=read_pointer(whole.bucket, "delay").champion)
    append(whole.bucket, "delay", lambda _state: event, clock=Clock.replay(whole.now), actor="mallory")
    assert ["loosened policy" in problem for problem in audit_ledger(whole.bucket, "delay")] == [True]


def test_a_loosened_policy_that_somebody_else_approved_is_well(whole):
    whole.judge(whole.version(1), author="ci", loosened=["confidence was 0.95 and is 0.8"])
    for person in ("ben", "cy"):
        whole.release(person).approve("delay", 1, policy=asking())
    whole.release("ana").promote("delay", 1, policy=asking())
    assert audit_ledger(whole.bucket, "delay") == []
