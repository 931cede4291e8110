"""Metrics: what each is, how it is measured, and under which name a rule asks for it."""

from tidegate.gate.metrics.catalogue import CATALOGUE, metric_names, parse_metric
from tidegate.gate.metrics.metric import Measured, Metric, shortage

__all__ = ["CATALOGUE", "Measured", "Metric", "metric_names", "parse_metric", "shortage"]
