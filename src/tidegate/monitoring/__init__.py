"""What happened in production: prediction log, labels, windows with their findings, alerts.

Loaded on demand: a serving process writes the log and needs none of the statistics.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tidegate.lazy import exports

if TYPE_CHECKING:
    from tidegate.monitoring.alerts import alerts_of, list_alerts, raise_alert
    from tidegate.monitoring.labels import Labels
    from tidegate.monitoring.monitor import Monitor
    from tidegate.monitoring.prediction_log import PredictionLog
    from tidegate.monitoring.windows import Span, due_spans, read_windows, window_length

__all__ = [
    "Labels",
    "Monitor",
    "PredictionLog",
    "Span",
    "alerts_of",
    "due_spans",
    "list_alerts",
    "raise_alert",
    "read_windows",
    "window_length",
]

__getattr__, __dir__ = exports(
    __name__,
    {
        "alerts": ["alerts_of", "list_alerts", "raise_alert"],
        "labels": ["Labels"],
        "monitor": ["Monitor"],
        "prediction_log": ["PredictionLog"],
        "windows": ["Span", "due_spans", "read_windows", "window_length"],
    },
)
