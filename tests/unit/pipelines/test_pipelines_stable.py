"""Laws of the stable digest."""

from __future__ import annotations

import copy
import datetime as dt
import decimal
import enum
import pickle
import random
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tidegate.pipelines.stable import Unhashable, stable_digest

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.complex_numbers()
keys = st.integers() | st.text() | st.tuples(st.integers(), st.text())
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(keys, inner) | st.frozensets(keys),
    max_leaves=20,
)


class Colour(enum.Enum):
    RED = 1
    BLUE = 2


class Thing:
    def __init__(self, value):
        self.value = value


def digest(value):
    return stable_digest(
        value, lambda code: f"class {code.__qualname__}" if isinstance(code, type) else getattr(code, "__qualname__", None)
    )


@given(values)
def test_a_copy_has_the_same_digest(value):
    assert digest(value) == digest(copy.deepcopy(value)) == digest(pickle.loads(pickle.dumps(value)))


@given(st.dictionaries(keys, values), st.randoms(use_true_random=False))
def test_the_order_of_a_dictionary_does_not_count(mapping, rng):
    pairs = list(mapping.items())
    rng.shuffle(pairs)
    assert digest(dict(pairs)) == digest(mapping)


@given(st.sets(keys), st.randoms(use_true_random=False))
def test_the_order_of_a_set_does_not_count(members, rng):
    shuffled = list(members)
    rng.shuffle(shuffled)
    assert digest(set(shuffled)) == digest(members)


@given(values, values)
def test_different_values_differ(one, other):
    assume(repr(one) != repr(other) and one != other)
    assert digest(one) != digest(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1, 1.0), (1, True), (0.0, -0.0), ("1", 1), ("a", b"a"), ([1], (1,)), ({1}, frozenset({1})), ([[1], [2]], [[1, 2]]), ("", None),
        ([], ()), (np.array([1, 2]), np.array([[1, 2]])), (np.array([1], "i4"), np.array([1], "i8")), (Colour.RED, Colour.BLUE),
        (Path("a"), Path("b")), (Thing(1), Thing(2)), (re.compile("a"), re.compile("b")), (np.float64(1), np.float64(2)),
        (decimal.Decimal(1), decimal.Decimal("1.0")), (dt.date(2013, 1, 1), dt.date(2013, 1, 2)), (range(3), range(4)),
        (np.array(["a", "b"], object), np.array(["a", "c"], object)),
    ],
)  # fmt: skip
def test_look_alikes_differ(one, other):
    assert digest(one) != digest(other)
    assert digest(one) == digest(copy.deepcopy(one))


def test_layout_in_memory_does_not_count():
    array = np.arange(12).reshape(3, 4)
    assert digest(array) == digest(np.asfortranarray(array))
    assert digest(array[:, ::2]) == digest(array[:, ::2].copy())


def test_identity_does_not_count():
    once = [1, 2]
    assert digest([once, once]) == digest([[1, 2], [1, 2]])


def test_cycles_end():
    one: list[object] = [1]
    one.append(one)
    other: list[object] = [1]
    other.append(other)
    assert digest(one) == digest(other)


def test_nan_is_equal_to_itself():
    assert digest(float("nan")) == digest(float("nan"))


def test_seeds_count():
    assert digest(random.Random(1)) == digest(random.Random(1)) != digest(random.Random(2))


def test_too_deep_is_said():
    deep: list[object] = []
    for _ in range(500):
        deep = [deep]
    with pytest.raises(Unhashable, match="nested"):
        digest(deep)
