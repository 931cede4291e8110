"""A policy that was loosened asks for one consent more, of nobody who loosened it; and the ledger tells it."""

from __future__ import annotations

import pytest
from conftest_release_house import House

from tidegate.errors import ApprovalMissing, RefusedError
from tidegate.records.policy import ReleasePolicy
from tidegate.release import tell

ONE, NONE = ReleasePolicy(approvals=1), ReleasePolicy(approvals=0)
WHY = "confidence was 0.95 and is 0.8"


def _judged(house: House, author: str = "ci") -> None:
    version = house.version(1, author="ana")
    house.judge(version, author=author, loosened=[WHY], loosened_by=["Ben Doe", "ben@example.org"])


def test_one_consent_more_is_needed_and_the_refusal_says_why(house: House) -> None:
    _judged(house)
    house.release("cy").approve("delay", 1, policy=ONE)
    with pytest.raises(ApprovalMissing) as refused:
        house.release("ana").promote("delay", 1, policy=ONE)
    assert "1 of 2" in refused.value.what
    assert WHY in refused.value.why
    house.release("dee").approve("delay", 1, policy=ONE)
    house.release("ana").promote("delay", 1, policy=ONE)
    assert house.release("ana").pointer("delay").champion.version == 1


def test_no_declared_approvals_still_means_one(house: House) -> None:
    _judged(house)
    with pytest.raises(ApprovalMissing, match="0 of 1"):
        house.release("ana").promote("delay", 1, policy=NONE)
    house.release("cy").approve("delay", 1, policy=NONE)
    house.release("ana").promote("delay", 1, policy=NONE)
    assert house.release("ana").pointer("delay").champion.version == 1


@pytest.mark.parametrize("actor", ["ana", "ben", "BEN", "ben@example.org", "Ben Doe", "ci", "ｃｉ"])
def test_who_loosened_it_cannot_approve_it(house: House, actor: str) -> None:
    _judged(house)
    with pytest.raises(RefusedError) as refused:
        house.release(actor).approve("delay", 1, policy=ONE)
    assert refused.value.code == "author-cannot-approve"


def test_a_policy_as_it_was_excludes_the_versions_author_alone(house: House) -> None:
    house.judge(house.version(1, author="ana"), author="ci")
    house.release("ci").approve("delay", 1, policy=ONE)
    house.release("ana").promote("delay", 1, policy=ONE)
    assert house.release("ana").pointer("delay").champion.version == 1


def test_the_ledger_tells_it(house: House) -> None:
    _judged(house)
    assert WHY in tell(house.release("ana").history("delay")[-1].event).sentence
