"""Plans: rows, labels and power before anybody labels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gate_rows import binary_rows, policy, rule

from tidegate.errors import BadInputError, UsageError
from tidegate.gate import check, parse_check_policy
from tidegate.gate.plan import plan_evaluation
from tidegate.stats import proportions
from tidegate.stats.power import paired_null, rows_for


def _without_labels(n: int = 3000, **keys: Any) -> dict[str, Any]:
    rows = binary_rows(n, candidate_noise=0.3, champion_noise=0.3, **keys)
    return {name: values for name, values in rows.items() if name != "y"}


def test_accuracy_is_planned_without_a_label() -> None:
    plan, wanted = plan_evaluation(_without_labels(), policy(rule("accuracy", "not_worse", margin=0.01), key="id"))
    (found,) = plan.rules
    assert (plan.labelled, found.basis, plan.only_disagreements) == (0, "disagreements", True)
    assert plan.disagreements == len(wanted.keys) == 382
    assert found.rows_needed is not None
    assert 1 <= found.rows_needed / rows_for(np.sqrt(382 / 3000), 0.01, alpha=0.025) < 1.05
    assert plan.labels_needed == -(-found.rows_needed * 382 // 3000)
    assert "label only the rows on which the models disagree" in plan.sentence


def test_a_row_on_which_both_agree_adds_nothing() -> None:
    rows = binary_rows(2000)
    agree = (rows["new"] >= 0.5) == (rows["old"] >= 0.5)
    asked = policy(rule("accuracy", "not_worse", margin=0.01))
    whole = check(rows, asked).rules[0]
    filled = check(rows | {"y": np.where(agree, rows["new"] >= 0.5, rows["y"]).astype(int)}, asked).rules[0]
    assert filled.difference == whole.difference
    assert filled.candidate != whole.candidate


@pytest.mark.parametrize(
    ("share", "margin", "rows"), [(0.02, 0.02, 310), (0.1, 0.02, 1546), (0.2, 0.02, 3092), (0.1, 0.01, 6183)]
)
def test_the_planned_rows_have_the_planned_power(share: float, margin: float, rows: int) -> None:
    assert rows_for(np.sqrt(share), margin, alpha=0.05) == pytest.approx(rows, abs=1)
    needed = rows_for(np.sqrt(share), margin, alpha=0.05, null=paired_null(share, 0.0, -margin))
    assert rows <= needed < 1.5 * rows
    rng = np.random.default_rng(7)
    differing = rng.binomial(needed, share, 1000)
    gained = rng.binomial(differing, 0.5)
    lows = [proportions.tango(int(a), int(d - a), needed, confidence=0.9).low for a, d in zip(gained, differing, strict=True)]
    assert np.mean(np.array(lows) >= -margin) == pytest.approx(0.82, abs=0.06)


def test_several_parts_need_more_power_each() -> None:
    one, _ = plan_evaluation(_without_labels(), policy(rule("accuracy", "not_worse", margin=0.01)))
    many, _ = plan_evaluation(_without_labels(), policy(rule("accuracy", "not_worse", margin=0.01, slices=["origin"])))
    assert (one.parts, many.parts, many.power_each) == (1, 4, pytest.approx(0.95))
    assert [part.where for part in many.rules] == ["", "origin = EWR", "origin = JFK", "origin = LGA"]
    assert one.rows_needed is not None
    assert many.rows_needed is not None
    assert many.rows_needed > 3 * one.rows_needed
    none_worse = rule("accuracy", "not_worse", margin=0.01, slices=["origin"], slice_mode="none_worse")
    assert plan_evaluation(_without_labels(), policy(none_worse))[0].parts == 1


def test_what_needs_labels_says_so_and_takes_the_labelled_rows() -> None:
    asked = policy(rule("log_loss"), rule("roc_auc", "floor", value=0.7), rule("brier", "not_worse", margin=0.01))
    rows = binary_rows(3000)
    blind, wanted = plan_evaluation(rows | {"y": np.full(3000, np.nan)}, asked)
    assert {part.basis for part in blind.rules} == {"unknown"}
    assert (blind.rows_needed, len(wanted.keys)) == (None, 3000)
    assert "label 30 rows or more" in blind.sentence
    some = np.where(np.arange(3000) < 500, rows["y"], np.nan)
    plan, wanted = plan_evaluation(rows | {"y": some}, asked)
    assert (plan.labelled, len(wanted.keys), {part.basis for part in plan.rules}) == (500, 2500, {"labelled rows"})
    assert all(part.rows_needed is not None and part.power is not None for part in plan.rules)
    assert not plan.only_disagreements


def test_the_detectable_effect_has_the_power_it_promises() -> None:
    plan, _ = plan_evaluation(_without_labels(), policy(rule("accuracy", "not_worse", margin=0.01)))
    (found,) = plan.rules
    assert found.detectable is not None
    exact, _ = plan_evaluation(_without_labels(), policy(rule("accuracy", "not_worse", margin=found.detectable)))
    assert exact.rules[0].power == pytest.approx(0.8, abs=1e-6)
    assert exact.rows_needed == pytest.approx(3000, abs=1)


def test_a_candidate_below_the_bound_needs_no_rows_but_mending() -> None:
    rows = binary_rows(2000, candidate_noise=0.9, champion_noise=0.2)
    plan, _ = plan_evaluation(rows, policy(rule("log_loss")))
    assert "does not reach the bound" in plan.sentence


def test_what_cannot_be_planned_is_refused() -> None:
    with pytest.raises(BadInputError, match="column 'old' is missing"):
        plan_evaluation({"new": np.full(50, 0.5)}, policy())
    with pytest.raises(BadInputError, match="no prediction"):
        plan_evaluation(_without_labels() | {"new": np.full(3000, np.nan)}, policy(rule("accuracy")))
    with pytest.raises(UsageError, match="no rule of this policy"):
        plan_evaluation(_without_labels(), policy({"test": "flips", "value": 0.1}))


def test_scores_are_their_own_labels() -> None:
    rng = np.random.default_rng(3)
    rows = {"item": np.repeat(np.arange(60), 2), "new": rng.normal(1, 1, 120), "old": rng.normal(0, 1, 120)}
    asked = {"task": "scores", "candidate": "new", "champion": "old", "key": "item", "rules": [rule("mean_score")]}
    plan, wanted = plan_evaluation(rows, parse_check_policy(asked))
    assert (plan.noun, plan.rows, plan.labelled, wanted.keys) == ("items", 60, 60, [])
    assert (plan.labels_needed, plan.rules[0].basis) == (None, "scores")
    assert plan.rows_needed is not None
    assert "60 items are enough" in plan.sentence


@pytest.mark.parametrize("known", [True, False])
def test_rankings_and_patterns_are_planned(known: bool) -> None:
    rng = np.random.default_rng(4)
    lists = {"q": np.repeat(np.arange(40), 5), "new": rng.normal(0, 1, 200), "old": rng.normal(0, 1, 200)}
    lists |= {"y": np.tile([2, 0, 0, 1, 0], 40)} if known else {}
    ranking = {"task": "ranking", "label": "y", "query": "q", "candidate": "new", "champion": "old"}
    plan, _ = plan_evaluation(lists, parse_check_policy({**ranking, "rules": [rule("ndcg@3", "not_worse", margin=0.1)]}))
    assert (plan.labelled, plan.rules[0].basis) == ((40, "labelled queries") if known else (0, "unknown"))
    assert (plan.noun, plan.rows, plan.rules[0].rows) == ("queries", 40, 40)
    assert "queries" in plan.sentence
    assert "rows" not in plan.sentence
    assert plan.labels_needed == plan.rows_needed
    assert (plan.rows_needed or 0) < 40 * 5 if known else plan.rows_needed is None
    first = rng.uniform(0.1, 0.9, (2, 200))
    classes = {"new_cat": first[0], "new_dog": 1 - first[0], "old_cat": first[1], "old_dog": 1 - first[1]}
    classes |= {"y": np.where(np.arange(200) % 2, "cat", "dog").astype(object)} if known else {}
    several = {"task": "multiclass", "label": "y", "candidate": "new_*", "champion": "old_*"}
    plan, _ = plan_evaluation(classes, parse_check_policy({**several, "rules": [rule("log_loss", "not_worse", margin=0.1)]}))
    assert (plan.rows, plan.labelled) == (200, 200 if known else 0)
