"""Metrics of scores of items: their mean, and how often the candidate's is the higher one (or is preferred)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from tidegate.errors import UsageError
from tidegate.gate.evidence import Evidence, is_hard
from tidegate.gate.metrics.entry import Entry, Named, entry, takes_none
from tidegate.gate.metrics.mean_sums import MeanSums
from tidegate.gate.metrics.metric import Measured, Metric, measured_at_once
from tidegate.gate.metrics.retrieval import itself
from tidegate.gate.metrics.shares import Shares
from tidegate.stats import preferences
from tidegate.stats.estimate import Floats

LOWER = "lower"


def mean_score(evidence: Evidence, confidence: float, rng: np.random.Generator) -> Measured:
    """The mean over items. Scores that are all 0 or 1 (passed or not) are shares, and get the intervals of shares."""
    both = evidence.models
    if evidence.rows and all(is_hard(scores) for scores in both):
        return measured_at_once(Shares(holds=_passed))(evidence, confidence, rng)
    spread = max(float(scores.max(initial=0.0) - scores.min(initial=0.0)) for scores in both)
    return measured_at_once(MeanSums(loss=itself, limit=spread))(evidence, confidence, rng)


def win_rate(evidence: Evidence, confidence: float, rng: np.random.Generator) -> Measured:
    """The share of items that the candidate wins, ties counted half; the champion's is the rest, the difference the net wins."""
    wins = evidence.wins
    if wins is None:
        raise ValueError("win_rate needs a champion")
    won, lost, tied = preferences.counts(wins)
    exact, midp = preferences.sign_test(wins)
    details = {"won": float(won), "lost": float(lost), "tied": float(tied)}
    if not preferences.is_decided(wins) or evidence.clusters is not None or evidence.weights is not None:
        units = replace(evidence, candidate=wins, champion=1 - wins)
        found = measured_at_once(MeanSums(loss=itself, limit=1.0))(units, confidence, rng)
        return found._replace(details=found.details | details)
    net = preferences.net_wins(wins, confidence=confidence)
    return Measured(
        preferences.win_rate(net),
        preferences.win_rate(net.negated()),
        net,
        "Tango score interval of wins less losses, ties in the denominator",
        details | {"sign_test_exact_p": exact, "sign_test_midp_p": midp},
    )


def _passed(labels: Floats, predictions: Floats) -> Any:
    return itself(labels, predictions) > 0.5


def _no_champion(evidence: Evidence) -> str:
    return "" if evidence.wins is not None else "needs a champion or a preference: it says who does better"


def _read(named: Named, task: str, costs: tuple[tuple[float, ...], ...]) -> Metric:
    del task, costs
    if named.at is not None:
        raise takes_none(named)
    if named.part is None:
        return _MEAN
    if named.part != LOWER:
        raise UsageError("bad-metric", f"mean_score knows no {named.part!r}", fix=f"write mean_score or mean_score[{LOWER}]")
    return replace(_MEAN, name=named.name, better="lower", about="mean of the scores of items, where less is better")


_MEAN = Metric(name="mean_score", better="higher", about="mean of the scores of items", measure=mean_score)

ENTRIES = (
    Entry(metric=_MEAN, tasks=("scores",), read=_read),
    entry(
        Metric(
            name="win_rate",
            better="higher",
            about="share of items that the candidate wins, ties counted half",
            measure=win_rate,
            refuses=_no_champion,
        ),
        "scores",
    ),
)
