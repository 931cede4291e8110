"""Models: the list, one model with its ledger, one version, one gate report."""

from __future__ import annotations

from typing import Any, NamedTuple

from starlette.requests import Request
from starlette.responses import Response

from tidegate.errors import NotFoundError, TidegateError
from tidegate.gate import page_policy, read_report, render_html
from tidegate.records.ledger import Judged
from tidegate.records.verdict import Verdict
from tidegate.release import Told, read_entries, tell
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
    told: Told


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
            "broken_glass": state.unproven.get(state.champion.digest, ""),
            "former": {item.version for item in state.before},
            "timeline": [
                Entry(entry.seq, entry.at, entry.actor, entry.clock != "system", digest, entry.before, tell(entry.event))
                for digest, entry in reversed(entries)
            ],
            "problems": workspace.release.verify(name),
            "head_digest": state.head_digest,
            "alerts": sorted(read_alerts(workspace, name, limit=200), key=urgency, reverse=True)[:6],
        },
    )


def show_version(workspace: Workspace, request: Request) -> Page:
    """One version: manifest, signature, lineage, parity, and what a promotion still needs."""
    name = known_model(workspace, request)
    version = workspace.models.get(f"{name}@{path_number(request, 'version', 'version')}")
    state = workspace.release.state(name)
    policy = workspace.policies.get(name)
    plan: list[tuple[str, TidegateError | None]] = []
    if policy is not None and state.champion.digest != version.digest:
        plan = workspace.release.plan(name, version.version, policy=policy).answers
    asked = state.newest_judgement(version.version)
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
            "asked": asked.receipt if asked and asked.verdict is Verdict.PASS and plan else "",
            "approvals": [item for item in state.consents if item.version == version.version],
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
    """The report as the gate itself renders it, for the frame in its page. Its own style and script alone may do anything there."""
    name = known_model(workspace, request)
    report = read_report(workspace.store.bucket, name, path_digest(request, "receipt", "receipt"))
    headers = {
        "content-security-policy": f"{page_policy()}; frame-ancestors 'self'; sandbox allow-scripts",
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
