"""A rollout in the ledger rests on what a promotion rests on."""

import pytest
from conftest_release_house import POLICY

from tidegate.clock import DAY
from tidegate.errors import ApprovalMissing, ConflictError, NotFoundError, RefusedError, UsageError
from tidegate.records.verdict import Verdict
from tidegate.release import read_entries, rollout_histories, served_at, tell, verify_ledger

PLAN = {"steps": [0.05, 0.5]}


@pytest.fixture
def rolling(house):
    house.champion(1)
    house.ready(2)
    house.release("ana").rollouts.start("delay", 2, policy=POLICY, plan=PLAN)
    return house


def move(house, share, step=1, version=2):
    return house.release("loop").rollouts.move("delay", version, policy=POLICY, step=step, share=share, reason="1,000 rows held")


def running(house):
    return house.release("x").rollouts.running("delay")


def test_a_rollout_from_start_to_promotion(rolling):
    assert (running(rolling).version, running(rolling).plan, running(rolling).share) == (2, PLAN, 0.0)
    rolling.now += DAY
    entry = move(rolling, 0.05)
    assert tell(entry.event).sentence == "moved the rollout of version 2 to 5 % of requests: 1,000 rows held"
    served = served_at("delay", rolling.release("x").history("delay"), rolling.now)
    assert (served.version, served.beside, served.share) == (1, 2, 0.05)
    rolling.release("loop").promote("delay", 2, policy=POLICY)
    assert running(rolling) is None
    assert verify_ledger(rolling.bucket, "delay") == []


def test_every_rollout_of_a_ledger_is_told_with_its_champion_and_its_end(rolling):
    """The first is promoted, the second overtaken by a rollback, the third stopped, the last runs."""

    def begin(version):
        rolling.ready(version)
        rolling.release("ana").rollouts.start("delay", version, policy=POLICY, plan=PLAN)

    move(rolling, 0.05)
    rolling.release("loop").promote("delay", 2, policy=POLICY)
    begin(3)
    rolling.release("ana").rollback("delay", reason="harm")
    begin(4)
    rolling.release("ana").rollouts.stop("delay", 4, outcome="cancelled", reason="enough")
    begin(5)
    found = rollout_histories(read_entries(rolling.bucket, "delay"))
    told = [(each.rollout.version, each.champion.version, each.outcome, each.rollout.share, len(each.entries)) for each in found]
    assert told == [
        (2, 1, "promoted", 0.05, 3),
        (3, 2, "overtaken", 0.0, 2),
        (4, 1, "cancelled", 0.0, 2),
        (5, 1, "running", 0.0, 1),
    ]
    assert [each.end is None for each in found] == [False, False, False, True]


def test_moving_to_where_it_is_adds_nothing(rolling):
    assert move(rolling, 0.05) is not None
    assert move(rolling, 0.05) is None


@pytest.mark.parametrize("missing", ["receipt", "approval", "pass"])
def test_live_requests_need_receipt_and_approval(house, missing):
    house.champion(1)
    version = house.version(2)
    if missing != "receipt":
        house.judge(version, Verdict.FAIL if missing == "pass" else Verdict.PASS)
    with pytest.raises(RefusedError) as error:
        house.release("ana").rollouts.start("delay", 2, policy=POLICY, plan=PLAN)
    assert isinstance(error.value, ApprovalMissing) == (missing == "approval")


def test_one_at_a_time_beside_a_champion_that_is_another(rolling):
    rolling.ready(3)
    release = rolling.release("ana")
    with pytest.raises(ConflictError, match="delay@2 is being rolled out"):
        release.rollouts.start("delay", 3, policy=POLICY, plan=PLAN)
    release.rollouts.stop("delay", 2, outcome="cancelled", reason="wait")
    with pytest.raises(ConflictError, match="serves already"):
        release.rollouts.start("delay", 1, policy=POLICY, plan=PLAN)
    release.rollouts.start("delay", 3, policy=POLICY, plan=PLAN)


def test_without_a_champion_there_is_nothing_to_roll_out_beside(house):
    house.ready(1)
    with pytest.raises(NotFoundError, match="no champion"):
        house.release("ana").rollouts.start("delay", 1, policy=POLICY, plan=PLAN)


def test_receipt_and_approvals_are_held_to_the_start(rolling):
    rolling.now += 30 * DAY  # both have expired since
    move(rolling, 0.05)
    rolling.release("loop").promote("delay", 2, policy=POLICY)
    assert rolling.release("x").pointer("delay").champion.version == 2


@pytest.mark.parametrize("change", ["freeze", "revoke", "judge"])
def test_what_changed_its_mind_stops_it_from_growing_but_not_from_shrinking(rolling, change):
    move(rolling, 0.5)
    if change == "freeze":
        rolling.release("ben").freeze("delay", reason="audit")
    elif change == "revoke":
        rolling.release("ben").revoke("delay", 2, reason="second thoughts")
    else:
        rolling.judge(rolling.version(2), Verdict.FAIL)
    with pytest.raises(RefusedError):
        move(rolling, 0.9)
    assert move(rolling, 0.1).event.share == 0.1
    with pytest.raises(RefusedError):
        rolling.release("ana").promote("delay", 2, policy=POLICY)


@pytest.mark.parametrize(("outcome", "quarantined"), [("harmful", True), ("cancelled", False), ("undecided", False)])
def test_only_what_was_harmful_is_quarantined(rolling, outcome, quarantined):
    rolling.release("loop").rollouts.stop("delay", 2, outcome=outcome, reason="errors")
    state = rolling.release("x").state("delay")
    assert (state.rollout, state.digests[2] in state.quarantined) == (None, quarantined)
    with pytest.raises(ConflictError, match="not being rolled out"):
        move(rolling, 0.5)


@pytest.mark.parametrize("how", ["promotion", "rollback"])
def test_a_move_of_the_pointer_ends_it(rolling, how):
    if how == "promotion":
        rolling.champion(3)
    else:
        rolling.release("ana").rollouts.stop("delay", 2, outcome="cancelled", reason="x")
        rolling.champion(3)
        rolling.ready(4)
        rolling.release("ana").rollouts.start("delay", 4, policy=POLICY, plan=PLAN)
        rolling.release("ana").rollback("delay", reason="three is bad")
    assert running(rolling) is None


def test_what_is_no_share_or_has_no_reason_is_refused(rolling):
    with pytest.raises(UsageError, match="no share"):
        move(rolling, 1.5)
    with pytest.raises(UsageError, match="reason"):
        rolling.release("x").rollouts.stop("delay", 2, outcome="cancelled", reason="")
