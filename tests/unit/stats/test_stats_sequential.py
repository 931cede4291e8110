from __future__ import annotations

from math import log

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.stats.sequential import (
    assignment_evidence,
    asymptotic_mean,
    bounded_mean,
    difference,
    gamma_exponential_bound,
    proportion,
    quantile,
)

COVERAGE = 0.9


def test_a_proportion_is_that_of_the_reference():
    # R/Python package confseq 0.0.11, bernoulli_confidence_interval(700, 1000, 0.05, 100)
    found = proportion(700, 1000, confidence=0.95, tuned_for=100)
    assert found.value == 0.7
    assert (found.low, found.high) == pytest.approx((0.651629, 0.745949), abs=1e-6)


def test_an_asymptotic_interval_has_the_normal_mixture_boundary():
    # confseq 0.0.11, normal_mixture_bound(100, .05, v_opt=100, is_one_sided=False) = 30.35209; variance 1, so it is 100 half-widths
    found = asymptotic_mean(np.tile([-1.0, 1.0], 50), confidence=0.95, tuned_for=100)
    assert (found.value, 100 * found.high) == (0, pytest.approx(30.35209, abs=1e-5))


def test_without_a_scale_the_bound_is_the_normal_mixture():
    # confseq 0.0.11, normal_mixture_bound(100, .05, v_opt=100) = 27.66071
    assert gamma_exponential_bound(100, 0.05, tuned_for=100, scale=1e-3) == pytest.approx(27.66071, abs=5e-3)
    assert gamma_exponential_bound(100, 0.05, tuned_for=100, scale=3) > 27.66071


def test_evidence_against_an_assignment_by_hand():
    # Dirichlet(50, 50) mixture of three and one against a fair coin: B(53, 51) / B(50, 50) * 2**4
    expected = log((50 * 51 * 52 * 50) / (100 * 101 * 102 * 103) * 2**4)
    assert assignment_evidence([3, 1], [0.5, 0.5]) == pytest.approx(expected)
    assert assignment_evidence([0, 0], [0.5, 0.5]) == 0
    assert assignment_evidence([10, 5], [1.0, 0.0]) == float("inf")
    assert assignment_evidence([10, 0], [1.0, 0.0]) == 0


def test_what_is_wrong_with_an_assignment_shows():
    assert assignment_evidence([500, 9500], [0.05, 0.95]) < 0
    assert assignment_evidence([700, 9300], [0.05, 0.95]) > log(1 / 0.001)


@pytest.mark.parametrize("values", [[], [0.5, float("nan")], [0.5, 2.0], [-0.1, 0.5]])
def test_what_is_no_bounded_sample_has_no_interval(values):
    found = bounded_mean(values, 0, 1, confidence=0.95)
    assert np.isnan([found.low, found.high]).all()


def test_too_few_or_equal_values_have_no_asymptotic_interval():
    for values in (np.arange(29.0), np.zeros(100), np.r_[np.arange(50.0), np.nan]):
        assert np.isnan(asymptotic_mean(values, confidence=0.95).low)
    assert asymptotic_mean(np.zeros(100), confidence=0.95, scale=1.0).high > 0


def test_no_difference_at_all_is_soon_known_to_be_small():
    found = bounded_mean(np.zeros(1000), -1, 1, confidence=0.95)
    assert (found.value, found.low < 0 < found.high) == (0, True)
    assert found.high < 0.012


def test_ends_of_a_quantile_are_order_statistics_or_unknown():
    values = np.arange(2000.0)
    found = quantile(values, 0.5, confidence=0.95)
    assert (found.low in values, found.high in values) == (True, True)
    assert found.low < 999.5 < found.high
    few = quantile(values[:50], 0.99, confidence=0.95)
    assert np.isnan(few.high)
    assert np.isnan(quantile([], 0.5, confidence=0.95).value)
    assert np.isnan(quantile([1.0, float("nan")], 0.5, confidence=0.95).low)


def test_proportions_of_nothing_and_at_the_ends():
    assert np.isnan(proportion(0, 0, confidence=0.95).value)
    none, every = proportion(0, 500, confidence=0.95), proportion(500, 500, confidence=0.95)
    assert (none.low, every.high) == (0, 1)
    assert none.high == pytest.approx(1 - every.low)


def test_a_difference_takes_the_worst_of_both_ends():
    first, second = proportion(30, 100, confidence=0.975), proportion(10, 100, confidence=0.975)
    found = difference(first, second)
    assert found.value == pytest.approx(0.2)
    assert (found.low, found.high) == (first.low - second.high, first.high - second.low)


_samples = st.lists(st.floats(0, 1, allow_nan=False), min_size=1, max_size=60)


