from __future__ import annotations

import msgspec
import numpy as np
import pytest

from tidegate.records.ledger import Rollout
from tidegate.records.model import Lineage, Manifest, Signature
from tidegate.records.rollout import RolloutPolicy
from tidegate.serving.rollout.live import Live, plan_of, salt_of, values_of


def manifest(task, classes=()):
    return Manifest(
        name="delay", version=1, task=task, format="onnx", loads_code=False, signature=Signature(inputs=[], outputs=[]), files=[],
        lineage=Lineage(), created_at=1, classes=list(classes),
    )  # fmt: skip


def rollout(seq=7, plan=None):
    return Rollout(seq=seq, version=2, digest="a" * 64, receipt="r", plan=plan or {}, started_at=0, moved_at=0, share=0.5)


def test_models_are_compared_by_the_one_output_of_their_task():
    outputs = {"label": np.array([0, 1]), "probability": np.array([[0.2], [0.75]], dtype=np.float32)}
    assert values_of(manifest("binary"), manifest("binary"), outputs) == pytest.approx([0.2, 0.75])
    numbers = values_of(manifest("regression"), manifest("regression"), {"prediction": np.array([3.5])})
    assert numbers.tolist() == [3.5]


def test_a_class_is_its_place_among_the_champions():
    champion, other = manifest("multiclass", ["a", "b", "c"]), manifest("multiclass", ["c", "a", "new"])
    outputs = {"label": np.array([0, 1, 2])}
    assert values_of(champion, champion, outputs).tolist() == [0, 1, 2]
    assert values_of(champion, other, outputs).tolist() == [2, 0, -1]


def test_what_is_no_number_is_not_compared():
    for outputs in ({"other": np.ones(3)}, {"prediction": np.array(["a", "b", "c"], dtype=object)}):
        assert np.isnan(values_of(manifest("regression"), manifest("regression"), outputs)).tolist() == [True] * 3


def test_a_plan_is_what_the_ledger_says_and_newer_keys_are_left_out():
    plan = RolloutPolicy(steps=[0.1], key="header:X")
    kept = {**msgspec.to_builtins(plan), "from_the_future": 1}
    assert plan_of(rollout(plan=kept)) == plan


def test_each_rollout_has_a_salt_of_its_own():
    assert salt_of("delay", rollout(7)) != salt_of("delay", rollout(8)) != salt_of("delays", rollout(8))
    live = Live(rollout(), RolloutPolicy(), "salt", None)
    keys = [f"user-{number}" for number in range(200)]
    assert {live.is_assigned(key) for key in keys} == {True, False}
    assert [live.point(key) < 0.5 for key in keys] == [live.is_assigned(key) for key in keys]
