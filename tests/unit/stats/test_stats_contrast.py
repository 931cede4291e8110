"""A difference moved by a share of the champion: the paired contrast, against what rows give directly."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.stats.contrast import shifted
from tidegate.stats.estimate import Estimate, Floats, from_influence


def _mean(values: Floats) -> Estimate:
    return from_influence(float(values.mean()), (values - values.mean()) / values.size, confidence=0.95, scale=1.0)


@pytest.mark.parametrize("share", [-0.5, -0.05, 0.0, 0.02, 0.1, 1.0])
def test_it_is_the_interval_of_the_rows_own_contrast(share: float) -> None:
    rng = np.random.default_rng(3)
    champion = rng.gamma(2.0, size=400)
    candidate = champion + 0.3 * rng.normal(size=400) + 0.2
    found = shifted(_mean(candidate - champion), _mean(candidate), _mean(champion), share)
    direct = _mean(candidate - champion + share * champion)
    assert found[:3] == pytest.approx(direct[:3], rel=1e-9)


@given(st.floats(-1, 1), st.floats(0, 2), st.floats(0, 2), st.floats(0, 2))
def test_it_is_never_wider_than_both_errors_together(share: float, change: float, ours: float, theirs: float) -> None:
    difference, candidate, champion = (Estimate(1.0, 1 - half, 1 + half) for half in (change, ours, theirs))
    found = shifted(difference, candidate, champion, share)
    assert found.value == pytest.approx(1 + share)
    assert found.value - found.low <= change + abs(share) * theirs + 1e-9
    assert found.low <= found.value <= found.high


def test_what_cannot_be_told_is_taken_at_its_worst() -> None:
    point, known = Estimate(0.0, 0.0, 0.0), Estimate(0.5, 0.4, 0.6)
    found = shifted(point, known, known, 0.1)
    assert found[:3] == pytest.approx((0.05, 0.04, 0.06))
    nothing = Estimate(0.0, float("nan"), float("nan"))
    assert np.isnan(shifted(nothing, known, known, 0.1).low)
