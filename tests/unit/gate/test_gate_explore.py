"""Slices that nobody asked about."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gate_rows import binary_rows, policy, rule

from tidegate.gate import check
from tidegate.gate import explore as explored
from tidegate.gate.evidence import Evidence, Slicing, read_evidence
from tidegate.gate.explore import MOST, RATE, explore
from tidegate.gate.metrics import parse_metric


def _rows(n: int = 4000, *, harm: bool = True) -> dict[str, Any]:
    rows = binary_rows(n, candidate_noise=0.5, champion_noise=0.5)
    rng = np.random.default_rng(9)
    rows |= {"kind": np.array(["a", "b", "c", "d"], dtype=object)[rng.integers(0, 4, n)], "distance": rng.normal(size=n)}
    if harm:
        there = (rows["kind"] == "c") & (rows["origin"] == "JFK")
        rows["new"] = np.where(there, 1 - rows["new"], rows["new"])
    return rows


@pytest.mark.parametrize("metric", ["log_loss", "accuracy"])
def test_it_finds_a_pair_that_got_worse(metric: str) -> None:
    report = check(_rows(), policy(rule(metric, "not_worse", margin=0.99), explore=["kind", "origin", "distance"]))
    first = report.explored[0]
    assert (first.where, first.metric) == ("kind = c and origin = JFK", metric)
    assert first.p < 1e-6
    assert len(report.explored) <= MOST


def test_it_never_decides() -> None:
    asked = policy(rule("log_loss", "not_worse", margin=0.99))
    plain = check(_rows(), asked)
    told = check(_rows(), policy(rule("log_loss", "not_worse", margin=0.99), explore=["kind", "origin"]))
    assert plain.verdict is told.verdict
    assert plain.rules == told.rules


def test_among_equals_false_finds_are_as_rare_as_promised() -> None:
    rng = np.random.default_rng(3)
    found = 0
    for _ in range(60):
        labels, codes = rng.integers(0, 2, 2000).astype(float), rng.integers(0, 10, (3, 2000))
        scores = [np.clip(0.25 + 0.5 * labels + 0.2 * rng.normal(size=2000), 0.01, 0.99) for _ in range(2)]
        slices = {f"c{place}": Slicing(each, [f"v{value}" for value in range(10)]) for place, each in enumerate(codes)}
        evidence = Evidence("binary", labels, scores[0], scores[1], slices=slices)
        found += bool(explore(evidence, policy(rule("log_loss"), explore=["c0", "c1", "c2"])))
    assert found / 60 <= RATE + 3 * np.sqrt(RATE * (1 - RATE) / 60)


@pytest.mark.parametrize("keys", [{}, {"weight": "weight"}, {"cluster": "tail"}])
def test_its_interval_is_the_metrics_own(keys: dict[str, str]) -> None:
    asked = policy(rule("brier", "not_worse", margin=0.99), explore=["kind", "origin"], **keys)
    rows = _rows() | {"tail": np.arange(4000) % 400}
    evidence = read_evidence(rows, asked).evidence
    assert evidence is not None
    told = next(each for each in explore(evidence, asked) if each.where == "kind = c and origin = JFK")
    kind, origin = evidence.slices["kind"], evidence.slices["origin"]
    there = (kind.codes == kind.values.index("c")) & (origin.codes == origin.values.index("JFK"))
    measured = parse_metric("brier", "binary").measure(evidence.take(np.flatnonzero(there)), 0.95, np.random.default_rng(0))
    assert measured.difference is not None
    assert told.rows == int(there.sum())
    assert told.difference.estimate == pytest.approx(measured.difference.value)
    width = measured.difference.high - measured.difference.low
    assert told.difference.low == pytest.approx(measured.difference.low, abs=0.1 * width)


def test_a_metric_that_is_no_mean_is_measured_on_single_columns() -> None:
    rows = _rows()
    rows["new"] = np.where(rows["kind"] == "b", 1 - rows["new"], rows["new"])
    report = check(rows, policy(rule("roc_auc", "not_worse", margin=0.9), explore=["kind", "origin"]))
    assert report.explored[0].where == "kind = b"
    assert all(" and " not in each.where for each in report.explored)


def test_numbers_are_cut_into_groups() -> None:
    rows = _rows(harm=False)
    rows["new"] = np.where(rows["distance"] > np.quantile(rows["distance"], 0.8), 1 - rows["new"], rows["new"])
    report = check(rows, policy(rule("log_loss", "not_worse", margin=0.99), explore=["distance"]))
    assert report.warnings == []
    assert [each.where.endswith("or more") for each in report.explored] == [True]
    assert report.explored[0].rows == pytest.approx(800, abs=2)


def test_nothing_to_compare_with_is_nothing_to_explore() -> None:
    assert check(_rows(), policy(rule("accuracy", "floor", value=0.1), champion="", explore=["kind"])).explored == []


def test_the_rows_are_gone_through_once_for_each_column_and_each_pair(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    n = 5000
    labels = rng.integers(0, 2, n).astype(float)
    scores = [np.clip(rng.random(n), 0.01, 0.99) for _ in range(2)]
    slices = {f"c{place}": Slicing(rng.integers(0, 8, n), [f"v{value}" for value in range(8)]) for place in range(10)}
    evidence = Evidence("binary", labels, scores[0], scores[1], slices=slices)
    sums = explored._errors
    passes: list[int] = []
    monkeypatch.setattr(
        explored, "_errors", lambda rows, codes, counts: (passes.append(len(codes)), sums(rows, codes, counts))[1]
    )
    explore(evidence, policy(rule("log_loss"), explore=list(slices)))
    assert passes == [n] * (10 + 45), "not once for each of their 80 and 2,880 slices"
