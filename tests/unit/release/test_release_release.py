import os
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import msgspec
import pytest
from conftest_release_house import House, asking
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from tidegate import digest
from tidegate.clock import DAY, Clock
from tidegate.errors import ApprovalMissing, ConflictError, IntegrityError, RefusedError, TidegateError, UsageError
from tidegate.records.ledger import Promoted
from tidegate.records.verdict import Verdict
from tidegate.release import Release, read_pointer, served_at, verify_ledger
from tidegate.release.ledger import pointer_key
from tidegate.store.bucket import FolderBucket

POLICY = asking(approvals=1)


def test_from_register_to_promotion(house):
    version = house.champion(1)
    pointer = house.release("x").pointer("delay")
    assert (pointer.champion.version, pointer.champion.digest) == (1, version.digest)
    assert [type(entry.event).__name__ for entry in house.release("x").history("delay")] == [
        "Registered", "Judged", "Approved", "Promoted",
    ]  # fmt: skip
    assert verify_ledger(house.bucket, "delay") == []


def test_registering_twice_is_one_entry(house):
    version = house.version(1)
    assert house.release("ana").register(version) is None


@pytest.mark.parametrize("verdict", [Verdict.FAIL, Verdict.INCONCLUSIVE, Verdict.INVALID])
def test_only_pass_promotes(house, verdict):
    house.judge(house.version(1), verdict)
    with pytest.raises(RefusedError, match=f"is {verdict}"):
        house.release("ana").promote("delay", 1, policy=asking(approvals=0))
    with pytest.raises(RefusedError, match="no PASS to consent to"):
        house.release("ben").approve("delay", 1, policy=POLICY)
    assert house.release("x").pointer("delay").champion.version == 0


def test_the_newest_verdict_counts(house):
    version = house.version(1)
    house.judge(version)
    house.judge(version, Verdict.FAIL)
    with pytest.raises(RefusedError, match="is FAIL"):
        house.release("ana").promote("delay", 1, policy=asking(approvals=0))


def test_a_version_that_was_never_judged_is_refused(house):
    house.version(1)
    with pytest.raises(RefusedError, match="has not judged"):
        house.release("ana").promote("delay", 1, policy=POLICY)


def test_the_author_cannot_approve(house):
    house.judge(house.version(1, author="ana"))
    with pytest.raises(RefusedError, match="is the author"):
        house.release("ana").approve("delay", 1, policy=POLICY)
    with pytest.raises(ApprovalMissing, match="0 of 1"):
        house.release("ana").promote("delay", 1, policy=POLICY)


def test_two_approvals_are_two_people(house):
    policy = asking(approvals=2)
    house.judge(house.version(1))
    for _ in range(3):
        house.release("ben").approve("delay", 1, policy=policy)
    with pytest.raises(ApprovalMissing, match="1 of 2"):
        house.release("ana").promote("delay", 1, policy=policy)
    house.release("cleo").approve("delay", 1, policy=policy)
    house.release("ana").promote("delay", 1, policy=policy)


def test_only_declared_people_approve(house):
    policy = asking(approvals=1, approvers=["cleo"])
    house.judge(house.version(1))
    with pytest.raises(RefusedError, match="may not approve"):
        house.release("ben").approve("delay", 1, policy=policy)
    house.release("ben").approve("delay", 1, policy=POLICY)  # consented under another policy: does not count under this one
    with pytest.raises(ApprovalMissing):
        house.release("ana").promote("delay", 1, policy=policy)


def test_an_approval_expires(house):
    house.ready(1)
    house.now += 7 * DAY
    with pytest.raises(ApprovalMissing):
        house.release("ana").promote("delay", 1, policy=POLICY)


def test_an_approval_is_bound_to_its_receipt(house):
    version = house.ready(1)
    house.judge(version, seed=2)
    with pytest.raises(ApprovalMissing):
        house.release("ana").promote("delay", 1, policy=POLICY)


def test_a_receipt_expires(house):
    house.ready(1)
    house.now += 14 * DAY
    with pytest.raises(RefusedError, match="expired"):
        house.release("ana").promote("delay", 1, policy=POLICY)


def test_a_moved_pointer_voids_the_receipt_and_names_the_champion(house):
    house.champion(1)
    house.ready(2)
    house.champion(3)
    with pytest.raises(ConflictError, match="delay@3 serves since"):
        house.release("ana").promote("delay", 2, policy=POLICY)


