"""Curves are small, the same each time, and what the rows say."""

from __future__ import annotations

import itertools

import msgspec
import numpy as np
import pytest
from gate_rows import binary_rows
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import auc, average_precision_score, roc_auc_score, roc_curve

from tidegate.gate.curves import POINTS, SCATTERED, draw_curves, thin
from tidegate.gate.evidence import Evidence
from tidegate.gate.shown import find_flips, find_sides
from tidegate.records.report import Curve


def evidence(n: int = 3000, *, seed: int = 0, weights: bool = False) -> Evidence:
    rows = binary_rows(n, seed=seed)
    return Evidence(
        task="binary",
        labels=rows["y"].astype(float),
        candidate=rows["new"],
        champion=rows["old"],
        weights=rows["weight"] if weights else None,
    )


def drawn(given: Evidence) -> dict[str, Curve]:
    return {curve.kind: curve for curve in draw_curves(given, find_sides(given))}


@pytest.mark.parametrize("weights", [False, True])
@pytest.mark.parametrize("n", [40, 3000])
def test_roc_has_the_area_and_the_points_of_all_rows(n: int, weights: bool) -> None:
    found = evidence(n, weights=weights)
    curve = drawn(found)["roc"]
    for x, y, scores in (
        (curve.candidate_x, curve.candidate_y, found.candidate),
        (curve.champion_x, curve.champion_y, found.champion),
    ):
        assert len(x) <= POINTS
        assert auc(x, y) == pytest.approx(roc_auc_score(found.labels, scores, sample_weight=found.weights), abs=0.003)
        false, true, _ = roc_curve(found.labels, scores, sample_weight=found.weights, drop_intermediate=False)
        off = [np.hypot(false - a, true - b).min() for a, b in zip(x, y, strict=True)]
        assert max(off) < 2e-4, "every point is one that the rows have"
        assert (x[0], y[0], x[-1], y[-1]) == (0, 0, 1, 1)


def test_precision_and_recall_are_those_of_the_rows() -> None:
    found = evidence()
    curve = drawn(found)["pr"]
    assert auc(curve.candidate_x, curve.candidate_y) == pytest.approx(
        average_precision_score(found.labels, found.candidate), abs=0.01
    )
    assert curve.candidate_y[-1] == pytest.approx(found.labels.mean(), abs=1e-3)


@pytest.mark.parametrize("weights", [False, True])
def test_calibration_bins_hold_all_rows(weights: bool) -> None:
    found = evidence(5000, weights=weights)
    curve = drawn(found)["calibration"]
    total = np.ones(found.rows) if found.weights is None else found.weights
    assert sum(curve.candidate_weight) == pytest.approx(total.sum(), rel=1e-3)
    for values, target in ((curve.candidate_x, found.candidate), (curve.candidate_y, found.labels)):
        mean = np.average(values, weights=curve.candidate_weight)
        assert mean == pytest.approx(np.average(target, weights=total), abs=1e-3)
    assert max(curve.candidate_weight) < 2.5 * min(curve.candidate_weight)


def test_decisions_and_ties_are_drawn() -> None:
    rng = np.random.default_rng(3)
    labels = (rng.random(400) < 0.3).astype(float)
    hard = Evidence(task="binary", labels=labels, candidate=np.round(rng.random(400)), champion=labels.copy(), hard=True)
    curves = drawn(hard)
    assert set(curves) == {"roc", "pr"}
    assert len(curves["roc"].candidate_x) == 3
    assert curves["roc"].champion_y == [0, 1, 1]
    constant = Evidence(task="binary", labels=labels, candidate=np.full(400, 0.3), champion=np.full(400, 0.5))
    assert drawn(constant)["roc"].candidate_x == [0, 1]
    assert len(drawn(constant)["calibration"].candidate_x) == 1


