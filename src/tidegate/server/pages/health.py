"""What doctor found: the level of maturity, what blocks the next one, red flags, every check with its evidence."""

from __future__ import annotations

from starlette.requests import Request

from tidegate.health import LEVELS
from tidegate.records.health import Check, CheckState
from tidegate.server.pages.rendering import Page
from tidegate.workspace import Workspace

_ORDER = {CheckState.FAIL: 0, CheckState.UNKNOWN: 1, CheckState.OK: 2}


def show_health(workspace: Workspace, _request: Request) -> Page:
    """Doctor's answer, asked now."""
    health = workspace.health()
    sections: dict[str, list[Check]] = {}
    for check in health.checks:
        sections.setdefault(check.section, []).append(check)
    ordered = [(name, sorted(checks, key=lambda check: _ORDER[check.state])) for name, checks in sections.items()]
    return Page("health.html", "Health", "health", {"health": health, "sections": ordered, "levels": LEVELS})
