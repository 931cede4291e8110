"""Scores of items and preferences through the gate."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gate_rows import rule

from tidegate.gate import check
from tidegate.records.verdict import Verdict


def _rows(n: int = 300, *, gain: float = 0.3, runs: int = 1, seed: int = 0) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    hard = np.repeat(rng.normal(size=n), runs)
    return {
        "item": np.repeat(np.arange(n), runs),
        "new": hard + gain + 0.4 * rng.normal(size=n * runs),
        "old": hard + 0.4 * rng.normal(size=n * runs),
    }


def _asked(*rules: dict[str, Any], **keys: Any) -> dict[str, Any]:
    named = {"task": "scores", "candidate": "new", "champion": "old", "key": "item", "rules": list(rules)} | keys
    return {name: value for name, value in named.items() if value is not None}


def test_a_higher_score_wins_and_loses_where_less_is_better() -> None:
    assert check(_rows(), _asked(rule("mean_score"), rule("win_rate"))).verdict is Verdict.PASS
    assert check(_rows(), _asked(rule("mean_score[lower]"))).verdict is Verdict.FAIL
    assert check(_rows(gain=-0.3), _asked(rule("mean_score[lower]"))).verdict is Verdict.PASS


def test_runs_are_no_more_evidence_than_items() -> None:
    report = check(_rows(20, gain=3, runs=50), _asked(rule("mean_score")))
    assert report.verdict is Verdict.INCONCLUSIVE
    assert "too-few-rows" in {warning.code for warning in report.warnings}


def test_runs_make_an_item_surer() -> None:
    widths = []
    for runs in (1, 10):
        found = check(_rows(200, runs=runs), _asked(rule("mean_score"))).rules[0].difference
        assert found is not None
        assert found.high is not None
        assert found.low is not None
        widths.append(found.high - found.low)
    assert widths[1] < widths[0] / 2


def test_passed_or_failed_gets_the_interval_of_shares() -> None:
    """pass@1: PropCIs' example of paired proportions, b = 40, c = 20, n = 160."""
    new = np.concatenate([np.ones(40), np.zeros(20), np.ones(50), np.zeros(50)])
    old = np.concatenate([np.zeros(40), np.ones(20), np.ones(50), np.zeros(50)])
    found = check({"item": np.arange(160), "new": new, "old": old}, _asked(rule("mean_score"), rule("win_rate"))).rules
    for result in found:
        assert result.difference is not None
        assert result.difference.estimate == pytest.approx(0.125)
        assert result.difference.low == pytest.approx(0.03086, abs=1e-5)
        assert result.difference.high == pytest.approx(0.21806, abs=1e-5)
        assert "Tango" in result.method
    assert found[1].candidate.estimate == pytest.approx(0.5625)
    assert found[1].details["won"] == 40
    assert found[0].difference is not None
    assert (found[0].details["tango_low"], found[0].details["tango_high"]) == (found[0].difference.low, found[0].difference.high)
    grouped = _asked(rule("mean_score"), cluster="who")
    clustered = check({"item": np.arange(160), "new": new, "old": old, "who": np.arange(160) % 40}, grouped).rules[0]
    assert "clusters" in clustered.method
    figures = [name for name in found[0].details if name.startswith(("only_", "mcnemar_", "newcombe_", "tango_"))]
    assert len(figures) == 8
    assert [clustered.details[name] for name in figures] == [found[0].details[name] for name in figures]


def test_preferences_need_no_scores() -> None:
    who = np.array(["candidate"] * 60 + ["champion"] * 20 + ["tie"] * 40, dtype=object)
    asked = _asked(rule("win_rate"), candidate=None, champion=None, preference="who")
    report = check({"item": np.arange(120), "who": who}, asked)
    assert report.verdict is Verdict.PASS
    assert report.rules[0].candidate.estimate == pytest.approx((60 + 20) / 120)
    assert (report.candidate, report.champion) == ("candidate", "champion")
    floor = check({"item": np.arange(120), "who": who}, asked | {"rules": [rule("win_rate", "floor", value=0.5)]})
    assert floor.verdict is Verdict.PASS
    swapped = np.where(who == "candidate", "B", np.where(who == "champion", "A", "tie"))
    assert check({"item": np.arange(120), "who": swapped}, asked).verdict is Verdict.FAIL


def test_raters_of_an_item_are_one_piece_of_evidence() -> None:
    rng = np.random.default_rng(3)
    items = np.repeat(np.arange(60), 5)
    lean = np.repeat(rng.random(60), 5)
    who = np.where(rng.random(300) < lean, "A", "B").astype(object)
    report = check({"item": items, "who": who}, _asked(rule("win_rate"), candidate=None, champion=None, preference="who"))
    assert report.verdict is Verdict.INCONCLUSIVE
    assert "t interval" in report.rules[0].method


def test_without_a_champion_only_the_mean_can_be_asked() -> None:
    rows = {"item": np.arange(100), "new": np.random.default_rng(0).random(100)}
    assert check(rows, _asked(rule("mean_score", "floor", value=0.3), champion=None)).verdict is Verdict.PASS
    assert check(rows, _asked(rule("win_rate", "floor", value=0.3), champion=None)).verdict is Verdict.INVALID
