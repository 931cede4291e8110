"""Whole checks: verdicts, laws, bad files, and how often a PASS is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gate_rows import binary_rows, policy, rule
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from tidegate.errors import UsageError
from tidegate.gate import check, parse_report, report_bytes
from tidegate.gate.evidence import Evidence
from tidegate.gate.policy import parse_check_policy
from tidegate.gate.rules.comparison import compare
from tidegate.records.report import Report, RuleResult
from tidegate.records.verdict import Verdict

ALL = ("accuracy", "f1", "precision", "recall@0.4", "roc_auc", "log_loss", "brier")
ROWS = binary_rows(3000)


def _one(rows: Any, *rules: dict[str, Any], **keys: Any) -> RuleResult:
    return check(rows, policy(*rules, **keys)).rules[0]


@pytest.mark.parametrize("metric", ALL)
@pytest.mark.parametrize("keys", [{}, {"cluster": "tail"}, {"weight": "weight"}, {"cluster": "tail", "weight": "weight"}])
def test_a_better_model_passes_and_a_worse_fails(metric: str, keys: dict[str, str]) -> None:
    assert _one(ROWS, rule(metric), **keys).verdict is Verdict.PASS
    worse = {"candidate": "old", "champion": "new"}
    assert _one(ROWS, rule(metric), **worse, **keys).verdict is Verdict.FAIL
    assert _one(ROWS, rule(metric, "not_worse", margin=0.001), **worse, **keys).verdict is Verdict.FAIL
    assert _one(ROWS, rule(metric, "not_worse", margin=0.9), **worse, **keys).verdict is Verdict.PASS


def test_the_policy_may_be_a_file_or_a_mapping(tmp_path: Path) -> None:
    keys = {"task": "binary", "label": "label", "candidate": "new", "champion": "old", "rules": [rule("log_loss")]}
    file = tmp_path / "gate.toml"
    file.write_text(
        'task = "binary"\nlabel = "label"\ncandidate = "new"\nchampion = "old"\n'
        '[[rules]]\nmetric = "log_loss"\ntest = "superior"\n'
    )
    for given_as in (file, str(file), keys):
        assert check(ROWS, given_as) == check(ROWS, parse_check_policy(keys))
    with pytest.raises(UsageError, match="unknown key 'lable'"):
        check(ROWS, keys | {"lable": "label"})


def test_the_values_are_scikit_learns() -> None:
    from sklearn import metrics

    report = check(ROWS, policy(*map(rule, ALL)))
    y, p, q = ROWS["y"], ROWS["new"], ROWS["old"]
    expected = {
        "accuracy": lambda s: metrics.accuracy_score(y, s >= 0.5),
        "f1": lambda s: metrics.f1_score(y, s >= 0.5),
        "precision": lambda s: metrics.precision_score(y, s >= 0.5),
        "recall@0.4": lambda s: metrics.recall_score(y, s >= 0.4),
        "roc_auc": lambda s: metrics.roc_auc_score(y, s),
        "log_loss": lambda s: metrics.log_loss(y, s),
        "brier": lambda s: metrics.brier_score_loss(y, s),
    }
    for found in report.rules:
        assert found.champion is not None
        assert found.difference is not None
        assert found.candidate.estimate == pytest.approx(expected[found.metric](p))
        assert found.champion.estimate == pytest.approx(expected[found.metric](q))
        assert found.difference.estimate == pytest.approx(expected[found.metric](p) - expected[found.metric](q))
        for interval in (found.candidate, found.champion, found.difference):
            assert interval.low is not None
            assert interval.low < interval.estimate < interval.high


def test_regression() -> None:
    rng = np.random.default_rng(0)
    y = rng.normal(size=500)
    rows = {"y": y, "new": y + rng.normal(0, 1, 500), "old": y + rng.normal(0, 1.4, 500)}
    report = check(rows, policy(rule("mae"), rule("rmse"), rule("mse", "floor", value=1.3), task="regression"))
    assert report.verdict is Verdict.PASS
    assert report.rules[1].candidate.estimate == pytest.approx(np.sqrt(np.mean((rows["new"] - y) ** 2)))


def test_multiclass_accuracy() -> None:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 4, 800)
    rows = {"y": y, "new": np.where(rng.random(800) < 0.9, y, 0), "old": np.where(rng.random(800) < 0.6, y, 0)}
    found = _one(rows, rule("accuracy"), task="multiclass")
    assert found.verdict is Verdict.PASS
    assert found.candidate.estimate == pytest.approx((rows["new"] == y).mean())


def test_accuracy_tells_all_four_figures() -> None:
    found = _one(ROWS, rule("accuracy"))
    assert {"mcnemar_exact_p", "mcnemar_midp_p", "newcombe_low", "newcombe_high"} <= set(found.details)
    assert "Tango" in found.method


def test_an_equal_model_is_not_worse_but_never_ships() -> None:
    rows = ROWS | {"new": ROWS["old"]}
    report = check(rows, policy(*(rule(metric, "not_worse", margin=0.02) for metric in ALL)))
    assert report.verdict is Verdict.INVALID
    assert [problem.code for problem in report.problems] == ["candidate-equals-champion"]
    assert {found.verdict for found in report.rules} == {Verdict.PASS}
    assert all(_one(rows, rule(metric)).verdict is not Verdict.PASS for metric in ALL)
    assert _one(rows, rule("accuracy", margin=0.01)).verdict is Verdict.FAIL


def test_no_margin_is_never_proven_by_equal_predictions() -> None:
    rows = ROWS | {"new": ROWS["old"]}
    assert all(_one(rows, rule(metric, "not_worse")).verdict is Verdict.INCONCLUSIVE for metric in ALL)


@pytest.mark.parametrize("metric", ALL)
def test_floors(metric: str) -> None:
    value = _one(ROWS, rule(metric)).candidate.estimate
    assert value is not None
    sign = -1 if metric in {"log_loss", "brier"} else 1
    verdicts = [_one(ROWS, rule(metric, "floor", value=value + sign * step), champion="").verdict for step in (-0.1, 0, 0.1)]
    assert verdicts == [Verdict.PASS, Verdict.INCONCLUSIVE, Verdict.FAIL]


def test_too_few_rows_tell_how_many_more() -> None:
    small = binary_rows(150, candidate_noise=0.8)
    found = _one(small, rule("log_loss", margin=0.001))
    assert found.verdict is Verdict.INCONCLUSIVE
    assert found.more_rows is not None
    report = check({name: values[:3] for name, values in ROWS.items()} | {"y": np.array([0, 1, 0])}, policy())
    assert (report.verdict, report.rules[0].more_rows) == (Verdict.INCONCLUSIVE, 27)
    assert report.sentence.startswith("Do not ship yet: 3 rows are too few")


def test_two_clusters_and_few_positives_are_inconclusive() -> None:
    assert _one(ROWS | {"tail": ROWS["tail"] % 2}, rule("brier"), cluster="tail").verdict is Verdict.INCONCLUSIVE
    rare = ROWS | {"y": (np.arange(3000) < 5).astype(int)}
    for metric in ("roc_auc", "recall", "f1", "precision"):
        found = _one(rare, rule(metric, "not_worse", margin=0.99))
        assert found.verdict is Verdict.INCONCLUSIVE
        assert found.more_rows is not None


def test_log_loss_of_decisions_is_invalid_others_are_not() -> None:
    rows = ROWS | {"new": (ROWS["new"] > 0.5).astype(int), "old": (ROWS["old"] > 0.5).astype(int)}
    report = check(rows, policy(rule("log_loss"), rule("accuracy")))
    assert (report.verdict, report.rules[0].verdict, report.rules[1].verdict) == (Verdict.INVALID, Verdict.INVALID, Verdict.PASS)
    assert report.problems[0].code == "rule-not-computable"
    assert check(rows, policy(*(rule(m) for m in ("accuracy", "f1", "brier", "roc_auc")))).verdict is Verdict.PASS


def test_an_undefined_metric_is_invalid() -> None:
    found = _one(ROWS | {"old": np.zeros(3000)}, rule("precision"))
    assert found.verdict is Verdict.INVALID
    assert "champion is not defined" in found.reason


def test_one_bad_slice_stops_a_good_model() -> None:
    new = ROWS["new"].copy()
    jfk = ROWS["origin"] == "JFK"
    new[jfk] = 1 - new[jfk]
    rows = ROWS | {"new": new}
    for mode in ("all_not_worse", "none_worse"):
        found = _one(rows, rule("brier", "not_worse", margin=0.3, slices=["origin"], slice_mode=mode))
        assert found.verdict is Verdict.FAIL
        assert [part.value for part in found.slices if part.verdict is Verdict.FAIL] == ["JFK"]
        assert "origin = JFK" in found.reason
    assert _one(rows, rule("brier", "not_worse", margin=0.3)).verdict is Verdict.PASS


def test_a_small_slice_is_not_proven_and_not_proven_worse() -> None:
    origin = ROWS["origin"].copy()
    origin[7] = "ONE"
    rows = ROWS | {"origin": origin}
    strict = _one(rows, rule("brier", "not_worse", margin=0.5, slices=["origin"]))
    assert strict.verdict is Verdict.INCONCLUSIVE
    assert strict.more_rows == 29 * 3000
    loose = _one(rows, rule("brier", "not_worse", margin=0.5, slices=["origin"], slice_mode="none_worse"))
    assert loose.verdict is Verdict.PASS
    assert {part.value: part.verdict for part in loose.slices}["ONE"] is Verdict.INCONCLUSIVE


def test_slices_of_a_superior_rule_must_not_be_worse_at_all() -> None:
    found = _one(ROWS, rule("brier", slices=["origin"]))
    assert found.verdict is Verdict.PASS
    assert len(found.slices) == 3
    floors = _one(ROWS, rule("roc_auc", "floor", value=0.95, slices=["origin"]))
    assert {part.verdict for part in floors.slices} == {Verdict.FAIL}


def test_a_slice_without_weight_is_inconclusive() -> None:
    rows = ROWS | {"weight": np.where(ROWS["origin"] == "JFK", 0.0, 1.0), "even": ROWS["id"] % 2}
    for metric in ALL:
        found = _one(rows, rule(metric, "not_worse", margin=0.5, slices=["origin", "even"]), weight="weight")
        verdicts = {part.value: part.verdict for part in found.slices}
        assert verdicts.pop("JFK") is Verdict.INCONCLUSIVE
        assert verdicts == dict.fromkeys(["EWR", "LGA", "0", "1"], Verdict.PASS)


def test_the_worst_rule_decides() -> None:
    asked = policy(rule("accuracy"), rule("brier", "floor", value=0.0001), rule("log_loss", "not_worse", margin=0.5))
    report = check(ROWS, asked)
    assert report.verdict is Verdict.FAIL
    assert report.sentence.startswith("Do not ship: 1 of 3 rules fails on 3,000 rows. brier is")


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [("gone.csv", None, "file-not-found"), ("empty.csv", b"", "empty-file"), ("odd.xlsx", b"x", "unknown-format"),
     ("broken.parquet", b"PAR1 no", "unreadable-file"), ("head.csv", b"y,new,old\n", "no-rows")],
)  # fmt: skip
def test_files_that_are_no_evidence(tmp_path: Path, name: str, content: bytes | None, code: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    report = check(tmp_path / name, policy())
    assert (report.verdict, [problem.code for problem in report.problems]) == (Verdict.INVALID, [code])
    assert report.sentence.startswith("Do not ship: the evidence cannot be used")


def _judged(report: Report) -> Report:
    """A report without its pictures, which show rows in the order of the file."""
    return replace(report, curves=[], flips=None, diffs=None)


def test_the_same_input_gives_the_same_bytes_in_any_order() -> None:
    asked = policy(*(rule(metric, slices=["origin"]) for metric in ALL), cluster="tail")
    plain = policy(*(rule(metric, slices=["origin"]) for metric in ALL), seed=4)
    order = np.random.default_rng(1).permutation(3000)
    shuffled = {name: values[order] for name, values in ROWS.items()}
    for each in (asked, plain):
        report = check(ROWS, each)
        assert report_bytes(_judged(check(shuffled, each))) == report_bytes(_judged(report))
        assert parse_report(report_bytes(report)) == report
    assert report_bytes(check(ROWS, plain)) == report_bytes(report)


@settings(max_examples=15)
@given(st.integers(0, 10_000), st.sampled_from(ALL))
def test_swapping_the_models_flips_the_difference(seed: int, metric: str) -> None:
    rows = binary_rows(200, seed=seed)
    there = _one(rows, rule(metric)).difference
    back = _one(rows, rule(metric), candidate="old", champion="new").difference
    assert there is not None
    assert back is not None
    assert there.estimate == pytest.approx(-back.estimate, abs=1e-9)
    width = there.high - there.low
    assert (there.low, there.high) == pytest.approx((-back.high, -back.low), abs=0.12 * width)


def _false_passes(metric: str, n: int, trials: int, flips: float, margin: float) -> float:
    """How often a candidate that is worse by exactly the margin in accuracy (of decisions) passes as not worse."""
    rng = np.random.default_rng(n)
    asked = policy(rule(metric, "not_worse", margin=margin)).rules[0]
    passed = 0
    for _ in range(trials):
        y = np.arange(n) % 2.0
        wrong_new, wrong_old = rng.random(n) < flips + margin, rng.random(n) < flips
        evidence = Evidence("binary", y, np.where(wrong_new, 1 - y, y), np.where(wrong_old, 1 - y, y), hard=True)
        passed += compare(asked, evidence, confidence=0.95, seed=0).verdict is Verdict.PASS
    return passed / trials


@pytest.mark.parametrize(
    ("metric", "n", "flips", "margin"),
    [
        ("accuracy", 100, 0.02, 0.02),
        ("accuracy", 300, 0.1, 0.05),
        ("recall", 200, 0.02, 0.02),
        ("f1", 200, 0.02, 0.02),
        ("precision", 200, 0.01, 0.03),
        ("brier", 60, 0.01, 0.03),
        pytest.param("brier", 300, 0.1, 0.05, marks=pytest.mark.slow),
        ("roc_auc", 200, 0.02, 0.02),
    ],
)
def test_a_pass_at_the_margin_is_as_rare_as_promised(metric: str, n: int, flips: float, margin: float) -> None:
    trials, alpha = 100 if metric in {"f1", "precision"} else 400, 0.05
    assert _false_passes(metric, n, trials, flips, margin) <= alpha + 3 * np.sqrt(alpha * (1 - alpha) / trials)


def test_a_harmless_model_with_twenty_slices_is_seldom_called_worse() -> None:
    rng = np.random.default_rng(8)
    called = 0
    for _ in range(40):
        n = 4000
        y = rng.integers(0, 2, n)
        rows = {
            "y": y,
            "new": np.where(rng.random(n) < 0.2, 1 - y, y),
            "old": np.where(rng.random(n) < 0.2, 1 - y, y),
            "g": rng.integers(0, 20, n),
        }
        asked = policy(rule("accuracy", "not_worse", margin=0.0, slices=["g"], slice_mode="none_worse"))
        called += any(part.verdict is Verdict.FAIL for part in check(rows, asked).rules[0].slices)
    assert called / 40 <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 40)


@pytest.mark.parametrize("metric", ["log_loss", "accuracy", "roc_auc"])
def test_a_few_heavy_rows_or_clusters_never_pass(metric: str) -> None:
    rows = binary_rows()
    assert check(rows, policy(rule(metric), weight="weight", cluster="tail")).verdict is Verdict.PASS
    heavy = rows | {"weight": np.where(np.arange(2000) == 0, 1e50, 1.0)}
    found = _one(heavy, rule(metric), weight="weight")
    assert (found.verdict, "count as 1.0 equal ones" in found.reason) == (Verdict.INCONCLUSIVE, True)
    lumped = rows | {"tail": np.maximum(np.arange(2000) - 1900, 0)}
    found = _one(lumped, rule(metric), cluster="tail")
    assert (found.verdict, "clusters are so uneven" in found.reason) == (Verdict.INCONCLUSIVE, True)


@pytest.mark.parametrize("key", ["label", "candidate"])
def test_a_column_without_a_name_is_refused(key: str) -> None:
    with pytest.raises(UsageError, match=f"{key} of the policy names no column"):
        policy(**{key: ""})


def test_a_column_that_holds_no_numbers_at_all_is_invalid() -> None:
    found = check(binary_rows() | {"new": np.ones(2000) * 1j}, policy())
    assert (found.verdict, [problem.code for problem in found.problems]) == (Verdict.INVALID, ["not-a-frame"])


@pytest.mark.parametrize(("held", "which"), [(0.0, "with"), (1.0, "without")])
def test_a_label_that_nobody_or_everybody_has(held: float, which: str) -> None:
    rng = np.random.default_rng(0)
    truth = (rng.random((300, 3)) < 0.4).astype(float)
    truth[:, 1] = held
    new, old = (np.clip(share * truth + (1 - share) * rng.random((300, 3)), 0, 1) for share in (0.6, 0.3))
    models = {"y": truth, "new": new, "old": old}
    rows = {f"{role}_{name}": table[:, place] for role, table in models.items() for place, name in enumerate("abc")}
    metrics = ["balanced_accuracy[b]", "mcc[b]", "roc_auc", "accuracy[b]", "subset_accuracy", "micro_f1"]
    asked = {"task": "multilabel", "label": "y_*", "candidate": "new_*", "champion": "old_*"}
    found = check(rows, asked | {"rules": [{"metric": name, "test": "not_worse", "margin": 0.1} for name in metrics]})
    balanced, mcc, areas, *sure = found.rules
    assert balanced.verdict is Verdict.INCONCLUSIVE
    assert f"0 rows {which} label b are too few" in balanced.reason
    assert [rule.problem and rule.problem.code for rule in (mcc, areas)] == ["rule-not-computable"] * 2
    assert [rule.verdict for rule in sure] == [Verdict.PASS] * 3


@pytest.mark.parametrize("metric", ["pinball@0.9", "coverage"])
def test_several_quantiles_of_a_row_are_no_prediction(metric: str) -> None:
    """So quantiles that cross, and intervals whose lower end is above the upper, cannot come in."""
    y = np.random.default_rng(0).normal(size=100)
    asked = {"task": "regression", "label": "y", "candidate": "new", "rules": [{"metric": metric, "test": "floor", "value": 0.5}]}
    found = check({"y": y, "new": [[value + 1, value - 1] for value in y.tolist()]}, asked)
    assert (found.verdict, [problem.code for problem in found.problems]) == (Verdict.INVALID, ["not-numeric"])


def test_runs_of_unequal_number_are_averaged_by_item_and_told() -> None:
    rng = np.random.default_rng(0)
    item = np.concatenate([np.repeat(np.arange(100), 1 + np.arange(100) % 3), np.arange(100)])
    ours = np.arange(item.size) < item.size - 100
    new = np.where(ours, rng.normal(1, 1, item.size), np.nan)
    rows = {"item": item, "new": new, "old": np.where(ours, np.nan, rng.normal(0, 1, item.size))}
    asked = {
        "task": "scores",
        "candidate": "new",
        "champion": "old",
        "key": "item",
        "rules": [{"metric": "mean_score", "test": "superior"}],
    }
    found = check(rows, asked)
    assert (found.verdict, [warning.code for warning in found.warnings]) == (Verdict.PASS, ["runs-differ"])
    means = [np.mean(new[ours & (item == each)]) for each in range(100)]
    assert found.rules[0].candidate.estimate == pytest.approx(np.mean(means))
