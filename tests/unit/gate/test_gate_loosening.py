"""A policy that asks for less is seen, whatever was changed; and so is what cannot be compared."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.gate import find_loosening, find_loosening_of_file, loosened, parse_check_policy, parse_model_policy
from tidegate.gate.policy import KEYS
from tidegate.records.policy import GatePolicy, ModelPolicy, Rule
from tidegate.store.bucket.folder import FolderBucket

RECALL = {"metric": "recall@0.5", "test": "not_worse", "margin": 0.005, "slices": ["carrier", "origin"]}
FLOOR = {"metric": "roc_auc", "test": "floor", "value": 0.8}
GATE: dict[str, Any] = {
    "snapshot": "eval@4", "label": "late", "cluster": "tail", "max_uses": 20, "rules": [{"metric": "log_loss", "test": "superior"}, RECALL, FLOOR],
}  # fmt: skip


def _policy(gate: dict[str, Any] | None = None, **tables: Any) -> ModelPolicy:
    return parse_model_policy("delay", {"task": "binary", "gate": GATE | (gate or {}), **tables})


def _ruled(*rules: dict[str, Any]) -> ModelPolicy:
    """A policy with these rules, as they would stand after parsing: also tests that this version cannot judge yet."""
    return ModelPolicy(
        task="binary", gate=GatePolicy(snapshot="e@1", label="y", rules=[msgspec.convert(rule, Rule) for rule in rules])
    )


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"snapshot": "eval@5"}, "snapshot was eval@4 and is eval@5"),
        ({"label": "very_late"}, "label was late"),
        ({"confidence": 0.9}, "confidence was 0.95 and is 0.9"),
        ({"cluster": ""}, "cluster was tail and is nothing"),
        ({"weight": "seats"}, "weight was nothing and is seats"),
        ({"seed": 7}, "seed was 0 and is 7"),
        ({"max_uses": 0}, "max_uses was 20 and is 0"),
        ({"max_uses": 30}, "max_uses was 20 and is 30"),
        ({"receipt_lifetime": "30d"}, "receipt_lifetime was 14d and is 30d"),
        ({"baseline": {"kind": "constant", "value": 0.9}}, "baseline was nothing"),
        ({"rules": GATE["rules"][1:]}, "the rule superior log_loss was removed"),
        ({"rules": [*GATE["rules"][:2], FLOOR | {"value": 0.7}]}, "the rule floor roc_auc: value was 0.8 and is 0.7"),
        ({"rules": [GATE["rules"][0], RECALL | {"margin": 0.02}, FLOOR]}, "margin was 0.005 and is 0.02"),
        ({"rules": [GATE["rules"][0], RECALL | {"slices": ["origin"]}, FLOOR]}, "slices was carrier, origin and is origin"),
        ({"rules": [GATE["rules"][0], RECALL | {"slice_mode": "none_worse"}, FLOOR]}, "slice_mode was all_not_worse"),
        ({"rules": [GATE["rules"][0], RECALL | {"metric": "recall@0.4"}, FLOOR]}, "the rule not_worse recall@0.5 was removed"),
        ({"rules": [GATE["rules"][0], RECALL | {"margin": 0.0, "relative_margin": 0.001}, FLOOR]}, "margin was 0.005 and is 0.1 %"),
    ],
)  # fmt: skip
def test_less_is_told(changed: dict[str, Any], words: str) -> None:
    found = loosened(_policy(), _policy(changed))
    assert len(found) == 1
    assert words in found[0]


@pytest.mark.parametrize(
    "changed",
    [
        {"confidence": 0.99},
        {"max_uses": 5},
        {"receipt_lifetime": "7d"},
        {"explore": ["carrier"]},
        {"rules": [*GATE["rules"], {"metric": "brier", "test": "superior"}]},
        {"rules": list(reversed(GATE["rules"]))},
        {"rules": [GATE["rules"][0] | {"margin": 0.01}, RECALL, FLOOR]},
        {"rules": [GATE["rules"][0], RECALL | {"slices": ["origin", "carrier", "hour"]}, FLOOR | {"value": 0.9}]},
        {"rules": [GATE["rules"][0], RECALL | {"test": "superior", "margin": 0.0}, FLOOR]},
        {"rules": [*GATE["rules"], RECALL | {"margin": 0.1}]},
    ],
)
def test_more_or_the_same_is_not(changed: dict[str, Any]) -> None:
    assert loosened(_policy(), _policy(changed)) == []


@pytest.mark.parametrize(
    ("before", "after", "weaker"),
    [
        ({"test": "flips", "value": 0.01}, {"test": "flips", "value": 0.02}, True),
        ({"test": "flips", "value": 0.01}, {"test": "flips", "value": 0.005}, False),
        ({"test": "floor", "metric": "log_loss", "value": 0.4}, {"test": "floor", "metric": "log_loss", "value": 0.5}, True),
        ({"test": "floor", "metric": "log_loss", "value": 0.4}, {"test": "floor", "metric": "log_loss", "value": 0.3}, False),
        ({"test": "floor", "metric": "unheard", "value": 0.4}, {"test": "floor", "metric": "unheard", "value": 0.5}, True),
        ({"test": "golden", "rows": "g"}, {"test": "golden", "rows": "g", "tolerance": 0.1}, True),
        ({"test": "golden", "rows": "g"}, {"test": "golden", "rows": "other"}, True),
        ({"test": "leakage"}, {"test": "leakage", "value": 0.01}, True),
        ({"test": "leakage", "group": "tail"}, {"test": "leakage"}, True),
        ({"test": "leakage"}, {"test": "leakage", "group": "tail", "time": "at", "near": 0.9}, False),
        ({"test": "leakage", "near": 0.9}, {"test": "leakage", "near": 0.99}, True),
        ({"test": "leakage", "near": 0.9}, {"test": "leakage"}, True),
        ({"test": "leakage", "columns": ["a"]}, {"test": "leakage", "columns": ["a", "b"]}, True),
        ({"test": "latency", "value": 10.0}, {"test": "latency", "value": 10.0, "relative": True}, True),
        ({"test": "size", "value": 10.0}, {"test": "size", "value": 9.0}, False),
        ({"test": "freshness", "max_age": "30d"}, {"test": "freshness", "max_age": "31d"}, True),
        ({"test": "freshness", "max_age": "30d"}, {"test": "freshness", "max_age": "2w"}, False),
        ({"test": "freshness", "max_age": "30d"}, {"test": "freshness", "max_age": "30d", "time": "at"}, True),
        ({"test": "label_coverage", "value": 0.9}, {"test": "label_coverage", "value": 0.8}, True),
        ({"test": "label_coverage"}, {"test": "label_coverage", "value": 0.8}, True),
        ({"test": "gap", "metric": "recall", "value": 0.1, "slices": ["s"]}, {"test": "gap", "metric": "recall", "margin": 0.1, "slices": ["s"]}, True),
        ({"test": "gap", "metric": "recall", "margin": 0.1, "slices": ["s"]}, {"test": "gap", "metric": "recall", "value": 0.9, "slices": ["s"]}, True),
        ({"test": "flips", "value": 0.1, "tolerance": 5.0}, {"test": "flips", "value": 0.1, "tolerance": 0.01}, True),
        ({"test": "not_worse", "metric": "brier", "slices": ["s"], "slice_mode": "none_worse"}, {"test": "not_worse", "metric": "brier", "slices": ["s", "t"], "slice_mode": "none_worse"}, True),
        ({"test": "superior", "metric": "brier", "margin": 0.1}, {"test": "superior", "metric": "brier", "margin": 0.0}, True),
        ({"test": "superior", "metric": "brier"}, {"test": "not_worse", "metric": "brier"}, True),
        ({"test": "schema"}, {"test": "size", "value": 1.0}, True),
    ],
)  # fmt: skip
def test_each_test_has_its_own_direction(before: dict[str, Any], after: dict[str, Any], weaker: bool) -> None:
    assert bool(loosened(_ruled(before), _ruled(after))) is weaker


def test_leaving_out_rows_without_a_label_asks_for_less() -> None:
    before = {"test": "floor", "metric": "accuracy", "value": 0.7}
    coverage = {"test": "label_coverage", "value": 0.01}
    assert "rows without a label are left out" in loosened(_ruled(before), _ruled(before, coverage))[0]
    assert loosened(_ruled(before, coverage), _ruled(before, coverage)) == []


def test_approvals_and_code_count_too() -> None:
    before = _policy(release={"approvals": 2, "approvers": ["ana", "ben"]})
    after = _policy(
        release={"approvals": 1, "approvers": ["ana", "cy"], "approval_lifetime": "30d"}, serving={"allow_code": True}
    )
    found = loosened(before, after)
    assert [text.split()[0] for text in found] == ["release.approvals", "release.approvers", "release.approval_lifetime", "serving.allow_code"]  # fmt: skip
    assert loosened(before, _policy(release={"approvals": 3, "approvers": ["ana"], "approval_lifetime": "1d"})) == []
    assert loosened(before, _policy(release={"approvals": 2})) == [
        "release.approvers was ana, ben and is nothing: more people may approve"
    ]
    assert loosened(before, parse_model_policy("delay", {"task": "binary"})) != []


def test_signatures_count_too() -> None:
    signed = _policy(serving={"signed_by": ["a.pub", "b.pub"]})
    for weaker in (_policy(), _policy(serving={"signed_by": ["a.pub", "c.pub"]})):
        assert [text.split()[0] for text in loosened(signed, weaker)] == ["serving.signed_by"]
    assert loosened(signed, _policy(serving={"signed_by": ["a.pub"]})) == []
    assert loosened(_policy(), signed) == []


_numbers = st.sampled_from([0.0, 0.01, 0.5, 0.9])
_texts = st.sampled_from(["", "a", "b"])
_rules = st.builds(
    Rule,
    test=st.sampled_from(sorted(KEYS)),
    metric=st.sampled_from(["", "recall@0.5", "log_loss"]),
    margin=_numbers,
    relative_margin=st.none() | _numbers,
    value=st.none() | _numbers,
    relative=st.booleans(),
    slices=st.lists(st.sampled_from(["s", "t"]), unique=True),
    slice_mode=st.sampled_from(["all_not_worse", "none_worse"]),
    rows=_texts,
    tolerance=_numbers,
    columns=st.lists(st.sampled_from(["c", "d"]), unique=True),
    group=_texts,
    time=_texts,
    near=st.none() | _numbers,
    max_age=st.sampled_from(["", "1d", "2d", "odd"]),
)


@given(st.lists(_rules, min_size=1, max_size=3), st.lists(_rules, min_size=1, max_size=3))
def test_two_policies_that_do_not_loosen_each_other_ask_the_same(first: list[Rule], second: list[Rule]) -> None:
    """Antisymmetry of a partial order: a difference that neither direction tells would be a hole."""

    def policy(rules: list[Rule]) -> ModelPolicy:
        return ModelPolicy(task="binary", gate=GatePolicy(snapshot="e@1", label="y", rules=rules))

    assert loosened(policy(first), policy(first)) == []
    if len(first) == len(second) == 1 and not loosened(policy(first), policy(second)) + loosened(policy(second), policy(first)):
        equal = {key for key in Rule.__struct_fields__ if getattr(first[0], key) == getattr(second[0], key)}
        apart = set(Rule.__struct_fields__) - equal
        # Equal in other words: no value is a value of 0 or 1, slices in another order, a margin of 0 in either unit.
        assert apart <= {"value", "slices", "margin", "relative_margin", "columns"} or apart == {"max_age"}


def _git(folder: Path, *words: str) -> str:
    names = ["-c", "user.name=Ana", "-c", "user.email=ana@example.org", "-c", "init.defaultBranch=main"]
    return subprocess.run(["git", *names, *words], cwd=folder, check=True, capture_output=True, text=True).stdout


TOML = """
[models.delay]
task = "binary"
[models.delay.gate]
snapshot = "eval@4"
label = "late"
confidence = {confidence}
rules = [{{ metric = "log_loss", test = "superior" }}]
"""


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A project below the top of a repository, on a branch that has left main."""
    folder = tmp_path / "repository" / "project"
    folder.mkdir(parents=True)
    _git(folder.parent, "init", "-q")
    (folder / "tidegate.toml").write_text(TOML.format(confidence=0.95))
    _git(folder.parent, "add", ".")
    _git(folder.parent, "commit", "-q", "-m", "first")
    _git(folder.parent, "checkout", "-q", "-b", "change")
    return folder


