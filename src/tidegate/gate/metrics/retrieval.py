"""Metrics of rankings: measured query by query, then a mean over queries; ties of scores count by their expectation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from tidegate.errors import UsageError
from tidegate.gate.evidence import MIN_ROWS, Evidence
from tidegate.gate.metrics.entry import Entry, Named
from tidegate.gate.metrics.mean_sums import MeanSums
from tidegate.gate.metrics.metric import Measured, Metric, measured_at_once
from tidegate.stats import retrieval
from tidegate.stats.estimate import Floats
from tidegate.stats.retrieval import Ranked

_Quality = Callable[..., Floats]
"""A ranked list and a depth to [q] values by query."""
_NAMES = {
    "ndcg": (retrieval.ndcg, "discounted gain of the ranking as a share of the best possible"),
    "mrr": (retrieval.reciprocal_rank, "mean of one over the rank of the first relevant item"),
    "map": (retrieval.average_precision, "mean of the precision at the ranks of relevant items"),
    "precision": (retrieval.precision, "share of relevant items among those shown"),
    "recall": (retrieval.recall, "share of relevant items that are shown"),
    "hit_rate": (retrieval.hit_rate, "share of queries with a relevant item among those shown"),
}
EXPONENTIAL = "exponential"


def itself(labels: Any, predictions: Any) -> Floats:
    """What a unit adds where its value is known already."""
    del labels
    return np.asarray(predictions, dtype=np.float64)


def ranking_metric(name: str, quality: _Quality, about: str) -> Metric:
    """The mean over queries of a quality of their rankings: higher is better, 1 is best."""
    return Metric(name=name, better="higher", about=about, measure=partial(_measure, quality))


def by_query(quality: _Quality, evidence: Evidence) -> Evidence:
    """Evidence of one row per query that has a relevant item: the quality of each model's ranking of it."""
    queries = evidence.queries
    assert queries is not None
    _, first = np.unique(queries, return_index=True)

    def of(scores: Floats | None) -> Floats | None:
        return None if scores is None else quality(_ranked(evidence, scores))

    candidate = of(evidence.candidate)
    assert candidate is not None
    whole = Evidence(
        task="regression",
        labels=np.zeros(len(first)),
        candidate=candidate,
        champion=of(evidence.champion),
        clusters=None if evidence.clusters is None else evidence.clusters[first],
        weights=None if evidence.weights is None else evidence.weights[first],
    )
    return whole.take(np.flatnonzero(~np.isnan(candidate)))


def _ranked(evidence: Evidence, scores: Floats) -> Ranked:
    queries = evidence.queries
    assert queries is not None
    which = "candidate" if scores is evidence.candidate else "champion"
    return evidence.derive(("ranked", which), lambda: retrieval.rank_items(evidence.labels, scores, queries))


def _measure(quality: _Quality, evidence: Evidence, confidence: float, rng: np.random.Generator) -> Measured:
    units = by_query(quality, evidence)
    found = measured_at_once(MeanSums(loss=itself, limit=1.0))(units, confidence, rng)
    few = (
        f"{units.rows} queries with a relevant item are too few: at least {MIN_ROWS} are needed" if units.rows < MIN_ROWS else ""
    )
    method = f"{found.method} over {units.rows:,} queries; ties by their expected order (McSherry & Najork 2008)"
    return found._replace(method=method, few=few, details=found.details | {"queries": float(units.rows)})


def _read(quality: _Quality, plain: Metric, named: Named, task: str, costs: tuple[tuple[float, ...], ...]) -> Metric:
    del task, costs
    depth: int | None = None
    if named.at is not None:
        if not named.at.isascii() or not named.at.isdigit() or not 0 < int(named.at) <= 1_000_000:
            raise UsageError(
                "bad-depth",
                f"{named.at!r} is no number of ranks",
                why="it says how many of the first items count",
                fix=f"write {named.stem}@10",
            )
        depth = int(named.at)
    options: dict[str, Any] = {}
    if named.part is not None:
        if named.stem != "ndcg" or named.part != EXPONENTIAL:
            raise UsageError(
                "bad-metric",
                f"{named.stem} knows no {named.part!r}",
                fix=f"write ndcg[{EXPONENTIAL}]@10" if named.stem == "ndcg" else f"write {named.stem}@10",
            )
        options["exponential"] = True
    shown = f" within the first {depth}" if depth else ""
    return replace(
        ranking_metric(named.name, partial(quality, depth=depth, **options), plain.about + shown),
    )


def _entry(name: str) -> Entry:
    quality, about = _NAMES[name]
    plain = ranking_metric(name, quality, about)
    return Entry(metric=plain, tasks=("ranking",), read=partial(_read, quality, plain))


RANKED: dict[str, Entry] = {name: _entry(name) for name in _NAMES}
"""By stem. ``precision`` and ``recall`` are also names of other tasks' metrics, so the catalogue asks here first for rankings."""
