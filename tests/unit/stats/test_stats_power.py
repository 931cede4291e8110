"""Rows still missing, and rows for a plan."""

from __future__ import annotations

import numpy as np
import pytest

from tidegate.stats.estimate import Estimate, around
from tidegate.stats.power import (
    detectable,
    more_rows,
    paired_detectable,
    paired_null,
    power_at,
    power_each,
    rows_for,
)


@pytest.mark.parametrize(
    ("discordant", "margin", "expected"),
    [(0.02, 0.005, 4947), (0.05, 0.01, 3092), (0.10, 0.01, 6183), (0.20, 0.02, 3092), (0.10, 0.02, 1546)],
)
def test_rows_for_not_worse(discordant: float, margin: float, expected: int) -> None:
    assert rows_for(np.sqrt(discordant), margin, alpha=0.05) == pytest.approx(expected, abs=1)


def test_more_rows_do_settle_it() -> None:
    rng = np.random.default_rng(0)
    rows, error = 400, 0.01
    more = more_rows(around(0.01, error, float("inf"), 0.95), 0.0, rows, confidence=0.95)
    assert more is not None
    later = error * np.sqrt(rows / (rows + more))
    settled = (rng.normal(0.01, later, 20_000) - 1.96 * later > 0).mean()
    assert settled == pytest.approx(0.8, abs=0.02)


def test_it_says_nothing_where_nothing_helps() -> None:
    assert more_rows(around(0.0, 0.01, float("inf"), 0.95), 0.0, 400, confidence=0.95) is None
    assert more_rows(around(1e-9, 0.01, float("inf"), 0.95), 0.0, 400, confidence=0.95) is None
    assert more_rows(Estimate(0.1, float("nan"), float("nan")), 0.0, 400, confidence=0.95) is None


@pytest.mark.parametrize("distance", [0.01, 0.05])
def test_rows_power_and_detectable_are_one_formula(distance: float) -> None:
    rows = rows_for(0.3, distance, alpha=0.025, power=0.9)
    assert power_at(0.3, distance, rows, alpha=0.025) == pytest.approx(0.9, abs=0.01)
    assert detectable(0.3, rows, alpha=0.025, power=0.9) == pytest.approx(distance, rel=0.01)


def test_several_tests_share_the_chance_to_miss() -> None:
    assert power_each(1) == pytest.approx(0.8)
    assert power_each(4) == pytest.approx(0.95)
    assert 4 * (1 - power_each(4)) == pytest.approx(0.2)


def test_where_few_rows_differ_the_hypothesis_has_the_wider_spread() -> None:
    assert paired_null(0.1, 0.0, 0.0) == pytest.approx(np.sqrt(0.1))
    assert paired_null(0.02, 0.0, -0.02) > np.sqrt(0.02)
    margin = paired_detectable(0.1, 2000, alpha=0.025)
    needed = rows_for(np.sqrt(0.1), margin, alpha=0.025, null=paired_null(0.1, 0.0, -margin))
    assert needed == pytest.approx(2000, abs=2)