def test_the_scatter_keeps_rows_that_changed_sides_and_says_so() -> None:
    found = evidence(20_000)
    sides = find_sides(found)
    assert sides is not None
    curve = drawn(found)["scatter"]
    assert len(curve.candidate_x) == SCATTERED
    words = {word: curve.label.count(word) for word in ("gained", "lost", "right", "wrong")}
    assert words["gained"] + words["lost"] == SCATTERED // 2
    changed = int((sides.gained | sides.lost).sum())
    assert curve.note == f"750 of the {changed:,} rows that changed sides, and 750 of the {20_000 - changed:,} others"
    for x, y, word in zip(curve.candidate_x, curve.candidate_y, curve.label, strict=True):
        if abs(x - 0.5) > 1e-3 and abs(y - 0.5) > 1e-3:
            assert ((x >= 0.5) != (y >= 0.5)) == (word in {"gained", "lost"})
    assert len(drawn(evidence(300))["scatter"].candidate_x) == 300


def test_numbers_and_classes_have_pictures_of_their_own() -> None:
    rng = np.random.default_rng(5)
    y = rng.normal(size=2000)
    numbers = drawn(Evidence(task="regression", labels=y, candidate=y + rng.normal(0, 0.1, 2000), champion=y + 1))
    assert set(numbers) == {"residuals", "calibration", "scatter"}
    assert numbers["residuals"].champion_y == pytest.approx([1.0] * 99)
    assert numbers["residuals"].candidate_y == sorted(numbers["residuals"].candidate_y)
    assert numbers["scatter"].label == []
    labels = np.repeat([0.0, 1.0, 2.0], 100)
    wrong = labels.copy()
    wrong[:7] = 2
    wrong[100:103] = 0
    classes = Evidence(task="multiclass", labels=labels, candidate=wrong, champion=labels, classes=["cat", "dog", "owl"])
    confused = drawn(classes)["confusion"]
    assert confused.label == ["cat taken for owl", "dog taken for cat"]
    assert (confused.candidate_weight, confused.champion_weight) == ([7, 3], [0, 0])
    chances = Evidence(
        task="multiclass",
        labels=labels,
        candidate=np.eye(3)[wrong.astype(int)],
        champion=np.full((300, 3), 1 / 3),
        classes=["a", "b", "c"],
    )
    assert drawn(chances)["scatter"].candidate_x == [pytest.approx(1 / 3, abs=1e-4)] * 300


def test_tasks_without_pictures_have_none() -> None:
    ones = np.ones(50)
    assert (
        draw_curves(
            Evidence(task="ranking", labels=ones, candidate=ones, champion=ones, queries=np.zeros(50, dtype=np.int64)), None
        )
        == []
    )
    many = Evidence(
        task="multilabel",
        labels=np.ones((50, 3)),
        candidate=np.ones((50, 3)),
        champion=np.zeros((50, 3)),
        classes=["a", "b", "c"],
    )
    assert draw_curves(many, find_sides(many)) == []


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=2, max_size=60))
def test_what_is_left_out_lies_on_the_line_through_what_is_kept(points: list[tuple[float, float]]) -> None:
    x, y = (np.array(axis) for axis in zip(*points, strict=True))
    kept = thin(x, y, most=1000, seen=0.05)
    assert kept[0] == 0
    assert kept[-1] == len(x) - 1
    for start, end in itertools.pairwise(kept):
        across, up = x[end] - x[start], y[end] - y[start]
        length = np.hypot(across, up)
        for place in range(start + 1, end):
            far = np.hypot(x[place] - x[start], y[place] - y[start])
            if length:
                far = abs(across * (y[place] - y[start]) - up * (x[place] - x[start])) / length
            assert far <= 0.05 + 1e-12
    assert len(thin(x, y, most=2)) == 2


def test_a_million_rows_stay_small() -> None:
    found = evidence(1_000_000)
    sides = find_sides(found)
    assert sides is not None
    flips, curves = find_flips(found, sides), draw_curves(found, sides)
    assert len(msgspec.json.encode((flips, curves))) < 300_000
    assert curves == draw_curves(found, sides)
