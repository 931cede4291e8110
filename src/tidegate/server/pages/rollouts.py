"""Rollouts: the list, and one with its plan, its confidence sequences, and why it was moved or stopped."""

from __future__ import annotations

from starlette.requests import Request

from tidegate.server.answers import path_number
from tidegate.server.pages import charts
from tidegate.server.pages.models import known_model, timeline
from tidegate.server.pages.rendering import LATENCY, Page
from tidegate.server.rollouts import find_rollout, list_told
from tidegate.server.summary import model_names
from tidegate.serving.rollout.decide import tell
from tidegate.workspace import Workspace


def list_rollouts(workspace: Workspace, _request: Request) -> Page:
    """Every rollout of every model, those that run first, then the newest."""
    return Page(
        "rollouts.html",
        "Rollouts",
        "rollouts",
        {"rollouts": list_told(workspace, model_names(workspace))},
        ("tidegate rollout status MODEL",),
    )


def show_rollout(workspace: Workspace, request: Request) -> Page:
    """One rollout, named by the ledger entry that began it."""
    name = known_model(workspace, request)
    found = find_rollout(workspace, name, path_number(request, "number", "rollout"))
    pictures: dict[str, tuple[charts.Figure, str]] = {}
    for place, condition in enumerate(found.course[-1].conditions if found.course else []):
        figure = charts.sequence([look.conditions[place] for look in found.course])
        if figure is not None:
            pictures[condition.name] = figure, tell(condition)
    running = found.told.outcome == "running"
    return Page(
        "rollout.html",
        f"Rollout of {name}@{found.told.version}",
        "rollouts",
        {
            "found": found,
            "told": found.told,
            "look": found.look,
            "pictures": pictures,
            "names": {LATENCY: "latency, 99th percentile"},
            "timeline": timeline(reversed(found.history.entries)),
        },
        (f"tidegate rollout status {name}" if running else f"tidegate release log {name}",),
    )