def _found(folder: Path, bucket: FolderBucket, confidence: float, base: str = "") -> tuple[list[str], list[str]]:
    policy = parse_model_policy("delay", {"task": "binary", "gate": {"snapshot": "eval@4", "label": "late", "confidence": confidence, "rules": [{"metric": "log_loss", "test": "superior"}]}})  # fmt: skip
    return find_loosening(bucket, "delay", policy, champion_receipt="", folder=folder, base=base)


def test_a_change_on_a_branch_is_held_against_where_it_left(repository: Path, bucket: FolderBucket) -> None:
    assert _found(repository, bucket, 0.95) == ([], [])
    assert _found(repository, bucket, 0.8)[0] == ["confidence was 0.95 and is 0.8"]  # not even committed
    (repository / "tidegate.toml").write_text(TOML.format(confidence=0.8))
    _git(repository, "commit", "-q", "-am", "easier")
    assert _found(repository, bucket, 0.8) == (["confidence was 0.95 and is 0.8"], ["Ana", "ana@example.org"])
    _git(repository, "checkout", "-q", "main")
    _git(repository, "merge", "-q", "change")
    assert _found(repository, bucket, 0.8) == ([], [])  # it stands on main now


def test_a_branch_that_is_named_and_not_there_is_no_comfort(repository: Path, bucket: FolderBucket) -> None:
    (found,), _ = _found(repository, bucket, 0.95, base="origin/release")
    assert "cannot be compared" in found
    assert "origin/release" in found


