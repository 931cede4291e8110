"""Models: the list, one model with its ledger, one version, one gate report."""

from __future__ import annotations

from typing import Any, NamedTuple

from starlette.requests import Request
from starlette.responses import Response

from tidegate.errors import NotFoundError, TidegateError
from tidegate.gate import read_report, render_html
from tidegate.records.ledger import (
    Approved,
    Event,
    Frozen,
    Judged,
    Promoted,
    Registered,
    Released,
    RolledBack,
    Unfrozen,
)
from tidegate.records.verdict import Verdict
from tidegate.release import read_entries
from tidegate.server.answers import path_digest, path_name, path_number
from tidegate.server.pages.rendering import Page
from tidegate.server.stored import read_alerts
from tidegate.server.summary import model_names, summarise, urgency
from tidegate.workspace import Workspace


class Entry(NamedTuple):
    """One ledger entry as the timeline shows it."""

    seq: int
    at: int
    actor: str
    replayed: bool
    digest: str
    before: str
    kind: str
    what: str
    version: int
    why: str
    receipt: str
    verdict: Verdict | None


def list_models(workspace: Workspace, _request: Request) -> Page:
    """Every model in one table."""
    models = [summarise(workspace, name) for name in model_names(workspace)]
    return Page("models.html", "Models", "models", {"models": models})


def show_model(workspace: Workspace, request: Request) -> Page:
    """One model: its champion, its versions, and every decision about it."""
    name = known_model(workspace, request)
    entries = read_entries(workspace.store.bucket, name)
    verdicts = {entry.event.version: entry.event for _, entry in entries if isinstance(entry.event, Judged)}
    state = workspace.release.state(name)
    return Page(
        "model.html",
        name,
        "models",
        {
            "model": summarise(workspace, name),
            "policy": workspace.policies.get(name),
            "versions": workspace.models.list(name),
            "judged": verdicts,
            "quarantined": state.quarantined,
            "former": {item.version for item in state.before},
            "timeline": [
                _entry(digest, entry.seq, entry.at, entry.actor, entry.clock, entry.before, entry.event)
                for digest, entry in reversed(entries)
            ],
            "problems": workspace.release.verify(name),
            "head_digest": state.head_digest,
            "alerts": sorted(read_alerts(workspace, name, limit=200), key=urgency, reverse=True)[:6],
        },
    )


def _entry(digest: str, seq: int, at: int, actor: str, clock: str, before: str, event: Event) -> Entry:
    kind, what, version, why, receipt, verdict = _told(event)
    return Entry(seq, at, actor, clock != "system", digest, before, kind, what, version, why, receipt, verdict)


def _told(event: Event) -> tuple[str, str, int, str, str, Verdict | None]:
    """Kind, what happened, to which version, why, on which receipt, with which verdict."""
    match event:
        case Registered():
            return "registered", "registered", event.version, "", "", None
        case Judged():
            return "judged", "judged", event.version, "", event.receipt, event.verdict
        case Approved():
            return "approved", "approved", event.version, event.comment, event.receipt, None
        case Promoted():
            previous = f"instead of version {event.previous.version}" if event.previous.version else "as the first champion"
            return "promoted", f"promoted {previous}:", event.version, "", event.receipt, None
        case RolledBack():
            return "rolled-back", f"rolled back from version {event.previous.version} to", event.version, event.reason, "", None
        case Released():
            return "released", "lifted the quarantine of", event.version, event.reason, "", None
        case Frozen():
            return "frozen", "froze promotions", 0, event.reason, "", None
        case Unfrozen():
            return "unfrozen", "allowed promotions again", 0, event.reason, "", None


def show_version(workspace: Workspace, request: Request) -> Page:
    """One version: manifest, signature, lineage, parity, and what a promotion still needs."""
    name = known_model(workspace, request)
    version = workspace.models.get(f"{name}@{path_number(request, 'version', 'version')}")
    state = workspace.release.state(name)
    policy = workspace.policies.get(name)
    plan: list[tuple[str, TidegateError | None]] = []
    if policy is not None and state.champion.digest != version.digest:
        plan = workspace.release.plan(name, version.version, policy=policy.release).answers
    return Page(
        "version.html",
        version.ref,
        "models",
        {
            "version": version,
            "manifest": version.manifest,
            "serves": state.champion.digest == version.digest,
            "quarantine": state.quarantined.get(version.digest, ""),
            "judgements": [item for item in reversed(state.judgements) if item.version == version.version],
            "plan": plan,
        },
    )


def show_receipt(workspace: Workspace, request: Request) -> Page:
    """A gate report and the receipt that binds it."""
    name = known_model(workspace, request)
    digest = path_digest(request, "receipt", "receipt")
    receipt = workspace.release.receipt(name, digest)
    report = read_report(workspace.store.bucket, name, digest)
    values: dict[str, Any] = {"name": name, "receipt": receipt, "digest": digest, "report": report}
    return Page("receipt.html", f"Gate report of {name}@{receipt.candidate}", "models", values)


def report_page(workspace: Workspace, request: Request) -> Response:
    """The report as the gate itself renders it, for the frame in its page. It may style itself, and nothing more."""
    name = known_model(workspace, request)
    report = read_report(workspace.store.bucket, name, path_digest(request, "receipt", "receipt"))
    headers = {
        "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'self'",
        "x-frame-options": "SAMEORIGIN",
        "cache-control": "no-store",
    }
    return Response(render_html(report), media_type="text/html", headers=headers)


def known_model(workspace: Workspace, request: Request) -> str:
    """The model that the path names.

    Raises:
        NotFoundError: nothing has that name.
    """
    name = path_name(request, "model", "model")
    if name not in model_names(workspace):
        raise NotFoundError(
            "no-such-model", f"there is no model {name}", why="none of that name is registered or declared", fix="see /models"
        )
    return name