def test_a_receipt_of_other_bytes_is_refused(house):
    version = house.version(1)
    house.judge(version, candidate_digest="0" * 64)
    with pytest.raises(RefusedError, match="does not name delay@1"):
        house.release("ana").promote("delay", 1, policy=asking(approvals=0))


def test_a_forged_receipt_is_noticed(house):
    key = house.judge(house.version(1), Verdict.FAIL)
    path = house.bucket.local(f"models/delay/receipts/{key}.json")
    os.chmod(path, 0o644)  # noqa: PTH101
    path.write_bytes(path.read_bytes().replace(b"FAIL", b"PASS"))
    with pytest.raises(IntegrityError, match="was changed"):
        house.release("ana").promote("delay", 1, policy=asking(approvals=0))


def test_rollback_goes_back_one_step_and_quarantines(house):
    house.champion(1)
    house.champion(2)
    house.release("ana").rollback("delay", reason="late flights missed")
    state = house.release("x").state("delay")
    assert (state.champion.version, list(state.quarantined.values())) == (1, ["late flights missed"])
    with pytest.raises(RefusedError, match="cannot be rolled back"):
        house.release("ana").rollback("delay", reason="again")


def test_rollback_can_name_an_earlier_champion(house):
    for number in (1, 2, 3):
        house.champion(number)
    house.release("ana").rollback("delay", reason="x", to=1)
    assert house.release("x").pointer("delay").champion.version == 1


def test_a_quarantined_version_returns_only_through_the_gate(house):
    house.champion(1)
    second = house.champion(2)
    house.release("ana").rollback("delay", reason="bad")
    house.judge(second)
    house.release("ben").approve("delay", 2, policy=POLICY)
    with pytest.raises(RefusedError, match="is quarantined"):
        house.release("ana").promote("delay", 2, policy=POLICY)
    house.release("ben").lift("delay", 2, reason="it was the weather feed")
    house.release("ana").promote("delay", 2, policy=POLICY)
    assert house.release("x").pointer("delay").champion.version == 2


def test_a_reason_is_needed(house):
    house.champion(1)
    house.champion(2)
    for act in ("rollback", "freeze", "unfreeze"):
        with pytest.raises(UsageError, match="a reason is needed"):
            getattr(house.release("ana"), act)("delay", reason="  ")


def test_a_frozen_model_rolls_back_but_is_not_promoted(house):
    house.champion(1)
    house.champion(2)
    house.ready(3)
    house.release("cleo").freeze("delay", reason="holiday")
    with pytest.raises(RefusedError, match="is frozen"):
        house.release("ana").promote("delay", 3, policy=POLICY)
    house.release("cleo").rollback("delay", reason="bad")
    house.release("cleo").unfreeze("delay", reason="over")
    assert house.release("x").pointer("delay").champion.version == 1


