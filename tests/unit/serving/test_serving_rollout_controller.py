from __future__ import annotations

import multiprocessing
import os
import signal
import time

import msgspec
import numpy as np
import pytest
from rollout_shop import Room, policy
from serving_shop import NOW, Shop

from tidegate.clock import DAY, SECOND
from tidegate.errors import ConflictError, RefusedError, UsageError
from tidegate.records.ledger import RolloutMoved, RolloutStarted, RolloutStopped
from tidegate.records.model import Tensor
from tidegate.records.rollout import Answer
from tidegate.release import read_pointer
from tidegate.serving.rollout import controller
from tidegate.serving.rollout.looks import find_look

HARM = {"brier": 0.05}


@pytest.fixture
def room(shop):
    return Room(shop, NOW + DAY)


def events(room):
    kinds = (RolloutStarted, RolloutMoved, RolloutStopped)
    return [entry.event for entry in room.release.history("delay") if isinstance(entry.event, kinds)]


def test_a_rollout_needs_what_a_promotion_needs(shop):
    room = Room(shop, NOW + DAY, judged=False)
    with pytest.raises(RefusedError, match="receipt-missing"):
        room.start()
    room.judge()
    assert room.start().version == 2
    with pytest.raises(ConflictError, match="rollout-running"):
        room.start()


@pytest.mark.parametrize(("side", "plan"), [("inputs", {}), ("outputs", {}), ("inputs", {"mode": "shadow"})])
def test_a_candidate_with_other_inputs_or_outputs_is_refused(shop, monkeypatch, side, plan):
    room = Room(shop, NOW + DAY)

    def read(bucket, model, number, digest):
        found = shop.versions[number - 1]
        if number == 1:
            return found
        tensors = [Tensor(name="new", dtype="float64", shape=[-1, 1]), *getattr(found.manifest.signature, side)[1:]]
        signature = msgspec.structs.replace(found.manifest.signature, **{side: tensors})
        return msgspec.structs.replace(found, manifest=msgspec.structs.replace(found.manifest, signature=signature))

    monkeypatch.setattr(controller, "read_version", read)
    with pytest.raises(UsageError, match=f"rollout-{side}-differ") as caught:
        room.start(**plan)
    assert "new" in caught.value.what
    assert room.release.rollouts.running("delay") is None
    if side == "outputs":
        assert room.start(mode="shadow").version == 2, "a shadow answers nobody"


def test_a_harmless_candidate_goes_through_every_step(room):
    room.start(steps=[0.0, 0.2, 0.5], harm=HARM)
    for step in range(3):
        assert room.release.rollouts.running("delay").step == step
        room.answer(2500, seed=step)
        look = room.tick()
        assert look.action == ("advance" if step < 2 else "done"), look.sentence
    assert [event.share for event in events(room)[1:]] == [0.2, 0.5, 0.5]
    room.answer(100, seed=9)
    assert room.tick().action == "done"
    assert len(events(room)) == 4  # done is written once
    room.release.promote("delay", 2, policy=room.policy)
    assert room.release.rollouts.running("delay") is None
    assert room.tick() is None


def test_a_harmful_candidate_is_stopped_and_quarantined(room):
    room.start(steps=[0.0, 0.2], harm=HARM)
    room.answer(1500, quality=0.7)
    look = room.tick()
    assert (look.action, look.outcome) == ("stop", "harmful")
    assert "brier is worse by" in events(room)[-1].reason
    pointer = read_pointer(room.bucket, "delay")
    assert (pointer.rollout, pointer.champion.version) == (None, 1)
    with pytest.raises(RefusedError, match="quarantined"):
        room.start()


def test_a_candidate_that_fails_is_stopped_before_labels_come(room):
    room.start(steps=[0.5], harm=HARM, label_maturity="1h")
    room.answer(500, failed=0.2)
    look = room.tick()
    assert (look.matured, look.outcome) == (0, "harmful")
    assert look.sentence.startswith("errors is")


def test_a_wrong_assignment_is_invalid_and_quarantines_nothing(room):
    room.start(steps=[0.5])
    room.answer(3000, skew=0.7)
    assert room.tick().outcome == "invalid"
    assert room.release.state("delay").quarantined == {}


def test_a_label_counts_by_its_maturity(room):
    room.start(harm=HARM)
    room.answer(500)
    matured = room.controller.plan("delay").look.matured
    room.now += DAY
    room.labels().add({"prediction_id": ["0-0-500-0"], "label": [1], "known_at": np.array([np.datetime64(room.now, "us")])})
    again = room.controller.plan("delay").look
    assert (matured, again.matured) == (500, 500)
    assert [each.value for each in again.conditions] == [each.value for each in room.controller.plan("delay").look.conditions]


