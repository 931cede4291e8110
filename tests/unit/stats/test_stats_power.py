"""Rows still missing, and rows for a plan."""

from __future__ import annotations

import numpy as np
import pytest

from tidegate.stats.estimate import Estimate, around
from tidegate.stats.power import more_rows, paired_rows


@pytest.mark.parametrize(
    ("discordant", "margin", "expected"),
    [(0.02, 0.005, 4947), (0.05, 0.01, 3092), (0.10, 0.01, 6183), (0.20, 0.02, 3092), (0.10, 0.02, 1546)],
)
def test_rows_for_not_worse(discordant: float, margin: float, expected: int) -> None:
    assert paired_rows(discordant, margin) == pytest.approx(expected, abs=1)


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
