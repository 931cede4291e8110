"""Metrics that are means: values against scikit-learn, intervals against SciPy, and laws of weights, clusters, order and portions."""

from __future__ import annotations

import zlib
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics

from tidegate.errors import UsageError
from tidegate.gate import check
from tidegate.gate.evidence import Evidence
from tidegate.gate.metrics import Measured, parse_metric
from tidegate.records.verdict import Verdict
from tidegate.stats.estimate import Estimate

REGRESSION = ("mae", "mse", "rmse", "r2", "mape", "pinball@0.9", "coverage")
BINARY = ("log_loss", "brier")


def _regression(rows: int = 400, seed: int = 0, **keys: Any) -> Evidence:
    rng = np.random.default_rng(seed)
    labels = rng.normal(20, 3, rows)
    return Evidence("regression", labels, labels + rng.normal(size=rows), labels + 1.3 * rng.normal(size=rows), **keys)


def _binary(rows: int = 400, seed: int = 0, **keys: Any) -> Evidence:
    rng = np.random.default_rng(seed)
    chance = rng.beta(2, 3, rows)
    labels = (rng.random(rows) < chance).astype(float)
    noisy = np.clip(chance + 0.1 * rng.normal(size=rows), 0.01, 0.99)
    return Evidence("binary", labels, chance, noisy, **keys)


def _measure(name: str, evidence: Evidence, confidence: float = 0.95) -> Measured:
    return parse_metric(name, evidence.task).measure(evidence, confidence, np.random.default_rng(0))


def _swapped(evidence: Evidence) -> Evidence:
    assert evidence.champion is not None
    return Evidence(evidence.task, evidence.labels, evidence.champion, evidence.candidate)


def _ends(estimate: Estimate | None) -> tuple[float, float, float]:
    assert estimate is not None
    return estimate[:3]


def test_values_are_scikit_learns() -> None:
    rows = _regression()
    y, p = rows.labels, rows.candidate
    expected = {
        "mae": metrics.mean_absolute_error(y, p),
        "mse": metrics.mean_squared_error(y, p),
        "rmse": metrics.root_mean_squared_error(y, p),
        "r2": metrics.r2_score(y, p),
        "mape": metrics.mean_absolute_percentage_error(y, p),
        "pinball@0.9": metrics.mean_pinball_loss(y, p, alpha=0.9),
        "coverage": np.mean(y <= p),
    }
    for name in REGRESSION:
        assert _measure(name, rows).candidate.value == pytest.approx(expected[name])
    weights = np.random.default_rng(1).uniform(0.5, 2, 400)
    weighted = _measure("r2", _regression(weights=weights)).candidate.value
    assert weighted == pytest.approx(metrics.r2_score(y, p, sample_weight=weights))


def test_several_classes_and_labels() -> None:
    rng = np.random.default_rng(2)
    codes, table = rng.integers(0, 3, 200), rng.dirichlet(np.ones(3), 200)
    rows = Evidence("multiclass", codes.astype(float), table, table[:, ::-1].copy(), classes=["a", "b", "c"])
    assert _measure("log_loss", rows).candidate.value == pytest.approx(metrics.log_loss(codes, table))
    assert _measure("brier", rows).candidate.value == pytest.approx(np.square(table - np.eye(3)[codes]).sum(axis=1).mean())
    labels, chances = (rng.random((200, 3)) < 0.4).astype(float), rng.uniform(0.05, 0.95, (200, 3))
    several = Evidence("multilabel", labels, chances, 1 - chances, classes=["a", "b", "c"])
    expected = np.mean([metrics.log_loss(labels[:, k], chances[:, k]) for k in range(3)])
    assert _measure("log_loss", several).candidate.value == pytest.approx(expected)


def test_the_paired_interval_is_students() -> None:
    rows = _regression()
    assert rows.champion is not None
    one, two = np.abs(rows.candidate - rows.labels), np.abs(rows.champion - rows.labels)
    expected = stats.ttest_rel(one, two).confidence_interval(0.9)
    found = _measure("mae", rows, 0.9)
    assert found.difference is not None
    assert found.difference[1:3] == pytest.approx((expected.low, expected.high))
    assert found.difference.df == pytest.approx(399)


VALUES = {"mae": metrics.mean_absolute_error, "rmse": metrics.root_mean_squared_error, "r2": metrics.r2_score}


