"""Drift of inputs and predictions: Jensen-Shannon distances to the reference, each against its calibrated threshold.

Drift explains why performance may have changed. It never pages: in a real, year-long stream univariate drift alerts touched 38 of
42 windows while 3 had really degraded.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidegate.monitoring.profile import ColumnProfile, nulls
from tidegate.monitoring.thresholds import Thresholds
from tidegate.records.monitoring import Finding
from tidegate.stats.drift import js_distance, quantile_deltas

SMALLEST_DISTANCE = 0.01
"""A smaller distance has no practical meaning, however many rows prove it."""


def drift_findings(
    kind: str,
    profiles: Mapping[str, ColumnProfile],
    columns: Mapping[str, NDArray[Any]],
    thresholds: Thresholds,
    *,
    alpha: float,
    minimum_rows: int,
    version: int = 0,
) -> list[Finding]:
    """One finding per profiled column; ``alpha`` is the accepted probability of a false alarm of one column.

    Args:
        kind: ``input_drift`` or ``prediction_drift``.
        profiles: The reference's columns.
        columns: The window's columns, under the same names.
        thresholds: Where thresholds are drawn.
        alpha: Accepted probability that one healthy column crosses its threshold.
        minimum_rows: Fewer rows with a value are not judged.
        version: The served version that the columns are of; 0: all of them.
    """
    return [
        _finding(kind, profile, columns[name], thresholds, alpha=alpha, minimum_rows=minimum_rows, version=version)
        for name, profile in profiles.items()
        if name in columns
    ]


def _finding(
    kind: str,
    profile: ColumnProfile,
    values: NDArray[Any],
    thresholds: Thresholds,
    *,
    alpha: float,
    minimum_rows: int,
    version: int,
) -> Finding:
    counts = profile.count(values[~nulls(values)])
    windows = np.asarray(profile.counts, dtype=np.int64)
    rows = int(counts.sum())

    def finding(statistic: float | None, bound: float | None, note: str) -> Finding:
        ratio = statistic / bound if statistic is not None and bound is not None else None
        return Finding(
            kind=kind, subject=profile.name, statistic=statistic, bound=bound, ratio=ratio, rows=rows, note=note, version=version
        )

    if rows < minimum_rows:
        return finding(None, None, f"{rows} rows with a value, fewer than minimum_rows = {minimum_rows}")
    distance = js_distance(counts, windows.sum(axis=0)) if windows.size else float("nan")
    if not np.isfinite(distance):
        return finding(None, None, "the reference has no value in this column")
    threshold = thresholds.find(f"{kind} {version} {profile.name}", windows, rows, alpha)
    if not np.isfinite(threshold):
        return finding(distance, None, "not calibrated: the reference has fewer than 3 temporal windows")
    return finding(distance, max(threshold, SMALLEST_DISTANCE), _what_moved(profile, counts, windows.sum(axis=0)))


def _what_moved(profile: ColumnProfile, now: NDArray[np.int64], before: NDArray[np.int64]) -> str:
    if profile.kind == "number" and len(profile.edges) > 1:
        return f"median {float(quantile_deltas(now, before, profile.edges, 0.5)):+.3g}"
    names = [*profile.categories, "others"] if profile.kind == "category" else [f"bin {index}" for index in range(now.size)]
    shares, earlier = now / now.sum(), before / before.sum()
    widest = int(np.argmax(np.abs(shares - earlier)))
    return f"{names[widest]} {earlier[widest]:.1%} to {shares[widest]:.1%}"
