"""Records that the pages read straight from the store: windows, alerts, decisions."""

from __future__ import annotations

import msgspec

from tidegate.errors import IntegrityError
from tidegate.loop import Decisions
from tidegate.monitoring import list_alerts
from tidegate.records.decision import Decision
from tidegate.records.monitoring import Alert, Window
from tidegate.workspace import Workspace

MOST_WINDOWS = 400
"""Of each model the newest ones are read: more than a year of days."""


def read_windows(workspace: Workspace, model: str, *, limit: int = MOST_WINDOWS) -> list[Window]:
    """The newest closed windows of a model, oldest first.

    Raises:
        IntegrityError: one cannot be read.
    """
    bucket = workspace.store.bucket
    keys = sorted(bucket.keys(f"monitoring/{model}/windows/"), key=_start)[-limit:]
    found = ((key, bucket.find(key)) for key in keys)
    return [_decoded(blob.data, key) for key, blob in found if blob]


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


def _start(key: str) -> int:
    text = key.rsplit("/", 1)[-1].partition("-")[0]
    return int(text) if text.isdigit() else 0


def _decoded(data: bytes, key: str) -> Window:
    try:
        return msgspec.json.decode(data, type=Window)
    except msgspec.MsgspecError as error:
        raise IntegrityError(
            "window-damaged",
            f"{key} is no window",
            why=str(error)[:200],
            fix="delete it: the next tidegate tick closes the window again",
        ) from None
