"""Metrics: what each is, how it is measured, and under which name a rule asks for it."""

from tidegate.gate.metrics.catalogue import CATALOGUE, check_metric, metric_names, parse_metric
from tidegate.gate.metrics.custom import importable, is_target
from tidegate.gate.metrics.metric import Additive, Measured, Metric, shortage

__all__ = [
    "CATALOGUE",
    "Additive",
    "Measured",
    "Metric",
    "check_metric",
    "importable",
    "is_target",
    "metric_names",
    "parse_metric",
    "shortage",
]
