"""Calibration error: ``calibration_error`` in 15 bins, ``calibration_error@20`` in 20, ``calibration_error[late]`` of one label."""

from __future__ import annotations

import re
from functools import partial
from math import isfinite, sqrt
from typing import Any

import numpy as np

from tidegate.errors import UsageError
from tidegate.gate.evidence import Evidence
from tidegate.gate.metrics.counts import class_place, refuses_part
from tidegate.gate.metrics.entry import Entry, Named
from tidegate.gate.metrics.metric import Measured, Metric, grouped
from tidegate.stats.calibration import BINS, calibration, difference, interval
from tidegate.stats.estimate import no_interval

_TASKS = ("binary", "multiclass", "multilabel")
_MOST_BINS = 1000
_LEAST = 30
"""Rows for each bin: with fewer, one end is wrong up to 7% of the time."""


def _read(named: Named, task: str, costs: tuple[tuple[float, ...], ...]) -> Metric:
    del costs
    if task == "multilabel" and not named.part:
        raise UsageError(
            "bad-metric",
            f"{named.name!r} is about one label of a multilabel task, and does not say which",
            fix=f"write {named.stem}[LABEL], with the name of a label",
        )
    if task != "multilabel" and named.part is not None:
        raise UsageError("bad-metric", f"{named.stem} takes no class: {named.name!r}", fix=f"write {named.stem!r}")
    bins = _bins(named)
    of = {"binary": "", "multiclass": ", of the likeliest class", "multilabel": f", of {named.part}"}[task]
    return Metric(
        name=named.name,
        better="lower",
        about=f"mean squared gap between what was said and what came true, in {bins} bins of equal width{of}",
        measure=partial(_measure, bins, named.part),
        needs_probability=True,
        refuses=partial(refuses_part, named.part),
    )


def _bins(named: Named) -> int:
    if named.at is None:
        return BINS
    if not re.fullmatch(r"[0-9]{1,4}", named.at) or not 1 <= int(named.at) <= _MOST_BINS:
        raise UsageError(
            "bad-bins",
            f"{named.at!r} is no number of bins",
            why=f"it lies from 1 to {_MOST_BINS}",
            fix=f"write {named.stem}@{BINS}",
        )
    return int(named.at)


def _measure(bins: int, part: str | None, evidence: Evidence, confidence: float, rng: np.random.Generator) -> Measured:
    del rng
    models = evidence.models
    found = [
        calibration(*_said(part, evidence, each), bins=bins, weights=evidence.weights, clusters=evidence.clusters)
        for each in models
    ]
    few = _few(len(evidence.labels), bins)
    values = [no_interval(each.value) if few else interval(each, confidence=confidence) for each in found]
    details = {
        f"root_{name}": sqrt(max(each.value, 0.0)) if isfinite(each.value) else each.value
        for name, each in zip(("candidate", "champion"), found, strict=False)
    }
    method = f"paired t of squared gaps in {bins} bins, from pairs of different units{grouped(evidence)}"
    if len(found) == 1:
        return Measured(values[0], None, None, method, details, few=few)
    change = no_interval(found[0].value - found[1].value) if few else difference(found[0], found[1], confidence=confidence)
    return Measured(values[0], values[1], change, method, details, few=few)


def _few(rows: int, bins: int) -> str:
    if rows >= _LEAST * bins:
        return ""
    fewer = f", or fewer bins: @{rows // _LEAST}" if rows >= _LEAST else ""
    return f"{rows} rows are too few for {bins} bins: at least {_LEAST * bins:,} are needed{fewer}"


def _said(part: str | None, evidence: Evidence, predictions: Any) -> tuple[Any, Any]:
    """Whether what was said came true, and with which probability it was said."""
    if evidence.task == "binary":
        return evidence.labels, predictions
    if part is not None:
        place = class_place(evidence.classes, part)
        return evidence.labels[:, place], predictions[:, place]
    likeliest = predictions.argmax(axis=1)
    return likeliest == evidence.labels, predictions[np.arange(len(predictions)), likeliest]


_EXAMPLE = Named("calibration_error", "calibration_error", None, None)
ENTRIES = (Entry(metric=_read(_EXAMPLE, "binary", ()), tasks=_TASKS, read=_read),)
