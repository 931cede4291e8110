"""The bootstrap over cells against the bootstrap over rows and linearisation; coverage; laws."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.stats import cells, confusion
from tidegate.stats.cells import Compared, Levels, Square, compare, evaluate, linear
from tidegate.stats.confusion import Score, on_margins
from tidegate.stats.tally import Tally, tally

ROWS = st.lists(st.tuples(*[st.booleans()] * 3), min_size=2, max_size=60)
SQUARE = Square()
F1 = Score(on_margins(confusion.fbeta))
MCC = Score(on_margins(confusion.mcc), -1.0)
SCORES = {
    "f1": F1,
    "f2": Score(on_margins(partial(confusion.fbeta, beta=2.0))),
    "precision": Score(on_margins(confusion.precision)),
    "balanced": Score(on_margins(confusion.balanced_accuracy)),
    "mcc": MCC,
    "kappa": Score(on_margins(confusion.kappa), -1.0),
}


def _count(scheme: Any, codes: Any, **more: Any) -> Tally:
    return tally(codes, base=scheme.base, **more)


def _data(n: int, seed: int) -> tuple[Any, Any, Any]:
    rng = np.random.default_rng(seed)
    labels = rng.random(n) < 0.3
    return labels, labels ^ (rng.random(n) < 0.2), labels ^ (rng.random(n) < 0.25)


def _boot(codes: Any, score: Score = F1, scheme: Any = SQUARE, **more: Any) -> Compared:
    return compare(scheme, score, _count(scheme, codes), confidence=0.95, rng=np.random.default_rng(0), **more)


def _lines(found: Compared) -> list[float]:
    return [number for estimate in found[:3] for number in estimate]


@pytest.mark.parametrize("name", SCORES)
def test_cell_bootstrap_agrees_with_row_bootstrap(name: str) -> None:
    score, codes = SCORES[name], SQUARE.codes(*_data(800, 1))
    found = _boot(codes, score)
    rng = np.random.default_rng(2)
    replicates = []
    for _ in range(4000):
        drawn = _count(SQUARE, codes[rng.integers(0, codes.size, codes.size)])
        ours, theirs = (evaluate(SQUARE, score, drawn.codes, drawn.counts, champion=champion) for champion in (False, True))
        replicates.append((ours, ours - theirs))
    for estimate, column in ((found.candidate, 0), (found.difference, 1)):
        ends = np.quantile([replicate[column] for replicate in replicates], [0.025, 0.975])
        assert estimate[1:3] == pytest.approx(ends, abs=0.08 * (estimate.high - estimate.low))


@pytest.mark.parametrize("name", SCORES)
def test_linearisation_agrees_with_the_bootstrap(name: str) -> None:
    codes = SQUARE.codes(*_data(3000, 3))
    straight = linear(SQUARE, SCORES[name], _count(SQUARE, codes), confidence=0.95)
    drawn = _boot(codes, SCORES[name])
    assert not straight.drawn
    for one, other in zip(straight[:3], drawn[:3], strict=True):
        assert one.value == pytest.approx(other.value)
        assert one[1:3] == pytest.approx(other[1:3], abs=0.06 * (other.high - other.low))


@given(ROWS, st.randoms())
def test_the_order_of_rows_changes_nothing(rows: list[tuple[bool, bool, bool]], random: Any) -> None:
    mixed = list(rows)
    random.shuffle(mixed)
    one, other = (_boot(SQUARE.codes(*np.array(each).T), draws=200) for each in (rows, mixed))
    assert _lines(one) == pytest.approx(_lines(other), nan_ok=True, abs=0)


@given(ROWS)
def test_swapping_the_models_mirrors_the_difference(rows: list[tuple[bool, bool, bool]]) -> None:
    labels, ours, theirs = np.array(rows).T
    there, back = SQUARE.codes(labels, ours, theirs), SQUARE.codes(labels, theirs, ours)
    for score in (F1, MCC):
        for method in (
            partial(_boot, score=score, draws=200),
            lambda codes, score=score: linear(SQUARE, score, _count(SQUARE, codes), confidence=0.95),
        ):
            one, other = method(there), method(back)
            if _count(SQUARE, there).counts.tolist() != _count(SQUARE, back).counts.tolist() or not one.drawn:
                assert one.difference[:3] == pytest.approx(other.difference.negated()[:3], nan_ok=True, abs=1e-12)
            assert one.candidate.value == pytest.approx(other.champion.value, nan_ok=True)


@given(ROWS, st.floats(0.1, 9))
def test_equal_weights_are_no_weights(rows: list[tuple[bool, bool, bool]], weight: float) -> None:
    codes = SQUARE.codes(*np.array(rows).T)
    plain = linear(SQUARE, F1, _count(SQUARE, codes), confidence=0.95)
    weighted = linear(SQUARE, F1, _count(SQUARE, codes, weights=np.full(codes.size, weight)), confidence=0.95)
    assert _lines(weighted) == pytest.approx(_lines(plain), nan_ok=True, rel=1e-6)


@given(ROWS)
def test_clusters_of_one_row_are_rows(rows: list[tuple[bool, bool, bool]]) -> None:
    codes = SQUARE.codes(*np.array(rows).T)
    plain = linear(SQUARE, F1, _count(SQUARE, codes), confidence=0.95)
    alone = linear(SQUARE, F1, _count(SQUARE, codes, clusters=np.arange(codes.size)), confidence=0.95)
    assert _lines(alone) == pytest.approx(_lines(plain), nan_ok=True, rel=1e-6, abs=1e-12)


def test_clusters_of_copies_are_no_new_evidence() -> None:
    codes = SQUARE.codes(*_data(400, 4))
    plain = linear(SQUARE, F1, _count(SQUARE, codes), confidence=0.95)
    copied = _count(SQUARE, np.tile(codes, 3), clusters=np.tile(np.arange(400), 3))
    assert _lines(linear(SQUARE, F1, copied, confidence=0.95)) == pytest.approx(_lines(plain))


def test_a_heavy_row_counts_by_its_weight() -> None:
    labels, ours, theirs = _data(500, 6)
    codes = SQUARE.codes(labels, ours, theirs)
    weights = np.random.default_rng(7).integers(1, 4, 500)
    found = linear(SQUARE, F1, _count(SQUARE, codes, weights=weights.astype(float)), confidence=0.95)
    repeated = _boot(np.repeat(codes, weights))
    assert found.candidate.value == pytest.approx(repeated.candidate.value)
    assert found.difference.high - found.difference.low > repeated.difference.high - repeated.difference.low


def test_equal_models_are_not_proven_equal() -> None:
    labels, ours, _ = _data(60, 5)
    codes = SQUARE.codes(labels, ours)
    for found in (_boot(codes), linear(SQUARE, F1, _count(SQUARE, codes), confidence=0.95)):
        assert found.difference.value == 0
        assert found.difference.low < -0.02
        assert found.difference.high > 0.02


def test_a_rare_class_without_differences_is_less_certain_than_all_rows() -> None:
    """The doubt of equal models is about the rows that the metric is of: ten positives, not a thousand rows."""
    labels = np.arange(1000) < 10
    codes = SQUARE.codes(labels, labels)
    recall = Score(on_margins(confusion.recall))
    found = linear(SQUARE, recall, _count(SQUARE, codes), confidence=0.95).difference
    assert found.high > 0.2


def test_a_perfect_score_is_not_certain() -> None:
    labels = np.arange(60) % 2
    found = _boot(SQUARE.codes(labels, labels)).candidate
    assert found.value == found.high == 1
    assert found.low < 0.96


def test_the_metric_of_nothing_is_undefined() -> None:
    nothing = np.zeros(10, dtype=np.int64)
    for found in (_boot(nothing), linear(SQUARE, F1, _count(SQUARE, nothing), confidence=0.95)):
        assert np.isnan(found.difference.value)
        assert np.isnan(found.difference.low)


def test_a_thousand_classes_stay_sparse() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 1000, 20_000)
    ours, theirs = (np.where(rng.random(20_000) < share, labels, rng.integers(0, 1000, 20_000)) for share in (0.8, 0.75))
    square = Square(1000)
    found = _boot(square.codes(labels, ours, theirs), Score(on_margins(confusion.macro_fbeta)), square)
    accurate = _boot(square.codes(labels, ours, theirs), Score(on_margins(confusion.accuracy)), square)
    assert not found.drawn
    assert found.difference.low > 0
    assert found.difference.high - found.difference.low == pytest.approx(
        accurate.difference.high - accurate.difference.low, rel=0.15
    )


def test_the_delta_method_agrees_with_the_bootstrap(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 5, 3000)
    ours, theirs = (np.where(rng.random(3000) < share, labels, rng.integers(0, 5, 3000)) for share in (0.8, 0.75))
    square, score = Square(5), Score(on_margins(confusion.macro_fbeta))
    drawn = _boot(square.codes(labels, ours, theirs), score, square)
    monkeypatch.setattr(cells, "MOST_CELLS", 10)
    straight = _boot(square.codes(labels, ours, theirs), score, square)
    assert (drawn.drawn, straight.drawn) == (True, False)
    for one, other in zip(straight[:3], drawn[:3], strict=True):
        assert one[:3] == pytest.approx(other[:3], abs=0.08 * (other.high - other.low))


def test_costs_are_means_of_rows() -> None:
    costs = ((0.0, 1.0), (5.0, 0.0))
    labels, ours, theirs = _data(500, 8)
    square, score = Square(2, costs), Score(confusion.mean_of, 0.0, 5.0)
    found = _boot(square.codes(labels, ours, theirs), score, square)
    spent = [np.array(costs)[labels.astype(int), each.astype(int)] for each in (ours, theirs)]
    assert found.candidate.value == pytest.approx(spent[0].mean())
    change = spent[0] - spent[1]
    assert found.difference.value == pytest.approx(change.mean())
    half = 1.96 * change.std() / np.sqrt(500)
    assert found.difference.high - found.difference.value == pytest.approx(half, rel=0.15)


@given(st.integers(1, 6), st.integers(0, 10_000))
def test_levels_read_what_they_wrote(labels: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth, ours, theirs = (rng.random((40, labels)) < 0.4 for _ in range(3))
    for share in (False, True):
        levels = Levels(labels, share)
        counted = _count(levels, levels.codes(truth, ours, theirs))
        sums = [levels.design(counted.codes, champion=champion).totals(counted.counts) for champion in (False, True)]
        for each, found in zip((ours, theirs), sums, strict=True):
            expected = [40, (each == truth).mean() * 40] if share else [truth.sum(), each.sum(), (truth & each).sum()]
            assert found.tolist() == pytest.approx(expected)
        assert levels.swapped(levels.swapped(counted.codes)).tolist() == counted.codes.tolist()


def _truth(rare: float, errors: tuple[float, float], more: tuple[float, float], shared: float) -> np.ndarray:
    """Probabilities of the eight cells: class 1 has the share ``rare``; models err by class, ``shared`` of it together."""
    chances = np.zeros(8)
    for label, weight in ((0, 1 - rare), (1, rare)):
        ours, theirs = errors[label], more[label]
        both = shared * min(ours, theirs) + (1 - shared) * ours * theirs
        for code, chance in (((1, 1), both), ((1, 0), ours - both), ((0, 1), theirs - both), ((0, 0), 1 - ours - theirs + both)):
            decisions = [label ^ wrong for wrong in code]
            chances[int(SQUARE.codes(np.array([label]), *(np.array([each]) for each in decisions))[0])] += weight * chance
    return chances


@pytest.mark.slow
@pytest.mark.parametrize(("n", "rare"), [(400, 0.05), (2000, 0.05), (100, 0.5), (400, 0.5), (2000, 0.5)])
@pytest.mark.parametrize("name", ["f1", "balanced", "mcc", "precision"])
def test_intervals_cover(name: str, n: int, rare: float) -> None:
    """An end is wrong at most as often as it says, but for chance and half a point; there are 20 positives or more."""
    score, rng, trials = SCORES[name], np.random.default_rng(11), 1500
    for chances in (_truth(rare, (0.1, 0.2), (0.1, 0.2), 0.7), _truth(rare, (0.08, 0.3), (0.05, 0.2), 0.7)):
        ours, theirs = (evaluate(SQUARE, score, np.arange(8), chances, champion=champion) for champion in (False, True))
        wrong, used = np.zeros(2), 0
        for _ in range(trials):
            counts = rng.multinomial(n, chances)
            if min(counts[:4].sum(), counts[4:].sum(), counts[[2, 3, 6, 7]].sum(), counts[[1, 3, 5, 7]].sum()) < 10:
                continue
            drawn = Tally(np.zeros(8, dtype=np.int64), np.arange(8), None, counts)
            found = compare(SQUARE, score, drawn, confidence=0.95, rng=rng, draws=1000).difference
            wrong += (ours - theirs < found.low, ours - theirs > found.high)
            used += 1
        assert used > trials / 2
        assert (wrong / used).max() <= 0.03 + 3 * np.sqrt(0.025 * 0.975 / used)