@pytest.mark.parametrize("rows", [400, 5000])
@pytest.mark.parametrize("name", ["mae", "rmse", "r2"])
def test_bca_is_as_wide_as_resampled_differences(name: str, rows: int) -> None:
    evidence = _regression(rows)
    found = _measure(name, evidence)
    drawn = [evidence.take(numbers) for numbers in np.random.default_rng(2).integers(0, rows, (300, rows))]
    replicates = [VALUES[name](part.labels, part.candidate) - VALUES[name](part.labels, part.champion) for part in drawn]
    width = found.details["bca_high"] - found.details["bca_low"]
    assert width == pytest.approx(2 * 1.96 * np.std(replicates), rel=0.12)
    assert found.difference is not None
    assert found.details["bca_low"] < found.difference.value < found.details["bca_high"]
    assert 0 <= found.details["sign_flip_p"] <= 1


@pytest.mark.parametrize("name", REGRESSION)
def test_clusters_of_copies_are_no_new_evidence(name: str) -> None:
    plain = _regression(60)
    order = np.repeat(np.arange(60), 4)
    copies = plain.take(order)
    grouped = Evidence("regression", copies.labels, copies.candidate, copies.champion, clusters=order)
    alone = Evidence("regression", plain.labels, plain.candidate, plain.champion, clusters=np.arange(60))
    assert _ends(_measure(name, grouped).difference) == pytest.approx(_ends(_measure(name, alone).difference))


@pytest.mark.parametrize("name", REGRESSION)
def test_whole_weights_are_repeated_clusters(name: str) -> None:
    weights = np.random.default_rng(3).integers(1, 4, 80)
    plain, order = _regression(80), np.repeat(np.arange(80), weights)
    copies = plain.take(order)
    grouped = Evidence("regression", copies.labels, copies.candidate, copies.champion, clusters=order)
    weighted = Evidence("regression", plain.labels, plain.candidate, plain.champion, weights=weights.astype(float))
    assert _ends(_measure(name, weighted).difference) == pytest.approx(_ends(_measure(name, grouped).difference))


@pytest.mark.parametrize("name", ["mae", "rmse", "r2", "mape"])
def test_equal_weights_are_no_weights(name: str) -> None:
    plain, weighted = _regression(), _regression(weights=np.full(400, 0.3))
    for one, other in zip(_measure(name, plain)[:3], _measure(name, weighted)[:3], strict=True):
        assert _ends(one) == pytest.approx(_ends(other))


@given(st.integers(0, 1000))
@settings(max_examples=8, deadline=None)
def test_neither_order_nor_names_of_the_models_matter(seed: int) -> None:
    for evidence, names in ((_regression(90, seed), REGRESSION), (_binary(90, seed), BINARY)):
        order = np.random.default_rng(seed).permutation(90)
        for name in names:
            found = _measure(name, evidence)
            again, other = _measure(name, evidence.take(order)), _measure(name, _swapped(evidence))
            assert again.difference == pytest.approx(found.difference)
            assert again.details == pytest.approx(found.details)
            assert found.difference is not None
            assert other.difference is not None
            assert other.difference.negated()[:3] == pytest.approx(found.difference[:3])
            if found.careful_difference is not None:
                assert other.careful_difference is not None
                assert other.careful_difference.negated()[:3] == pytest.approx(found.careful_difference[:3])


@given(st.floats(1e-3, 1e3))
@settings(max_examples=6, deadline=None)
def test_scaling_the_unit_scales_the_interval(factor: float) -> None:
    plain = _regression(100)
    assert plain.champion is not None
    scaled = Evidence("regression", factor * plain.labels, factor * plain.candidate, factor * plain.champion)
    for name, power in (("mae", 1), ("rmse", 1), ("mse", 2), ("r2", 0), ("mape", 0)):
        one, other = _measure(name, plain), _measure(name, scaled)
        assert [factor**power * end for end in _ends(one.difference)] == pytest.approx(_ends(other.difference))


