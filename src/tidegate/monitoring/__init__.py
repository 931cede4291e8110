"""What happened in production: prediction log, labels, windows with their findings, alerts."""

from tidegate.monitoring.alerts import alerts_of, list_alerts, raise_alert
from tidegate.monitoring.labels import Labels
from tidegate.monitoring.monitor import Monitor
from tidegate.monitoring.prediction_log import PredictionLog
from tidegate.monitoring.windows import Span, due_spans, span_of, window_length

__all__ = [
    "Labels",
    "Monitor",
    "PredictionLog",
    "Span",
    "alerts_of",
    "due_spans",
    "list_alerts",
    "raise_alert",
    "span_of",
    "window_length",
]
