"""The HTTP API: the pages' records as JSON below ``/api/v1``. Fields are those of ``tidegate.records``."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request

from tidegate.clock import parse_time
from tidegate.digest import of_json
from tidegate.errors import NotFoundError
from tidegate.gate import read_report
from tidegate.release import read_entries, served_at
from tidegate.server.answers import path_digest, path_id, path_name, path_number, query_limit, query_number, query_offset
from tidegate.server.approving import list_asked
from tidegate.server.pages.models import known_model
from tidegate.server.rollouts import find_rollout, list_told
from tidegate.server.stored import newest_windows, read_alerts, read_decision, read_decisions
from tidegate.server.summary import model_names, summarise
from tidegate.workspace import Workspace

MOST_PIXELS = 10_000
"""The most stretches of one envelope."""


def overview(workspace: Workspace, _request: Request) -> Any:
    """Every model's summary, with what needs a person."""
    return [summarise(workspace, name) for name in model_names(workspace)]


def runs(workspace: Workspace, request: Request) -> Any:
    """Runs that match ``where``, ordered by ``order_by``, from ``offset`` on; ``experiment`` may be given several times."""
    return workspace.runs.search(
        experiment=[name for name in request.query_params.getlist("experiment") if name],
        where=request.query_params.get("where", ""),
        order_by=request.query_params.get("order_by", ""),
        limit=query_limit(request, 100, 10_000),
        offset=query_offset(request),
        deleted=request.query_params.get("deleted", "") in {"1", "true"},
    )


def run(workspace: Workspace, request: Request) -> Any:
    """One run."""
    return workspace.store.runs.get(path_id(request, "run", "run"))


def metric(workspace: Workspace, request: Request) -> Any:
    """The points of one metric as [metric, step, microseconds UTC, value].

    With ``pixels=N`` columns of an exact envelope of at most N stretches instead: see ``tidegate.records.run.Bucketed``.
    ``first`` and ``last`` narrow both to a range of steps.
    """
    found = workspace.store.runs.get(path_id(request, "run", "run"))
    name: str = request.path_params["metric"]
    if name not in found.metrics:
        raise NotFoundError(
            "metric-not-found", "this run has no metric of that name", fix=f"it has: {', '.join(sorted(found.metrics)) or 'none'}"
        )
    first, last = query_number(request, "first"), query_number(request, "last")
    pixels = query_number(request, "pixels")
    if pixels is not None:
        drawn = workspace.store.series.envelope(found.id, name, pixels=min(max(pixels, 1), MOST_PIXELS), first=first, last=last)
        return {key: column.tolist() for key, column in drawn._asdict().items()}
    points = workspace.store.series.points(found.id, name, first=first, last=last)
    columns = (points.steps.tolist(), points.times.tolist(), points.values.tolist())
    return [[name, *point] for point in zip(*columns, strict=True)]


def models(workspace: Workspace, _request: Request) -> Any:
    """Every model with its champion and its versions."""
    return [
        {
            "name": name,
            "pointer": workspace.release.pointer(name),
            "versions": [item.version for item in workspace.models.list(name)],
        }
        for name in model_names(workspace)
    ]


def model(workspace: Workspace, request: Request) -> Any:
    """One model's summary."""
    return summarise(workspace, known_model(workspace, request))


def ledger(workspace: Workspace, request: Request) -> Any:
    """Every entry, oldest first, with the digest of its bytes; and what is wrong with the chain."""
    name = known_model(workspace, request)
    entries = [{"digest": digest, "entry": entry} for digest, entry in read_entries(workspace.store.bucket, name)]
    checkpoints = [item._asdict() for item in workspace.checkpoints.standing(name)]
    return {"model": name, "problems": workspace.release.verify(name), "checkpoints": checkpoints, "entries": entries}


def served(workspace: Workspace, request: Request) -> Any:
    """What served at the time ``at`` (ISO 8601; now, if it is left out), and what that rested on."""
    name = known_model(workspace, request)
    at = request.query_params.get("at", "")
    return served_at(name, workspace.release.history(name), parse_time(at) if at else workspace.clock.now())


def rollouts(workspace: Workspace, _request: Request) -> Any:
    """Every rollout of every model: those that run, then the newest."""
    return list_told(workspace, model_names(workspace))


def rollout(workspace: Workspace, request: Request) -> Any:
    """One rollout: what is told of it, its plan, the newest look, and what would have been found after each part of the evidence."""
    found = find_rollout(workspace, known_model(workspace, request), path_number(request, "number", "rollout"))
    return {"rollout": found.told, "plan": found.plan, "look": found.look, "course": found.course, "problem": found.problem}


def approvals(workspace: Workspace, _request: Request) -> Any:
    """Every version that passed the gate and waits for consent alone."""
    return list_asked(workspace, model_names(workspace))


def notices(workspace: Workspace, _request: Request) -> Any:
    """Who is told, and what they have not taken."""
    deliveries = [item._asdict() for item in workspace.outbox.deliveries()]
    return {"targets": [target.name for target in workspace.outbox.targets], "deliveries": deliveries}


def version(workspace: Workspace, request: Request) -> Any:
    """One version: its digest and its manifest."""
    name = known_model(workspace, request)
    return workspace.models.get(f"{name}@{path_number(request, 'version', 'version')}")


def receipt(workspace: Workspace, request: Request) -> Any:
    """One receipt with its report."""
    name = known_model(workspace, request)
    digest = path_digest(request, "receipt", "receipt")
    found = workspace.release.receipt(name, digest)
    return {"digest": of_json(found), "receipt": found, "report": read_report(workspace.store.bucket, name, digest)}


def windows(workspace: Workspace, request: Request) -> Any:
    """The closed windows of a model, oldest first."""
    return newest_windows(workspace, known_model(workspace, request), limit=query_limit(request, 400, 10_000))


def alerts(workspace: Workspace, request: Request) -> Any:
    """Alerts, newest first; ``model`` narrows them to one model."""
    return read_alerts(workspace, request.query_params.get("model", ""), limit=query_limit(request, 200, 10_000))


def decisions(workspace: Workspace, request: Request) -> Any:
    """Retraining decisions, newest first; ``model`` narrows them to one model."""
    return read_decisions(workspace, request.query_params.get("model", ""), limit=query_limit(request, 200, 10_000))


def decision(workspace: Workspace, request: Request) -> Any:
    """One retraining decision."""
    return read_decision(workspace, path_id(request, "decision", "decision"))


def datasets(workspace: Workspace, _request: Request) -> Any:
    """Every snapshot of every dataset."""
    return workspace.datasets.list()


def dataset(workspace: Workspace, request: Request) -> Any:
    """The snapshots of one dataset."""
    name = path_name(request, "dataset", "dataset")
    found = workspace.datasets.list(name)
    if not found:
        raise NotFoundError("dataset-not-found", f"there is no dataset {name}", fix="see /api/v1/data")
    return found


def snapshot(workspace: Workspace, request: Request) -> Any:
    """One snapshot."""
    name = path_name(request, "dataset", "dataset")
    return workspace.datasets.get(f"{name}@{path_number(request, 'number', 'snapshot')}")


def health(workspace: Workspace, _request: Request) -> Any:
    """What doctor finds now."""
    return workspace.health()
