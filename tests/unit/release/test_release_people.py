"""Whoever spells a name otherwise is the same person still: no second approval, no approval by the author, nothing left standing."""

import pytest
from conftest_release_house import asking

from tidegate.errors import ApprovalMissing, RefusedError
from tidegate.records.policy import AutoApproval
from tidegate.release.people import is_same_person

SPELLINGS = ["BEN", " ben\t", "b\u200ben", "\ufeffben", "\uff42en", "ben@example.org", "Ben@Example.org"]


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_one_person_however_the_name_is_spelled(house, spelling):
    policy = asking(approvals=2)
    house.judge(house.version(1, author="ana"))
    for name in ("ben", spelling):
        house.release(name).approve("delay", 1, policy=policy)
    with pytest.raises(ApprovalMissing, match="1 of 2"):
        house.release("ana").promote("delay", 1, policy=policy)
    house.release("cleo").revoke("delay", 1, approver="ben", reason="all of it")
    with pytest.raises(ApprovalMissing, match="0 of 1"):
        house.release("ana").promote("delay", 1, policy=asking())
    house.judge(house.version(2, author="ben"))
    with pytest.raises(RefusedError, match="is the author"):
        house.release(spelling).approve("delay", 2, policy=asking())


def test_others_are_others():
    assert is_same_person("ana b", "ana  B ")
    for one, other in (("ana", "anna"), ("ana@example.org", "ana@example.com"), ("ana", "example.org"), ("ana", "")):
        assert not is_same_person(one, other)


@pytest.mark.parametrize("name", ["", " ", "\u200b", "@example.org"])
def test_who_has_no_name_approves_nothing(house, name):
    house.judge(house.version(1))
    with pytest.raises(RefusedError, match="may not approve"):
        house.release(name).approve("delay", 1, policy=asking())


def test_nobody_approves_in_the_name_of_the_policy(house):
    policy = asking(auto=AutoApproval())
    house.judge(house.version(1))
    with pytest.raises(RefusedError, match="may not approve delay as the policy"):
        house.release("eve").approve("delay", 1, policy=policy, via="policy")
