from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tidegate.serving.rollout.assignment import is_assigned, point_of

KEYS = [f"user-{number}" for number in range(20_000)]


def test_a_key_lies_where_it_always_lay():
    # Whoever changes this moves every key of every rollout that runs.
    assert point_of("42:abc:delay", "user-1") == 0.832653554355632
    assert point_of("42:abc:delay", "user-2") != point_of("42:abc:delay", "user-1")


def test_keys_are_spread_evenly():
    counts, _ = np.histogram([point_of("salt", key) for key in KEYS], bins=50, range=(0, 1))
    chi2 = float((np.square(counts - 400) / 400).sum())
    assert chi2 < 85.4  # the 99.9 % quantile with 49 degrees of freedom is 85.35


def test_rollouts_are_independent_of_each_other():
    first, second = ([is_assigned(salt, key, 0.5) for key in KEYS] for salt in ("1:a:delay", "2:a:delay"))
    both = np.mean(np.logical_and(first, second))
    assert abs(both - 0.25) < 0.01


@given(st.text(max_size=40), st.floats(0, 1), st.floats(0, 1))
def test_a_larger_share_only_adds_keys(key, one, other):
    smaller, larger = sorted((one, other))
    assert is_assigned("salt", key, larger) or not is_assigned("salt", key, smaller)
    assert not is_assigned("salt", key, 0.0)
    assert is_assigned("salt", key, 1.0)


def test_odd_keys_and_long_salts_are_keys_and_salts():
    assert 0 <= point_of("x" * 500, "\udcff ü 漢") < 1
