"""Who may consent: roles, quorums, CI jobs, revocations, and the policy itself."""

import msgspec
import pytest
from conftest_release_house import House, asking
from hypothesis import given
from hypothesis import strategies as st

from tidegate import digest
from tidegate.clock import DAY, Clock
from tidegate.errors import ApprovalMissing, NotFoundError, RefusedError, UsageError
from tidegate.gate import parse_model_policy
from tidegate.gate.loosening import loosened
from tidegate.models import read_version
from tidegate.records.ledger import Approved, LedgerEntry, Promoted, Workflow
from tidegate.records.model import Lineage, Manifest, ModelVersion, PackagedFile, Signature
from tidegate.records.policy import AutoApproval, ModelPolicy
from tidegate.records.report import Flips, Interval, Problem, Report, RuleResult
from tidegate.records.verdict import Verdict
from tidegate.release import audit_ledger, audit_write, tell
from tidegate.release.ledger import append, entry_key
from tidegate.release.rules import lacking

ROLES = {"risk": ["rita", "rob"], "ops": ["otto", "olga", "rita"]}


def promote(house, policy, version=1):
    return house.release("ana").promote("delay", version, policy=policy)


def approve(house, who, policy, **how):
    return house.release(who).approve("delay", 1, policy=policy, **how)


def test_a_role_stands_for_its_people(house):
    policy = asking(approvers=["ops", "ben"], roles=ROLES)
    house.judge(house.version(1))
    with pytest.raises(RefusedError, match="rob may not approve"):
        approve(house, "rob", policy)
    with pytest.raises(RefusedError, match="ops may not approve"):  # a role's name is nobody's name
        approve(house, "ops", policy)
    approve(house, "olga", policy)
    promote(house, policy)


def test_a_quorum_asks_for_people_of_each_role(house):
    policy = asking(quorum={"risk": 1, "ops": 2}, roles=ROLES)
    house.judge(house.version(1))
    approve(house, "rita", policy)
    approve(house, "otto", policy)
    approve(house, "ben", policy)  # three people, but ben has no role
    with pytest.raises(ApprovalMissing, match="3 of 3") as missing:
        promote(house, policy)
    assert missing.value.why == "still missing: 1 of ops"
    approve(house, "olga", policy)
    promote(house, policy)


def test_nobody_stands_for_two_roles(house):
    policy = asking(quorum={"risk": 1, "ops": 1}, roles=ROLES)
    house.judge(house.version(1))
    approve(house, "rita", policy)
    approve(house, "ben", policy)
    with pytest.raises(ApprovalMissing, match="2 of 2"):
        promote(house, policy)


@given(
    st.lists(st.sampled_from("abcdef"), unique=True),
    st.dictionaries(st.sampled_from(["x", "y", "z"]), st.lists(st.sampled_from("abcdef"), unique=True)),
    st.dictionaries(st.sampled_from(["x", "y", "z"]), st.integers(1, 2)),
)
def test_a_quorum_is_met_exactly_where_some_seating_exists(people, roles, quorum):
    places = [role for role, count in quorum.items() for _ in range(count)]

    def seatable(left, free):
        return not left or any(person in roles.get(left[0], []) and seatable(left[1:], free - {person}) for person in free)

    met = not lacking(people, asking(quorum=quorum, roles=roles).release)
    assert met == seatable(places, frozenset(people))


def test_one_person_spelled_two_ways_is_one(house):
    policy = asking(approvals=2)
    house.judge(house.version(1))
    approve(house, "ben", policy)
    approve(house, "BEN ", policy)
    with pytest.raises(ApprovalMissing, match="1 of 2"):
        promote(house, policy)


def test_in_a_ci_job_whoever_started_it_consents(house):
    policy = asking(approvals=1, approvers=["ben"])
    job = Workflow(system="github", actor="ben", repository="shop/delay", run="https://ci/runs/9")
    house.judge(house.version(1))
    entry = approve(house, "runner", policy, via="ci", ci=job)
    assert entry.event.ci == job
    assert "ben in https://ci/runs/9" in tell(entry.event).sentence
    promote(house, policy)


@pytest.mark.parametrize(
    ("actor", "starter", "refusal"),
    [("runner", "ana", "ana is the author"), ("ana", "ben", "ana is the author"), ("runner", "", "nobody may not approve")],
)
def test_a_ci_job_of_the_author_does_not_count(house, actor, starter, refusal):
    house.judge(house.version(1, author="ana"))
    with pytest.raises(RefusedError, match=refusal):
        approve(house, actor, asking(), via="ci", ci=Workflow(system="github", actor=starter))