@given(_samples)
def test_a_mirrored_sample_has_the_mirrored_interval(values):
    found = bounded_mean(values, 0, 1, confidence=0.95)
    mirrored = bounded_mean(1 - np.array(values), 0, 1, confidence=0.95)
    assert (mirrored.low, mirrored.high) == pytest.approx((1 - found.high, 1 - found.low), abs=1e-6)


@given(_samples, st.floats(-50, 50), st.floats(0.1, 50))
def test_units_do_not_matter(values, shift, scale):
    found = bounded_mean(values, 0, 1, confidence=0.95)
    moved = bounded_mean(np.clip(np.array(values) * scale + shift, shift, shift + scale), shift, shift + scale, confidence=0.95)
    assert (moved.low, moved.high) == pytest.approx((found.low * scale + shift, found.high * scale + shift), abs=1e-4 * scale)


@given(_samples)
def test_more_confidence_never_gives_a_shorter_interval(values):
    less, more = (bounded_mean(values, 0, 1, confidence=level) for level in (0.8, 0.99))
    assert more.low <= less.low + 1e-9
    assert more.high >= less.high - 1e-9


@given(_samples)
def test_an_interval_lies_within_the_range_and_holds_the_mean(values):
    found = bounded_mean(values, 0, 1, confidence=0.95)
    assert 0 <= found.low <= found.value <= found.high <= 1


def _ever_missed(rng, samples: int, size: int, draw, missed) -> float:
    return sum(missed(draw(rng, size)) for _ in range(samples)) / samples


def _drifting(rng, size):
    """Values whose mean is 0.02 at first and 0.3 later; what is estimated is the average of these so far."""
    means = np.where(np.arange(size) < size // 2, 0.02, 0.3)
    return np.c_[means, rng.random(size) < means]


def _missed_by_bernstein(world) -> bool:
    truth = np.cumsum(world[:, 0]) / np.arange(1, len(world) + 1)
    looks = np.unique(np.geomspace(1, len(world), 60).astype(int))
    found = ((bounded_mean(world[:n, 1], 0, 1, confidence=COVERAGE), truth[n - 1]) for n in looks)
    return any(not each.low <= mean <= each.high for each, mean in found)


def _coin(rng, size):
    return rng.random(size) < 0.1


def _missed_by_proportion(values) -> bool:
    seen = np.cumsum(values)
    looks = np.unique(np.geomspace(1, values.size, 20).astype(int))
    found = (proportion(int(seen[n - 1]), int(n), confidence=COVERAGE) for n in looks)
    return any(not each.low <= 0.1 <= each.high for each in found)


def _missed_by_quantile(values) -> bool:
    looks = np.unique(np.geomspace(5, values.size, 40).astype(int))
    found = (quantile(values[:n], 0.9, confidence=COVERAGE) for n in looks)
    return any(each.low > 0.9 or each.high < 0.9 for each in found)


def _missed_by_asymptotics(values) -> bool:
    looks = np.unique(np.geomspace(30, values.size, 60).astype(int))
    found = (asymptotic_mean(values[:n], confidence=COVERAGE) for n in looks)
    return any(not each.low <= 1 <= each.high for each in found)


def _missed_by_assignment(values) -> bool:
    ones = np.cumsum(values)
    looks = np.unique(np.geomspace(1, values.size, 60).astype(int))
    return any(assignment_evidence([ones[n - 1], n - ones[n - 1]], [0.1, 0.9]) >= log(1 / (1 - COVERAGE)) for n in looks)


WORLDS = {
    "bernstein": (_drifting, _missed_by_bernstein),
    "proportion": (_coin, _missed_by_proportion),
    "quantile": (lambda rng, size: rng.random(size), _missed_by_quantile),
    "asymptotic": (lambda rng, size: rng.exponential(size=size), _missed_by_asymptotics),
    "assignment": (_coin, _missed_by_assignment),
}


@pytest.mark.parametrize("world", WORLDS)
def test_the_truth_is_held_at_all_looks_together(world):
    rate = _ever_missed(np.random.default_rng(7), 100, 600, *WORLDS[world])
    assert rate <= 1 - COVERAGE + 3 * np.sqrt(COVERAGE * (1 - COVERAGE) / 100)


def test_an_ordinary_interval_that_is_looked_at_again_and_again_does_miss():
    def missed(values):
        n = np.arange(1, values.size + 1)
        return bool((np.abs(np.cumsum(values))[30:] > 1.645 * np.sqrt(n)[30:]).any())

    assert _ever_missed(np.random.default_rng(7), 150, 1000, lambda rng, size: rng.normal(size=size), missed) > 0.3


@pytest.mark.slow
@pytest.mark.parametrize("world", WORLDS)
def test_the_truth_is_held_at_all_looks_together_over_long_times(world):
    rate = _ever_missed(np.random.default_rng(11), 1000, 10_000, *WORLDS[world])
    assert rate <= 1 - COVERAGE + 3 * np.sqrt(COVERAGE * (1 - COVERAGE) / 1000)
