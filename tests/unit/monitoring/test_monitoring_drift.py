from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tidegate.monitoring.drift import drift_findings
from tidegate.monitoring.profile import TOP_CATEGORIES, nulls, profile_column, window_index
from tidegate.monitoring.thresholds import Thresholds
from tidegate.records.monitoring import Finding

DAYS = np.repeat(np.arange(12), 400)


def drift(reference: NDArray[Any], window: NDArray[Any], *, text: bool = False, minimum_rows: int = 100) -> Finding:
    known = {"x": profile_column("x", reference, DAYS, text=text)}
    return drift_findings("input_drift", known, {"x": window}, Thresholds("t"), alpha=0.02, minimum_rows=minimum_rows)[0]


@pytest.mark.parametrize("rows", [100, 400, 5000])
def test_a_healthy_column_seldom_drifts_at_any_size(rows: int) -> None:
    alarms = 0
    for seed in range(10):  # over several references: one alone may be an unlucky picture of healthy time
        rng = np.random.default_rng([rows, seed])
        reference = rng.normal(size=4800)
        alarms += sum((drift(reference, rng.normal(size=rows)).ratio or 9) > 1 for _ in range(30))
    assert alarms / 300 <= 0.05


def test_a_shift_a_new_mix_and_a_new_value_are_seen_and_told() -> None:
    rng = np.random.default_rng(3)
    numbers = drift(rng.normal(size=4800), rng.normal(1, 1, 800))
    assert numbers.ratio is not None
    assert numbers.ratio > 1
    assert "median +" in numbers.note
    carriers = np.array(["AA", "UA"], dtype=object)
    mix = drift(carriers[rng.integers(0, 2, 4800)], carriers[(rng.random(800) < 0.8).astype(int)], text=True)
    assert mix.ratio is not None
    assert mix.ratio > 1
    assert " to " in mix.note
    new = drift(carriers[rng.integers(0, 2, 4800)], np.array(["ZZ"] * 800, dtype=object), text=True)
    assert new.ratio is not None
    assert new.note.startswith("others")


def test_a_constant_column_does_not_drift_by_itself() -> None:
    same = drift(np.ones(4800), np.ones(800))
    assert same.ratio == 0
    other = drift(np.ones(4800), np.zeros(800))
    assert other.ratio is not None


def test_too_few_rows_and_an_empty_reference_have_no_ratio() -> None:
    rng = np.random.default_rng(4)
    assert drift(rng.normal(size=4800), rng.normal(size=99)).ratio is None
    assert drift(np.full(4800, np.nan), rng.normal(size=500)).ratio is None


def test_a_profile_keeps_the_most_frequent_values_and_counts_all_rows() -> None:
    rng = np.random.default_rng(6)
    values = np.array([f"v{number}" for number in rng.geometric(0.02, 4800)], dtype=object)
    values[:100] = None
    made = profile_column("x", values, DAYS, text=True)
    assert len(made.categories) == TOP_CATEGORIES
    assert np.sum(made.counts) == 4700
    assert np.sum(made.nulls) == 4800
    assert np.array(made.nulls)[0].tolist() == [100, 300]


def test_windows_are_numbered_in_time_without_gaps() -> None:
    days = np.array([5, 0, 0, 9], dtype=np.int64) * 86_400_000_000
    assert window_index(days.astype("datetime64[us]"), 86_400_000_000, 0).tolist() == [1, 0, 0, 2]


def test_nulls_of_every_type() -> None:
    assert nulls(np.array([1.0, np.nan])).tolist() == [False, True]
    assert nulls(np.array(["a", None, float("nan")], dtype=object)).tolist() == [False, True, True]
    assert nulls(np.array([1, 2])).tolist() == [False, False]