def test_an_approval_by_hand_and_one_by_ci_of_the_same_person_are_one(house):
    policy = asking(approvals=2)
    house.judge(house.version(1))
    approve(house, "ben", policy, via="cli")
    approve(house, "runner", policy, via="ci", ci=Workflow(system="gitlab", actor="ben"))
    with pytest.raises(ApprovalMissing, match="1 of 2"):
        promote(house, policy)


def test_a_revoked_approval_does_not_count_until_it_is_given_again(house):
    policy = asking()
    house.ready(1)
    entry = house.release("cleo").revoke("delay", 1, reason="new numbers", approver="ben")
    assert tell(entry.event).sentence == "revoked the approval of ben for version 1: new numbers"
    with pytest.raises(ApprovalMissing):
        promote(house, policy)
    with pytest.raises(NotFoundError, match="ben has not approved"):
        house.release("ben").revoke("delay", 1, reason="again")
    approve(house, "ben", policy)
    promote(house, policy)


def test_revoking_needs_a_reason(house):
    house.ready(1)
    with pytest.raises(UsageError, match="reason"):
        house.release("ben").revoke("delay", 1, reason=" ")


def test_old_entries_stay_readable():
    old = (
        b'{"actor":"ben","at":1,"before":"","clock":"system",'
        b'"event":{"comment":"","expires_at":9,"receipt":"r","type":"approved","version":1},"seq":1}'
    )
    entry = msgspec.json.decode(old, type=LedgerEntry)
    assert entry.event == Approved(version=1, receipt="r", expires_at=9)
    assert entry.event.via == ""


# The policy approves.


INTERVAL = Interval(estimate=0.1, low=0.0, high=0.2)


class Automatic(House):
    """A house with packages and reports, so that the policy has something to read."""

    policy = asking(auto=AutoApproval(max_flips=0.01, max_size=1.1, per_week=2))

    def version(self, number, author="ana", **changes):
        fields = {"files": [PackagedFile(path="m", size=1000, digest="d")], "format": "onnx", "loads_code": False, **changes}
        manifest = Manifest(
            name="delay", version=number, task="binary", signature=Signature(inputs=[], outputs=[]), lineage=Lineage(),
            created_at=1, author=author, **fields,
        )  # fmt: skip
        version = ModelVersion(digest=digest.of_json(manifest), manifest=manifest)
        self.bucket.put_if_absent(f"models/delay/versions/{number}/manifest.json", digest.canonical(manifest))
        self.release(author).register(version)
        return version

    def judge(self, version, verdict=Verdict.PASS, report=None, **changes):
        rule = RuleResult(
            metric="log_loss", test="not_worse", better="lower", margin=0.0, value=None, verdict=verdict, reason="", method="",
            candidate=INTERVAL, champion=INTERVAL, difference=INTERVAL,
        )  # fmt: skip
        fields = {
            "schema": 2, "title": "", "verdict": verdict, "sentence": "", "task": "binary", "candidate": "c", "champion": "b",
            "rows": 1000, "clusters": None, "confidence": 0.95, "seed": 0, "rules": [rule], "flips": Flips(gained=6, lost=4),
        }  # fmt: skip
        data = digest.canonical(Report(**{**fields, **(report or {})}))
        policy = self.policy
        bound = {"report_digest": digest.of_bytes(data), "policy_document": digest.of_json(policy)}
        key = super().judge(version, verdict, **bound, **changes)
        self.bucket.put_if_absent(f"models/delay/receipts/{key}.report.json", data)
        self.bucket.put_if_absent(f"models/delay/receipts/{key}.policy.json", digest.canonical(policy))
        return key

    def automatic(self, number, policy=None):
        return self.release("loop").approve_by_policy("delay", number, policy=policy or self.policy)


@pytest.fixture
def automatic(bucket):
    house = Automatic(bucket)
    house.judge(house.version(1))
    house.release("ben").approve("delay", 1, policy=house.policy)
    promote(house, house.policy)
    return house


def test_a_small_clean_pass_is_approved_by_policy_and_says_why(automatic):
    automatic.judge(automatic.version(2))
    entry = automatic.automatic(2)
    assert entry.actor == "loop"
    assert entry.event.via == "policy"
    assert entry.event.comment.startswith(
        "PASS without warnings; 10 of 1000 rows changed sides (at most 1 %); 1.00 times the size"
    )
    promote(automatic, automatic.policy, 2)
    assert audit_ledger(automatic.bucket, "delay") == []
    automatic.judge(automatic.version(3))
    automatic.automatic(3)
    automatic.policy = asking()
    with pytest.raises(RefusedError):  # under a policy that has no such rule, it never counts
        promote(automatic, asking(), 3)


