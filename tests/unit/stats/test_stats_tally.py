"""Counting by code, group and cluster; adding portions up."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.stats import tally as tallies
from tidegate.stats.tally import Tally, merge, part, tally


def _rows(n: int, seed: int) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    return {
        "codes": rng.integers(0, 8, n),
        "groups": rng.integers(0, 4, n),
        "clusters": rng.integers(0, 7, n),
        "weights": rng.uniform(0.1, 3, n),
    }


def _same(one: Tally, other: Tally) -> None:
    unit = max(one.unit, other.unit)
    for first, second in zip(one.measured_in(unit)[:6], other.measured_in(unit)[:6], strict=True):
        if first is None or second is None:
            assert first is second
        else:
            assert first.tolist() == pytest.approx(second.tolist()) if first.ndim == 1 else np.allclose(first, second)


@given(st.integers(0, 60), st.integers(0, 60), st.integers(0, 1000), st.sets(st.sampled_from(["clusters", "weights"])))
def test_portions_add_up(first: int, second: int, seed: int, extra: set[str]) -> None:
    rows = _rows(first + second, seed)
    chosen = {name: rows[name] for name in ("groups", *extra)}

    def counted(at: slice) -> Tally:
        return tally(rows["codes"][at], base=8, size=4, **{name: values[at] for name, values in chosen.items()})

    _same(merge(counted(slice(first)), counted(slice(first, None))), counted(slice(None)))


@given(st.integers(1, 80), st.integers(0, 1000), st.randoms())
def test_the_order_of_rows_does_not_matter(n: int, seed: int, random: Any) -> None:
    rows = _rows(n, seed)
    order = list(range(n))
    random.shuffle(order)
    turned = {name: values[order] for name, values in rows.items()}
    _same(tally(**turned, base=8, size=4), tally(**rows, base=8, size=4))


def test_sparse_and_dense_and_wide_counting_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = _rows(300, 1)
    dense = tally(**rows, base=8, size=4)
    far = 10**12
    wide = tally(rows["codes"] * far, base=8 * far, size=4, **{name: rows[name] for name in ("groups", "clusters", "weights")})
    _same(wide._replace(codes=wide.codes // far), dense)
    huge = tally(rows["codes"] << 58, base=1 << 61, size=4, **{name: rows[name] for name in ("groups", "clusters", "weights")})
    _same(huge._replace(codes=huge.codes >> 58), dense)
    monkeypatch.setattr(tallies, "_DENSE", 0)
    few = {name: values[:20] for name, values in rows.items()}
    assert tally(**few, base=8, size=4).rows == 20


def test_a_group_is_what_its_rows_give() -> None:
    rows = _rows(200, 2)
    whole = tally(**rows, base=8, size=4)
    for group in range(4):
        chosen = rows["groups"] == group
        alone = tally(rows["codes"][chosen], base=8, clusters=rows["clusters"][chosen], weights=rows["weights"][chosen])
        found = part(whole, group)
        _same(found._replace(groups=np.zeros_like(found.groups)), alone)
    assert part(whole, 9).rows == 0


def test_weights_keep_their_powers_and_the_largest() -> None:
    found = tally(np.array([1, 1, 0]), base=2, weights=np.array([2.0, 3.0, 0.5])).measured_in(1.0)
    assert found.counts.tolist() == [1, 2]
    assert found.powers is not None
    assert found.powers[1].tolist() == pytest.approx([5, 13, 35, 97, 275])
    assert found.largest is not None
    assert found.largest.tolist() == [0.5, 3]
    assert found.amounts.tolist() == [0.5, 5]


@pytest.mark.parametrize("scale", [1e-300, 1e-80, 1e90, 1e300])
def test_the_unit_of_weights_does_not_matter(scale: float) -> None:
    codes, weights = np.array([0, 1, 1, 0]), np.array([1.0, 2.0, 3.0, 0.5])
    found, plain = (tally(codes, base=2, weights=weights * each) for each in (scale, 1.0))
    assert found.powers is not None
    assert plain.powers is not None
    shares = [each / each.sum(0) for each in (found.powers, plain.powers)]
    assert np.allclose(*shares)
    both = merge(found, tally(codes, base=2, weights=weights * scale * 1e3))
    assert both.amounts[1] / both.amounts[0] == pytest.approx(5 / 1.5)
    assert np.isfinite(both.powers).all()
