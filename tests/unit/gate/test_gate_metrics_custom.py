"""Metrics of one's own: what is called, what is refused, where code comes from."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gate_rows import binary_rows, policy, rule

from tidegate.errors import BadInputError, UsageError
from tidegate.gate import check, report_bytes
from tidegate.gate.metrics import check_metric, importable, parse_metric
from tidegate.gate.policy import parse_model_policy
from tidegate.records.report import Report
from tidegate.records.verdict import Verdict

CODE = '''
import random
import numpy as np

def profit(labels, predictions, weights=None):
    """Mean profit of a row.

    A caught one earns 10, a false alarm costs 2.
    """
    return float(np.average(np.where(predictions >= 0.5, np.where(labels > 0, 10, -2), 0), weights=weights))

def cost(labels, predictions):
    return -profit(labels, predictions)
cost.better = "lower"

class Holder:
    inner = staticmethod(profit)

def weighs(labels, predictions, weights):
    return float(weights.sum() / len(labels)) + profit(labels, predictions)

def threshold(labels, predictions, cut=0.5):
    assert cut == 0.5
    return profit(labels, predictions)

def raises(labels, predictions): raise ValueError("no such thing")
def quits(labels, predictions): raise SystemExit(0)
def ends(labels, predictions): raise GeneratorExit
def cancelled(labels, predictions):
    import asyncio
    raise asyncio.CancelledError
class Wordless(BaseException):
    def __str__(self): raise RuntimeError
def wordless(labels, predictions): raise Wordless
class Odd(float):
    def __float__(self): raise GeneratorExit
def odd(labels, predictions): return Odd(1)
def span(labels, predictions): return np.timedelta64(1, "s")
def directions(labels, predictions): return 1.0
directions.better = np.array(["higher", "lower"])
def interrupts(labels, predictions): raise KeyboardInterrupt
def text(labels, predictions): return "0.5"
def truth(labels, predictions): return True
def several(labels, predictions): return predictions[:2]
def nothing(labels, predictions): return float("nan")
def chance(labels, predictions): return random.random()
def changes(labels, predictions):
    predictions[:] = np.sort(predictions)
    return 1.0
def worse(labels, predictions): return 1.0
worse.better = "smaller"
number = 3
'''


@pytest.fixture(autouse=True)
def project(tmp_path: Path) -> Iterator[Path]:
    """A project's folder with a module of metrics, importable."""
    (tmp_path / "own_metrics.py").write_text(CODE)
    (tmp_path / "broken_metrics.py").write_text("1 / 0\n")
    with importable(tmp_path):
        yield tmp_path
    for name in ("own_metrics", "broken_metrics"):
        sys.modules.pop(name, None)


def judged(name: str, test: str = "superior", rows: Any = None, **keys: Any) -> Report:
    asked = {key: keys.pop(key) for key in ("value", "margin", "slices") if key in keys}
    return check(binary_rows(400) if rows is None else rows, policy(rule(f"own_metrics:{name}", test, **asked), **keys))


def test_a_function_is_a_metric() -> None:
    report = judged("profit")
    result = report.rules[0]
    rows = binary_rows(400)
    value = np.where(rows["new"] >= 0.5, np.where(rows["y"] > 0, 10, -2), 0).mean()
    assert result.candidate.estimate == pytest.approx(value)
    assert result.better == "higher"
    assert result.difference is not None
    assert result.difference.low is not None
    assert result.difference.estimate is not None
    assert result.difference.low < result.difference.estimate
    assert "own_metrics:profit (file " in result.method
    assert "2,000 draws" in result.method
    assert parse_metric("own_metrics:profit", "binary").about == "Mean profit of a row."


def test_the_same_input_gives_the_same_bytes() -> None:
    first, again, other = judged("profit"), judged("profit"), judged("profit", seed=1)
    assert report_bytes(first) == report_bytes(again)
    assert first.rules[0].difference != other.rules[0].difference


def test_lower_is_better_where_it_says_so() -> None:
    rows = binary_rows(3000)
    assert judged("cost", rows=rows).verdict is Verdict.PASS
    assert judged("cost", rows=rows, candidate="old", champion="new").verdict is Verdict.FAIL
    assert judged("cost", "floor", rows=rows, value=-1.0).rules[0].better == "lower"


