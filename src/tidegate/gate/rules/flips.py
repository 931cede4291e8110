"""``flips``: the share of rows that the champion has right and the candidate wrong, with its interval against a bound.

It is a floor on a number of which less is better, so it is judged like one: on all rows, and on slices.
"""

from __future__ import annotations

from functools import partial

import numpy as np
from msgspec.structs import replace

from tidegate.gate.case import Case
from tidegate.gate.evidence import Evidence
from tidegate.gate.metrics import Measured, Metric, parse_metric
from tidegate.gate.metrics.metric import grouped
from tidegate.gate.right import right_rows
from tidegate.gate.rules.comparison import judge_metric
from tidegate.gate.rules.outcome import NAMES
from tidegate.records.policy import Rule
from tidegate.records.report import RuleResult
from tidegate.stats import proportions
from tidegate.stats.estimate import from_influence


def judge_flips(rule: Rule, case: Case, confidence: float, seed: int) -> RuleResult:
    """At most a share ``value`` of the rows is lost: right by the champion, wrong by the candidate."""
    evidence = case.evidence
    named = parse_metric(rule.metric, evidence.task).threshold if rule.metric else None
    threshold = 0.5 if named is None else named
    metric = Metric(
        name=NAMES["flips"] + (f"@{named:g}" if named is not None else ""),
        better="lower",
        about="share of rows that only the champion has right",
        measure=partial(_measure, threshold, rule.tolerance),
    )
    found = judge_metric(replace(rule, test="floor"), metric, evidence, confidence=confidence, seed=seed)
    return replace(found, test="flips")


def _measure(threshold: float, tolerance: float, evidence: Evidence, confidence: float, rng: np.random.Generator) -> Measured:
    del rng
    theirs = evidence.champion
    assert theirs is not None
    ours, before = (
        right_rows(each, evidence.labels, evidence.task, threshold, tolerance=tolerance) for each in (evidence.candidate, theirs)
    )
    lost = before & ~ours
    details = {"lost": float(lost.sum()), "gained": float((ours & ~before).sum())}
    if evidence.clusters is None and evidence.weights is None:
        share = proportions.wilson(int(lost.sum()), evidence.rows, confidence=confidence)
        return Measured(share, None, None, "Wilson score interval", details)
    weights = evidence.weights_or_ones
    shares = weights / weights.sum()
    value = float((shares * lost).sum())
    share = from_influence(
        value,
        shares * (lost - value),
        confidence=confidence,
        clusters=evidence.clusters,
        differs=lost,
        scale=1.0,
        weights=evidence.weights,
    )
    return Measured(share, None, None, "t interval of a share" + grouped(evidence), details)
