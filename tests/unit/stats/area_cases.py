"""Areas of plain labels and scores, as the metrics make them."""

from __future__ import annotations

from numpy.typing import ArrayLike

from tidegate.stats.areas import Area, area, tied
from tidegate.stats.average_precision import binomial, precisions
from tidegate.stats.delong import newcombe, placements
from tidegate.stats.estimate import Codes, Floats


def auc(labels: ArrayLike, scores: ArrayLike, weights: Floats | None = None, clusters: Codes | None = None) -> Area:
    """ROC AUC with DeLong's variance (Obuchowski's, with clusters)."""
    return area(placements(labels, tied(scores), weights), newcombe, clusters=clusters)


def average_precision(labels: ArrayLike, scores: ArrayLike, weights: Floats | None = None, clusters: Codes | None = None) -> Area:
    """Average precision with its variance by linearisation."""
    return area(precisions(labels, tied(scores), weights), binomial, clusters=clusters)