def test_of_32_promoters_one_wins_and_the_others_learn_who(house):
    for number in range(1, 33):
        house.ready(number)
    barrier, wins, losses = threading.Barrier(32), [], []

    def promote(number):
        release = house.release(f"p{number}")
        barrier.wait()
        try:
            release.promote("delay", number, policy=POLICY)
            wins.append(number)
        except ConflictError as error:
            losses.append(error.what)

    threads = [threading.Thread(target=promote, args=(number,)) for number in range(1, 33)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(wins) == 1
    assert len(losses) == 31
    assert all(f"delay@{wins[0]} serves" in text for text in losses)
    assert house.release("x").pointer("delay").champion.version == wins[0]
    assert verify_ledger(house.bucket, "delay") == []


KILLED = """
import os, sys
from pathlib import Path
from tidegate.clock import Clock
from tidegate.records.policy import ModelPolicy, ReleasePolicy
from tidegate.release import Release
from tidegate.store.bucket import FolderBucket

class Dies(FolderBucket):
    def compare_and_swap(self, key, data, expected):
        os.kill(os.getpid(), 9)

bucket = Dies(Path(sys.argv[1]))
policy = ModelPolicy(task="binary", release=ReleasePolicy(approvals=1))
Release(bucket, Clock(lambda: int(sys.argv[2]), "replay"), "ana").promote("delay", 2, policy=policy)
"""


def test_a_kill_between_ledger_and_pointer_leaves_one_truth(house):
    house.champion(1)
    house.ready(2)
    done = subprocess.run([sys.executable, "-c", KILLED, str(house.bucket.root), str(house.now)], check=False)
    assert done.returncode == -9
    assert b'"version":1' in house.bucket.find(pointer_key("delay")).data
    assert read_pointer(house.bucket, "delay").champion.version == 2
    assert verify_ledger(house.bucket, "delay") == []
    house.champion(3)
    assert read_pointer(house.bucket, "delay").champion.version == 3


def test_the_ledger_says_what_served_when(house):
    house.champion(1)
    first = house.now
    house.now += DAY
    house.champion(2)
    house.now += DAY
    house.release("cleo").rollback("delay", reason="bad")
    entries = house.release("x").history("delay")
    assert served_at("delay", entries, first - 1).version == 0
    assert served_at("delay", entries, first).version == 1
    assert served_at("delay", entries, first + DAY).version == 2
    served = served_at("delay", entries, house.now + DAY)
    assert (served.version, served.why) == (1, "rolled back to by cleo at 1970-04-13 00:00:00Z: bad")


def test_an_edited_entry_is_noticed(house):
    house.champion(1)
    path = house.bucket.local("models/delay/ledger/00000003.json")
    os.chmod(path, 0o644)  # noqa: PTH101
    path.write_bytes(path.read_bytes().replace(b'"ben"', b'"eve"'))
    assert any("does not continue" in problem for problem in verify_ledger(house.bucket, "delay"))


@pytest.mark.parametrize(("clock", "at"), [(4, 400), (4, 1)])
def test_a_clock_that_was_wrong_once_hides_nothing_and_is_told(house, clock, at):
    for number in (1, 2, 3):
        house.champion(number)
        house.now += DAY
    entries = [msgspec.structs.replace(entry, clock="system") for entry in house.release("x").history("delay")]
    entries[clock] = msgspec.structs.replace(entries[clock], at=at * DAY)
    assert [served_at("delay", entries, day * DAY).version for day in (99, 100, 101, 102, 500)] == [0, 1, 2, 3, 3]
    before = ""
    for entry in entries:
        data = digest.canonical(msgspec.structs.replace(entry, before=before))
        house.bucket.delete(f"models/delay/ledger/{entry.seq:08d}.json")
        house.bucket.put_if_absent(f"models/delay/ledger/{entry.seq:08d}.json", data)
        before = digest.of_bytes(data)
    assert any("a clock was wrong" in problem for problem in verify_ledger(house.bucket, "delay"))


def test_an_entry_under_anothers_number_and_a_pointer_of_another_model_are_noticed(house):
    house.champion(1)
    blob = house.bucket.find("models/delay/ledger/00000002.json")
    house.bucket.put_if_absent("models/delay/ledger/00000005.json", blob.data)
    with pytest.raises(IntegrityError, match="says that it is entry 2"):
        house.release("ana").freeze("delay", reason="x")
    house.bucket.delete("models/delay/ledger/00000005.json")
    pointer = read_pointer(house.bucket, "delay")
    for change in ({"head": -3}, {"model": "other"}):
        blob = house.bucket.find("models/delay/current.json")
        planted = digest.canonical(msgspec.structs.replace(pointer, **change))
        house.bucket.compare_and_swap("models/delay/current.json", planted, blob.etag)
        (problem,) = verify_ledger(house.bucket, "delay")
        assert "is no pointer" in problem


def test_a_missing_entry_and_a_cut_ledger_are_noticed(house):
    house.champion(1)
    house.champion(2)
    house.bucket.delete("models/delay/ledger/00000008.json")
    assert any("cut short" in problem for problem in verify_ledger(house.bucket, "delay"))
    house.bucket.delete("models/delay/ledger/00000003.json")
    assert any("one is missing" in problem for problem in verify_ledger(house.bucket, "delay"))


@pytest.mark.parametrize("present", [b"{", None])
def test_the_next_move_mends_a_pointer_that_is_damaged_or_ahead(house, present):
    house.champion(1)
    house.champion(2)
    blob = house.bucket.find("models/delay/current.json")
    pointer = msgspec.structs.replace(read_pointer(house.bucket, "delay"), head=999)
    house.bucket.compare_and_swap("models/delay/current.json", present or digest.canonical(pointer), blob.etag)
    house.release("ana").rollback("delay", reason="bad")
    assert read_pointer(house.bucket, "delay").champion.version == 1
    assert verify_ledger(house.bucket, "delay") == []


def test_a_plan_explains_and_changes_nothing(house):
    house.judge(house.version(1))
    plan = house.release("ana").plan("delay", 1, policy=POLICY)
    assert plan.event is None
    assert plan.explain()[-3:-1] == ["no  the declared approvals stand", "nothing moves: delay@1 has 0 of 1 approvals"]
    house.release("ben").approve("delay", 1, policy=POLICY)
    before = len(house.release("x").history("delay"))
    assert house.release("ana").plan("delay", 1, policy=POLICY).explain()[-1] == "the pointer moves from nothing to delay@1"
    assert len(house.release("x").history("delay")) == before


class Moves(RuleBasedStateMachine):
    """Whatever people do, in whatever order: the ledger verifies, and the champion passed and was approved, or is told as ungated."""

    def __init__(self):
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.house = House(FolderBucket(Path(self.folder.name)))
        self.versions = {}
        self.aliases = {}

    def teardown(self):
        self.folder.cleanup()

    @rule()
    def register(self):
        number = len(self.versions) + 1
        self.versions[number] = self.house.version(number)

    @rule(number=st.integers(1, 4), verdict=st.sampled_from(list(Verdict)))
    def judge(self, number, verdict):
        if number in self.versions:
            self.house.judge(self.versions[number], verdict, seed=len(self.house.release("x").history("delay")))

    @rule(
        number=st.integers(1, 4),
        actor=st.sampled_from(["ana", "ben"]),
        act=st.sampled_from(["approve", "promote", "lift", "rollback"]),
    )
    def act(self, number, actor, act):
        release = Release(self.house.bucket, Clock.replay(self.house.now), actor)
        try:
            if act in {"approve", "promote"}:
                getattr(release, act)("delay", number, policy=POLICY)
            elif act == "lift":
                release.lift("delay", number, reason="r")
            else:
                release.rollback("delay", reason="r")
        except TidegateError:
            return

    @rule(number=st.integers(1, 4), alias=st.sampled_from(["best", "next", "champion"]), drop=st.booleans())
    def name(self, number, alias, drop):
        release = self.house.release("ana")
        try:
            if drop:
                release.names.drop("delay", alias)
                self.aliases.pop(alias, None)
            else:
                release.names.alias("delay", alias, number)
                self.aliases[alias] = number
        except TidegateError:
            return

    @rule(number=st.integers(1, 4), stage=st.sampled_from(["None", "Staging", "Archived", "Production"]), archive=st.booleans())
    def stage(self, number, stage, archive):
        try:
            self.house.release("ana").names.stage("delay", number, stage, archive_others=archive)
        except TidegateError:
            return

    @rule(number=st.integers(1, 4), ungated=st.booleans(), policy=st.sampled_from([POLICY, None]))
    def name_champion(self, number, ungated, policy):
        release = Release(self.house.bucket, Clock.replay(self.house.now), "ana", allow_ungated=ungated)
        try:
            release.name_champion("delay", number, policy=policy)
        except TidegateError:
            return

    @invariant()
    def names_and_stages_are_what_was_asked(self):
        state = self.house.release("x").state("delay")
        assert state.aliases == self.aliases
        assert "champion" not in state.aliases
        in_production = [number for number in self.versions if state.stage(number) == "Production"]
        assert in_production == ([state.champion.version] if state.champion.version else [])

    @invariant()
    def the_champion_deserves_it(self):
        release = self.house.release("x")
        state = release.state("delay")
        assert release.verify("delay") == []
        assert release.pointer("delay").champion == state.champion
        champion = state.champion
        if champion.version:
            passed = {
                item.receipt for item in state.judgements if item.version == champion.version and item.verdict is Verdict.PASS
            }
            moves = [entry.event for entry in release.history("delay") if isinstance(entry.event, Promoted)]
            told = any(move.ungated and move.version == champion.version and not move.receipt for move in moves)
            assert told or any(consent.receipt in passed and consent.actor == "ben" for consent in state.consents)
            assert champion.digest == state.digests[champion.version]
            assert champion.digest not in state.quarantined


TestMoves = Moves.TestCase
TestMoves.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)
