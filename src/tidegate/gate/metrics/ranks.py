"""Metrics of how well scores rank."""

from __future__ import annotations

import numpy as np

from tidegate.gate.evidence import Evidence
from tidegate.gate.metrics.entry import entry
from tidegate.gate.metrics.metric import Measured, Metric
from tidegate.stats import delong


def roc_auc(evidence: Evidence, confidence: float, rng: np.random.Generator) -> Measured:
    """ROC AUC by DeLong's method."""
    del rng
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


ENTRIES = (
    entry(
        Metric(
            name="roc_auc",
            better="higher",
            about="chance that a positive is ranked above a negative",
            measure=roc_auc,
            scarce="rarer",
        ),
        "binary",
    ),
)
