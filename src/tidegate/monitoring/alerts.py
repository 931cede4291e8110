"""Alerts: findings that crossed their bound, kept as documents of kind ``alert``, each raised once."""

from __future__ import annotations

import msgspec

from tidegate.clock import format_time
from tidegate.digest import of_json
from tidegate.records.monitoring import Alert, Finding, Severity, Window
from tidegate.store.ports import Document, Documents

KIND = "alert"

SEVERITIES = {
    "performance": Severity.PAGE,
    "volume": Severity.PAGE,
    "nulls": Severity.PAGE,
    "unseen": Severity.PAGE,
    "type": Severity.PAGE,
    "latency": Severity.TICKET,
    "prediction_drift": Severity.TICKET,
    "input_drift": Severity.INFO,
}
"""What each kind of finding asks of people: performance and data quality page, drift explains."""


def alerts_of(window: Window, at: int) -> list[Alert]:
    """The alerts that a window's findings call for. The same window gives the same ids."""
    return [
        Alert(
            id=_alert_id(window, finding),
            model=window.model,
            kind=finding.kind,
            subject=finding.subject,
            severity=SEVERITIES[finding.kind],
            window_start=window.start,
            window_end=window.end,
            ratio=finding.ratio,
            message=_message(window, finding),
            raised_at=at,
            version=finding.version,
        )
        for finding in window.findings
        if finding.ratio is not None and finding.ratio > 1
    ]


def raise_alert(documents: Documents, alert: Alert) -> bool:
    """Keeps an alert; tells whether it is new. An alert that was raised already stays as it is."""
    return documents.add(Document(KIND, alert.id, alert.model, alert.severity, alert.raised_at, msgspec.to_builtins(alert), 0))


def list_alerts(documents: Documents, model: str = "", *, limit: int | None = None) -> list[Alert]:
    """Alerts of one model or of all, newest first."""
    return [msgspec.convert(found.body, Alert) for found in documents.list(KIND, subject=model, limit=limit)]


def _alert_id(window: Window, finding: Finding) -> str:
    named = [window.model, finding.kind, finding.subject, finding.version, window.start, window.end]
    return of_json([str(part) for part in named])[:24]


def _message(window: Window, finding: Finding) -> str:
    assert finding.ratio is not None
    version = f" of version {finding.version}" if finding.version else ""
    usual = f", usually {finding.reference:.4g}" if finding.reference is not None else ""
    days = f"{format_time(window.start)[:10]} to {format_time(window.end)[:10]}"
    return (
        f"{finding.kind.replace('_', ' ')}: {finding.subject}{version} is {finding.statistic:.4g} against a bound of "
        f"{finding.bound:.4g}{usual} ({finding.ratio:.2f} times the bound; {finding.rows:,} rows, {days})"
        + (f"; {finding.note}" if finding.note else "")
    )
