"""The self-test: quiet where nothing differs, and no known-bad candidate passes."""

from __future__ import annotations

import numpy as np
import pytest
from gate_rows import binary_rows, policy, rule

from tidegate import digest
from tidegate.errors import BadInputError
from tidegate.gate.selftest import selftest
from tidegate.records.verdict import Verdict


def _rows(n: int = 1500) -> dict:
    return binary_rows(n, candidate_noise=0.3, champion_noise=0.3)


def test_a_sound_policy_is_quiet_and_blocks_what_is_bad() -> None:
    found = selftest(_rows(), policy(rule("log_loss"), rule("accuracy", "not_worse", margin=0.02, slices=["origin"])), trials=20)
    assert found.ok
    assert [each.metric for each in found.alarms] == ["log_loss", "accuracy"]
    assert all(max(each.passes, each.fails) <= each.allowed and each.enough for each in found.alarms)
    assert [each.name for each in found.spoilt] == ["noise", "shuffled", "constant", "shifted", "missing", "slice"]
    assert all(each.verdict is not Verdict.PASS and each.by for each in found.spoilt)
    assert next(each for each in found.spoilt if each.name == "missing").verdict is Verdict.INVALID


def test_the_same_seed_gives_the_same_bytes() -> None:
    asked = policy(rule("accuracy"), seed=3)
    assert digest.of_json(selftest(_rows(400), asked, trials=20)) == digest.of_json(selftest(_rows(400), asked, trials=20))


def test_a_margin_that_lets_bad_candidates_pass_is_named() -> None:
    found = selftest(_rows(), policy(rule("accuracy", "not_worse", margin=0.5)), trials=20)
    assert not found.ok
    assert "a known-bad candidate passes it" in found.sentence
    assert {each.name for each in found.spoilt if not each.ok} >= {"noise", "shuffled"}


def test_what_no_rule_asks_about_is_told_and_no_failure() -> None:
    found = selftest(_rows(), policy(rule("roc_auc", "not_worse", margin=0.02)), trials=20)
    assert found.ok
    assert [each.name for each in found.spoilt if each.unseen] == ["shifted"]
    assert "No rule asks about what was spoilt in: shifted" in found.sentence


def test_copied_rows_are_loud_until_their_cluster_is_named() -> None:
    one = _rows(120)
    group = np.repeat(np.arange(120), 10)
    rows = {name: values[group] for name, values in one.items()} | {"group": group, "id": np.arange(1200)}
    named = selftest(rows, policy(rule("log_loss"), cluster="group"), trials=60)
    assert named.ok
    assert named.alarms[0].enough


def test_a_check_of_one_model_has_no_exchange() -> None:
    found = selftest(_rows(), policy(rule("roc_auc", "floor", value=0.7), champion=""), trials=20)
    assert (found.alarms, found.false_fail) == ([], None)
    assert found.ok
    weak = selftest(_rows(), policy(rule("roc_auc", "floor", value=0.3), champion=""), trials=20)
    assert not weak.ok


@pytest.mark.parametrize("task", ["regression", "multiclass"])
def test_other_tasks(task: str) -> None:
    rng = np.random.default_rng(2)
    if task == "regression":
        y = rng.normal(size=600)
        rows = {"y": y, "new": y + 0.3 * rng.normal(size=600), "old": y + 0.3 * rng.normal(size=600)}
        asked = policy(rule("mae", "not_worse", margin=0.05), task=task)
    else:
        y = rng.integers(0, 3, 600)
        names = np.array(["a", "b", "c"])
        guesses = [np.where(rng.random(600) < 0.2, rng.integers(0, 3, 600), y) for _ in range(2)]
        rows = {"y": names[y], "new": names[guesses[0]], "old": names[guesses[1]]}
        asked = policy(rule("accuracy", "not_worse", margin=0.05), task=task)
    found = selftest(rows, asked, trials=30)
    assert found.ok
    assert {each.name for each in found.spoilt} >= {"noise", "shuffled", "shifted", "missing"}


def test_many_rows_are_sampled_and_counted() -> None:
    steps: list[float] = []
    found = selftest(_rows(8000), policy(rule("accuracy")), trials=5, advance=steps.append)
    assert (found.rows, found.rows_used) == (8000, 2000)
    assert len(steps) == 5 + 5


def test_rows_that_are_no_evidence_are_refused() -> None:
    with pytest.raises(BadInputError, match="label"):
        selftest(_rows() | {"y": np.full(1500, np.nan)}, policy())