def test_what_cannot_be_understood_counts(repository: Path, bucket: FolderBucket) -> None:
    for text in (
        "models = 3\n[",
        "models = 3",
        "[models]\ndelay = 3",
        "[models.delay]\ntask = 'binary'\ngate = 3",
        "[models.delay]\ntask = 'binary'\n[models.delay.gate]\nrules = 3",
        f"a = {'[' * 5000}{']' * 5000}",
        "[models.delay]\ntask = 'binary'\ngate = { snapshot = 'a@1', label = 'y', rules = [], old_key = 1 }",
    ):
        (repository / "tidegate.toml").write_text(text)
        _git(repository, "commit", "-q", "-am", "odd")
        _git(repository, "branch", "-f", "odd")
        assert "cannot be understood" in _found(repository, bucket, 0.95, base="odd")[0][0], text
    (repository / "tidegate.toml").unlink()
    for text in ("tool = 3", "[tool]\ntidegate = 3", "[tool.tidegate]\nmodels = 3"):
        (repository / "pyproject.toml").write_text(text)
        _git(repository, "add", "-A")
        _git(repository, "commit", "-q", "-m", "odd")
        _git(repository, "branch", "-f", "odd")
        assert "cannot be understood" in _found(repository, bucket, 0.95, base="odd")[0][0], text


