"""Metrics of a confusion table as smooth functions of its margins, and their exact gradient.

The margins of a K-class table are three rows of K numbers: how many rows have each class as label, how many as decision, and how
many as both (hits). Every metric here is a function of them alone, so a table of 1,000 classes is 3,000 numbers and not a
million. Functions take [..., 3, K] margins, real or complex, and give [...] values; NaN where they divide by zero. All but
``multilabel`` ones take a count of rows from the sum of the labels.

In a binary table class 1 is the positive one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tidegate.stats.estimate import Floats

Sums: TypeAlias = NDArray[Any]
Function: TypeAlias = Callable[[Sums], Any]

_STEP = 1e-20
_CHUNK = 2_000_000


class Score(NamedTuple):
    """A function of [..., F] sums over rows, and the least and largest value that it can have."""

    of: Function
    low: float = 0.0
    high: float = 1.0


def on_margins(function: Function) -> Function:
    """A function of [..., 3, K] margins as one of [..., 3 K] sums."""

    def of(sums: Sums) -> Any:
        return function(sums.reshape(*sums.shape[:-1], 3, -1))

    return of


def accuracy(margins: Sums) -> Any:
    """Share of rows that are right."""
    return _ratio(margins[..., 2, :].sum(-1), margins[..., 0, :].sum(-1))


def balanced_accuracy(margins: Sums) -> Any:
    """Mean of the recalls of the classes that have rows.

    Source: Brodersen et al., ICPR (2010).
    """
    labels, _, hits = _rows(margins)
    return _mean_over(_ratio(hits, labels), labels)


def fbeta(margins: Sums, beta: float = 1.0, *, place: int = 1) -> Any:
    """F-beta of one class: the harmonic mean of precision and recall, recall weighing ``beta`` squared times as much.

    Source: van Rijsbergen, Information Retrieval (1979), chapter 7.
    """
    labels, decisions, hits = (row[..., place] for row in _rows(margins))
    return _fbeta(labels, decisions, hits, beta)


def macro_fbeta(margins: Sums, beta: float = 1.0) -> Any:
    """Mean of F-beta over the classes that have rows: a class counts the same however rare it is."""
    labels, decisions, hits = _rows(margins)
    return _mean_over(_fbeta(labels, decisions, hits, beta), labels)


def weighted_fbeta(margins: Sums, beta: float = 1.0) -> Any:
    """Mean of F-beta over the classes, each by its share of the rows."""
    labels, decisions, hits = _rows(margins)
    each = _fbeta(labels, decisions, hits, beta)
    return _ratio(np.where(np.real(labels) > 0, labels * each, 0).sum(-1), labels.sum(-1))


def precision(margins: Sums, *, place: int = 1) -> Any:
    """Share of the decisions for a class that are right."""
    return _ratio(margins[..., 2, place], margins[..., 1, place])


def recall(margins: Sums, *, place: int = 1) -> Any:
    """Share of a class's rows that are decided for it."""
    return _ratio(margins[..., 2, place], margins[..., 0, place])


def specificity(margins: Sums, *, place: int = 1) -> Any:
    """Share of the rows of other classes that are not decided for this one."""
    labels, decisions, hits = _rows(margins)
    others = labels.sum(-1) - labels[..., place]
    return _ratio(others - decisions[..., place] + hits[..., place], others)


def positive_rate(margins: Sums, *, place: int = 1) -> Any:
    """Share of rows that are decided for a class, right or wrong."""
    return _ratio(margins[..., 1, place], margins[..., 0, :].sum(-1))


def mcc(margins: Sums) -> Any:
    """Matthews' correlation of labels and decisions, for K classes by Gorodkin; NaN where either never varies.

    Source: Matthews, BBA 405 (1975); Gorodkin, Computational Biology and Chemistry 28 (2004), equation 8.
    """
    labels, decisions, hits = _rows(margins)
    rows = labels.sum(-1)
    spread = [(row * (rows[..., None] - row)).sum(-1) for row in (labels, decisions)]
    return _ratio(hits.sum(-1) * rows - (labels * decisions).sum(-1), np.sqrt(spread[0]) * np.sqrt(spread[1]))


def kappa(margins: Sums) -> Any:
    """Cohen's kappa: how far agreement exceeds chance, as a share of how far it could.

    Source: Cohen, Educational and Psychological Measurement 20 (1960).
    """
    labels, decisions, hits = _rows(margins)
    rows = labels.sum(-1)
    chance = (labels * decisions).sum(-1)
    return _ratio(hits.sum(-1) * rows - chance, (labels * (rows[..., None] - decisions)).sum(-1))


def micro_fbeta(margins: Sums, beta: float = 1.0) -> Any:
    """Multilabel: F-beta of all labels' decisions taken together."""
    labels, decisions, hits = (row.sum(-1) for row in _rows(margins))
    return _fbeta(labels, decisions, hits, beta)


def mean_of(sums: Sums) -> Any:
    """The second of two sums over the first: a mean, where the first counts rows."""
    return _ratio(sums[..., 1], sums[..., 0])


def gradient(function: Function, sums: Floats) -> Floats:
    """[F] derivatives of a function at [F] sums, exact to rounding: no difference is taken, so nothing cancels.

    Source: Squire & Trapp, SIAM Review 40 (1998): f'(x) = Im f(x + ih) / h.
    """
    size = sums.size
    step = _STEP * max(float(np.abs(sums).max(initial=0.0)), 1.0)
    found = np.empty(size)
    portion = max(_CHUNK // max(size, 1), 1)
    for start in range(0, size, portion):
        places = np.arange(start, min(start + portion, size))
        moved = np.repeat(sums[None, :].astype(np.complex128), places.size, axis=0)
        moved[np.arange(places.size), places] += 1j * step
        found[places] = np.imag(function(moved)) / step
    return found


def _rows(margins: Sums) -> tuple[Sums, Sums, Sums]:
    return margins[..., 0, :], margins[..., 1, :], margins[..., 2, :]


def _fbeta(labels: Sums, decisions: Sums, hits: Sums, beta: float) -> Any:
    return _ratio((1 + beta * beta) * hits, beta * beta * labels + decisions)


def _mean_over(values: Sums, labels: Sums) -> Any:
    present = np.real(labels) > 0
    return _ratio(np.where(present, values, 0).sum(-1), present.sum(-1))


def _ratio(top: Sums, bottom: Sums) -> Any:
    kind = np.result_type(top, bottom, np.float64)
    empty = np.full(np.broadcast_shapes(np.shape(top), np.shape(bottom)), np.nan, dtype=kind)
    return np.divide(top, bottom, out=empty, where=np.real(bottom) > 0)[()]
