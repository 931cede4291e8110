"""Relative margins: the contrast with the champion, not a margin made of its point estimate; and two intervals that must agree."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gate_rows import binary_rows, policy, rule

from tidegate.gate import check
from tidegate.gate.evidence import Evidence
from tidegate.gate.metrics import Measured, Metric, parse_metric
from tidegate.gate.rules.bound import Ask, answer
from tidegate.records.report import RuleResult
from tidegate.records.verdict import Verdict
from tidegate.stats.estimate import Estimate

ROWS = binary_rows(2000, candidate_noise=0.5, champion_noise=0.5)


def _one(*rules: dict[str, Any], rows: Any = None) -> RuleResult:
    return check(ROWS if rows is None else rows, policy(*rules)).rules[0]


@pytest.mark.parametrize("metric", ["accuracy", "f1", "roc_auc", "log_loss", "brier"])
def test_a_relative_margin_is_a_share_of_the_champion(metric: str) -> None:
    found = _one(rule(metric, "not_worse", relative_margin=0.1))
    assert found.verdict is Verdict.PASS
    assert found.champion is not None
    assert found.champion.estimate is not None
    assert found.margin == pytest.approx(0.1 * found.champion.estimate)
    assert found.details["relative_margin"] == 0.1
    assert "not worse by more than 10% of the champion's value" in found.reason
    worse = ROWS | {"new": np.clip(0.5 + 0.3 * (0.5 - np.asarray(ROWS["new"])), 0.01, 0.99)}
    assert _one(rule(metric, "not_worse", relative_margin=0.1), rows=worse).verdict is Verdict.FAIL


def test_superior_by_a_share() -> None:
    rows = binary_rows(2000)
    gain = _one(rule("log_loss"), rows=rows)
    assert gain.champion is not None
    assert gain.difference is not None
    share = -(gain.difference.estimate or 0) / (gain.champion.estimate or 1)
    assert _one(rule("log_loss", relative_margin=share / 2), rows=rows).verdict is Verdict.PASS
    assert _one(rule("log_loss", relative_margin=share), rows=rows).verdict is Verdict.INCONCLUSIVE
    assert _one(rule("log_loss", relative_margin=2 * share), rows=rows).verdict is Verdict.FAIL


def test_slices_have_margins_of_their_own() -> None:
    found = _one(rule("log_loss", "not_worse", relative_margin=0.2, slices=["origin"]))
    assert (found.verdict, [part.verdict for part in found.slices]) == (Verdict.PASS, [Verdict.PASS] * 3)


def test_a_share_of_a_negative_number_is_no_margin() -> None:
    rng = np.random.default_rng(0)
    labels = rng.normal(size=500)
    rows = {"y": labels, "new": labels, "old": -labels}
    asked = {"metric": "r2", "test": "not_worse", "relative_margin": 0.1}
    report = check(rows, {"task": "regression", "label": "y", "candidate": "new", "champion": "old", "rules": [asked]})
    assert report.verdict is Verdict.INVALID
    assert report.problems[0].code == "relative-margin-undefined"


def _losses(n: int, ratio: float, rng: np.random.Generator) -> Evidence:
    """Champion with squared errors of mean 1, candidate with the same times ``ratio`` on average."""
    champion = rng.normal(size=n)
    shared = rng.normal(size=n)
    candidate = np.sqrt(ratio) * (0.8 * champion + 0.6 * shared)
    return Evidence("regression", np.zeros(n), candidate, champion)


@pytest.mark.slow
@pytest.mark.parametrize("metric", ["mse", "rmse", "mae"])
def test_a_pass_on_the_margin_is_wrong_as_seldom_as_it_says(metric: str) -> None:
    share = 0.1
    ratio = (1 + share) ** (1 if metric == "mse" else 2)
    rng = np.random.default_rng(7)
    trials = 600
    passes = 0
    measure = parse_metric(metric, "regression")
    for _ in range(trials):
        evidence = _losses(150, ratio, rng)
        measured = measure.measure(evidence, 0.95, rng)
        asked = Ask("not_worse", 0.0, None, share)
        passes += answer(asked, measure, measured, evidence, confidence=0.95).verdict is Verdict.PASS
    assert passes / trials <= 0.025 + 3 * np.sqrt(0.025 * 0.975 / trials) + 0.01


def test_a_margin_from_the_point_estimate_would_be_wrong_more_often() -> None:
    """The mistake that the contrast avoids: a margin of half the champion's own noisy loss."""
    share, trials = 0.5, 150
    rng = np.random.default_rng(8)
    metric = parse_metric("mse", "regression")
    passes = {"contrast": 0, "point": 0}
    for _ in range(trials):
        champion = rng.normal(size=60)
        candidate = np.sqrt(1.5) * rng.normal(size=60)
        evidence = Evidence("regression", np.zeros(60), candidate, champion)
        measured = metric.measure(evidence, 0.95, rng)
        assert measured.champion is not None
        for name, asked in (
            ("contrast", Ask("not_worse", 0.0, None, share)),
            ("point", Ask("not_worse", share * measured.champion.value, None)),
        ):
            passes[name] += answer(asked, metric, measured, evidence, confidence=0.95).verdict is Verdict.PASS
    assert passes["contrast"] / trials <= 0.05
    assert passes["point"] > passes["contrast"]


@pytest.mark.parametrize(
    ("careful", "verdict"),
    [
        (Estimate(0.1, 0.05, 0.15), Verdict.PASS),
        (Estimate(0.1, -0.05, 0.15), Verdict.INCONCLUSIVE),
        (Estimate(0.1, float("nan"), 0.15), Verdict.INCONCLUSIVE),
    ],
)
def test_a_verdict_holds_by_the_careful_interval_too(careful: Estimate, verdict: Verdict) -> None:
    def measure(evidence: Evidence, confidence: float, rng: np.random.Generator) -> Measured:
        del evidence, confidence, rng
        value = Estimate(0.9, 0.85, 0.95)
        return Measured(value, value, Estimate(0.1, 0.05, 0.15), "test", {}, careful, careful)

    metric = Metric(name="m", better="higher", about="", measure=measure)
    evidence = Evidence("binary", np.zeros(100), np.zeros(100), np.zeros(100))
    measured = measure(evidence, 0.95, np.random.default_rng(0))
    assert answer(Ask("superior", 0.0, None), metric, measured, evidence, confidence=0.95).verdict is verdict
    floor = answer(Ask("floor", 0.0, 0.0), metric, measured, evidence, confidence=0.95)
    assert floor.verdict is verdict
