"""Records that the pages read straight from the store: windows, alerts, decisions."""

from __future__ import annotations

from tidegate.loop import Decisions
from tidegate.monitoring import list_alerts, read_windows
from tidegate.records.decision import Decision
from tidegate.records.monitoring import Alert, Window
from tidegate.workspace import Workspace

MOST_WINDOWS = 400
"""Of each model the newest ones are read: more than a year of days."""


def newest_windows(workspace: Workspace, model: str, *, limit: int = MOST_WINDOWS) -> list[Window]:
    """The newest closed windows of a model, oldest first.

    Raises:
        IntegrityError: one cannot be read.
    """
    return read_windows(workspace.store.bucket, model, limit=limit)


def read_alerts(workspace: Workspace, model: str = "", *, limit: int = 200) -> list[Alert]:
    """Alerts of one model or of all, newest first."""
    return list_alerts(workspace.store.documents, model, limit=limit)


def read_decisions(workspace: Workspace, model: str = "", *, limit: int = 200) -> list[Decision]:
    """Retraining decisions of one model or of all, newest first."""
    return Decisions(workspace.store.documents, workspace.actor).list(model, limit=limit)


def read_decision(workspace: Workspace, key: str) -> Decision:
    """One retraining decision.

    Raises:
        NotFoundError: there is none.
    """
    return Decisions(workspace.store.documents, workspace.actor).get(key).decision
