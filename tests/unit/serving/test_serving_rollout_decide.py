from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from rollout_shop import NONE, evidence

from tidegate.clock import DAY, HOUR, SECOND
from tidegate.records.ledger import Rollout
from tidegate.records.rollout import Answer, RolloutPolicy
from tidegate.serving.rollout.conditions import watched
from tidegate.serving.rollout.decide import decide

START = 100 * DAY
PLAN = RolloutPolicy(steps=[0.0, 0.5], minimum_samples=500, harm={"brier": 0.02}, max_error_increase=0.02)


def rollout(step=1, share=0.5, moved=START):
    return Rollout(seq=7, version=2, digest="d", receipt="r", plan={}, started_at=START, moved_at=moved, step=step, share=share)


def look(seen, plan=PLAN, *, step=1, share=0.5, task="binary", after=2 * HOUR):
    seen = replace(seen, step=np.full(seen.rows, step))
    return decide("delay", rollout(step, share), plan, seen, task=task, now=START + after)


def labels(rows, seed=0):
    return (np.random.default_rng(seed).random(rows) < 0.5).astype(float)


def wrong(label, share, seed=1):
    flips = np.random.default_rng(seed).random(label.size) < share
    return np.where(flips, 1 - label, label)


def of(found, name):
    return next(condition for condition in found.conditions if condition.name == name)


def test_nothing_is_known_so_nothing_moves():
    found = look(evidence(0), step=0, share=0.0)
    assert (found.action, found.rows) == ("continue", 0)
    assert found.sentence == "0 of 500 rows at this step"
    assert {condition.answer for condition in found.conditions} == {Answer.OPEN}


def test_a_step_ends_when_it_has_rows_and_time_and_nothing_is_open():
    seen = evidence(1500, step=0, share=0.0)
    assert look(seen, step=0, share=0.0, after=HOUR - SECOND).sentence == "a step lasts at least 1h"
    found = look(seen, step=0, share=0.0)
    assert (found.action, found.sentence) == ("advance", "1,500 rows and every condition held")
    assert of(found, "brier").note == "no label has matured yet"


def test_the_last_step_waits_for_labels():
    found = look(evidence(3000))
    assert found.action == "continue"
    assert "brier: no label has matured yet" in found.sentence
    done = look(evidence(3000, label=labels(3000)))
    assert (done.action, done.matured) == ("done", 3000)
    assert look(evidence(3000, label=labels(3000)), step=2).action == "done"


def test_proven_harm_stops_at_any_step_and_says_why():
    label = labels(2000)
    found = look(evidence(2000, label=label, candidate=wrong(label, 0.2)), step=2)
    assert (found.action, found.outcome) == ("stop", "harmful")
    assert found.sentence.startswith("brier is worse by 0.")
    assert "at most 0.02 is allowed" in found.sentence
    assert of(found, "brier").low > 0.02


def test_harm_that_is_not_proven_is_waited_for():
    label = labels(2000)
    found = look(evidence(2000, label=label, candidate=wrong(label, 0.02)))
    assert found.action == "continue"
    assert "brier is not decided" in found.sentence
    late = look(evidence(2000, label=label, candidate=wrong(label, 0.02)), after=15 * DAY)
    assert (late.action, late.outcome) == ("stop", "undecided")
    assert "not through after 14d" in late.sentence


def test_errors_of_the_candidate_alone_stop_before_labels_come():
    failed = (np.arange(1000) % 10 == 0).astype(float)
    assert look(evidence(1000, candidate_failed=failed)).sentence.startswith("errors is 10 %")
    both = look(evidence(1500, candidate_failed=(np.arange(1500) % 10 == 0).astype(float), champion_failed=np.ones(1500)))
    assert of(both, "errors").answer is Answer.HELD


def test_slow_candidates_are_stopped_and_unknown_latency_is_not_success():
    found = look(evidence(2000, seconds=np.full(2000, 0.5)))
    assert (found.action, of(found, "latency_p99_ms").answer) == ("stop", Answer.HARM)
    few = look(evidence(50))
    assert (of(few, "latency_p99_ms").answer, of(few, "latency_p99_ms").high) == (Answer.OPEN, None)


def test_disagreement_is_looked_at_where_it_means_something():
    apart = look(evidence(1000, candidate=np.zeros(1000)))
    assert (apart.outcome, of(apart, "disagreement").answer) == ("harmful", Answer.HARM)
    numbers = RolloutPolicy(steps=[0.5], harm={"mae": 1.0})
    names = [condition.name for condition in look(evidence(100), numbers, step=0, task="regression").conditions]
    assert names == ["errors", "latency_p99_ms", "mae"]
    near = RolloutPolicy(steps=[0.5], disagreement_tolerance=2.0)
    found = look(evidence(3000, candidate=np.full(3000, 2.5)), near, step=0, task="regression")
    assert of(found, "disagreement").value == 0


