"""How good ranked lists are, query by query, where items with equal scores stand in random order.

Ties are not broken by luck: every measure is its expectation over all orders of tied items. A tie group stands on the ranks
``start + 1`` to ``start + size``; within it every item is equally likely on each of them.
Source: McSherry & Najork, Computing information retrieval performance measures efficiently in the presence of tied scores,
ECIR 2008, 414-421.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tidegate.stats.distributions import special
from tidegate.stats.estimate import Codes, Floats


class Ranked(NamedTuple):
    """Items sorted by query and falling score: [n] items, [g] tie groups, [q] queries in the order of their codes."""

    queries: NDArray[np.int64]
    """[n] number of the query, from 0"""
    rank: NDArray[np.int64]
    """[n] from 1 within the query"""
    relevance: Floats
    """[n]"""
    ties: NDArray[np.int64]
    """[n] number of the tie group"""
    size: Floats
    """[g] items in it"""
    start: Floats
    """[g] items of the query above it"""
    relevant: Floats
    """[g] relevant items in it"""
    above: Floats
    """[g] relevant items of the query above it"""
    total: Floats
    """[q] relevant items"""


def rank_items(relevance: Floats, scores: Floats, queries: Codes) -> Ranked:
    """Sorts [n] items within their queries; an item is relevant where ``relevance`` is above 0."""
    order = np.lexsort((-scores, queries))
    _, codes = np.unique(queries[order], return_inverse=True)
    codes = codes.astype(np.int64, copy=False)
    score, gain = scores[order], relevance[order]
    begins = np.flatnonzero(np.diff(codes, prepend=-1))
    rank = np.arange(1, len(order) + 1) - begins[codes]
    fresh = np.ones(len(order), dtype=np.bool_)
    fresh[1:] = (codes[1:] != codes[:-1]) | (score[1:] != score[:-1])
    ties = np.cumsum(fresh) - 1
    firsts = np.flatnonzero(fresh)
    good = (gain > 0).astype(np.float64)
    relevant = np.asarray(np.bincount(ties, weights=good), dtype=np.float64)
    total = np.asarray(np.bincount(codes, weights=good), dtype=np.float64)
    before = np.concatenate([[0.0], np.cumsum(relevant)[:-1]])
    above = before - np.concatenate([[0.0], np.cumsum(total)[:-1]])[codes[firsts]]
    size = np.bincount(ties).astype(np.float64)
    return Ranked(codes, rank, gain, ties, size, (rank[firsts] - 1).astype(np.float64), relevant, above, total)


def ndcg(ranked: Ranked, depth: int | None = None, *, exponential: bool = False) -> Floats:
    """[q] discounted cumulative gain of the first ``depth`` ranks as a share of the best possible; NaN without a relevant item.

    The gain of an item is its relevance (Jarvelin & Kekalainen, ACM TOIS 20, 2002; as trec_eval and scikit-learn have it), or
    2 to the relevance less 1 (Burges et al., ICML 2005); the discount of rank i is log2(i + 1).
    """
    gain = np.exp2(ranked.relevance) - 1 if exponential else ranked.relevance
    mean = np.bincount(ranked.ties, weights=gain) / ranked.size
    found = _by_query(ranked, mean[ranked.ties] * _discount(ranked.rank, depth))
    best = gain[np.lexsort((-gain, ranked.queries))]  # queries stay together, so ranks need not be sorted again
    ideal = _by_query(ranked, best * _discount(ranked.rank, depth))
    return _share(found, ideal)


def precision(ranked: Ranked, depth: int | None = None) -> Floats:
    """[q] share of relevant items among the first ``depth`` ranks (all of them: the query's items); NaN without a relevant item.

    A list shorter than ``depth`` counts as filled with irrelevant items, as in trec_eval.
    """
    ranks = np.bincount(ranked.queries).astype(np.float64) if depth is None else np.full(len(ranked.total), float(depth))
    return np.where(ranked.total > 0, _hits(ranked, depth) / ranks, np.nan)


def recall(ranked: Ranked, depth: int | None = None) -> Floats:
    """[q] share of the query's relevant items that stand on the first ``depth`` ranks; NaN without a relevant item."""
    return _share(_hits(ranked, depth), ranked.total)


def hit_rate(ranked: Ranked, depth: int | None = None) -> Floats:
    """[q] chance that a relevant item stands on the first ``depth`` ranks; NaN without a relevant item.

    In the tie group that ``depth`` cuts, none is hit with the hypergeometric chance of drawing irrelevant items only.
    """
    drawn = ranked.size if depth is None else np.clip(depth - ranked.start, 0, ranked.size)
    poor = ranked.size - ranked.relevant
    missed = np.where(drawn > poor, -np.inf, _choose(poor, np.minimum(drawn, poor)) - _choose(ranked.size, drawn))
    chance = np.bincount(_owners(ranked), weights=np.maximum(missed, -1e9), minlength=len(ranked.total))
    return np.where(ranked.total > 0, -np.expm1(chance), np.nan)


def reciprocal_rank(ranked: Ranked, depth: int | None = None) -> Floats:
    """[q] one over the rank of the first relevant item, 0 below ``depth``; NaN without a relevant item.

    Of a tie group of g items, r of them relevant, the first relevant one stands at place j with chance C(g - j, r - 1) / C(g, r).
    """
    size, relevant = ranked.size[ranked.ties], ranked.relevant[ranked.ties]
    place = ranked.rank - ranked.start[ranked.ties]
    first = (ranked.above[ranked.ties] == 0) & (relevant > 0) & (place <= size - relevant + 1)
    chance = np.zeros(len(place))
    g, r, j = size[first], relevant[first], place[first]
    chance[first] = np.exp(_choose(g - j, r - 1) - _choose(g, r))
    found = _by_query(ranked, chance * _cut(ranked.rank, depth) / ranked.rank)
    return np.where(ranked.total > 0, found, np.nan)


def average_precision(ranked: Ranked, depth: int | None = None) -> Floats:
    """[q] mean over the relevant items of the precision at their ranks, 0 for those below ``depth``; NaN without a relevant item.

    Divided by the number of relevant items, at most ``depth``, so that a perfect list has 1.
    """
    size, relevant = ranked.size[ranked.ties], ranked.relevant[ranked.ties]
    place = ranked.rank - ranked.start[ranked.ties]
    others = (place - 1) * np.divide(relevant - 1, size - 1, out=np.zeros(len(size)), where=size > 1)
    expected = relevant / size * (ranked.above[ranked.ties] + 1 + others) / ranked.rank
    found = _by_query(ranked, expected * _cut(ranked.rank, depth))
    return _share(found, ranked.total if depth is None else np.minimum(ranked.total, depth))


def _by_query(ranked: Ranked, values: Floats) -> Floats:
    """[q] sums of [n] values of items."""
    return np.asarray(np.bincount(ranked.queries, weights=values, minlength=len(ranked.total)), dtype=np.float64)


def _hits(ranked: Ranked, depth: int | None) -> Floats:
    return _by_query(ranked, (ranked.relevant / ranked.size)[ranked.ties] * _cut(ranked.rank, depth))


def _owners(ranked: Ranked) -> NDArray[np.int64]:
    """[g] the query of each tie group."""
    return ranked.queries[np.flatnonzero(np.diff(ranked.ties, prepend=-1))]


def _cut(rank: NDArray[np.int64], depth: int | None) -> Floats:
    return np.ones(len(rank)) if depth is None else (rank <= depth).astype(np.float64)


def _discount(rank: NDArray[np.int64], depth: int | None) -> Floats:
    return _cut(rank, depth) / np.log2(rank + 1.0)


def _share(part: Floats, whole: Floats) -> Floats:
    return np.divide(part, whole, out=np.full(len(whole), np.nan), where=whole > 0)


def _choose(n: Floats, k: Floats) -> Floats:
    """The logarithm of the number of ways to choose k of n."""
    log = special().gammaln
    return np.asarray(log(n + 1) - log(k + 1) - log(n - k + 1))
