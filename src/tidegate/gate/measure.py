"""One metric on some rows: each model's value and the paired difference, each with its interval."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from tidegate.gate.evidence import Evidence
from tidegate.gate.metrics import Metric
from tidegate.stats import cells, delong, losses, proportions
from tidegate.stats.estimate import Codes, Estimate, Floats, cluster_sums

MIN_ROWS = 30
MIN_CLUSTERS = 10
MIN_CLASS = 10
_TINY = float(np.finfo(np.float64).tiny)


class Measured(NamedTuple):
    """A metric of both models on the same rows, and how it was done. Without a champion two of them are None."""

    candidate: Estimate
    champion: Estimate | None
    difference: Estimate | None
    method: str
    details: dict[str, float]


def measure(metric: Metric, evidence: Evidence, *, confidence: float, rng: np.random.Generator) -> Measured:
    """Computes ``metric`` on ``evidence``. Values are NaN where the metric is not defined on these rows.

    The method follows from metric and data: score intervals for plain shares, a multinomial bootstrap over cells for the
    other counting metrics, DeLong for AUC, paired t for losses; with clusters or weights, linearisation with cluster sums.
    """
    match metric.kind:
        case "counting":
            return _counting(metric, evidence, confidence, rng)
        case "ranking":
            return _ranking(evidence, confidence)
        case "loss" | "root":
            return _losses(metric, evidence, confidence)


def shortage(metric: Metric, evidence: Evidence) -> tuple[str, int | None]:
    """Why these rows are too few for any interval of ``metric`` (empty: they are not), and about how many more it takes."""
    if evidence.rows < MIN_ROWS:
        return f"{evidence.rows} rows are too few: at least {MIN_ROWS} are needed", MIN_ROWS - evidence.rows
    clusters = evidence.cluster_count
    if clusters is not None and clusters < MIN_CLUSTERS:
        return f"{clusters} clusters are too few: at least {MIN_CLUSTERS} are needed", None
    counted, needed = _effective(evidence), MIN_ROWS if clusters is None else MIN_CLUSTERS
    if counted < needed:
        what = "the weights are" if clusters is None else "the clusters are"
        return f"{what} so uneven that they count as {counted:.1f} equal ones: at least {needed} are needed", None
    if evidence.task == "binary" and metric.name.partition("@")[0] in {"roc_auc", "precision", "recall", "f1"}:
        ones = int((evidence.labels > 0).sum())
        scarce, name = (
            (min(ones, evidence.rows - ones), "of the rarer class") if metric.kind == "ranking" else (ones, "with label 1")
        )
        if scarce < MIN_CLASS:
            more = -(-evidence.rows * (MIN_CLASS - scarce) // scarce) if scarce else None
            return f"{scarce} rows {name} are too few: at least {MIN_CLASS} are needed", more
    return "", None


def _effective(evidence: Evidence) -> float:
    """How many equal rows (clusters, if there are any) these are worth: a few heavy ones make every interval too narrow.

    Source: Kish, Survey Sampling (1965), section 11.7; of clusters: Carter, Schnepel & Steigerwald, Rev. Econ. Stat. 99 (2017).
    """
    if evidence.clusters is None and evidence.weights is None:
        return float(evidence.rows)
    sizes = np.ones(evidence.rows) if evidence.weights is None else evidence.weights
    if evidence.clusters is not None:
        sizes = cluster_sums(sizes / max(float(sizes.max()), _TINY), evidence.clusters)
    shares = sizes / max(float(sizes.max()), _TINY)
    return float(shares.sum() ** 2 / max(float(np.square(shares).sum()), _TINY))


def _losses(metric: Metric, evidence: Evidence, confidence: float) -> Measured:
    assert metric.loss is not None
    rows: list[Floats] = [metric.loss(evidence.labels, evidence.candidate)]
    if evidence.champion is not None:
        rows.append(metric.loss(evidence.labels, evidence.champion))
    root = metric.kind == "root"
    one: Callable[..., Estimate] = losses.root_mean if root else losses.mean
    two: Callable[..., Estimate] = losses.root_mean_difference if root else losses.mean_difference
    grouping: Any = {
        "confidence": confidence,
        "weights": evidence.weights,
        "clusters": evidence.clusters,
        "scale": _plausible(metric, evidence),
    }
    singles = [one(values, **grouping) for values in rows]
    method = f"paired t interval{' of the difference of roots (delta method)' if root else ''}" + _grouped(evidence)
    return Measured(singles[0], *((singles[1], two(*rows, **grouping)) if len(rows) > 1 else (None, None)), method, {})


def _plausible(metric: Metric, evidence: Evidence) -> float:
    """A loss that a row could have although none here may show it: 1 for probabilities, else of always saying the mean."""
    assert metric.loss is not None
    if evidence.task == "binary":
        return 1.0
    mean = np.full(evidence.rows, evidence.labels.mean())
    largest = float(metric.loss(evidence.labels, mean).max())
    return float(np.sqrt(largest)) if metric.kind == "root" else largest


def _ranking(evidence: Evidence, confidence: float) -> Measured:
    ours = delong.ranking(evidence.labels, evidence.candidate, evidence.weights)
    single = delong.auc(ours, confidence=confidence, clusters=evidence.clusters)
    method = "DeLong (fast form of Sun & Xu 2014)" + (
        ", placement values summed by cluster (Obuchowski 1997)" if evidence.clusters is not None else ""
    )
    if evidence.champion is None:
        return Measured(single, None, None, method, {})
    theirs = delong.ranking(evidence.labels, evidence.champion, evidence.weights)
    return Measured(
        single,
        delong.auc(theirs, confidence=confidence, clusters=evidence.clusters),
        delong.auc_difference(ours, theirs, confidence=confidence, clusters=evidence.clusters),
        method,
        {},
    )


def _counting(metric: Metric, evidence: Evidence, confidence: float, rng: np.random.Generator) -> Measured:
    assert metric.ratio is not None
    labels, ours, theirs = _decisions(metric, evidence)
    codes = cells.cell_codes(labels, ours, theirs)
    swapped = cells.cell_codes(labels, ours if theirs is None else theirs, None)
    if evidence.clusters is not None or evidence.weights is not None:
        grouping: Any = {"confidence": confidence, "weights": evidence.weights, "clusters": evidence.clusters}
        singles = [cells.linear(each, metric.ratio, **grouping) for each in (codes, swapped)]
        pair = None if theirs is None else cells.linear_difference(codes, metric.ratio, **grouping)
        return _measured(singles, pair, "paired difference of ratios by linearisation" + _grouped(evidence), {})
    counts = cells.cell_counts(codes)
    share = _as_share(metric, counts)
    if share is not None:
        return _share(share, confidence, paired=theirs is not None)
    singles = [
        cells.bootstrap(each, metric.ratio, confidence=confidence, rng=rng) for each in (counts, cells.cell_counts(swapped))
    ]
    pair = None if theirs is None else cells.bootstrap_difference(counts, metric.ratio, confidence=confidence, rng=rng)
    return _measured(singles, pair, f"paired multinomial bootstrap over cells, {cells.DRAWS:,} draws, percentile interval", {})


def _measured(singles: list[Estimate], pair: Estimate | None, method: str, details: dict[str, float]) -> Measured:
    return Measured(singles[0], None if pair is None else singles[1], pair, method, details)


def _decisions(metric: Metric, evidence: Evidence) -> tuple[Floats | Codes, Floats | Codes, Floats | Codes | None]:
    """0/1 labels and decisions; of a multiclass task every row is a 1 and a decision tells whether the class was right."""
    predictions = [evidence.candidate] if evidence.champion is None else [evidence.candidate, evidence.champion]
    if evidence.task == "multiclass":
        labels = np.ones(evidence.rows, dtype=np.int8)
        decided = [(each == evidence.labels).astype(np.int8) for each in predictions]
    else:
        labels = evidence.labels
        decided = [(each >= metric.threshold).astype(np.int8) for each in predictions]
    return labels, decided[0], decided[1] if len(decided) > 1 else None


def _as_share(metric: Metric, counts: Codes) -> tuple[int, int, int, int] | None:
    """Rows that both, only the candidate, only the champion, neither has right, for metrics that are a plain share of rows."""
    zero, one = counts[:4], counts[4:]
    if metric.ratio is cells.ACCURACY:
        right = one + zero[::-1]
    elif metric.ratio is cells.RECALL:
        right = one
    else:
        return None
    return int(right[3]), int(right[2]), int(right[1]), int(right[0])


def _share(table: tuple[int, int, int, int], confidence: float, *, paired: bool) -> Measured:
    both, gained, lost, neither = table
    n = sum(table)
    ours = proportions.wilson(both + gained, n, confidence=confidence)
    if not paired:
        return Measured(ours, None, None, "Wilson score interval", {})
    newcombe = proportions.newcombe(both, gained, lost, neither, confidence=confidence)
    details = {
        "only_candidate_right": float(gained),
        "only_champion_right": float(lost),
        "mcnemar_exact_p": proportions.mcnemar_exact(gained, lost),
        "mcnemar_midp_p": proportions.mcnemar_midp(gained, lost),
        "newcombe_low": newcombe.low,
        "newcombe_high": newcombe.high,
    }
    theirs = proportions.wilson(both + lost, n, confidence=confidence)
    return Measured(
        ours,
        theirs,
        proportions.tango(gained, lost, n, confidence=confidence),
        "Tango score interval of paired proportions",
        details,
    )


def _grouped(evidence: Evidence) -> str:
    clusters = evidence.cluster_count
    parts = [f"over {clusters:,} clusters, t({clusters - 1})"] if clusters is not None else []
    parts += ["weighted"] if evidence.weights is not None else []
    return "".join(f", {part}" for part in parts)
