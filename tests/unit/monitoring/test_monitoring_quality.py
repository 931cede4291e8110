from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tidegate.monitoring.profile import ColumnProfile, profile_column
from tidegate.monitoring.quality import latency_finding, null_findings, type_findings, unseen_findings, volume_finding
from tidegate.monitoring.thresholds import Thresholds

DAYS = np.repeat(np.arange(10), 300)


def profile(values: NDArray[Any], *, text: bool) -> dict[str, ColumnProfile]:
    return {"x": profile_column("x", values, DAYS, text=text)}


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(5)


def test_volume_asks_for_at_least_half_of_the_usual() -> None:
    earlier = [1000, 1100, 950, 1050, 1020]
    ratios = [volume_finding(rows, earlier, alpha=0.05).ratio for rows in (1000, 2000, 800, 400, 0)]
    assert all(ratio is not None for ratio in ratios)
    assert [ratio > 1 for ratio in ratios if ratio is not None] == [False, False, False, True, True]


def test_a_weekly_rhythm_is_no_lack_of_volume() -> None:
    earlier = [1000, 1000, 1000, 1000, 1000, 300, 300] * 3
    ratio = volume_finding(300, earlier, alpha=0.05).ratio
    assert ratio is not None
    assert ratio < 1


def test_the_first_windows_have_nothing_to_compare_with() -> None:
    assert volume_finding(0, [1000, 1000, 1000], alpha=0.05).ratio is None


def test_nulls_are_held_against_the_reference(rng: np.random.Generator) -> None:
    values = rng.normal(size=3000)
    values[rng.random(3000) < 0.2] = np.nan
    for share, page in ((0.2, False), (0.1, False), (0.4, True)):
        window = rng.normal(size=1000)
        window[rng.random(1000) < share] = np.nan
        ratio = null_findings(profile(values, text=False), {"x": window}, Thresholds("t"), alpha=0.01, minimum_rows=200)[0].ratio
        assert ratio is not None
        assert (ratio > 1) is page


def test_an_input_that_is_not_logged_is_missing_in_every_row(rng: np.random.Generator) -> None:
    columns = {"x": np.full(500, None, dtype=object)}
    found = null_findings(profile(rng.normal(size=3000), text=False), columns, Thresholds("t"), alpha=0.01, minimum_rows=200)[0]
    assert found.statistic == 1
    assert found.ratio is not None
    assert found.ratio > 1


def test_unseen_values_are_held_against_what_is_usual(rng: np.random.Generator) -> None:
    # Tail numbers: one in five rows has a value that its own day alone has, so new ones are no news.
    common = np.array([f"N{number}" for number in rng.integers(0, 50, 3000)], dtype=object)
    rare = rng.random(3000) < 0.2
    common[rare] = [f"R{place}" for place in np.flatnonzero(rare)]
    usual = common[:1000].copy()
    usual[rng.random(1000) < 0.2] = "new"
    strange = usual.copy()
    strange[:500] = "new"
    for window, page in ((usual, False), (strange, True)):
        ratio = unseen_findings(profile(common, text=True), {"x": window}, alpha=0.01, minimum_rows=200)[0].ratio
        assert ratio is not None
        assert (ratio > 1) is page


def test_texts_among_numbers_are_told(rng: np.random.Generator) -> None:
    known = profile(rng.normal(size=3000), text=False)
    mixed = np.array(["1.5", "2.5", "fast", None] * 100, dtype=object)
    found = type_findings(known, {"x": mixed})
    assert found[0].statistic == pytest.approx(1 / 3)
    assert type_findings(known, {"x": np.array(["1.5", "2"], dtype=object)}) == []
    assert type_findings(known, {"x": rng.normal(size=10)}) == []


def test_latency_is_the_99th_percentile_in_milliseconds() -> None:
    seconds = np.full(1000, 0.01)
    seconds[:20] = 0.5
    found = latency_finding(seconds, 100.0, minimum_rows=200)
    assert found.statistic == pytest.approx(500)
    assert found.ratio == pytest.approx(5)
    assert latency_finding(np.array([0.01]), 100.0, minimum_rows=200).ratio is None
    assert latency_finding(np.full(300, np.nan), 100.0, minimum_rows=200).ratio is None
