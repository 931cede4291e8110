"""A policy is read strictly, and a typo is told as a typo."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from gate_rows import binary_rows, policy, rule

from tidegate.errors import NotFoundError, UsageError
from tidegate.gate import check, load_check_policy, parse_check_policy, parse_model_policy, policy_digest

GATE: dict[str, Any] = {"snapshot": "flights-eval@4", "label": "late", "rules": [rule("log_loss")]}


def test_a_policy_file(tmp_path: Path) -> None:
    path = tmp_path / "gate.toml"
    path.write_text(
        'task = "regression"\nlabel = "y"\ncandidate = "a"\nchampion = "b"\nconfidence = 0.9\n'
        '[[rules]]\nmetric = "mae"\ntest = "not_worse"\nmargin = 1\nslices = ["g"]\nslice_mode = "none_worse"\n'
    )
    found = load_check_policy(path)
    assert (found.confidence, found.rules[0].margin, found.rules[0].slices) == (0.9, 1.0, ["g"])


@pytest.mark.parametrize(
    ("change", "code", "words"),
    [
        ({"lable": "y"}, "unknown-key", "'label'"),
        ({"task": "binray"}, "unknown-task", "'binary'"),
        ({"confidence": 95}, "bad-confidence", "95"),
        ({"confidence": 0.9999999999999999}, "bad-confidence", "0.9999999999999999"),
        ({"seed": -1}, "bad-seed", "-1"),
        ({"seed": 2**53}, "bad-seed", "JSON"),
        ({"confidence": "0.95"}, "bad-policy", "confidence"),
        ({"label": 3}, "bad-policy", "$.label"),
        ({"rules": []}, "no-rules", "nothing can pass"),
        ({"rules": [rule("log_los")]}, "unknown-metric", "'log_loss'"),
        ({"rules": [rule("mae")]}, "unknown-metric", "regression"),
        ({"rules": [rule("recall@1.5", "superior")]}, "bad-threshold", "1.5"),
        ({"rules": [rule("roc_auc@0.5", "superior")]}, "bad-threshold", "roc_auc"),
        ({"rules": [rule("f1", "superiour")]}, "unknown-test", "'superior'"),
        ({"rules": [rule("recall@0.5", "not_worse", margin=2)]}, "bad-margin", "0 to 1"),
        ({"rules": [rule("mcc", "not_worse", margin=2)]}, "bad-margin", "-1 to 1"),
        ({"rules": [rule("log_loss", "not_worse", relative_margin=2)]}, "bad-margin", "2%"),
        ({"rules": [rule("roc_auc", "floor", value=90)]}, "bad-value", "0 to 1"),
        ({"rules": [rule("f1", margn=0.1)]}, "unknown-key", "'margin'"),
        ({"rules": [rule("f1", margin=-0.1)]}, "bad-margin", "never negative"),
        ({"rules": [rule("f1", margin="1%")]}, "bad-policy", "at `margin` of rule 1 (superior f1)"),
        ({"rules": [rule("f1"), rule("brier", slices=["a", 3])]}, "bad-policy", "at `slices, item 2` of rule 2 (superior brier)"),
        ({"classes": ["a", 3]}, "bad-policy", "$.classes, item 2"),
        ({"rules": [rule("f1", margin=float("nan"))]}, "bad-margin", "nan"),
        ({"rules": [rule("f1", "floor")]}, "rule-incomplete", "value"),
        ({"rules": [rule("f1", "floor", value=0.5, margin=0.1)]}, "key-not-for-test", "margin"),
        ({"rules": [rule("f1", value=0.5)]}, "key-not-for-test", "value"),
        ({"rules": [rule("f1", slices=["a", "a"])]}, "bad-slices", "twice"),
        ({"rules": [rule("f1", slices=["a"], slice_mode="none_wors")]}, "unknown-slice-mode", "'none_worse'"),
        ({"rules": ["f1"]}, "bad-policy", "rule 1 is not a table"),
        ({"rules": [rule("f1"), rule("log_los")]}, "unknown-metric", "rule 2 (superior log_los): "),
        ({"rules": [rule("f1", "not_worse", margin=-0.1)]}, "bad-margin", "rule 1 (not_worse f1): margin is -0.1"),
        ({"rules": [rule("f1"), {"test": "size", "value": 3}]}, "rule-needs-project", "rule 2 (size) asks"),
        ({"champion": ""}, "rule-needs-champion", "champion"),
        ({"task": "ranking", "query": "q"}, "unknown-metric", "ranking"),
    ],
)
def test_what_is_not_understood_is_refused(change: dict[str, Any], code: str, words: str) -> None:
    mapping = {"task": "binary", "label": "y", "candidate": "a", "champion": "b", "rules": [rule("log_loss")]} | change
    with pytest.raises(UsageError) as caught:
        parse_check_policy(mapping)
    assert caught.value.code == code
    assert words in str(caught.value)


def test_a_missing_key_is_named() -> None:
    with pytest.raises(UsageError, match="candidate"):
        parse_check_policy({"task": "binary", "label": "y", "rules": [rule("f1", "floor", value=0.5)]})


def test_a_floor_needs_no_champion() -> None:
    assert policy(rule("f1", "floor", value=0.5), champion="").champion == ""


def test_files_that_are_no_policy(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no policy file"):
        load_check_policy(tmp_path / "gate.toml")
    (tmp_path / "gate.toml").write_text("task = binary\n")
    with pytest.raises(UsageError, match="bad-toml"):
        load_check_policy(tmp_path / "gate.toml")


def test_a_model_policy() -> None:
    found = parse_model_policy("delay", {"task": "binary", "gate": GATE, "retrain": {"pipeline": "train:main", "every": "30d"}})
    assert found.gate is not None
    assert found.gate.snapshot == "flights-eval@4"
    assert found.release.approvals == 1


@pytest.mark.parametrize(
    ("change", "code", "words"),
    [
        ({"gates": GATE}, "unknown-key", "'gate'"),
        ({"gate": GATE | {"snapsot": "x"}}, "unknown-key", "[models.delay.gate] has an unknown key 'snapsot'"),
        ({"gate": GATE | {"rules": [rule("acuracy")]}}, "unknown-metric", "'accuracy'"),
        ({"gate": GATE | {"receipt_lifetime": "2 weeks"}}, "bad-duration", "models.delay.gate.receipt_lifetime"),
        ({"gate": GATE | {"baseline": {"kind": "column"}}}, "bad-baseline", "column"),
        ({"gate": GATE | {"baseline": {"kin": "constant"}}}, "unknown-key", "'kind'"),
        ({"gate": GATE | {"confidence": 0.2}}, "bad-confidence", "0.2"),
        ({"gate": GATE | {"seed": -1}}, "bad-seed", "-1"),
        ({"release": {"aprovals": 2}}, "unknown-key", "'approvals'"),
        ({"monitoring": {"window": "daily"}}, "bad-duration", "models.delay.monitoring.window"),
        ({"monitoring": {"metrics": ["mae"]}}, "unknown-metric", "regression"),
        ({"gate": 3}, "bad-policy", "$.gate"),
        ({"gate": GATE | {"rules": [rule("f1", margin="1")]}}, "bad-policy", "at `margin` of rule 1 (superior f1)"),
        ({"gate": GATE | {"rules": [rule("f1", margin=-1)]}}, "bad-margin", "[models.delay.gate] rule 1 (superior f1): margin"),
    ],
)
def test_a_wrong_model_policy_is_refused(change: dict[str, Any], code: str, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_model_policy("delay", {"task": "binary"} | change)
    assert caught.value.code == code
    assert words in str(caught.value)


def test_the_digest_covers_what_the_gate_goes_by() -> None:
    one = parse_model_policy("delay", {"task": "binary", "gate": GATE})
    renamed = parse_model_policy("delay", {"task": "binary", "gate": GATE, "owner": "ops"})
    looser = parse_model_policy("delay", {"task": "binary", "gate": GATE | {"rules": [rule("log_loss", "not_worse", margin=1)]}})
    assert policy_digest(one) == policy_digest(renamed) != policy_digest(looser)
    assert policy_digest(policy()) != policy_digest(policy(confidence=0.9))


def test_an_anchor_that_no_rule_looks_at_is_refused() -> None:
    asked = [rule("log_loss"), rule("roc_auc", "floor", value=0.6)]
    with pytest.raises(UsageError, match="no rule is asked against it") as caught:
        policy(*asked, anchor="older")
    assert caught.value.code == "anchor-unused"
    rows = binary_rows(60)
    with pytest.raises(UsageError, match="no rule is asked against it"):
        check(rows, policy(*asked, key="id"), anchor={"id": rows["id"], "new": rows["old"]})
    gap = {"metric": "recall", "test": "gap", "slices": ["origin"]}
    assert policy(*asked, rule("f1", "not_worse"), anchor="older").anchor == "older"
    assert policy(*asked, {**gap, "margin": 0.1}, anchor="older").anchor == "older"
    with pytest.raises(UsageError, match="no rule is asked against it"):
        policy({**gap, "value": 0.1}, anchor="older")
