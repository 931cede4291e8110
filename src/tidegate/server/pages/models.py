"""Models: the list, one model with its ledger, one version, one gate report."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from starlette.requests import Request
from starlette.responses import Response

from tidegate.clock import parse_time
from tidegate.digest import short
from tidegate.errors import NotFoundError, TidegateError, UsageError
from tidegate.gate import page_policy, read_report, render_html
from tidegate.models.comparing import compare_packages, parity_text
from tidegate.models.declared import allowed_text
from tidegate.models.signing import find_signatures, read_trusted_keys, require_signature
from tidegate.records.ledger import Judged, LedgerEntry
from tidegate.records.model import ModelVersion
from tidegate.records.policy import ModelPolicy
from tidegate.release import Told, read_entries, served_at, tell
from tidegate.server.answers import path_digest, path_name, path_number
from tidegate.server.approving import find_asked, visitor_of
from tidegate.server.pages.rendering import Page
from tidegate.server.stored import read_alerts
from tidegate.server.summary import model_names, summarise, urgency
from tidegate.workspace import Workspace


class Signing(NamedTuple):
    """Who signed a version, as far as anybody asks."""

    keys: list[str]
    """Ids of the keys that its signatures say they are of."""
    asked: list[str]
    """The files of the public keys that the policy trusts."""
    signer: str
    """The one of them that signed it."""
    problem: str


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
    return Page("models.html", "Models", "models", {"models": models}, ("tidegate model list",))


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
            "timeline": timeline(reversed(entries)),
            "checkpoints": workspace.checkpoints.standing(name),
            **_served(name, [entry for _, entry in entries], request.query_params.get("at", "").strip()[:100]),
            "problems": workspace.release.verify(name),
            "head_digest": state.head_digest,
            "alerts": sorted(read_alerts(workspace, name, limit=200), key=urgency, reverse=True)[:6],
        },
        (f"tidegate release log {name}", f"tidegate release verify {name}", f"tidegate model list {name}"),
    )


def timeline(entries: Iterable[tuple[str, LedgerEntry]]) -> list[Entry]:
    """Ledger entries (digest and entry) as the pages show them."""
    return [
        Entry(entry.seq, entry.at, entry.actor, entry.clock != "system", digest, entry.before, tell(entry.event))
        for digest, entry in entries
    ]


def _served(model: str, entries: list[LedgerEntry], at: str) -> dict[str, Any]:
    """What served at the time that the reader asks about."""
    try:
        served = served_at(model, entries, parse_time(at)) if at else None
    except UsageError as error:
        return {"at": at, "served": None, "served_problem": error}
    return {"at": at, "served": served, "served_problem": None}


def show_version(workspace: Workspace, request: Request) -> Page:
    """One version: manifest, signature, lineage, parity, and what a promotion still needs."""
    name = known_model(workspace, request)
    version = workspace.models.get(f"{name}@{path_number(request, 'version', 'version')}")
    state = workspace.release.state(name)
    policy = workspace.policies.get(name)
    plan: list[tuple[str, TidegateError | None]] = []
    asked = None
    try:
        if policy is not None and state.champion.digest != version.digest:
            plan = workspace.release.plan(name, version.version, policy=policy).answers
            asked = find_asked(workspace, name, version.version)
    except TidegateError as error:  # a receipt that is gone, a key that cannot be read: the rest of the page is as true as ever
        plan = [("what it was judged by is there, and as it was", error)]
    others = [item.version for item in workspace.models.list(name) if item.version != version.version]
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
            "asked": asked,
            "visitor": visitor_of(workspace, request),
            "approvals": [item for item in state.consents if item.version == version.version],
            "names": sorted(alias for alias, number in state.names().items() if number == version.version),
            "rollout": state.rollout if state.rollout and state.rollout.version == version.version else None,
            "signing": _signing(workspace, policy, version),
            "champion": state.champion.version,
            "others": others[:20],
            "parity": parity_text(version.manifest),
            "allowed": {tensor.name: allowed_text(tensor) for tensor in version.manifest.signature.inputs},
        },
        (f"tidegate model show {version.ref}", f"tidegate model verify {version.ref}", f"tidegate release plan {version.ref}"),
    )


def show_diff(workspace: Workspace, request: Request) -> Page:
    """What differs from one version of a model to another."""
    name = known_model(workspace, request)
    before, after = (workspace.models.get(f"{name}@{path_number(request, part, 'version')}") for part in ("before", "after"))
    found = workspace.diffs(before, after)
    sections = [("code", found.code), ("data", found.data), ("model", found.model)]
    sections.append(("package", compare_packages(before.manifest, after.manifest)))
    return Page(
        "diff.html",
        f"From {before.ref} to {after.ref}",
        "models",
        {"before": before, "after": after, "sections": sections},
        (f"tidegate model diff {before.ref} {after.ref}",),
    )


def _signing(workspace: Workspace, policy: ModelPolicy | None, version: ModelVersion) -> Signing:
    signatures = find_signatures(workspace.store.bucket, version)
    keys = sorted({signature.key_id for signature in signatures})
    asked = sorted({*policy.serving.signed_by, *policy.release.signed_by}) if policy else []
    if not asked:
        return Signing(keys, asked, "", "")
    try:
        signer = require_signature(signatures, version, read_trusted_keys(asked, workspace.project.folder))
    except TidegateError as error:
        return Signing(keys, asked, "", f"{error.what}: {error.why}")
    return Signing(keys, asked, signer.name, "")


def show_receipt(workspace: Workspace, request: Request) -> Page:
    """A gate report and the receipt that binds it."""
    name = known_model(workspace, request)
    digest = path_digest(request, "receipt", "receipt")
    receipt = workspace.release.receipt(name, digest)
    report = read_report(workspace.store.bucket, name, digest)
    asked = find_asked(workspace, name, receipt.candidate)
    values: dict[str, Any] = {
        "name": name,
        "receipt": receipt,
        "digest": digest,
        "report": report,
        "asked": asked if asked and asked.receipt == digest else None,
        "visitor": visitor_of(workspace, request),
    }
    commands = (f"tidegate gate report {short(digest)}",)
    return Page("receipt.html", f"Gate report of {name}@{receipt.candidate}", "models", values, commands)


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
