"""Realised performance: a window's metric against what healthy windows of the reference make likely.

The bound is one-sided, so that an improvement never alarms, and it holds three uncertainties: how much healthy windows differ from
each other, how well the reference is known, and the sampling error of the very window that is judged. A ratio above 1 is
therefore a degradation that the window's own interval supports.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tidegate.monitoring.thresholds import FEWEST_WINDOWS
from tidegate.records.monitoring import Finding
from tidegate.stats.estimate import Estimate, critical

CONFIDENCE = 0.95


class WindowMetric(NamedTuple):
    """A metric of one temporal window of the reference, and its standard error."""

    value: float
    error: float


class Healthy(NamedTuple):
    """What a metric is on healthy windows, and the value that one of them crosses with the declared probability."""

    value: float
    bound: float


def window_metric(estimate: Estimate) -> WindowMetric | None:
    """An estimate as value and standard error; None if it has no interval."""
    half = (estimate.high - estimate.low) / 2
    if not np.isfinite(half) or not np.isfinite(estimate.value):
        return None
    return WindowMetric(estimate.value, half / critical(CONFIDENCE, estimate.df))


def healthy(reference: Sequence[WindowMetric], error: float, *, alpha: float, higher_is_better: bool) -> Healthy | None:
    """The bound for a window whose metric has standard error ``error``; None if fewer than three windows are known.

    The variance between windows is the excess of the variance seen over the mean squared error (method of moments).
    Source: DerSimonian & Laird, Controlled Clinical Trials 7 (1986); degrees of freedom: Satterthwaite, Biometrics Bulletin 2 (1946).
    """
    count = len(reference)
    if count < FEWEST_WINDOWS:
        return None
    values = np.array([item.value for item in reference])
    squared = float(np.mean([item.error**2 for item in reference]))
    between = max(float(values.var(ddof=1)) - squared, 0.0)
    windows = between * (1 + 1 / count)
    variance = windows + squared / count + error**2
    degrees = variance**2 / (windows**2 / (count - 1)) if windows else float("inf")
    quantile = critical(1 - 2 * alpha, degrees)  # one-sided
    middle, reach = float(values.mean()), quantile * float(np.sqrt(variance))
    return Healthy(middle, middle - reach if higher_is_better else middle + reach)


def performance_finding(
    metric: str,
    estimate: Estimate,
    reference: Sequence[WindowMetric],
    *,
    alpha: float,
    higher_is_better: bool,
    rows: int,
    version: int,
    note: str,
) -> Finding:
    """The finding for one metric of one version; without an interval or a reference it has no ratio."""

    def finding(bound: float | None, ratio: float | None, why: str, usual: float | None = None) -> Finding:
        return Finding(
            kind="performance",
            subject=metric,
            statistic=_finite(estimate.value),
            bound=bound,
            ratio=ratio,
            rows=rows,
            note="; ".join(filter(None, [why, note])),
            version=version,
            reference=usual,
            low=_finite(estimate.low),
            high=_finite(estimate.high),
        )

    now = window_metric(estimate)
    if now is None:
        return finding(None, None, "cannot be computed on these rows")
    usual = healthy(reference, now.error, alpha=alpha, higher_is_better=higher_is_better)
    if usual is None or usual.bound == usual.value:
        return finding(None, None, "not calibrated: the reference has fewer than 3 temporal windows")
    # Both differences are negative where lower is worse, so the ratio grows with harm either way.
    return finding(usual.bound, (now.value - usual.value) / (usual.bound - usual.value), "", usual.value)


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
