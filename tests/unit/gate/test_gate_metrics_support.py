"""How much evidence there is, by group and from portions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidegate.gate.evidence import Evidence
from tidegate.gate.metrics.support import gather_supports, support_of


def _evidence(rows: int, seed: int = 0, *, clusters: bool = False, weights: bool = False) -> Evidence:
    rng = np.random.default_rng(seed)
    labels = (rng.random(rows) < 0.3).astype(float)
    keys: dict[str, Any] = {"clusters": rng.integers(0, 7, rows)} if clusters else {}
    keys |= {"weights": rng.lognormal(size=rows)} if weights else {}
    return Evidence("binary", labels, rng.random(rows), **keys)


def test_equal_rows_count_each() -> None:
    found = support_of(_evidence(50))
    assert (found.rows, found.clusters, found.effective, found.weighted) == (50, None, 50, False)
    assert found.ones == _evidence(50).labels.sum()


def test_uneven_weights_and_clusters_count_for_less() -> None:
    """Kish (1965): the squared sum over the sum of squares."""
    weights = np.array([3.0, 1.0, 1.0, 1.0])
    found = support_of(Evidence("binary", np.array([0.0, 1, 1, 0]), np.ones(4), weights=weights))
    assert found.effective == pytest.approx(36 / 12)
    grouped = support_of(Evidence("binary", np.ones(4), np.ones(4), weights=weights, clusters=np.array([4, 4, 9, 9])))
    assert grouped.clusters == 2
    assert grouped.effective == pytest.approx(36 / (16 + 4))


def test_a_query_is_one_piece_of_evidence() -> None:
    queries = np.repeat(np.arange(12), 5)
    found = support_of(Evidence("ranking", np.ones(60), np.ones(60), queries=queries, clusters=queries // 3))
    assert (found.rows, found.clusters) == (12, 4)


@given(st.integers(1, 80), st.integers(0, 80), st.booleans(), st.booleans())
@settings(max_examples=30)
def test_portions_add_up_to_each_group_alone(rows: int, cut: int, clusters: bool, weights: bool) -> None:
    evidence = _evidence(rows, rows, clusters=clusters, weights=weights)
    groups = np.random.default_rng(1).integers(0, 3, rows)
    parts = [gather_supports(evidence.take(part), groups[part], 3) for part in (slice(cut), slice(cut, None))]
    both = parts[0].merge(parts[1])
    for place in range(3):
        alone, found = support_of(evidence.take(np.flatnonzero(groups == place))), both.settle(place)
        assert found[:3] == alone[:3]
        assert found.effective == pytest.approx(alone.effective)
        assert found.ones == alone.ones
