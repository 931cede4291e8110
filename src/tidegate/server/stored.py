"""Records that the pages read straight from the store: windows, alerts, decisions, gate reports."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from tidegate.errors import IntegrityError, NotFoundError
from tidegate.records.decision import Decision
from tidegate.records.monitoring import Alert, Window
from tidegate.records.report import Report
from tidegate.store.ports import Document
from tidegate.workspace import Workspace

MOST_WINDOWS = 400
"""Of each model the newest ones are read: more than a year of days."""

_Record = TypeVar("_Record")


def read_windows(workspace: Workspace, model: str, *, limit: int = MOST_WINDOWS) -> list[Window]:
    """The newest closed windows of a model, oldest first.

    Raises:
        IntegrityError: one cannot be read.
    """
    bucket = workspace.store.bucket
    keys = sorted(bucket.keys(f"monitoring/{model}/windows/"), key=_start)[-limit:]
    found = ((key, bucket.find(key)) for key in keys)
    return sorted((_decoded(blob.data, Window, key) for key, blob in found if blob), key=lambda window: window.start)


def read_alerts(workspace: Workspace, model: str = "", *, limit: int = 200) -> list[Alert]:
    """Alerts of one model or of all, newest first."""
    return [_converted(item, Alert) for item in workspace.store.documents.list("alert", subject=model, limit=limit)]


def read_decisions(workspace: Workspace, model: str = "", *, limit: int = 200) -> list[Decision]:
    """Retraining decisions of one model or of all, newest first."""
    return [_converted(item, Decision) for item in workspace.store.documents.list("decision", subject=model, limit=limit)]


def read_decision(workspace: Workspace, key: str) -> Decision:
    """One retraining decision.

    Raises:
        NotFoundError: there is none.
    """
    found = workspace.store.documents.find("decision", key)
    if found is None:
        raise NotFoundError("decision-not-found", f"there is no decision {key}", fix="tidegate decision list")
    return _converted(found, Decision)


def read_report(workspace: Workspace, model: str, receipt: str) -> Report:
    """The report that a receipt stands on.

    Raises:
        NotFoundError: it is not stored.
        IntegrityError: it cannot be read.
    """
    key = f"models/{model}/receipts/{receipt}.report.json"
    blob = workspace.store.bucket.find(key)
    if blob is None:
        raise NotFoundError("report-missing", f"the report of receipt {receipt[:12]} is not stored", fix="tidegate store verify")
    return _decoded(blob.data, Report, key)


def _start(key: str) -> int:
    text = key.rsplit("/", 1)[-1].partition("-")[0]
    return int(text) if text.isdigit() else 0


def _converted(document: Document, kind: type[_Record]) -> _Record:
    return _decoded(msgspec.json.encode(document.body), kind, f"{document.kind} {document.id}")


def _decoded(data: bytes, kind: type[_Record], where: str) -> _Record:
    try:
        return msgspec.json.decode(data, type=kind)
    except msgspec.MsgspecError as error:
        raise IntegrityError(
            "record-unreadable", f"{where} cannot be read", why=str(error)[:200], fix="restore it from a backup; tidegate store verify"
        ) from None