AUTO = AutoApproval()


@pytest.mark.parametrize(
    ("release", "count"),
    [({"approvals": 2}, "1 of 2"), ({"quorum": {"policy": 1}, "roles": {"policy": ["policy"]}}, "1 of 1")],
)
def test_the_policy_counts_as_one_and_for_no_role(automatic, release, count):
    automatic.policy = asking(auto=AUTO, **release)
    automatic.judge(automatic.version(2))
    automatic.automatic(2)
    with pytest.raises(ApprovalMissing, match=count):
        promote(automatic, automatic.policy, 2)


@pytest.mark.parametrize(
    ("manifest", "report", "why"),
    [
        ({}, {"flips": Flips(gained=7, lost=4)}, "11 of 1000 rows changed sides, more than 1 %"),
        ({}, {"flips": None}, "how many rows changed sides is not known"),
        ({}, {"warnings": [Problem(code="w", what="few rows", fix="")]}, "the report warns: few rows"),
        ({}, {"rules": []}, "no rule compared a metric with the champion's"),
        ({"files": [PackagedFile(path="m", size=1101, digest="d")]}, {}, "the package has 1101 bytes, more than 1.1 times the champion's 1000"),
        ({"format": "python"}, {}, "its format is another than the champion's"),
        ({"loads_code": True}, {}, "the package runs code when it is loaded"),
    ],
)  # fmt: skip
def test_what_is_not_small_and_clean_waits_for_people(automatic, manifest, report, why):
    automatic.judge(automatic.version(2, **manifest), report=report)
    assert automatic.automatic(2) == [why]
    with pytest.raises(ApprovalMissing):
        promote(automatic, automatic.policy, 2)


def test_the_policy_approves_no_loosened_policy_no_fail_and_nothing_where_it_is_not_declared(automatic):
    automatic.judge(automatic.version(2), loosened=["approvals was 2 and is 1"])
    assert automatic.automatic(2) == ["the policy asks for less than before"]
    assert automatic.automatic(2, asking()) == ["the policy declares no [release.auto]"]
    automatic.judge(automatic.version(3), Verdict.FAIL)
    with pytest.raises(RefusedError, match="no PASS"):
        automatic.automatic(3)


def test_the_policy_approves_only_so_often_a_week(automatic):
    for number in (2, 3):
        automatic.judge(automatic.version(number))
        assert isinstance(automatic.automatic(number), LedgerEntry)
    automatic.judge(automatic.version(4))
    assert automatic.automatic(4) == ["it approved 2 within seven days already, and may approve 2"]
    automatic.now += 7 * DAY
    assert isinstance(automatic.automatic(4), LedgerEntry)


def test_what_was_revoked_the_policy_does_not_approve_again(automatic):
    automatic.judge(automatic.version(2))
    automatic.automatic(2)
    automatic.release("ben").revoke("delay", 2, reason="let me look", approver="policy")
    with pytest.raises(ApprovalMissing):
        promote(automatic, automatic.policy, 2)
    assert automatic.automatic(2) == ["its approval of this receipt was revoked"]


@pytest.mark.parametrize("act", ["freeze", "rollback"])
def test_a_freeze_and_a_quarantine_hold_against_the_policy(automatic, act):
    automatic.judge(automatic.version(2))
    automatic.automatic(2)
    if act == "freeze":
        automatic.release("ben").freeze("delay", reason="holiday")
    else:
        promote(automatic, automatic.policy, 2)
        automatic.release("ben").rollback("delay", reason="bad")
        automatic.judge(read_version(automatic.bucket, "delay", 2))
        automatic.automatic(2)
    with pytest.raises(RefusedError, match="frozen|quarantined"):
        promote(automatic, automatic.policy, 2)


def test_a_forged_approval_by_policy_is_found(automatic):
    automatic.policy = asking()  # what stands beside the receipt declares no automatic approval
    automatic.judge(automatic.version(2))
    forge(automatic, 2)
    assert any("declares no such approval" in problem for problem in audit_ledger(automatic.bucket, "delay"))


