"""Names and stages of versions: ledger entries that move no pointer, and the champion as those ask for it who know no gate."""

import threading

import pytest
from conftest_release_house import asking

from tidegate.clock import Clock
from tidegate.errors import ConflictError, NotFoundError, RefusedError, UsageError
from tidegate.records.ledger import Aliased, Promoted, Staged, Unaliased
from tidegate.records.verdict import Verdict
from tidegate.release import Release, tell, verify_ledger

ALONE = asking(approvals=0)


def lenient(house, actor="ana"):
    """A release of a project that allows ungated promotions."""
    return Release(house.bucket, Clock(lambda: house.now, "replay"), actor, allow_ungated=True)


def events(house):
    return [entry.event for entry in house.release("x").history("delay")]


def test_an_alias_is_set_moved_and_dropped_once_each(house):
    house.version(1)
    house.version(2)
    release = house.release("ana")
    assert [release.names.alias("delay", "best", number) is not None for number in (1, 1, 2, 2)] == [True, False, True, False]
    assert release.state("delay").names() == {"best": 2}
    assert [release.names.drop("delay", "best") is not None for _ in range(2)] == [True, False]
    assert events(house)[2:] == [
        Aliased(alias="best", version=1, previous=0),
        Aliased(alias="best", version=2, previous=1),
        Unaliased(alias="best", version=2),
    ]
    assert release.state("delay").names() == {}


def test_a_name_stands_for_a_version_that_is_there(house):
    house.version(1)
    with pytest.raises(NotFoundError, match="there is no delay@2"):
        house.release("ana").names.alias("delay", "best", 2)
    with pytest.raises(NotFoundError, match="there is no delay@2"):
        house.release("ana").names.stage("delay", 2, "Staging")
    with pytest.raises(NotFoundError, match="there is no delay@2"):
        lenient(house).name_champion("delay", 2, policy=None)


@pytest.mark.parametrize("alias", ["champion", "Champion", "\uff43\uff48\uff41\uff4d\uff50\uff49\uff4f\uff4e"])
def test_the_pointer_is_no_alias(house, alias):
    house.champion(1)
    house.version(2)
    with pytest.raises(UsageError, match="is the pointer"):
        house.release("ana").names.alias("delay", alias, 2)
    with pytest.raises(UsageError, match="is the pointer"):
        house.release("ana").names.drop("delay", alias)
    assert house.release("x").state("delay").names() == {"champion": 1}


def test_production_is_the_champion_and_nothing_else(house):
    house.champion(1)
    assert house.release("x").state("delay").stage(1) == "Production"
    house.champion(2)
    state = house.release("x").state("delay")
    assert [state.stage(number) for number in (1, 2, 3)] == ["Archived", "Production", "None"]
    house.release("ana").names.stage("delay", 1, "Staging")
    house.release("ana").rollback("delay", reason="bad")
    state = house.release("x").state("delay")
    assert [state.stage(number) for number in (1, 2)] == ["Production", "Archived"]
    with pytest.raises(RefusedError, match="stays in Production"):
        house.release("ana").names.stage("delay", 1, "Archived")
    with pytest.raises(UsageError, match="cannot|no version can"):
        house.release("ana").names.stage("delay", 2, "Production")
    with pytest.raises(UsageError, match="no version can"):
        house.release("ana").names.stage("delay", 2, "staging")


def test_a_stage_may_archive_those_that_were_in_it(house):
    for number in (1, 2, 3):
        house.version(number)
    release = house.release("ana")
    release.names.stage("delay", 1, "Staging")
    release.names.stage("delay", 2, "Staging")
    assert release.names.stage("delay", 2, "Staging") is None
    assert release.names.stage("delay", 3, "Staging", archive_others=True).event == Staged(
        version=3, stage="Staging", archived=[1, 2]
    )
    assert release.names.stage("delay", 3, "Staging", archive_others=True) is None
    assert [release.state("delay").stage(number) for number in (1, 2, 3)] == ["Archived", "Archived", "Staging"]


