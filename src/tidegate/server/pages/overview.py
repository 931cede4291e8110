"""The overview: what serves, is it ok, what needs a person. And the search that finds a page by a name."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from tidegate.records.monitoring import Severity
from tidegate.server.pages.rendering import Page
from tidegate.server.stored import read_alerts, read_decisions
from tidegate.server.summary import model_names, summarise, trouble_need, urgency
from tidegate.workspace import Workspace


def show_overview(workspace: Workspace, _request: Request) -> Page:
    """Every model, what a person must do next, the newest alerts and runs."""
    models = [summarise(workspace, name) for name in model_names(workspace)]
    alerts = sorted(read_alerts(workspace, limit=500), key=urgency, reverse=True)
    troubles = (trouble_need(model, alerts) for model in models)
    needs = [*(need for need in troubles if need), *(need for model in models for need in model.needs)]
    return Page(
        "overview.html",
        "Overview",
        "overview",
        {
            "models": models,
            "needs": needs,
            "alerts": [alert for alert in alerts if alert.severity is not Severity.INFO][:6],
            "runs": workspace.runs.search(limit=6),
            "health": workspace.health(),
        },
    )


def search(workspace: Workspace, request: Request) -> Page | Response:
    """Models, versions, runs, datasets and decisions whose name or id holds the text; a single find is opened."""
    text = request.query_params.get("q", "").strip()[:200]
    found = _find(workspace, text.lower()) if text else []
    if len(found) == 1:
        return RedirectResponse(found[0][1], 303)
    return Page("search.html", f"Search: {text}" if text else "Search", "", {"text": text, "found": found})


def _find(workspace: Workspace, text: str) -> list[tuple[str, str, str]]:
    """(kind, address, title) of what matches, best kinds first."""
    found = [("model", f"/models/{name}", name) for name in model_names(workspace) if text in name.lower()]
    name, at, version = text.partition("@")
    found += [
        ("version", f"/models/{item.name}/versions/{item.version}", item.ref)
        for item in (workspace.models.list() if at else [])
        if item.name.lower() == name and str(item.version) == version.removeprefix("v")
    ]
    names = sorted({item.name for item in workspace.store.catalog.list("dataset")})
    found += [("dataset", f"/data/{item}", item) for item in names if text in item.lower()]
    found += [
        ("run", f"/runs/{run.id}", f"{run.name} ({run.experiment})")
        for run in workspace.runs.search(limit=1000)
        if text in run.name.lower() or run.id.startswith(text) or text in run.experiment.lower()
    ]
    found += [
        ("decision", f"/decisions/{item.id}", f"{item.model}: {item.reason}")
        for item in read_decisions(workspace)
        if item.id.startswith(text)
    ]
    return found[:100]
