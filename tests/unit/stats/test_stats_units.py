"""Sums by cluster and group."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tidegate.stats.units import find_units, merge_units


def test_units_are_clusters_within_groups() -> None:
    clusters, groups = np.array([9, 2, 9, 2, 9]), np.array([0, 0, 1, 0, 0])
    found = find_units(clusters, groups).sums([np.arange(5.0), np.ones(5)])
    assert found.of(0).tolist() == [[4.0, 2.0], [4.0, 2.0]]
    assert found.of(1).tolist() == [[2.0, 1.0]]
    assert found.of(7).size == 0


@given(
    st.lists(st.tuples(st.integers(0, 10**7), st.integers(0, 3), st.integers(0, 9)), min_size=1, max_size=40), st.integers(0, 40)
)
def test_portions_add_up(rows: list[tuple[int, int, int]], cut: int) -> None:
    clusters, groups, values = (np.array(column) for column in zip(*rows, strict=True))
    for chosen in (None, groups):
        whole = find_units(clusters, chosen).sums([values.astype(float)])
        parts = [
            find_units(clusters[part], None if chosen is None else chosen[part]).sums([values[part].astype(float)])
            for part in (slice(cut), slice(cut, None))
        ]
        both = merge_units(*parts)
        assert both.keys.tolist() == whole.keys.tolist()
        assert both.sums.tolist() == whole.sums.tolist()
