from __future__ import annotations

import msgspec
import pytest
from rollout_shop import evidence

from tidegate.clock import DAY, HOUR, MINUTE
from tidegate.records.ledger import Rollout
from tidegate.records.rollout import RolloutPolicy
from tidegate.serving.rollout.analysis import analysis
from tidegate.serving.rollout.decide import decide

START = 100 * DAY
ROLLOUT = Rollout(seq=7, version=2, digest="d", receipt="r", plan={}, started_at=START, moved_at=START, step=1, share=0.5)
PLAN = RolloutPolicy(steps=[0.0, 0.5], minimum_samples=500)
NOW = START + 2 * HOUR


def looked(rows=3000, **changes):
    return decide("delay", ROLLOUT, PLAN, evidence(rows, **changes), task="binary", now=NOW)


def ask(look, *, runs=True, now=NOW, step=None, rollout=ROLLOUT):
    found = analysis("delay", rollout, look, runs=runs, now=now, step=step)
    msgspec.json.encode(found)
    return found["verdict"], found["value"]


INCONCLUSIVE = ("inconclusive", None)


def test_success_is_proven():
    assert ask(looked()) == ("success", 1.0)


@pytest.mark.parametrize("rows", [0, 1, 50, 499])
def test_too_few_rows_are_inconclusive(rows):
    assert ask(looked(rows)) == INCONCLUSIVE


def test_what_is_not_known_is_inconclusive():
    look = looked()
    assert ask(None) == INCONCLUSIVE
    assert ask(look, rollout=None) == INCONCLUSIVE
    assert ask(look, now=NOW + 11 * MINUTE) == INCONCLUSIVE
    assert ask(look, runs=False) == INCONCLUSIVE
    assert ask(msgspec.structs.replace(look, rollout=6)) == INCONCLUSIVE
    unknown = [msgspec.structs.replace(condition, high=None) for condition in look.conditions]
    assert ask(msgspec.structs.replace(look, conditions=unknown)) == INCONCLUSIVE


def test_harm_is_failure_also_when_the_rollout_is_over_and_nothing_else_is():
    harmful = looked(candidate=[0.0] * 3000)
    assert harmful.outcome == "harmful"
    assert ask(harmful) == ask(harmful, runs=False) == ask(harmful, step=0) == ("failure", 0.0)
    assert ask(msgspec.structs.replace(harmful, outcome="invalid")) == INCONCLUSIVE


def test_what_held_at_the_step_before_says_nothing_about_this_one():
    moved = msgspec.structs.replace(ROLLOUT, step=2)
    assert ask(looked(), rollout=moved) == ask(looked(), rollout=moved, step=2) == INCONCLUSIVE
    assert ask(looked(), rollout=moved, step=1) == ("success", 1.0)


def test_a_step_that_is_over_was_a_success():
    waiting = looked(100)
    assert ask(waiting, step=0) == ("success", 1.0)
    assert ask(waiting, step=1) == ask(waiting, step=2) == INCONCLUSIVE
