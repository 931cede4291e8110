from __future__ import annotations

import pytest

from tidegate.errors import UsageError
from tidegate.gate import parse_model_policy
from tidegate.records.rollout import RolloutPolicy


def parse(task="binary", **rollout):
    return parse_model_policy("delay", {"task": task, "rollout": rollout}).rollout


def test_defaults_are_a_plan():
    assert parse_model_policy("delay", {"task": "binary"}).rollout == parse() == RolloutPolicy()
    assert parse().shares == [0, 0.05, 0.25, 0.5]
    assert parse(mode="shadow").shares == [0]
    assert parse(mode="ab").shares == [0.5]
    assert parse(steps=[0.1, 0.1, 1]).shares == [0.1, 0.1, 1.0]


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"stepz": [0.1]}, "did you mean 'steps'"),
        ({"mode": "canari"}, "did you mean 'canary'"),
        ({"harm": {"breir": 0.1}}, "did you mean 'brier'"),
        ({"key": "heder:x"}, "did you mean 'header'"),
        ({"key": "header:"}, "it says no name"),
        ({"harm": {"mae": 0.1}}, "accuracy, brier, log_loss"),
        ({"harm": {"brier": 0}}, "harm.brier is 0"),
        ({"steps": [0.5, 0.1]}, "never fall"),
        ({"steps": [1.5]}, "shares of keys"),
        ({"mode": "shadow", "steps": [0.1]}, "a shadow answers nobody"),
        ({"mode": "ab", "steps": [0.0]}, "both models must answer"),
        ({"mode": "ab", "steps": [1.0]}, "both models must answer"),
        ({"minimum_duration": "soon"}, "models.delay.rollout.minimum_duration"),
        ({"label_maturity": "1"}, "models.delay.rollout.label_maturity"),
        ({"minimum_samples": 0}, "minimum_samples is 0"),
        ({"max_error_increase": 0.0}, "max_error_increase is 0"),
        ({"max_disagreement": 1.5}, "max_disagreement is 1.5"),
        ({"disagreement_tolerance": -1.0}, "disagreement_tolerance"),
        ({"latency_p99_ms": 0.0}, "latency_p99_ms"),
        ({"latency_p99_ms": float("nan")}, "latency_p99_ms"),
        ({"confidence": 1.0}, "it lies from 0.5"),
        ({"minimum_samples": "many"}, "rollout"),
        ({"harm": {"brier": 0.1}, "label_maturity": "30d"}, "no label would count"),
    ],
)
def test_a_plan_that_cannot_be_followed_is_refused_by_name(wrong, told):
    with pytest.raises(UsageError) as caught:
        parse(**wrong)
    assert told in str(caught.value)


def test_tasks_whose_answers_cannot_be_scored_one_by_one_have_no_harm():
    with pytest.raises(UsageError, match="leave harm out"):
        parse("ranking", harm={"ndcg": 0.1})
    assert parse("regression", harm={"mae": 2.0}).harm == {"mae": 2.0}
