from __future__ import annotations

import pytest

from tidegate.records.rollout import RolloutPolicy
from tidegate.serving.rollout.weights import argo_steps, argo_template, gateway_patch, kserve_patch, percent


@pytest.mark.parametrize(("share", "whole"), [(0, 0), (0.001, 1), (0.05, 5), (0.299, 29), (0.29, 29), (0.5, 50), (1, 100)])
def test_nobody_gets_more_than_was_decided_and_some_stay_some(share, whole):
    assert percent(share) == whole


def test_kserve_takes_a_percentage():
    assert kserve_patch(0.25) == {"spec": {"predictor": {"canaryTrafficPercent": 25}}}


def test_the_weights_of_a_route_sum_to_a_hundred():
    backends = gateway_patch("delay", "delay-next", 0.05, port=8080)["spec"]["rules"][0]["backendRefs"]
    assert [(each["name"], each["port"], each["weight"]) for each in backends] == [("delay", 8080, 95), ("delay-next", 8080, 5)]


def test_argo_shifts_and_waits_for_the_verdict_of_each_step():
    steps = argo_steps(RolloutPolicy(steps=[0.0, 0.05, 0.5]), "delay-rollout")
    assert [next(iter(step)) for step in steps] == ["analysis", "setWeight", "analysis", "setWeight", "analysis"]
    assert [step["setWeight"] for step in steps if "setWeight" in step] == [5, 50]
    asked = [step["analysis"]["args"] for step in steps if "analysis" in step]
    assert asked == [[{"name": "step", "value": str(number)}] for number in range(3)]


def test_argo_never_takes_silence_for_success():
    metric = argo_template("delay-rollout", "http://delay:8080", "delay")["spec"]["metrics"][0]
    assert metric["provider"]["web"]["url"] == "http://delay:8080/v2/models/delay/rollout?step={{args.step}}"
    assert (metric["successCondition"], metric["failureCondition"]) == ("result == 1.0", "result == 0.0")
    assert (metric["failureLimit"], metric["consecutiveSuccessLimit"]) == (0, 1)
