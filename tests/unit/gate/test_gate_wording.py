"""Numbers and lists as people read them."""

from __future__ import annotations

import pytest

from tidegate.gate.wording import about, amount, capital, listed, noun_of, rounded


@pytest.mark.parametrize(
    ("value", "text"), [(0.123456, "0.1235"), (180_000.4, "180,000"), (-0.0, "0"), (0.0, "0"), (1e15, "1e+15")]
)
def test_numbers(value: float, text: str) -> None:
    assert rounded(value) == text


def test_signs_counts_and_lists() -> None:
    assert rounded(0.0047, 3, sign="+") == "+0.0047"
    assert about(12_345) == "12,000"
    assert listed(["a", "b", "c"]) == "a, b, c"
    assert listed(["a", "b", "c", "d", "e"]) == "a, b, c and 2 more"
    assert capital("all slices hold") == "All slices hold"


def test_amounts_of_evidence() -> None:
    assert amount("binary", 12_345, None) == "12,345 rows"
    assert amount("ranking", 1000, 200) == "200 queries (1,000 rows)"
    assert amount("scores", 60, 60) == "60 items"
    assert [noun_of(task) for task in ("regression", "ranking", "scores")] == ["rows", "queries", "items"]
    assert noun_of("ranking", "label_coverage") == "rows"
