"""Qualities of rankings against all orders of tied items, one by one, and against scikit-learn."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import ndcg_score

from tidegate.stats import retrieval
from tidegate.stats.estimate import Floats

_Depth = int | None


def _best(gains: Any, depth: _Depth) -> float:
    return float(sum(gain / np.log2(rank + 2) for rank, gain in enumerate(sorted(gains, reverse=True)[:depth])))


def _gain(gains: Any, depth: _Depth) -> float:
    return float(sum(gain / np.log2(rank + 2) for rank, gain in enumerate(gains[:depth])))


def _precisions(relevance: Any, depth: _Depth) -> float:
    hits = np.cumsum(relevance > 0)
    found = [hits[rank] / (rank + 1) for rank in range(len(relevance)) if relevance[rank] > 0 and (depth is None or rank < depth)]
    total = int((relevance > 0).sum())
    return float(sum(found)) / (total if depth is None else min(total, depth))


def _first(relevance: Any, depth: _Depth) -> float:
    return next((1 / (rank + 1) for rank, value in enumerate(relevance[:depth]) if value > 0), 0.0)


PLAIN: dict[str, tuple[Callable[..., Floats], Callable[[Any, _Depth], float]]] = {
    "ndcg": (retrieval.ndcg, lambda r, k: _gain(r, k) / _best(r, k)),
    "precision": (retrieval.precision, lambda r, k: float((r[:k] > 0).sum()) / (k or len(r))),
    "recall": (retrieval.recall, lambda r, k: float((r[:k] > 0).sum() / (r > 0).sum())),
    "hit_rate": (retrieval.hit_rate, lambda r, k: float((r[:k] > 0).any())),
    "mrr": (retrieval.reciprocal_rank, _first),
    "map": (retrieval.average_precision, _precisions),
}
items = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2)), min_size=1, max_size=6).filter(
    lambda found: any(r for r, _ in found)
)


@pytest.mark.parametrize("name", sorted(PLAIN))
@settings(max_examples=40, deadline=None)
@given(found=items, depth=st.sampled_from([None, 1, 2, 3, 5, 9]), seed=st.integers(0, 99))
def test_ties_count_by_the_mean_over_all_their_orders(name: str, found: Any, depth: _Depth, seed: int) -> None:
    quality, plain = PLAIN[name]
    relevance, scores = (np.array(values, dtype=float) for values in zip(*found, strict=True))
    orders = [np.array(order) for order in itertools.permutations(range(len(found)))]
    valid = [order for order in orders if np.all(np.diff(scores[order]) <= 0)]
    expected = np.mean([plain(relevance[order], depth) for order in valid])
    # among the items of two other queries, in any order of rows
    queries = np.concatenate([[7, 7], np.full(len(found), 3), [9]])
    mixed = np.random.default_rng(seed).permutation(len(queries))
    rows = np.concatenate([[1, 0], relevance, [0]])[mixed], np.concatenate([[1, 1], scores, [4]])[mixed]
    values = quality(retrieval.rank_items(*rows, queries[mixed]), depth)
    assert values[0] == pytest.approx(expected)
    assert np.isnan(values[2])  # nothing relevant


@pytest.mark.parametrize("depth", [None, 1, 5, 50])
def test_ndcg_agrees_with_scikit_learn(depth: _Depth) -> None:
    rng = np.random.default_rng(0)
    relevance, scores = rng.integers(0, 4, (20, 30)).astype(float), rng.integers(0, 8, (20, 30)).astype(float)
    ranked = retrieval.rank_items(relevance.ravel(), scores.ravel(), np.repeat(np.arange(20), 30))
    assert retrieval.ndcg(ranked, depth).mean() == pytest.approx(ndcg_score(relevance, scores, k=depth))


def test_exponential_gains() -> None:
    """Burges et al. (2005): relevance 3, 2 and 0 in the order 2, 3, 0."""
    ranked = retrieval.rank_items(np.array([3.0, 2.0, 0.0]), np.array([1.0, 2.0, 0.0]), np.zeros(3, dtype=np.int64))
    value = (3 + 7 / np.log2(3)) / (7 + 3 / np.log2(3))
    assert retrieval.ndcg(ranked, exponential=True)[0] == pytest.approx(value)


def test_reference_values_of_one_ranking() -> None:
    """Relevant on ranks 1, 3 and 6 of 10: average precision (1 + 2/3 + 3/6) / 3 (Manning, Raghavan & Schuetze 2008, section 8.4)."""
    relevance = np.array([1, 0, 1, 0, 0, 1, 0, 0, 0, 0], dtype=float)
    ranked = retrieval.rank_items(relevance, np.arange(10, 0, -1.0), np.zeros(10, dtype=np.int64))
    assert retrieval.average_precision(ranked)[0] == pytest.approx((1 + 2 / 3 + 3 / 6) / 3)
    assert retrieval.precision(ranked, 5)[0] == pytest.approx(2 / 5)
    assert retrieval.recall(ranked, 5)[0] == pytest.approx(2 / 3)
    assert retrieval.reciprocal_rank(ranked)[0] == 1
    assert retrieval.precision(ranked, 20)[0] == pytest.approx(3 / 20)


def test_all_tied_is_as_good_as_chance() -> None:
    ranked = retrieval.rank_items(np.array([1.0, 0, 0, 0]), np.zeros(4), np.zeros(4, dtype=np.int64))
    assert retrieval.hit_rate(ranked, 1)[0] == pytest.approx(0.25)
    assert retrieval.reciprocal_rank(ranked)[0] == pytest.approx((1 + 1 / 2 + 1 / 3 + 1 / 4) / 4)