@given(st.integers(0, 100), st.lists(st.integers(0, 300), max_size=4), st.sampled_from(["", "weights", "clusters", "both"]))
@settings(max_examples=10, deadline=None)
def test_portions_change_nothing(seed: int, cuts: list[int], keys: str) -> None:
    rng = np.random.default_rng(seed)
    given_: dict[str, Any] = {"weights": rng.uniform(0.1, 2, 300)} if keys in {"weights", "both"} else {}
    given_ |= {"clusters": rng.integers(0, 40, 300)} if keys in {"clusters", "both"} else {}
    evidence, groups = _regression(300, seed, **given_), rng.integers(0, 3, 300)
    ends = [0, *sorted(cuts), 300]
    for name in REGRESSION:
        additive = parse_metric(name, "regression").additive
        assert additive is not None
        for codes, size in ((None, 1), (groups, 3)):
            whole = additive.gather(evidence, codes, size)
            state: Any = None
            for first, last in pairwise(ends):
                portion = evidence.take(slice(first, last))
                more = additive.gather(portion, None if codes is None else codes[first:last], size)
                state = more if state is None else additive.merge(state, more)
            for place in range(size):
                one, other = (additive.settle(each, place, 0.95, np.random.default_rng(0)) for each in (whole, state))
                for ours, theirs in zip((*one[:3], one.careful_difference), (*other[:3], other.careful_difference), strict=True):
                    assert list(ours or ()) == pytest.approx(list(theirs or ()), nan_ok=True, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("name", ["mae", "rmse", "coverage", "pinball"])
def test_slices_are_as_if_alone(name: str) -> None:
    evidence, groups = _regression(9000), np.random.default_rng(4).integers(0, 2, 9000)
    metric = parse_metric(name, "regression")
    assert metric.additive is not None
    state = metric.additive.gather(evidence, groups, 2)
    for place in (0, 1):
        found = metric.additive.settle(state, place, 0.95, np.random.default_rng(0))
        alone = _measure(name, evidence.take(np.flatnonzero(groups == place)))
        assert _ends(found.difference) == pytest.approx(_ends(alone.difference))


def test_a_perfect_model_is_not_certain() -> None:
    rows = _regression(100)
    perfect = Evidence("regression", rows.labels, rows.labels, rows.labels)
    for name in ("mae", "mse", "rmse", "mape", "pinball"):
        found = _measure(name, perfect)
        assert found.difference is not None
        assert found.candidate.value == found.difference.value == 0
        assert found.difference.high == pytest.approx(-found.difference.low)
        assert found.difference.high > 0
        assert found.careful_difference is None
    against = _measure("rmse", Evidence("regression", rows.labels, rows.labels, rows.candidate))
    assert against.difference is not None
    assert against.difference.high < 0


def test_a_few_differing_rows_are_not_trusted_alone() -> None:
    rows = _regression(300)
    champion = rows.candidate.copy()
    champion[:3] += 5 * np.sign(champion[:3] - rows.labels[:3])
    for name in ("mae", "rmse", "r2"):
        found = _measure(name, Evidence("regression", rows.labels, rows.candidate, champion)).difference
        assert found is not None
        assert found.low < 0 < found.high


def test_labels_of_one_value_allow_no_r2() -> None:
    found = _measure("r2", Evidence("regression", np.ones(50), np.linspace(0, 1, 50), np.linspace(1, 2, 50)))
    assert not np.isfinite(found.candidate.value)


def test_what_cannot_be_measured_is_said() -> None:
    mape = parse_metric("mape", "regression")
    assert mape.refuses is not None
    assert "a label is 0" in mape.refuses(Evidence("regression", np.array([0.0, 1.0]), np.ones(2)))
    assert mape.refuses(_regression()) == ""
    brier = parse_metric("brier", "multiclass")
    assert brier.refuses is not None
    assert "probability of every class" in brier.refuses(Evidence("multiclass", np.array([0.0, 1.0]), np.ones(2)))
    assert brier.refuses(_binary()) == ""


@pytest.mark.parametrize("name", ["pinball@0", "pinball@1", "pinball@1.5", "pinball@", "pinball@-1", "pinball@a"])
def test_odd_quantiles_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match="no quantile"):
        parse_metric(name, "regression")


def test_pinball_alone_is_of_the_median() -> None:
    rows = _regression()
    assert _measure("pinball", rows).candidate.value == pytest.approx(_measure("mae", rows).candidate.value / 2)
    assert parse_metric("pinball@0.9", "regression").name == "pinball@0.9"


