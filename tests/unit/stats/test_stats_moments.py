"""Moments by group, and that portions add up."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.stats.moments import gather_moments, merge_moments


def test_moments_are_what_they_say() -> None:
    rng = np.random.default_rng(0)
    columns = [rng.gamma(2, size=50), rng.normal(size=50)]
    found = gather_moments(columns)
    table = np.column_stack(columns)
    apart = table - table.mean(axis=0)
    assert found.number[0] == 50
    assert found.mean[0] == pytest.approx(table.mean(axis=0))
    assert found.second[0] == pytest.approx(apart.T @ apart)
    assert found.third[0] == pytest.approx(np.einsum("ni,nj,nk->ijk", apart, apart, apart))
    assert found.powers[0].tolist() == [50] * 5


def test_groups_are_as_if_alone() -> None:
    rng = np.random.default_rng(1)
    columns, groups, sizes = [rng.normal(7, 2, 90), rng.gamma(1, size=90)], rng.integers(0, 4, 90), rng.random(90)
    groups[groups == 2] = 3  # an empty group in between
    found = gather_moments(columns, groups, 5, sizes)
    for place in (0, 1, 3):
        chosen = groups == place
        alone = gather_moments([column[chosen] for column in columns], sizes=sizes[chosen])
        for ours, theirs in zip(found.of(place), alone, strict=True):
            assert ours == pytest.approx(theirs)
    assert found.number[2] == found.number[4] == 0
    assert not found.second[2].any()


@given(st.integers(2, 60), st.integers(0, 60), st.floats(-1e6, 1e6))
def test_where_rows_are_cut_does_not_matter(rows: int, cut: int, offset: float) -> None:
    rng = np.random.default_rng(rows)
    columns, groups = [offset + rng.normal(size=rows), rng.gamma(1, size=rows)], rng.integers(0, 3, rows)
    cut = min(cut, rows)
    whole = gather_moments(columns, groups, 3)
    parts = [gather_moments([column[rows_] for column in columns], groups[rows_], 3) for rows_ in (slice(cut), slice(cut, None))]
    for ours, theirs in zip(merge_moments(*parts), whole, strict=True):
        assert ours == pytest.approx(theirs, rel=1e-7, abs=1e-6)