def test_classes_are_compared_as_classes():
    label = np.random.default_rng(0).integers(0, 3, 3000).astype(float)
    plan = RolloutPolicy(steps=[0.5], harm={"accuracy": 0.05})
    found = look(
        evidence(3000, label=label, champion=label, candidate=np.where(label == 2, -1, label)), plan, step=0, task="multiclass"
    )
    assert of(found, "accuracy").value == pytest.approx(np.mean(label == 2))
    assert found.outcome == "harmful"


def test_regression_goes_by_the_asymptotic_interval():
    rng = np.random.default_rng(3)
    label = rng.normal(0, 10, 4000)
    plan = RolloutPolicy(steps=[0.5], harm={"mae": 1.0})
    champion = label + rng.normal(0, 5, 4000)
    held = look(evidence(4000, label=label, champion=champion, candidate=champion + 0.01), plan, step=0, task="regression")
    assert (of(held, "mae").answer, held.action) == (Answer.HELD, "done")
    worse = look(evidence(4000, label=label, champion=champion, candidate=champion + 20), plan, step=0, task="regression")
    assert worse.outcome == "harmful"
    equal = look(evidence(4000, label=label, champion=champion, candidate=champion), plan, step=0, task="regression")
    assert of(equal, "mae").answer is Answer.HELD


def test_keys_that_came_otherwise_make_everything_void():
    point = np.random.default_rng(4000).random(4000)
    label = labels(4000)
    found = look(evidence(4000, assigned=point < 0.4, label=label, candidate=1 - label))
    assert (found.action, found.outcome) == ("stop", "invalid")


def test_many_requests_of_one_key_are_one_key():
    many = np.r_[np.full(3000, 0.3), np.random.default_rng(0).random(1000)]
    found = look(evidence(4000, point=many, assigned=many < 0.5, label=labels(4000)))
    assert found.outcome == ""


def test_arms_of_an_ab_test_are_compared_with_each_other():
    label = labels(8000)
    plan = RolloutPolicy(mode="ab", harm={"accuracy": 0.1}, minimum_samples=100)
    seen = evidence(8000, label=label)
    alone = {"champion": np.where(seen.assigned, NONE, label), "candidate_failed": np.where(seen.assigned, 0.0, NONE)}
    held = look(evidence(8000, label=label, candidate=np.where(seen.assigned, label, NONE), **alone), plan, step=0)
    assert (of(held, "accuracy").answer, held.action) == (Answer.HELD, "done")
    bad = look(evidence(8000, label=label, candidate=np.where(seen.assigned, wrong(label, 0.4), NONE), **alone), plan, step=0)
    assert bad.outcome == "harmful"
    assert [condition.name for condition in bad.conditions] == ["errors", "latency_p99_ms", "accuracy"]


def test_of_a_key_an_ab_test_scores_the_first_row():
    label = np.ones(2000)
    plan = RolloutPolicy(mode="ab", harm={"accuracy": 0.1})
    point = np.repeat(np.random.default_rng(1).random(20), 100)
    seen = evidence(2000, label=label, point=point, assigned=point < 0.5)
    assert of(look(seen, plan, step=0), "accuracy").rows == 20


def _looks(seed: int, harm: float) -> bool:
    """Whether a candidate that is worse by ``harm`` is ever stopped, under a look after every twentieth row."""
    rng = np.random.default_rng(seed)
    rows = 2000
    label = labels(rows, seed)
    champion = np.where(rng.random(rows) < 0.9, label, 1 - label)
    candidate = np.where(rng.random(rows) < 0.9 - harm, label, 1 - label)
    failed = (rng.random(rows) < 0.01).astype(float)
    plan = RolloutPolicy(
        steps=[0.5], harm={"accuracy": harm or 0.02}, max_disagreement=0.5, confidence=0.9, max_error_increase=0.01
    )
    whole = evidence(
        rows, label=label, champion=champion, candidate=candidate, candidate_failed=failed, seconds=rng.exponential(0.02, rows)
    )
    return any(look(whole.first_rows(cut), plan, step=0).action == "stop" for cut in range(20, rows + 1, 20))


@pytest.mark.slow
def test_whoever_is_exactly_at_the_bounds_is_stopped_too_rarely_however_often_one_looks():
    stopped = sum(_looks(seed, 0.02) for seed in range(100))
    assert stopped / 100 <= 0.1 + 3 * np.sqrt(0.09 / 100)


def test_looks_at_a_harmless_candidate_stop_nothing():
    assert not any(_looks(seed, 0.0) for seed in range(2))


def test_what_is_watched_is_told_and_what_is_not():
    plan = RolloutPolicy(harm={"accuracy": 0.01})
    assert watched(plan, "multiclass") == "errors, latency_p99_ms, disagreement, accuracy"
    assert "no metric of harm is known for the task 'ranking'" in watched(RolloutPolicy(), "ranking")
    assert "Labels are not looked at" in watched(RolloutPolicy(), "regression")