def forge(house, version):
    """Writes an approval by policy by hand; returns its key and bytes."""
    event = Approved(
        version=version,
        receipt=house.release("x").newest_receipt("delay", version),
        expires_at=house.now + DAY,
        comment="small",
        via="policy",
    )
    _, entry = append(house.bucket, "delay", lambda _: event, clock=Clock.replay(house.now), actor="eve")
    return entry_key("delay", entry.seq), digest.canonical(entry)


def test_a_server_takes_no_approval_by_policy_that_the_policy_would_not_give(automatic):
    for number, flips, problems in (
        (2, Flips(gained=6, lost=4), []),
        (3, Flips(gained=60, lost=40), ["does not approve delay@3"]),
    ):
        automatic.judge(automatic.version(number), report={"flips": flips})
        key, data = forge(automatic, number)
        automatic.bucket.delete(key)  # a client only asks whether it may write this
        found = audit_write(automatic.bucket, key, data, allow_ungated=False)
        assert len(found) == len(problems)
        assert all(problem in text for problem, text in zip(problems, found, strict=True))


def test_a_promotion_by_hand_with_too_few_approvals_is_found(automatic):
    automatic.policy = asking(approvals=2)
    version = automatic.version(2)
    receipt = automatic.judge(version)
    for count, people in enumerate(([], ["ben"], ["BEN", "ana"], ["cleo"])):
        for who in people:
            event = Approved(version=2, receipt=receipt, expires_at=automatic.now + DAY)
            append(automatic.bucket, "delay", lambda _, event=event: event, clock=Clock.replay(automatic.now), actor=who)
        state = automatic.release("x").state("delay")
        event = Promoted(version=2, digest=version.digest, receipt=receipt, previous=state.champion)
        entry = LedgerEntry(
            seq=state.head + 1, at=automatic.now, clock="replay", actor="eve", event=event, before=state.head_digest
        )
        found = audit_write(automatic.bucket, entry_key("delay", entry.seq), digest.canonical(entry), allow_ungated=False)
        counted = [0, 1, 1, 2][count]
        assert found == ([] if counted == 2 else [f"delay@2 was promoted with {counted} of 2 approvals"])
    for late, problem in ((7, "0 of 2"), (14, "had expired")):
        old = msgspec.structs.replace(entry, at=automatic.now + late * DAY)
        (found,) = audit_write(automatic.bucket, entry_key("delay", entry.seq), digest.canonical(old), allow_ungated=False)
        assert problem in found


# What is declared.


def parsed(**release):
    return parse_model_policy("delay", {"task": "binary", "release": release}, {"ops": ["ana", "bo"]}).release


def test_roles_of_the_project_are_known_to_every_model():
    assert parsed(quorum={"ops": 2}).roles == {"ops": ["ana", "bo"]}
    assert parsed(roles={"ops": ["cy"]}).roles == {"ops": ["cy"]}
    assert parsed(auto={"max_flips": 0.0}).auto == AutoApproval(max_flips=0.0)


@pytest.mark.parametrize(
    ("release", "code"),
    [
        ({"quorum": {"opps": 1}}, "unknown-role"),
        ({"quorum": {"ops": 0}}, "bad-value"),
        ({"approvals": -1}, "bad-value"),
        ({"auto": {"max_flips": 2.0}}, "bad-value"),
        ({"auto": {"per_week": 0}}, "bad-value"),
        ({"auto": {"max_flip": 0.1}}, "unknown-key"),
    ],
)
def test_what_cannot_be_followed_is_refused(release, code):
    with pytest.raises(UsageError) as error:
        parsed(**release)
    assert error.value.code == code


@pytest.mark.parametrize(
    ("before", "after", "is_weaker"),
    [
        ({"quorum": {"ops": 2}}, {"quorum": {"ops": 1}}, True),
        ({}, {"quorum": {"ops": 1}}, False),
        ({}, {"auto": {}}, True),
        ({"auto": {}}, {}, False),
        ({"auto": {"per_week": 1}}, {"auto": {"per_week": 5}}, True),
        ({}, {"break_glass": ["ops"]}, True),
        ({"break_glass": ["ops"]}, {}, False),
        ({}, {"roles": {"ops": ["ana", "bo", "eve"]}}, True),
        ({}, {"roles": {"ops": ["ana"]}}, False),
    ],
)
def test_asking_for_less_is_noticed(before, after, is_weaker):
    first, then = (ModelPolicy(task="binary", release=parsed(**release)) for release in (before, after))
    assert bool(loosened(first, then)) == is_weaker