def test_one_model_alone() -> None:
    rows = _regression()
    for name in REGRESSION:
        found = _measure(name, Evidence("regression", rows.labels, rows.candidate))
        assert found.champion is None
        assert found.difference is None
        assert found.candidate[:3] == pytest.approx(_measure(name, rows).candidate[:3])


def _cluster_world(rng: np.random.Generator, kind: str) -> Evidence | None:
    """Losses of two models on rows that hang together; on average they are equal."""
    count = int(kind.split()[1])
    if kind.startswith("even"):
        sizes = np.full(count, 10)
    else:
        sizes = np.maximum(np.round(rng.lognormal(2.3, 0.7, count)), 1).astype(int)
        if sizes.sum() ** 2 / np.square(sizes).sum() < 10:
            return None  # the gate says so itself
    clusters = np.repeat(np.arange(count), sizes)
    ours, theirs = rng.gamma(2, size=(2, clusters.size)) + 0.7 * rng.gamma(4, size=(2, count))[:, clusters]
    return Evidence("regression", np.zeros(clusters.size), ours, theirs, clusters=clusters)


def _row_world(rng: np.random.Generator, kind: str) -> Evidence:
    name, count = kind.split()
    rows = int(count)
    if name == "log_loss":
        chance = rng.beta(1, 3, rows)
        guesses = [np.clip(chance * rng.uniform(0.5, 1.5, rows), 0.01, 0.99) for _ in range(2)]
        return Evidence("binary", (rng.random(rows) < chance).astype(float), *guesses)
    weights = rng.lognormal(0, 0.7, rows) if name == "weighted" else None
    theirs = 10 + rng.normal(size=rows)
    return Evidence("regression", np.zeros(rows), theirs + rng.gamma(2, size=rows) - 2, theirs, weights=weights)


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind",
    [
        "even 10",
        "even 20",
        "even 50",
        "uneven 20",
        "uneven 50",
        "log_loss 60",
        "log_loss 300",
        "skewed 100",
        "skewed 500",
        "weighted 300",
    ],
)
def test_a_pass_is_wrong_at_most_as_often_as_it_says(kind: str) -> None:
    rng = np.random.default_rng(zlib.crc32(kind.encode()))
    name = "log_loss" if kind.startswith("log_loss") else "mae"
    rounds, better, covered = 0, [0, 0], 0
    while rounds < 2500:
        evidence = _cluster_world(rng, kind) if "even" in kind else _row_world(rng, kind)
        if evidence is None:
            continue
        rounds += 1
        additive = parse_metric(name, evidence.task).additive
        assert additive is not None
        slices = additive.gather(evidence, np.zeros(evidence.rows, dtype=np.int64), 2)  # as of a slice: without resampling
        found = additive.settle(slices, 0, 0.95, rng)
        assert found.difference is not None
        careful = found.careful_difference or found.difference
        better[0] += max(found.difference.high, careful.high) < 0
        better[1] += min(found.difference.low, careful.low) > 0
        covered += found.difference.low <= 0 <= found.difference.high
    most = 0.025 + 3 * np.sqrt(0.025 * 0.975 / rounds)
    assert max(better) / rounds <= most, (kind, better, covered)
    assert abs(covered / rounds - 0.95) <= 0.015 + 3 * np.sqrt(0.05 * 0.95 / rounds), (kind, better, covered)


def test_where_skewness_speaks_against_it_nothing_passes() -> None:
    rng = np.random.default_rng(0)
    old = 11 + rng.normal(size=80)
    rows = {"y": np.ones(80), "new": old + rng.gamma(0.3, size=80) - 0.62, "old": old}
    keys = {"task": "regression", "label": "y", "candidate": "new", "champion": "old"}
    found = check(rows, keys | {"rules": [{"metric": "mae", "test": "superior"}]}).rules[0]
    assert found.difference is not None
    assert found.difference.high is not None
    assert found.difference.high < 0
    assert found.verdict is Verdict.INCONCLUSIVE
    assert "allows for skewness" in found.reason


def test_weights_beyond_all_measure_allow_no_interval() -> None:
    weights = np.where(np.arange(400) == 0, 1e90, 1.0)
    for name in REGRESSION:
        found = _measure(name, _regression(weights=weights))
        assert found.difference is not None
        assert not np.isfinite(found.difference.low) or found.difference.low < found.difference.value
        assert np.isfinite(found.candidate.value)
