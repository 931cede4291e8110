"""A policy that was loosened asks for one consent more, of nobody who loosened it; and the ledger tells it."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
from conftest_release_house import House, asking

from tidegate import digest
from tidegate.errors import ApprovalMissing, IntegrityError, NotFoundError, RefusedError
from tidegate.gate import parse_model_policy, receipt_key
from tidegate.records.policy import ModelPolicy
from tidegate.release import tell

ONE, NONE = asking(approvals=1), asking(approvals=0)
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


def _policy(value: float = 0.8, **keys: Any) -> ModelPolicy:
    rules = [{"metric": "roc_auc", "test": "floor", "value": value}]
    gate = {"snapshot": "eval@1", "label": "late", "rules": rules, **keys.pop("gate", {})}
    return parse_model_policy("delay", {"task": "binary", "gate": gate, "release": {"approvals": 0}, **keys})


def _judged_by(house: House, policy: ModelPolicy) -> str:
    """Judged and, where it can be, approved by that policy: the key of the policy that is kept."""
    receipt = house.judge(house.version(1), policy_document=digest.of_json(policy))
    key = receipt_key("delay", receipt, ".policy.json")
    house.bucket.put_if_absent(key, digest.canonical(policy))
    house.release("ben").approve("delay", 1, policy=policy)
    return key


ROLES = {"quorum": {"ops": 1}, "roles": {"ops": ["ben"]}}


@pytest.mark.parametrize(
    ("then", "now"),
    [
        (_policy(0.5), _policy(0.8)),
        (_policy(gate={"confidence": 0.8}), _policy()),
        (_policy(gate={"label": "later"}), _policy()),
        (_policy(serving={"allow_code": True}), _policy()),
        (_policy(release={"auto": {"max_flips": 1.0}}), _policy(release={"auto": {}})),
        (_policy(release={"approvals": 1}), _policy(release={"approvals": 0})),
        (_policy(release={"approvals": 0}), _policy(release={"approvals": 1})),
        (_policy(release={"approvers": ["ben"]}), _policy(release={"approvers": []})),
        (_policy(release=ROLES), _policy(release={"roles": ROLES["roles"]})),
        (_policy(release=ROLES), _policy(release={**ROLES, "roles": {"ops": ["ben", "eve"]}})),
    ],
)
def test_a_verdict_by_a_policy_that_asked_for_less_or_consents_that_were_lowered_since_promote_nothing(
    house: House, then: ModelPolicy, now: ModelPolicy
) -> None:
    """Neither a lax policy that is taken back after the verdict, nor consents that are lowered after it, are a way around."""
    _judged_by(house, then)
    with pytest.raises(RefusedError) as refused:
        house.release("ana").promote("delay", 1, policy=now)
    assert refused.value.code == "policy-changed"
    assert "run the gate again" in refused.value.fix
    house.release("ana").promote("delay", 1, policy=then)
    assert house.release("ana").pointer("delay").champion.version == 1


@pytest.mark.parametrize(
    "now",
    [
        _policy(),
        _policy(0.7),
        _policy(owner="cy", serving={"max_rows": 5}, monitoring={"window": "7d"}, retrain={"pipeline": "m:train"}),
    ],
)
def test_what_the_verdict_does_not_depend_on_may_change(house: House, now: ModelPolicy) -> None:
    _judged_by(house, _policy())
    house.release("ana").promote("delay", 1, policy=now)
    assert house.release("ana").pointer("delay").champion.version == 1


def test_a_policy_that_is_gone_or_was_never_kept_promotes_nothing(house: House) -> None:
    house.bucket.delete(_judged_by(house, _policy()))
    with pytest.raises(NotFoundError):
        house.release("ana").promote("delay", 1, policy=_policy())
    house.judge(house.version(2), policy_digest="another")
    with pytest.raises(RefusedError, match="policy-changed"):
        house.release("ana").promote("delay", 2, policy=_policy())


@pytest.mark.parametrize("act", ["approve", "promote", "start"])
@pytest.mark.parametrize("data", [None, b"{}"], ids=["gone", "edited"])
def test_a_report_that_is_gone_or_was_edited_is_neither_approved_nor_promoted(house: House, data: bytes | None, act: str) -> None:
    house.champion(2)
    receipt = house.judge(house.version(1))
    house.release("cy").approve("delay", 1, policy=ONE)
    key = receipt_key("delay", receipt, ".report.json")
    house.bucket.delete(key)
    if data is not None:
        house.bucket.put_if_absent(key, data)
    release = house.release("ben")
    ask = partial(release.rollouts.start, plan={}) if act == "start" else getattr(release, act)
    with pytest.raises(NotFoundError if data is None else IntegrityError):
        ask("delay", 1, policy=ONE)
    assert release.pointer("delay").champion.version == 2