def test_rows_are_looked_at_when_all_servers_have_written_theirs(room):
    room.start(steps=[0.5])
    room.answer(200)
    room.now -= 30 * SECOND
    assert room.controller.plan("delay").look.conditions[0].rows == 0


def test_a_plan_says_what_would_happen_and_changes_nothing(room):
    assert room.controller.plan("delay") is None
    room.start(steps=[0.0, 0.2])
    room.answer(2500)
    plan = room.controller.plan("delay")
    assert plan.explain()[-1].startswith("delay@2 moves to step 1, 20 % of keys: 2,500 rows")
    assert plan.explain()[0].startswith("held  errors: 0 to 0.0")
    assert len(events(room)) == 1
    room.controller.apply(plan, policy=room.policy)
    assert len(events(room)) == 2


def test_who_decided_on_old_evidence_moves_nothing(room):
    room.start(steps=[0.0, 0.2, 0.5])
    room.answer(2500)
    late = room.controller.plan("delay")
    room.tick()
    room.answer(2500, seed=1)
    room.tick()
    with pytest.raises(ConflictError, match="rollout-moved"):
        room.controller.apply(late, policy=room.policy)
    assert room.release.rollouts.running("delay").step == 2


def test_a_freeze_keeps_a_rollout_from_growing_but_not_from_stopping(room):
    room.start(steps=[0.0, 0.2], harm=HARM)
    room.release.freeze("delay", reason="holidays")
    room.answer(2500)
    look = room.tick()
    assert (look.action, look.sentence) == ("continue", "it may not grow: delay is frozen")
    assert find_look(room.bucket, "delay", look.rollout) == look, "whoever shifts traffic by it must not grow either"
    assert len(events(room)) == 1
    room.answer(2500, quality=0.5, seed=1)
    assert room.tick().outcome == "harmful"


def test_a_person_stops_it_with_a_reason(room):
    with pytest.raises(ConflictError, match="no-rollout"):
        room.controller.stop("delay", reason="x")
    room.start()
    with pytest.raises(UsageError, match="reason-missing"):
        room.controller.stop("delay", reason=" ")
    room.controller.stop("delay", reason="the wrong one")
    assert events(room)[-1].outcome == "cancelled"


def test_a_rollback_of_the_champion_ends_the_rollout(room):
    room.start()
    assert read_pointer(room.bucket, "delay").rollout is not None
    room.shop.promote(room.champion)
    assert read_pointer(room.bucket, "delay").rollout is None
    assert room.release.verify("delay") == []


def test_the_newest_look_is_kept_and_an_older_one_does_not_replace_it(room):
    rollout = room.start(steps=[0.5])
    room.answer(2500)
    old = room.controller.plan("delay")
    room.now += SECOND
    new = room.controller.plan("delay")
    for plan in (new, old):
        room.controller.apply(plan, policy=room.policy)
    assert find_look(room.bucket, "delay", rollout.seq) == new.look


def test_what_was_known_when_can_be_drawn(room):
    room.start(harm=HARM)
    room.answer(800)
    course = room.controller.course("delay", 4)
    assert [each.conditions[0].rows for each in course] == [200, 400, 600, 800]
    assert course[-1].conditions == room.controller.plan("delay").look.conditions
    assert {condition.answer for condition in course[0].conditions} <= {Answer.OPEN, Answer.HELD}


def _tick_for_ever(root, versions, now, rows):
    shop = Shop(root, (None, [None]), versions)
    room = Room(shop, now, judged=False)
    room.policy = policy()
    while True:
        room.now += SECOND
        room.tick()


def test_a_controller_that_is_killed_anywhere_leaves_one_truth(shop, estimators):
    """Killed again and again between and within ledger, look and pointer; then every reader says the same, and it goes on."""
    room = Room(shop, NOW + DAY)
    room.start(steps=[0.0] * 40, minimum_samples=1)
    room.answer(1500)
    context = multiprocessing.get_context("fork")
    for attempt in range(6):
        process = context.Process(target=_tick_for_ever, args=(shop.root, shop.versions, room.now, 0), daemon=True)
        process.start()
        time.sleep(0.15 + 0.07 * attempt)
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        fresh = Room(shop, room.now, judged=False)
        assert read_pointer(room.bucket, "delay").rollout == fresh.release.state("delay").rollout
    steps = [event.step for event in events(room) if isinstance(event, RolloutMoved)]
    assert steps == list(range(1, len(steps) + 1))
    assert [problem for problem in fresh.release.verify("delay") if "cut short" in problem or "continue" in problem] == []
