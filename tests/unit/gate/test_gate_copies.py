"""Inputs that are the label under another name."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tidegate.gate.copies import FEWEST, copies_of

LATE = np.arange(40) % 3 % 2
WORDS = np.where(LATE == 1, "late", "fair").astype(object)
NAN = np.where(np.arange(40) == 3, np.nan, LATE.astype(float))


@pytest.mark.parametrize(
    ("label", "values", "is_copy"),
    [
        (LATE, LATE.astype(np.float32), True),
        (LATE, LATE.astype(bool), True),
        (LATE, LATE.astype(str).astype(object), True),
        (WORDS, WORDS.copy(), True),
        (NAN, LATE, True),  # on every row that has a label
        (LATE, NAN, False),
        (LATE, np.where(np.arange(40) == 39, 1 - LATE, LATE), False),
        (LATE, 1 - LATE, False),
        (WORDS, LATE, False),
        (LATE, WORDS, False),
        (np.ones(40), np.ones(40), False),  # no model was ever helped by it
    ],
)
def test_a_copy_equals_the_label_on_every_row_that_has_one(label: Any, values: Any, is_copy: bool) -> None:
    assert copies_of(label, {"x": np.arange(40.0), "other": values}) == (["other"] if is_copy else [])


def test_few_rows_agree_by_luck() -> None:
    few = LATE[:FEWEST]
    assert copies_of(few, {"x": few}) == ["x"]
    assert copies_of(few[1:], {"x": few[1:]}) == []
    lacking = np.where(np.arange(40) < FEWEST - 1, LATE.astype(float), np.nan)
    assert copies_of(lacking, {"x": lacking}) == []


def test_each_place_of_a_list_is_a_label_and_other_nested_values_are_none() -> None:
    pairs = np.empty(40, dtype=object)
    pairs[:] = [np.array([row, late]) for row, late in enumerate(LATE)]
    words = np.empty(40, dtype=object)
    words[:] = [np.array(["late"] * late, dtype=object) for late in LATE]
    assert copies_of(pairs, {"x": LATE, "pairs": pairs}) == ["x"]
    assert copies_of(words, {"x": LATE, "words": words}) == []