def test_naming_the_champion_asks_the_rules(house):
    version = house.version(1)
    ask = lambda policy=ALONE: house.release("ana").name_champion("delay", 1, policy=policy)  # noqa: E731
    with pytest.raises(RefusedError, match="has not judged"):
        ask()
    house.judge(version, Verdict.FAIL)
    with pytest.raises(RefusedError, match="is FAIL"):
        ask()
    house.judge(version)
    with pytest.raises(RefusedError, match="no gate is declared"):
        ask(None)
    with pytest.raises(RefusedError, match="0 of 1 approvals"):
        ask(asking(approvals=1))
    assert ask().event.ungated is False
    assert ask() is None
    house.judge(house.version(2))
    house.champion(3)
    with pytest.raises(ConflictError, match="delay@3 serves since"):
        house.release("ana").name_champion("delay", 2, policy=ALONE)


def test_an_ungated_promotion_says_so_and_can_be_rolled_back(house):
    house.champion(1)
    house.version(2)
    with pytest.raises(RefusedError):
        house.release("ana").name_champion("delay", 2, policy=ALONE)
    entry = lenient(house).name_champion("delay", 2, policy=ALONE)
    assert (entry.event.ungated, entry.event.receipt, entry.event.previous.version) == (True, "", 1)
    assert b'"ungated":true' in house.bucket.find(f"models/delay/ledger/{entry.seq:08d}.json").data
    house.release("ben").rollback("delay", reason="worse")
    assert house.release("x").pointer("delay").champion.version == 1
    with pytest.raises(RefusedError, match="quarantined"):
        lenient(house).name_champion("delay", 2, policy=ALONE)
    assert verify_ledger(house.bucket, "delay") == []


def test_a_freeze_holds_even_where_no_gate_is_asked(house):
    house.version(1)
    house.release("cleo").freeze("delay", reason="holidays")
    with pytest.raises(RefusedError, match="is frozen"):
        lenient(house).name_champion("delay", 1, policy=None)


def test_promotions_that_passed_are_written_as_they_always_were(house):
    house.champion(1)
    assert b"ungated" not in house.bucket.find("models/delay/ledger/00000004.json").data


def test_of_many_who_name_an_ungated_champion_every_move_is_in_the_ledger(house):
    for number in range(1, 9):
        house.version(number)
    barrier = threading.Barrier(8)

    def name(number):
        barrier.wait()
        lenient(house, f"p{number}").name_champion("delay", number, policy=None)

    threads = [threading.Thread(target=name, args=(number,)) for number in range(1, 9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    moves = [event for event in events(house) if isinstance(event, Promoted)]
    assert sorted(move.version for move in moves) == list(range(1, 9))
    assert [move.previous.version for move in moves] == [0, *[move.version for move in moves[:-1]]]
    assert house.release("x").pointer("delay").champion.version == moves[-1].version


def test_every_event_is_told(house):
    house.champion(1)
    house.champion(2)
    release = house.release("ana")
    release.rollback("delay", reason="bad")
    release.lift("delay", 2, reason="good")
    release.freeze("delay", reason="x")
    release.unfreeze("delay", reason="y")
    release.names.alias("delay", "best", 2)
    release.names.alias("delay", "best", 1)
    release.names.drop("delay", "best")
    release.names.stage("delay", 2, "Staging")
    lenient(house).name_champion("delay", 2, policy=None)
    sentences = [tell(event).sentence for event in events(house)]
    assert sentences[3] == "promoted version 1, from nothing"
    assert sentences[8:] == [
        "rolled back to version 1, from 2: bad",
        "lifted the quarantine of version 2: good",
        "froze promotions: x",
        "allowed promotions again: y",
        "set the alias best on version 2",
        "set the alias best on version 1, from 2",
        "removed the alias best from version 1",
        "moved to the stage Staging: version 2",
        "promoted ungated version 2, from 1: no receipt stands behind it",
    ]


def test_what_was_read_before_is_read_again_when_it_was_replaced(house):
    house.version(1)
    release = house.release("ana")
    release.names.alias("delay", "best", 1)
    assert release.state("delay").names() == {"best": 1}
    house.bucket.delete("models/delay/ledger/00000002.json")
    assert release.state("delay").names() == {}
    house.release("ben").names.alias("delay", "other", 1)
    assert release.state("delay").names() == {"other": 1}
