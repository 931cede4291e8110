"""Reference values: R contingencytables (Cavo 2012), PropCIs, Altman; laws of paired proportions."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.stats.proportions import mcnemar_exact, mcnemar_midp, newcombe, tango, tango_score, wilson

TABLES = st.tuples(*[st.integers(0, 200)] * 4).filter(lambda table: sum(table) > 0)


def test_cavo_2012() -> None:
    assert mcnemar_exact(6, 16) == pytest.approx(0.052479, abs=5e-7)
    assert mcnemar_midp(6, 16) == pytest.approx(0.034690, abs=5e-7)
    assert tango(6, 16, 161, confidence=0.95)[1:3] == pytest.approx((-0.1240, -0.0054), abs=5e-5)
    assert newcombe(59, 6, 16, 80, confidence=0.95)[1:3] == pytest.approx((-0.1186, -0.0046), abs=5e-5)


def test_edges() -> None:
    assert tango(3, 0, 3, confidence=0.95)[1:3] == pytest.approx((-0.1230, 1), abs=5e-5)
    assert newcombe(1, 0, 0, 1, confidence=0.95)[1:3] == pytest.approx((-0.5734, 0.5734), abs=5e-5)


def test_propcis_and_altman_examples() -> None:
    assert tango(40, 20, 160, confidence=0.95)[1:3] == pytest.approx((0.03086, 0.21806), abs=5e-6)
    assert newcombe(14, 5, 0, 22, confidence=0.95)[1:3] == pytest.approx((0.01148, 0.22649), abs=5e-6)


def test_wilson_of_no_success_ends_at_zero() -> None:
    found = wilson(0, 10, confidence=0.95)
    assert (found.value, found.low) == (0, 0)
    assert found.high == pytest.approx(0.2775, abs=5e-5)


def test_nothing_gives_no_interval() -> None:
    assert wilson(0, 0, confidence=0.95).low != 0
    assert tango(0, 0, 0, confidence=0.95).low != 0
    assert newcombe(0, 0, 0, 0, confidence=0.95).low != 0


def test_without_disagreement_the_models_are_not_proven_equal() -> None:
    found = tango(0, 0, 1000, confidence=0.95)
    assert found.low == pytest.approx(-0.003827, abs=1e-5)
    assert found.high == pytest.approx(0.003827, abs=1e-5)
    assert mcnemar_exact(0, 0) == mcnemar_midp(0, 0) == 1


@given(TABLES)
def test_swapping_the_models_flips_the_interval(table: tuple[int, int, int, int]) -> None:
    both, gained, lost, neither = table
    n = sum(table)
    for one, other in (
        (tango(gained, lost, n, confidence=0.95), tango(lost, gained, n, confidence=0.95)),
        (newcombe(both, gained, lost, neither, confidence=0.95), newcombe(both, lost, gained, neither, confidence=0.95)),
    ):
        assert one[:3] == pytest.approx(other.negated()[:3], abs=1e-9)
    assert mcnemar_exact(gained, lost) == mcnemar_exact(lost, gained)
    assert mcnemar_midp(gained, lost) <= mcnemar_exact(gained, lost) + 1e-12


@given(TABLES)
def test_the_score_test_rejects_outside_the_interval_only(table: tuple[int, int, int, int]) -> None:
    _, gained, lost, _ = table
    n = sum(table)
    found = tango(gained, lost, n, confidence=0.95)
    assert -1 <= found.low <= found.value <= found.high <= 1
    for end in (found.low, found.high):
        if -0.999 < end < 0.999:
            assert abs(tango_score(gained, lost, n, end)) == pytest.approx(1.959964, abs=1e-3)
