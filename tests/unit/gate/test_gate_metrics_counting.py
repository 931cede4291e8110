"""Counting metrics by name: their values against scikit-learn, their figures, portions of rows, and what they refuse."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as sk

from tidegate.errors import UsageError
from tidegate.gate.evidence import Evidence
from tidegate.gate.metrics import metric_names, parse_metric
from tidegate.gate.metrics.metric import Measured

CLASSES = ["early", "late", "on time"]
LABELS = ["rain", "snow", "wind", "fog"]
FIGURES = {"mcnemar_exact_p", "mcnemar_midp_p", "tango_low", "tango_high", "newcombe_low", "newcombe_high"}
COSTS = [[0.0, 1.0], [5.0, 0.0]]


def binary(n: int = 800, seed: int = 0, **more: Any) -> Evidence:
    """Two models, the candidate the better one."""
    rng = np.random.default_rng(seed)
    labels = (rng.random(n) < 0.3).astype(float)
    scores = [np.clip(share * labels + (1 - share) * rng.random(n), 0, 1) for share in (0.45, 0.35)]
    return Evidence(task="binary", labels=labels, candidate=scores[0], champion=scores[1], **more)


def multiclass(n: int = 900, seed: int = 0, *, hard: bool = False, **more: Any) -> Evidence:
    """Three classes, predictions as probabilities or codes."""
    rng = np.random.default_rng(seed)
    labels = rng.choice(3, n, p=[0.5, 0.2, 0.3])
    chances = [rng.dirichlet(np.ones(3), n) + share * np.eye(3)[labels] for share in (0.5, 0.3)]
    ours, theirs = ([each.argmax(1).astype(float) for each in chances]) if hard else chances
    return Evidence(task="multiclass", labels=labels.astype(float), candidate=ours, champion=theirs, classes=CLASSES, **more)


def multilabel(n: int = 700, seed: int = 0, **more: Any) -> Evidence:
    """Four labels."""
    rng = np.random.default_rng(seed)
    labels = (rng.random((n, 4)) < (0.2, 0.3, 0.4, 0.5)).astype(float)
    scores = [np.clip(share * labels + (1 - share) * rng.random((n, 4)), 0, 1) for share in (0.45, 0.35)]
    return Evidence(task="multilabel", labels=labels, candidate=scores[0], champion=scores[1], classes=LABELS, **more)


def measure(name: str, evidence: Evidence, costs: list[list[float]] | None = None) -> Measured:
    """The metric on all rows."""
    return parse_metric(name, evidence.task, costs or ()).measure(evidence, 0.95, np.random.default_rng(0))


BINARY: list[tuple[str, Any]] = [
    ("accuracy", sk.accuracy_score),
    ("balanced_accuracy", sk.balanced_accuracy_score),
    ("precision", sk.precision_score),
    ("recall", sk.recall_score),
    ("specificity", lambda y, d: sk.recall_score(1 - y, 1 - d)),
    ("f1", sk.f1_score),
    ("f2", lambda y, d: sk.fbeta_score(y, d, beta=2)),
    ("f0.5", lambda y, d: sk.fbeta_score(y, d, beta=0.5)),
    ("f1.7", lambda y, d: sk.fbeta_score(y, d, beta=1.7)),
    ("mcc", sk.matthews_corrcoef),
    ("kappa", sk.cohen_kappa_score),
    ("positive_rate", lambda y, d: d.mean()),
]


@pytest.mark.parametrize(("name", "oracle"), BINARY)
@pytest.mark.parametrize("threshold", [0.5, 0.3])
def test_binary_metrics_are_scikit_learns(name: str, oracle: Any, threshold: float) -> None:
    evidence = binary()
    found = measure(name if threshold == 0.5 else f"{name}@{threshold}", evidence)
    assert evidence.champion is not None
    ours, theirs = (
        oracle(evidence.labels, (each >= threshold).astype(float)) for each in (evidence.candidate, evidence.champion)
    )
    assert found.champion is not None
    assert found.difference is not None
    assert (found.candidate.value, found.champion.value) == pytest.approx((ours, theirs))
    assert found.difference.value == pytest.approx(ours - theirs)
    for each in (found.candidate, found.champion, found.difference):
        assert each.low < each.high
        assert each.low <= each.value <= each.high
    assert found.few == ""


@pytest.mark.parametrize(("name", "oracle"), BINARY)
def test_weighted_values_are_scikit_learns(name: str, oracle: Any) -> None:
    weights = np.random.default_rng(1).integers(1, 4, 800)
    evidence = binary(weights=weights.astype(float))
    repeated = np.repeat(np.arange(800), weights)
    expected = oracle(evidence.labels[repeated], (evidence.candidate[repeated] >= 0.5).astype(float))
    found = measure(name, evidence)
    assert found.candidate.value == pytest.approx(expected)
    assert "weighted" in found.method


MULTICLASS: list[tuple[str, Any]] = [
    ("accuracy", sk.accuracy_score),
    ("balanced_accuracy", sk.balanced_accuracy_score),
    ("macro_f1", lambda y, d: sk.f1_score(y, d, average="macro")),
    ("macro_f2", lambda y, d: sk.fbeta_score(y, d, beta=2, average="macro")),
    ("weighted_f1", lambda y, d: sk.f1_score(y, d, average="weighted")),
    ("mcc", sk.matthews_corrcoef),
    ("kappa", sk.cohen_kappa_score),
    ("recall[late]", lambda y, d: sk.recall_score(y == 1, d == 1)),
    ("precision[on time]", lambda y, d: sk.precision_score(y == 2, d == 2)),
    ("f1[early]", lambda y, d: sk.f1_score(y == 0, d == 0)),
    ("specificity[late]", lambda y, d: sk.recall_score(y != 1, d != 1)),
    ("positive_rate[late]", lambda y, d: (d == 1).mean()),
]


@pytest.mark.parametrize(("name", "oracle"), MULTICLASS)
@pytest.mark.parametrize("hard", [False, True])
def test_multiclass_metrics_are_scikit_learns(name: str, oracle: Any, hard: bool) -> None:
    evidence = multiclass(hard=hard)
    decided = evidence.candidate if hard else evidence.candidate.argmax(1)
    found = measure(name, evidence)
    assert found.difference is not None
    assert found.candidate.value == pytest.approx(oracle(evidence.labels, decided))
    assert found.difference.low > -0.2
    assert found.difference.low < found.difference.value < found.difference.high


def test_a_class_that_is_a_number_may_be_written_as_one() -> None:
    evidence = multiclass()
    numbered = Evidence(task="multiclass", labels=evidence.labels, candidate=evidence.candidate, classes=["0.0", "1.0", "2.0"])
    assert measure("recall[1]", numbered).candidate == measure("recall[late]", evidence).candidate


MULTILABEL: list[tuple[str, Any]] = [
    ("subset_accuracy", sk.accuracy_score),
    ("hamming_accuracy", lambda y, d: 1 - sk.hamming_loss(y, d)),
    ("micro_f1", lambda y, d: sk.f1_score(y, d, average="micro")),
    ("macro_f1", lambda y, d: sk.f1_score(y, d, average="macro")),
    ("accuracy[rain]", lambda y, d: (y[:, 0] == d[:, 0]).mean()),
    ("recall[snow]", lambda y, d: sk.recall_score(y[:, 1], d[:, 1])),
    ("precision[wind]", lambda y, d: sk.precision_score(y[:, 2], d[:, 2])),
    ("f2[fog]", lambda y, d: sk.fbeta_score(y[:, 3], d[:, 3], beta=2)),
    ("mcc[fog]", lambda y, d: sk.matthews_corrcoef(y[:, 3], d[:, 3])),
]


@pytest.mark.parametrize(("name", "oracle"), MULTILABEL)
@pytest.mark.parametrize("threshold", [0.5, 0.4])
def test_multilabel_metrics_are_scikit_learns(name: str, oracle: Any, threshold: float) -> None:
    evidence = multilabel()
    found = measure(name if threshold == 0.5 else f"{name}@{threshold}", evidence)
    assert found.difference is not None
    assert found.candidate.value == pytest.approx(oracle(evidence.labels, (evidence.candidate >= threshold).astype(float)))
    assert found.difference.low < found.difference.value < found.difference.high


def test_costs_and_utilities_are_means() -> None:
    evidence = binary()
    spent = np.array(COSTS)[evidence.labels.astype(int), (evidence.candidate >= 0.3).astype(int)]
    cost, utility = (measure(f"{name}@0.3", evidence, COSTS) for name in ("expected_cost", "utility"))
    assert cost.candidate.value == pytest.approx(spent.mean())
    assert utility.candidate == cost.candidate
    assert parse_metric("expected_cost", "binary", COSTS).better == "lower"
    assert parse_metric("utility", "binary", COSTS).better == "higher"
    equal = measure("expected_cost", multiclass(), (1 - np.eye(3)).tolist())
    assert equal.candidate.value == pytest.approx(1 - measure("accuracy", multiclass()).candidate.value)


@pytest.mark.parametrize(
    ("name", "evidence"),
    [(name, kind) for name in ("accuracy", "recall", "specificity", "positive_rate@0.3") for kind in ("", "weights", "clusters")]
    + [
        ("recall[late]", "multiclass"),
        ("accuracy", "multiclass"),
        ("subset_accuracy", "multilabel"),
        ("accuracy[fog]", "multilabel"),
    ],
)
def test_all_four_figures_stand_in_the_details(name: str, evidence: str) -> None:
    rng = np.random.default_rng(2)
    rows = {
        "": binary(),
        "weights": binary(weights=rng.uniform(0.5, 2, 800)),
        "clusters": binary(clusters=rng.integers(0, 60, 800)),
        "multiclass": multiclass(),
        "multilabel": multilabel(),
    }[evidence]
    details = measure(name, rows).details
    assert details.keys() >= FIGURES
    gained, lost = int(details["only_candidate_right"]), int(details["only_champion_right"])
    exact = stats.binomtest(gained, gained + lost, 0.5).pvalue
    seen = stats.binom.pmf(gained, gained + lost, 0.5)
    assert details["mcnemar_exact_p"] == pytest.approx(exact)
    assert details["mcnemar_midp_p"] == pytest.approx(exact - seen)
    if evidence in {"", "multiclass", "multilabel"}:
        difference = measure(name, rows).difference
        assert difference is not None
        assert (difference.low, difference.high) == (details["tango_low"], details["tango_high"])


def test_cavo_2012_comes_out_in_the_details() -> None:
    """59 rows both right, 6 only the candidate, 16 only the champion, 80 neither: R contingencytables."""
    right = np.repeat([[1, 1], [1, 0], [0, 1], [0, 0]], [59, 6, 16, 80], axis=0)
    labels = np.ones(161)
    found = measure("accuracy", Evidence(task="binary", labels=labels, candidate=right[:, 0] * 1.0, champion=right[:, 1] * 1.0))
    assert found.details["mcnemar_exact_p"] == pytest.approx(0.052479, abs=5e-7)
    assert found.details["mcnemar_midp_p"] == pytest.approx(0.034690, abs=5e-7)
    assert (found.details["tango_low"], found.details["tango_high"]) == pytest.approx((-0.1240, -0.0054), abs=5e-5)
    assert (found.details["newcombe_low"], found.details["newcombe_high"]) == pytest.approx((-0.1186, -0.0046), abs=5e-5)


SOME = {
    "binary": ["accuracy", "f1", "mcc@0.3", "recall", "specificity"],
    "multiclass": ["macro_f1", "recall[late]", "accuracy"],
    "multilabel": ["micro_f1", "hamming_accuracy", "subset_accuracy", "f1[fog]"],
}


@pytest.mark.parametrize(("task", "name"), [(task, name) for task, names in SOME.items() for name in names])
@pytest.mark.parametrize("kind", ["plain", "weights", "clusters"])
def test_portions_and_slices_are_what_their_rows_give(task: str, name: str, kind: str) -> None:
    rng = np.random.default_rng(3)
    make = {"binary": binary, "multiclass": multiclass, "multilabel": multilabel}[task]
    more = {"plain": {}, "weights": {"weights": rng.uniform(0.5, 2, 600)}, "clusters": {"clusters": rng.integers(0, 90, 600)}}[
        kind
    ]
    evidence, groups = make(600, **more), rng.integers(0, 2, 600)
    metric = parse_metric(name, task)
    assert metric.additive is not None

    def gathered(rows: slice) -> Any:
        assert metric.additive is not None
        return metric.additive.gather(evidence.take(rows), groups[rows], 2)

    whole = gathered(slice(None))
    portions = metric.additive.merge(gathered(slice(200)), gathered(slice(200, None)))
    for place in range(2):
        settled = [metric.additive.settle(state, place, 0.95, np.random.default_rng(0)) for state in (whole, portions)]
        alone = metric.measure(evidence.take(np.flatnonzero(groups == place)), 0.95, np.random.default_rng(0))
        for one, two, three in zip(settled[0][:3], settled[1][:3], alone[:3], strict=True):
            assert one[:3] == pytest.approx(two[:3])
            assert one.value == pytest.approx(three.value)
            assert one[1:3] == pytest.approx(three[1:3], abs=0.1 * (three.high - three.low))  # slices take fewer draws
        assert settled[0].details.keys() == alone.details.keys()


def test_an_empty_group_has_no_value() -> None:
    metric = parse_metric("f1", "binary")
    assert metric.additive is not None
    state = metric.additive.gather(binary(), np.zeros(800, dtype=np.int64), 2)
    found = metric.additive.settle(state, 1, 0.95, np.random.default_rng(0))
    assert np.isnan(found.candidate.value)
    assert found.difference is not None
    assert np.isnan(found.difference.low)


def test_without_a_champion_there_is_one_interval() -> None:
    evidence = binary()
    alone = Evidence(task="binary", labels=evidence.labels, candidate=evidence.candidate)
    for name in metric_names("binary"):
        entry = parse_metric(name, "binary", COSTS if name in {"expected_cost", "utility"} else ())
        found = entry.measure(alone, 0.95, np.random.default_rng(0))
        assert found.champion is None
        assert found.difference is None
        assert found.candidate.low < found.candidate.high


def test_too_few_rows_are_named() -> None:
    rows = binary(200, seed=5)
    rare = Evidence(task="binary", labels=(np.arange(200) < 4) * 1.0, candidate=rows.candidate, champion=rows.champion)
    assert measure("specificity", rare).few == ""
    assert measure("recall", rare).few == "4 rows with label 1 are too few: at least 10 are needed"
    seldom = Evidence(task="binary", labels=rows.labels, candidate=(np.arange(200) < 3) * 1.0, champion=rows.champion)
    assert "3 rows that the candidate gives label 1 are too few" in measure("precision", seldom).few
    assert (
        "rows without label 1 are too few"
        in measure("specificity@0.9", Evidence(task="binary", labels=(np.arange(200) > 3) * 1.0, candidate=rows.candidate)).few
    )
    grouped = Evidence(
        task="binary",
        labels=rows.labels,
        candidate=rows.candidate,
        champion=rows.champion,
        clusters=np.where(rows.labels > 0, np.arange(200) % 3, np.arange(200)),
    )
    assert "3 clusters with rows with label 1 are too few" in measure("recall", grouped).few
    weights = np.where(np.arange(200) == int(np.flatnonzero(rows.labels)[0]), 900.0, 1.0)
    heavy = Evidence(task="binary", labels=rows.labels, candidate=rows.candidate, champion=rows.champion, weights=weights)
    assert "rows with label 1 are so uneven that they count as 1." in measure("recall", heavy).few
    weightless = Evidence(task="binary", labels=rows.labels, candidate=rows.candidate, weights=1 - rows.labels)
    assert measure("recall", weightless).few == "the rows with label 1 weigh nothing"
    lumps = np.where(np.arange(200) < 150, 0, np.arange(200))
    lumped = Evidence(task="binary", labels=rows.labels, candidate=rows.candidate, champion=rows.champion, clusters=lumps)
    assert "clusters with rows with label 1 are so uneven" in measure("recall", lumped).few
    scarce = multiclass(60)
    labels = np.where(np.arange(60) < 2, 1.0, 0.0)
    few = Evidence(task="multiclass", labels=labels, candidate=scarce.candidate, classes=CLASSES)
    assert "2 rows with label late are too few" in measure("macro_f1", few).few
    assert "2 rows with label late are too few" in measure("recall[late]", few).few
    assert measure("weighted_f1", few).few == ""
    many = multilabel(60)
    lone = Evidence(
        task="multilabel", labels=(np.arange(240).reshape(60, 4) % 97 == 0) * 1.0, candidate=many.candidate, classes=LABELS
    )
    assert "are too few" in measure("macro_f1", lone).few


@pytest.mark.parametrize(
    ("name", "task", "costs", "words"),
    [
        ("recall", "multiclass", (), "does not say which"),
        ("recall[]", "multilabel", (), "does not say which"),
        ("recall[late]", "binary", (), "takes no class"),
        ("macro_f1[late]", "multiclass", (), "takes no class"),
        ("recall[late]@0.3", "multiclass", (), "takes no threshold"),
        ("mcc@0.3", "multiclass", (), "takes no threshold"),
        ("expected_cost", "binary", (), "needs costs"),
        ("expected_cost", "binary", [[0, 1, 2], [1, 0, 2], [1, 1, 0]], "2 by 2"),
        ("expected_cost", "multiclass", [[0, 1], [1]], "square"),
        ("expected_cost", "binary", [[0, float("nan")], [1, 0]], "no number"),
        ("f1", "binary", COSTS, "does not go by costs"),
        ("f0", "binary", (), "no metric"),
        ("f1000", "binary", (), "no metric"),
        ("weighted_f1", "multilabel", (), "no metric"),
        ("subset_accuracy", "multiclass", (), "no metric"),
        ("f-1", "binary", (), "no metric"),
        ("f2@2", "binary", (), "no threshold"),
    ],
)
def test_odd_names_are_refused(name: str, task: str, costs: Any, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        parse_metric(name, task, costs)


def test_a_class_that_nobody_knows_is_refused() -> None:
    refuses = parse_metric("recall[lat]", "multiclass").refuses
    assert refuses is not None
    assert "late" in refuses(multiclass())
    wide = parse_metric("expected_cost", "multiclass", np.ones((4, 4)).tolist()).refuses
    assert wide is not None
    assert "costs for 4 classes, but there are 3" in wide(multiclass())


def test_constant_predictions_have_no_correlation() -> None:
    evidence = binary()
    flat = Evidence(task="binary", labels=evidence.labels, candidate=np.ones(800), champion=evidence.champion)
    found = measure("mcc", flat)
    assert np.isnan(found.candidate.value)
    assert found.difference is not None
    assert np.isnan(found.difference.low)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert measure("balanced_accuracy", flat).candidate.value == pytest.approx(0.5)
