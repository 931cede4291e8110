"""Retraining decisions: what was asked, what was answered, by whom and why."""

from __future__ import annotations

from starlette.requests import Request

from tidegate.records.monitoring import Alert
from tidegate.server.answers import path_id
from tidegate.server.pages.rendering import Page
from tidegate.server.stored import read_alerts, read_decision, read_decisions
from tidegate.workspace import Workspace


def list_decisions(workspace: Workspace, _request: Request) -> Page:
    """Every decision, newest first."""
    return Page("decisions.html", "Decisions", "decisions", {"decisions": read_decisions(workspace, limit=1000)})


def show_decision(workspace: Workspace, request: Request) -> Page:
    """One decision with its steps and the alerts that led to it."""
    decision = read_decision(workspace, path_id(request, "decision", "decision"))
    known: dict[str, Alert] = {alert.id: alert for alert in read_alerts(workspace, decision.model, limit=1000)}
    return Page(
        "decision.html",
        f"Decision about {decision.model}",
        "decisions",
        {"decision": decision, "alerts": [known[key] for key in decision.alerts if key in known]},
    )
