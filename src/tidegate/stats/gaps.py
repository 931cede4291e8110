"""The largest difference between any two of several values: between slices of rows, say.

A largest value is not smooth: its own bootstrap is wrong where several pairs are nearly as far apart. So every ordered pair gets
an interval, and what is said of the largest is said of all pairs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tidegate.stats.estimate import Estimate, critical


class Gap(NamedTuple):
    """The largest difference with its interval, and between which two of the values it is."""

    estimate: Estimate
    highest: int
    lowest: int


def gap(values: Sequence[Estimate], *, confidence: float, dependent: bool = False, parts: int = 1) -> Gap:
    """The largest of the differences of [m] values, m at least 2.

    Its upper end is the largest of the pairs' upper ends: the pair that truly differs most lies below its own, so it needs no
    correction (an intersection-union test if held against a bound). Its lower end is the largest of the pairs' lower ends at Bonferroni's
    level, as any of them might be taken.

    Args:
        values: Values with their intervals at ``confidence``.
        confidence: Two-sided confidence; each end is wrong with at most half of what is left, divided by ``parts``.
        dependent: Whether the values may depend on each other; then the worst correlation is taken.
        parts: Of how many statements this is one.

    Source: pairs from intervals of their parts: Zou & Donner, Statistics in Medicine 27 (2008), 1693-1702; all pairs:
    Berger, Technometrics 24 (1982); Berger & Hsu, Statistical Science 11 (1996).
    """
    value, low, high = (np.array([each[end] for each in values]) for end in range(3))
    apart = value[:, None] - value[None, :]
    below, above = value - low, high - value
    down = _joined(below[:, None], above[None, :], dependent)
    up = _joined(above[:, None], below[None, :], dependent)
    np.fill_diagonal(apart, -np.inf)
    highest, lowest = np.unravel_index(int(apart.argmax()), apart.shape)
    df, pairs, rest = min(each.df for each in values), len(values) * (len(values) - 1), 1 - confidence
    usual = critical(confidence, df)
    least = apart - down * critical(1 - rest / (pairs * parts), df) / usual
    most = apart + up * critical(1 - rest / parts, df) / usual
    found = Estimate(float(apart.max()), max(float(least.max()), 0.0), float(most.max()), df)
    return Gap(found, int(highest), int(lowest))


def _joined(first: np.ndarray, second: np.ndarray, dependent: bool) -> np.ndarray:
    return first + second if dependent else np.hypot(first, second)
