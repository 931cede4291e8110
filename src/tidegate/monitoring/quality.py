"""Data quality of a window: how many rows came, what is missing in them, what is new, and how fast they were answered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidegate.monitoring.profile import ColumnProfile, nulls, numbers, texts
from tidegate.monitoring.thresholds import Thresholds, bound_above, share_above
from tidegate.records.monitoring import Finding
from tidegate.stats.estimate import critical

SMALLEST_SHARE = 0.01
"""One row in a hundred: a smaller excess of nulls or unseen values has no practical meaning."""

EARLIER_WINDOWS = 28
"""So many windows before are what a window's volume is held against."""

_FEWEST_EARLIER = 4


def volume_finding(rows: int, earlier: Sequence[int], *, alpha: float) -> Finding:
    """Too few predictions: below what the windows before make likely, and below half their median.

    Args:
        rows: Predictions in the window.
        earlier: Predictions in the windows before, oldest first; only the last 28 with any count.
        alpha: Accepted probability of a false alarm.
    """
    usual = [count for count in earlier if count][-EARLIER_WINDOWS:]
    if len(usual) < _FEWEST_EARLIER:
        return _finding("volume", "rows", rows, None, None, rows, f"only {len(usual)} windows before to compare with")
    logs = np.log(usual)
    spread = float(logs.std(ddof=1)) * np.sqrt(1 + 1 / len(usual))
    likely = float(np.exp(logs.mean() - critical(1 - 2 * alpha, len(usual) - 1) * spread))
    median = float(np.median(usual))
    bound = min(likely, median / 2)
    # 0 at the median and 1 at the bound, like every other ratio.
    ratio = (median - rows) / (median - bound)
    note = "no predictions at all" if rows == 0 else f"usually about {median:,.0f}"
    return _finding("volume", "rows", rows, bound, ratio, rows, note, reference=median)


def null_findings(
    profiles: Mapping[str, ColumnProfile],
    columns: Mapping[str, NDArray[Any]],
    thresholds: Thresholds,
    *,
    alpha: float,
    minimum_rows: int,
) -> list[Finding]:
    """Per input the share of rows without a value, above the reference's. An input that is not logged is missing in every row."""
    rows = len(next(iter(columns.values()))) if columns else 0
    return [
        _null_finding(profile, columns.get(name), rows, thresholds, alpha=alpha, minimum_rows=minimum_rows)
        for name, profile in profiles.items()
    ]


def _null_finding(
    profile: ColumnProfile,
    values: NDArray[Any] | None,
    rows: int,
    thresholds: Thresholds,
    *,
    alpha: float,
    minimum_rows: int,
) -> Finding:
    if rows < minimum_rows:
        return _too_few("nulls", profile.name, rows, minimum_rows)
    windows = np.asarray(profile.nulls, dtype=np.int64)
    missing = rows if values is None else int(nulls(values).sum())
    share, usual = missing / rows, float(windows[:, 0].sum() / max(windows.sum(), 1))
    calibrated = thresholds.find(f"nulls {profile.name}", windows, rows, alpha, distance=share_above)
    if not np.isfinite(calibrated):
        return _finding(
            "nulls", profile.name, share, None, None, rows, "not calibrated: the reference has fewer than 3 temporal windows"
        )
    allowed = max(calibrated, SMALLEST_SHARE)
    note = "it is not in the prediction log" if values is None else f"{usual:.1%} missing in the reference"
    return _finding("nulls", profile.name, share, usual + allowed, max(share - usual, 0.0) / allowed, rows, note, reference=usual)


def unseen_findings(
    profiles: Mapping[str, ColumnProfile], columns: Mapping[str, NDArray[Any]], *, alpha: float, minimum_rows: int
) -> list[Finding]:
    """Per category input the share of rows with a value that the reference never had."""
    found: list[Finding] = []
    for name, profile in profiles.items():
        if not profile.known or name not in columns:
            continue
        values = texts(columns[name])
        if values.size < minimum_rows:
            found.append(_too_few("unseen", name, values.size, minimum_rows))
            continue
        new = ~np.isin(values, profile.known)
        share = float(new.mean())
        calibrated = bound_above(profile.unseen, alpha)
        if not np.isfinite(calibrated):
            note = "not calibrated: the reference has fewer than 3 temporal windows"
            found.append(_finding("unseen", name, share, None, None, values.size, note))
            continue
        bound = max(calibrated, SMALLEST_SHARE)
        examples = ", ".join(np.unique(values[new])[:3].tolist())
        found.append(_finding("unseen", name, share, bound, share / bound, values.size, f"new: {examples}" if examples else ""))
    return found


def type_findings(profiles: Mapping[str, ColumnProfile], columns: Mapping[str, NDArray[Any]]) -> list[Finding]:
    """Inputs that are numbers in the reference and came as something else; nothing is said of those that are well."""
    found: list[Finding] = []
    for name, profile in profiles.items():
        values = columns.get(name)
        if values is None or profile.kind != "number" or values.dtype.kind in "biuf":
            continue
        present = values[~nulls(values)]
        if present.size:
            share = float(np.isnan(numbers(present)).mean())
            if share:
                note = "numbers in the reference, texts here"
                found.append(_finding("type", name, share, SMALLEST_SHARE, share / SMALLEST_SHARE, present.size, note))
    return found


def latency_finding(seconds: NDArray[Any], limit_ms: float, *, minimum_rows: int) -> Finding:
    """The 99th percentile of the time from request to answer, in milliseconds, against the declared limit."""
    if seconds.size < minimum_rows:
        return _too_few("latency", "p99", seconds.size, minimum_rows)
    p99 = float(np.quantile(seconds, 0.99)) * 1000
    if not np.isfinite(p99):
        return _finding("latency", "p99", None, limit_ms, None, seconds.size, "a time is missing")
    return _finding("latency", "p99", p99, limit_ms, p99 / limit_ms, seconds.size, "milliseconds")


def _too_few(kind: str, subject: str, rows: int, minimum_rows: int) -> Finding:
    return _finding(kind, subject, None, None, None, rows, f"{rows} rows, fewer than minimum_rows = {minimum_rows}")


def _finding(
    kind: str,
    subject: str,
    statistic: float | None,
    bound: float | None,
    ratio: float | None,
    rows: int,
    note: str,
    *,
    reference: float | None = None,
) -> Finding:
    return Finding(
        kind=kind, subject=subject, statistic=statistic, bound=bound, ratio=ratio, rows=rows, note=note, reference=reference
    )
