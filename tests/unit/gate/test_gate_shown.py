"""Rows that changed sides: counted right, the worst first."""

from __future__ import annotations

import numpy as np
import pytest
from gate_rows import policy, rule
from hypothesis import given
from hypothesis import strategies as st

from tidegate.gate import check
from tidegate.gate.evidence import Evidence
from tidegate.gate.shown import WORST, find_flips, find_sides, threshold_of
from tidegate.records.policy import Rule


def binary(labels: list[float], ours: list[float], theirs: list[float]) -> Evidence:
    return Evidence(task="binary", labels=np.array(labels), candidate=np.array(ours), champion=np.array(theirs))


def flips(evidence: Evidence, threshold: float = 0.5):
    sides = find_sides(evidence, threshold)
    assert sides is not None
    return find_flips(evidence, sides)


def test_counts_and_the_worst_by_how_much_the_loss_grew() -> None:
    found = flips(binary([1, 1, 0, 0, 1], [0.4, 0.01, 0.6, 0.1, 0.9], [0.6, 0.6, 0.4, 0.9, 0.2]))
    assert (found.gained, found.lost) == (2, 3)
    assert [row.key for row in found.worst] == ["1", "0", "2"]
    assert (found.worst[0].label, found.worst[0].candidate, found.worst[0].champion) == ("1", "0.01", "0.6")
    assert found.asked == "right at a threshold of 0.5"


def test_the_threshold_is_that_of_the_rules() -> None:
    rules = [Rule(test="superior", metric="log_loss"), Rule(test="floor", metric="recall@0.3", value=0.5)]
    assert threshold_of(rules, "binary") == 0.3
    assert threshold_of([*rules, Rule(test="flips", metric="accuracy@0.7", value=0.1)], "binary") == 0.7
    assert threshold_of(rules[:1], "binary") == 0.5
    assert flips(binary([1, 0], [0.35, 0.2], [0.2, 0.2]), 0.3).gained == 1


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=50))
def test_sides_swap_when_the_models_do(rows: list[tuple[bool, float, float]]) -> None:
    labels, ours, theirs = (list(map(float, column)) for column in zip(*rows, strict=True))
    one, other = flips(binary(labels, ours, theirs)), flips(binary(labels, theirs, ours))
    assert (one.gained, one.lost) == (other.lost, other.gained)
    assert len(one.worst) == min(one.lost, WORST)
    for row in one.worst:
        place = int(row.key)
        assert (theirs[place] >= 0.5) == (labels[place] > 0)
        assert (ours[place] >= 0.5) != (labels[place] > 0)


def test_numbers_scores_and_classes() -> None:
    y = np.zeros(3)
    found = flips(Evidence(task="regression", labels=y, candidate=np.array([5.0, 0.1, 2.0]), champion=np.array([1.0, 1.0, 1.0])))
    assert (found.gained, found.lost, [row.key for row in found.worst]) == (1, 2, ["0", "2"])
    scores = flips(Evidence(task="scores", labels=y, candidate=np.array([1.0, 2.0, 3.0]), champion=np.array([4.0, 2.0, 1.0])))
    assert (scores.gained, scores.lost, scores.worst[0].label) == (1, 1, "")
    names = ["cat", "dog"]
    kinds = Evidence(
        task="multiclass",
        labels=np.array([0.0, 1.0]),
        candidate=np.array([1.0, 1.0]),
        champion=np.array([0.0, 0.0]),
        classes=names,
    )
    assert (flips(kinds).worst[0].label, flips(kinds).worst[0].candidate) == ("cat", "dog")
    chances = Evidence(
        task="multiclass",
        labels=np.array([0.0]),
        candidate=np.array([[0.1, 0.9]]),
        champion=np.array([[0.8, 0.2]]),
        classes=names,
    )
    assert (flips(chances).worst[0].candidate, flips(chances).worst[0].champion) == ("dog (0.9)", "cat (0.8)")
    many = Evidence(
        task="multilabel",
        labels=np.array([[1.0, 0.0]]),
        candidate=np.array([[1.0, 1.0]]),
        champion=np.array([[1.0, 0.0]]),
        classes=names,
    )
    assert (flips(many).worst[0].label, flips(many).worst[0].candidate) == ("cat 1", "cat 1, dog 1")


def test_no_champion_and_rankings_have_no_sides() -> None:
    ones = np.ones(4)
    assert find_sides(Evidence(task="binary", labels=ones, candidate=ones)) is None
    assert find_sides(Evidence(task="ranking", labels=ones, candidate=ones, champion=ones)) is None


@pytest.mark.parametrize("key", ["id", ""])
def test_rows_are_named_by_their_key(key: str) -> None:
    rows = {
        "id": ["a", "b", "c", "d"] * 10,
        "y": [1, 0, 1, 0] * 10,
        "new": [0.1, 0.2, 0.9, 0.1] * 10,
        "old": [0.8, 0.1, 0.9, 0.2] * 10,
    }
    rows["id"] = [f"{name}{place}" for place, name in enumerate(rows["id"])]
    report = check({name: np.array(values) for name, values in rows.items()}, policy(rule("accuracy"), key=key))
    assert report.flips is not None
    assert report.flips.worst[0].key == ("a0" if key else "0")
