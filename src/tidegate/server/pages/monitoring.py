"""Monitoring: windows over time with performance, drift, volume and latency."""

from __future__ import annotations

from starlette.requests import Request

from tidegate.server.pages import charts
from tidegate.server.pages.models import known_model
from tidegate.server.pages.rendering import Page
from tidegate.server.stored import newest_windows, read_alerts
from tidegate.server.summary import model_names, summarise, urgency
from tidegate.workspace import Workspace

DRIFT = ("input_drift", "prediction_drift")
QUALITY = ("nulls", "unseen", "type")


def list_monitored(workspace: Workspace, _request: Request) -> Page:
    """Every model's newest window, and the newest alerts of all."""
    models = [summarise(workspace, name) for name in model_names(workspace)]
    return Page("monitored.html", "Monitoring", "monitoring", {"models": models, "alerts": read_alerts(workspace, limit=100)})


def show_monitoring(workspace: Workspace, request: Request) -> Page:
    """The windows of one model."""
    name = known_model(workspace, request)
    windows = newest_windows(workspace, name)
    quality = (
        charts.ratios(windows, QUALITY) if any(item.kind in QUALITY for window in windows for item in window.findings) else None
    )
    drift = charts.ratios(windows, DRIFT) if any(item.kind in DRIFT for window in windows for item in window.findings) else None
    return Page(
        "monitoring.html",
        f"Monitoring of {name}",
        "monitoring",
        {
            "model": summarise(workspace, name),
            "windows": windows,
            "performance": [(metric, charts.performance(windows, metric)) for metric in charts.metrics_of(windows)],
            "volume": charts.volume(windows),
            "latency": charts.latency(windows),
            "drift": drift,
            "drift_height": 120 + 22 * charts.ratio_rows(windows, DRIFT),
            "quality": quality,
            "quality_height": 120 + 22 * charts.ratio_rows(windows, QUALITY),
            "alerts": sorted(read_alerts(workspace, name, limit=400), key=urgency, reverse=True)[:150],
        },
    )