def test_the_policy_may_move_to_another_file_and_a_new_model_is_not_loosened(repository: Path, bucket: FolderBucket) -> None:
    text = TOML.format(confidence=0.99).replace("[models", "[tool.tidegate.models")
    (repository / "pyproject.toml").write_text(text)
    (repository / "tidegate.toml").unlink()
    _git(repository, "add", ".")
    _git(repository, "commit", "-q", "-am", "moved")
    assert _found(repository, bucket, 0.95, base="change")[0] == ["confidence was 0.99 and is 0.95"]
    policy = _policy()
    assert find_loosening(bucket, "other", policy, champion_receipt="", folder=repository).sentences == []


def test_without_git_and_without_a_champion_there_is_nothing_to_compare_with(tmp_path: Path, bucket: FolderBucket) -> None:
    assert _found(tmp_path, bucket, 0.5) == ([], [])
    lost = find_loosening(bucket, "delay", _policy(), champion_receipt="0" * 64, folder=tmp_path).sentences
    assert len(lost) == 1
    assert "cannot be compared" in lost[0]


def test_the_file_of_a_check_is_compared_as_well(repository: Path) -> None:
    path = repository / "gate.toml"
    keys = {"task": "binary", "label": "y", "candidate": "new", "rules": [{"metric": "accuracy", "test": "floor", "value": 0.8}]}
    path.write_text(
        'task = "binary"\nlabel = "y"\ncandidate = "new"\nrules = [{ metric = "accuracy", test = "floor", value = 0.8 }]\n'
    )
    assert find_loosening_of_file(parse_check_policy(keys), path) == []  # new in this change
    _git(repository, "add", ".")
    _git(repository, "commit", "-q", "-am", "gate")
    easier = keys | {"rules": [{"metric": "accuracy", "test": "floor", "value": 0.7}]}
    assert find_loosening_of_file(parse_check_policy(easier), path, base="change") == [
        "the rule floor accuracy: value was 0.8 and is 0.7"
    ]
    path.write_text("no toml")
    _git(repository, "commit", "-q", "-am", "broken")
    assert "cannot be compared" in find_loosening_of_file(parse_check_policy(keys), path, base="change")[0]