def test_weights_go_where_the_function_takes_them() -> None:
    assert judged("profit", weight="weight").verdict is not Verdict.INVALID
    assert judged("weighs").rules[0].candidate.estimate == pytest.approx(1 + (judged("profit").rules[0].candidate.estimate or 0))
    assert judged("threshold").verdict is not Verdict.INVALID
    refused = judged("cost", weight="weight")
    assert refused.verdict is Verdict.INVALID
    assert "weight" in refused.problems[0].what


def test_clusters_and_slices() -> None:
    report = judged("Holder.inner", "not_worse", rows=binary_rows(600), margin=3.0, slices=["origin"], cluster="tail")
    assert report.verdict is Verdict.PASS
    assert "over clusters" in report.rules[0].method


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("raises", "no such thing"),
        ("quits", "SystemExit"),
        ("ends", "GeneratorExit"),
        ("cancelled", "CancelledError"),
        ("wordless", "Wordless"),
        ("odd", "GeneratorExit"),
        ("span", "timedelta64"),
        ("directions", "'lower'"),
        ("text", "a str"),
        ("truth", "a bool"),
        ("several", "a ndarray"),
        ("nothing", "nan"),
        ("chance", "another value each time"),
        ("changes", "changes the arrays"),
        ("worse", "smaller"),
        ("number", "no such function"),
        ("missing", "no such function"),
    ],
)
def test_what_fails_is_invalid_and_named(name: str, why: str) -> None:
    report = judged(name)
    assert report.verdict is Verdict.INVALID
    assert [problem.code for problem in report.problems] == ["metric-failed"]
    assert f"own_metrics:{name}" in report.problems[0].what
    assert why in report.problems[0].what


@pytest.mark.parametrize("name", ["broken_metrics:f", "no_such_module_here:f"])
def test_modules_that_cannot_be_imported(name: str) -> None:
    with pytest.raises(BadInputError) as caught:
        parse_metric(name, "binary")
    assert caught.value.code == "metric-failed"


def test_code_beside_the_policy_is_not_found(project: Path) -> None:
    other = project / "elsewhere"
    other.mkdir()
    (other / "lurking_metrics.py").write_text(CODE)
    (other / "gate.toml").write_text(
        'task = "binary"\nlabel = "y"\ncandidate = "new"\nchampion = "old"\n[[rules]]\nmetric = "lurking_metrics:profit"\ntest = "superior"\n'
    )
    report = check(binary_rows(100), other / "gate.toml")
    assert [problem.code for problem in report.problems] == ["metric-failed"]


def test_a_shadowed_module_is_refused(project: Path) -> None:
    parse_metric("own_metrics:profit", "binary")
    other = project / "other"
    other.mkdir()
    (other / "own_metrics.py").write_text(CODE)
    with importable(other), pytest.raises(BadInputError, match="imported before"):
        parse_metric("own_metrics:profit", "binary")


def test_installed_functions_serve() -> None:
    report = check(binary_rows(60), policy(rule("sklearn.metrics:brier_score_loss", "floor", value=0.0)))
    assert report.verdict is Verdict.PASS


def test_reading_a_policy_runs_nothing() -> None:
    policy(rule("own_metrics:raises"), rule("no_such_module_here:f"))
    assert "own_metrics" not in sys.modules


@pytest.mark.parametrize("name", ["own_metrics:", ":f", "own metrics:f", "a:b:c", "../x:f", "own_metrics.py/x:f"])
def test_odd_names(name: str) -> None:
    with pytest.raises(UsageError):
        check_metric(name, "binary")


def test_tasks_without_rows_and_unattended_work_are_refused() -> None:
    with pytest.raises(UsageError, match="ranking"):
        check_metric("own_metrics:profit", "ranking")
    with pytest.raises(UsageError, match="monitoring"):
        parse_model_policy("m", {"task": "binary", "monitoring": {"metrics": ["own_metrics:profit"]}})


def test_almost_equal_models() -> None:
    rows = binary_rows(400)
    rows["old"] = rows["new"].copy()
    assert "predict the same on every row" in judged("profit", rows=rows).rules[0].reason
    turned = np.flatnonzero((rows["y"] == 1) & (rows["new"] > 0.5))[:4]
    rows["old"][turned] = 0.1
    assert judged("profit", rows=rows).verdict is Verdict.INCONCLUSIVE
    more = np.flatnonzero((rows["y"] == 1) & (rows["new"] > 0.5))[:40]
    rows["old"][more] = 0.1
    assert judged("profit", rows=rows).verdict is Verdict.PASS


def test_the_keyboard_interrupts() -> None:
    with pytest.raises(KeyboardInterrupt):
        judged("interrupts")
