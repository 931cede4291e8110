"""Metrics of how well scores rank: areas under curves, of the positive class, of one class, or on average over all.

Names: ``roc_auc`` (binary; of several classes or labels the mean of each against the rest), ``roc_auc[late]`` (one of them).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from tidegate.errors import UsageError
from tidegate.gate.evidence import MIN_CLUSTERS, Evidence
from tidegate.gate.metrics.counts import class_place, refuses_part
from tidegate.gate.metrics.entry import Entry, Named, takes_none
from tidegate.gate.metrics.metric import MIN_RANKED, Measured, Metric, grouped
from tidegate.stats.areas import Area, Influences, Reference, area, difference, interval, mean_area, tied
from tidegate.stats.average_precision import binomial, precisions
from tidegate.stats.delong import newcombe, placements
from tidegate.stats.estimate import Codes, Floats

_TASKS = ("binary", "multiclass", "multilabel")

Rank: TypeAlias = Callable[[Any, Codes, Floats | None], Influences]
"""Labels, tied codes of scores, and weights to an area with its influence values."""


class _Kind(NamedTuple):
    stem: str
    about: str
    rank: Rank
    reference: Reference
    method: str


_KINDS = (
    _Kind(
        "roc_auc",
        "chance that a positive is ranked above a negative",
        placements,
        newcombe,
        "DeLong's variance (fast form of Sun & Xu 2014)",
    ),
    _Kind(
        "average_precision",
        "mean precision at the positives, from the highest score down",
        precisions,
        binomial,
        "variance by influence values",
    ),
)


def _read(kind: _Kind, named: Named, task: str, costs: tuple[tuple[float, ...], ...]) -> Metric:
    del costs
    if named.at is not None:
        raise takes_none(named)
    if named.part is not None and (task == "binary" or not named.part):
        raise UsageError(
            "bad-metric",
            f"{named.name!r} names a class, which {'a binary task has no need of' if named.part else 'has no name'}",
            fix=f"write {named.stem!r}" if task == "binary" else f"write {named.stem}[CLASS], with the name of a class",
        )
    about = kind.about
    if named.part is not None:
        about += f", of {named.part}"
    elif task != "binary":
        about += f"; mean over {'classes' if task == 'multiclass' else 'labels'}, each against the rest"
    return Metric(
        name=named.name,
        better="higher",
        about=about,
        measure=partial(_measure, kind, named.part),
        scarce="rarer",
        least=MIN_RANKED,
        refuses=None if task == "binary" else partial(refuses_part, named.part),
    )


def _measure(kind: _Kind, part: str | None, evidence: Evidence, confidence: float, rng: np.random.Generator) -> Measured:
    del rng
    places = _places(part, evidence)
    models = evidence.models
    areas = [mean_area(_areas(kind, evidence, which, places)) for which in range(len(models))]
    singles = [interval(each, confidence=confidence) for each in areas]
    over = f", mean over {len(places)}" if len(places) > 1 else ""
    method = f"{kind.method}{over}, {'paired ' if len(models) > 1 else ''}score interval{grouped(evidence)}"
    few = ("" if evidence.task == "binary" else _few(evidence, places)) or _uneven(evidence, areas[0])
    if len(areas) == 1:
        return Measured(singles[0], None, None, method, {}, few=few)
    return Measured(singles[0], singles[1], difference(*areas, confidence=confidence), method, {}, few=few)


def _areas(kind: _Kind, evidence: Evidence, which: int, places: list[int]) -> Iterator[Area]:
    """The area of one model for each class."""
    predictions = evidence.champion if which else evidence.candidate
    assert predictions is not None
    for place in places:
        scores = predictions if predictions.ndim == 1 else predictions[:, place]
        codes = evidence.derive(("tied", which), partial(tied, scores)) if predictions.ndim == 1 else tied(scores)
        ranked = kind.rank(_truth(evidence, place), codes, evidence.weights)
        yield area(ranked, kind.reference, clusters=evidence.clusters)


def _places(part: str | None, evidence: Evidence) -> list[int]:
    if evidence.task == "binary":
        return [0]
    return list(range(len(evidence.classes))) if part is None else [class_place(evidence.classes, part)]


def _truth(evidence: Evidence, place: int) -> Any:
    if evidence.task == "binary":
        return evidence.labels
    return evidence.labels == place if evidence.labels.ndim == 1 else evidence.labels[:, place]


def _few(evidence: Evidence, places: list[int]) -> str:
    for place in places:
        ones = int(np.count_nonzero(_truth(evidence, place)))
        rows, kind = min((ones, "with"), (evidence.rows - ones, "without"))
        if rows < MIN_RANKED:
            return f"{rows} rows {kind} label {evidence.classes[place]} are too few: at least {MIN_RANKED} are needed"
    return ""


def _uneven(evidence: Evidence, found: Area) -> str:
    """Says where one class lies in few clusters, or weighs on few rows."""
    noun, least = ("rows", MIN_RANKED) if evidence.clusters is None else ("clusters", MIN_CLUSTERS)
    if found.units >= least * (1 - 1e-9) or (evidence.clusters is None and evidence.weights is None):
        return ""
    return f"the {noun} of the rarer class count as {found.units:.1f} equal ones: at least {least} are needed"


def _entry(kind: _Kind) -> Entry:
    read = partial(_read, kind)
    return Entry(metric=read(Named(kind.stem, kind.stem, None, None), "binary", ()), tasks=_TASKS, read=read)


ENTRIES = tuple(_entry(kind) for kind in _KINDS)
