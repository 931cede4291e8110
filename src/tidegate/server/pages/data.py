"""Datasets: their snapshots, each with its profile and its contract."""

from __future__ import annotations

from starlette.requests import Request

from tidegate.errors import NotFoundError
from tidegate.records.dataset import Snapshot
from tidegate.server.answers import path_name, path_number
from tidegate.server.pages.rendering import Page
from tidegate.workspace import Workspace


def list_datasets(workspace: Workspace, _request: Request) -> Page:
    """The newest snapshot of every dataset."""
    newest: dict[str, Snapshot] = {}
    counts: dict[str, int] = {}
    for snapshot in workspace.datasets.list():
        counts[snapshot.name] = counts.get(snapshot.name, 0) + 1
        if snapshot.name not in newest or snapshot.number > newest[snapshot.name].number:
            newest[snapshot.name] = snapshot
    rows = [(newest[name], counts[name]) for name in sorted(newest)]
    return Page("datasets.html", "Data", "data", {"rows": rows})


def show_dataset(workspace: Workspace, request: Request) -> Page:
    """Every snapshot of a dataset, newest first."""
    name = path_name(request, "dataset", "dataset")
    snapshots = workspace.datasets.list(name)
    if not snapshots:
        raise NotFoundError("dataset-not-found", f"there is no dataset {name}", fix="see /data")
    return Page("dataset.html", name, "data", {"name": name, "snapshots": snapshots})


def show_snapshot(workspace: Workspace, request: Request) -> Page:
    """One snapshot: profile, files, contract, and the versions that were trained on it."""
    name = path_name(request, "dataset", "dataset")
    snapshot = workspace.datasets.get(f"{name}@{path_number(request, 'number', 'snapshot')}")
    contract = workspace.datasets.contract(snapshot) if snapshot.contract else None
    return Page(
        "snapshot.html",
        snapshot.ref,
        "data",
        {
            "snapshot": snapshot,
            "contract": contract,
            "later": contract.later_columns if contract else frozenset[str](),
            "trained": [item for item in workspace.models.list() if snapshot.ref in item.manifest.lineage.snapshots],
        },
    )
