"""What happened in production: prediction log, labels, windows with their findings, alerts."""

from tidegate.monitoring.prediction_log import PredictionLog

__all__ = ["PredictionLog"]
