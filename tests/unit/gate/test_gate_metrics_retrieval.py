"""Rankings through the gate: one query is one piece of evidence."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gate_rows import rule

from tidegate.gate import check
from tidegate.gate.evidence import Evidence
from tidegate.gate.metrics import metric_names, parse_metric
from tidegate.records.verdict import Verdict

METRICS = ["ndcg@5", "ndcg[exponential]@5", "mrr@5", "map@5", "precision@3", "recall@3", "hit_rate@1", "map", "ndcg"]


def _rows(queries: int = 400, *, new: float = 0.3, old: float = 2.0, seed: int = 0) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    size = queries * 8
    truth = rng.normal(size=size)
    return {
        "q": np.repeat(np.arange(queries), 8), "y": np.clip(np.floor(truth + 0.3), 0, 3),
        "new": truth + new * rng.normal(size=size), "old": truth + old * rng.normal(size=size),
        "site": np.repeat(np.array(["a", "b"], dtype=object)[np.arange(queries) % 2], 8), "user": np.repeat(np.arange(queries) % 80, 8),
    }  # fmt: skip


def _asked(*rules: dict[str, Any], **keys: Any) -> dict[str, Any]:
    return {"task": "ranking", "label": "y", "candidate": "new", "champion": "old", "query": "q", "rules": list(rules)} | keys


def test_all_are_metrics_of_rankings() -> None:
    assert metric_names("ranking") == ["hit_rate", "map", "mrr", "ndcg", "precision", "recall"]
    assert parse_metric("precision@3", "ranking").about != parse_metric("precision@0.3", "binary").about


@pytest.mark.parametrize("metric", METRICS)
def test_a_better_ranking_passes_and_a_worse_fails(metric: str) -> None:
    rows = _rows()
    assert check(rows, _asked(rule(metric))).verdict is Verdict.PASS
    turned = rows | {"new": rows["old"], "old": rows["new"]}
    report = check(turned, _asked(rule(metric, "not_worse")))
    assert report.verdict is Verdict.FAIL
    assert "queries" in report.rules[0].method


def test_slices_clusters_and_weights_are_of_queries() -> None:
    rows = _rows() | {"w": np.repeat(np.random.default_rng(1).uniform(1, 2, 400), 8)}
    report = check(rows, _asked(rule("ndcg@5", slices=["site"]), cluster="user", weight="w"))
    assert report.verdict is Verdict.PASS
    assert [found.value for found in report.rules[0].slices] == ["a", "b"]
    assert report.clusters == 80


def test_the_order_of_tied_rows_does_not_matter() -> None:
    rows = _rows(60)
    rows |= {"new": np.round(rows["new"]), "old": np.round(rows["old"])}
    turned = {name: values[::-1] for name, values in rows.items()}
    values = [check(each, _asked(*map(rule, METRICS))).rules for each in (rows, turned)]
    for one, other in zip(*values, strict=True):
        assert one.candidate.estimate == pytest.approx(other.candidate.estimate)
        assert one.difference is not None
        assert other.difference is not None
        assert one.difference.low == pytest.approx(other.difference.low, abs=1e-9)


def test_queries_without_a_relevant_item_are_left_out() -> None:
    rows = _rows(100)
    rows["y"][: 8 * 75] = 0
    report = check(rows, _asked(rule("ndcg@5")))
    assert report.verdict is Verdict.INCONCLUSIVE
    assert {"query-without-relevant", "too-few-rows"} <= {warning.code for warning in report.warnings}


def test_equal_queries_are_not_better() -> None:
    """Every ranking is the same, though the scores are not: the interval is that of "none of n", never a point."""
    scores = np.random.default_rng(0).random(400)
    found = Evidence(
        task="ranking",
        labels=np.tile([1.0, 0], 200),
        candidate=scores,
        champion=scores * 2,
        queries=np.repeat(np.arange(200), 2),
    )
    measured = parse_metric("ndcg@1", "ranking").measure(found, 0.95, np.random.default_rng(0))
    assert measured.difference is not None
    assert measured.difference.low < 0 == measured.difference.value < measured.difference.high
