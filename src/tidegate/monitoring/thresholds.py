"""Bounds that a healthy window crosses with a declared probability, made from a reference's own temporal windows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from tidegate import digest
from tidegate.stats.drift import Distance, calibrated_threshold, js_distance
from tidegate.stats.estimate import critical

FEWEST_WINDOWS = 3
"""Fewer windows do not show how much healthy ones differ."""

_GRID = 1.1


class Thresholds:
    """Calibrated thresholds, each drawn once: for the row count below on a grid of 10% steps, which errs to the quiet side by little."""

    def __init__(self, seed: str) -> None:
        self._seed = seed
        self._known: dict[tuple[str, int, float], float] = {}

    def find(self, name: str, counts: ArrayLike, rows: int, alpha: float, *, distance: Distance = js_distance) -> float:
        """The distance that a healthy window of about ``rows`` rows exceeds with probability ``alpha``; NaN: nobody knows."""
        grid = int(_GRID ** int(np.log(rows) / np.log(_GRID))) if rows > 0 else 0
        key = (name, grid, alpha)
        if key not in self._known:
            rng = np.random.default_rng(int(digest.of_bytes(f"{self._seed} {name} {grid}".encode())[:16], 16))
            self._known[key] = calibrated_threshold(counts, grid, alpha, rng, distance=distance)
        return self._known[key]


def share_above(p_counts: ArrayLike, q_counts: ArrayLike) -> Any:
    """How far the share of the first of two counts lies above the reference's, 0 if it does not; leading axes broadcast."""
    p, q = np.asarray(p_counts, dtype=np.float64), np.asarray(q_counts, dtype=np.float64)
    return np.maximum(p[..., 0] / p.sum(axis=-1) - q[..., 0] / q.sum(axis=-1), 0.0)


def bound_above(values: Sequence[float], alpha: float) -> float:
    """The value that a new one of the same kind exceeds with probability ``alpha``; NaN for fewer than three.

    Source: normal prediction interval, Hahn & Meeker, Statistical Intervals, chapter 4.
    """
    data = np.asarray(values, dtype=np.float64)
    if data.size < FEWEST_WINDOWS:
        return float("nan")
    quantile = critical(1 - 2 * alpha, data.size - 1)
    return float(data.mean() + quantile * data.std(ddof=1) * np.sqrt(1 + 1 / data.size))
