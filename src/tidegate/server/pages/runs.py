"""Runs: the table with its filter, one run, and what differs between several."""

from __future__ import annotations

import re
from collections import Counter
from typing import NamedTuple
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import FileResponse, Response

from tidegate.errors import NotFoundError, UsageError
from tidegate.records.names import is_name
from tidegate.records.run import Bucketed, Run
from tidegate.server.answers import path_id, query_limit
from tidegate.server.pages import charts
from tidegate.server.pages.rendering import Page
from tidegate.tracking.comparison import SECTIONS, Section
from tidegate.tracking.rebuild import CodeDiff
from tidegate.tracking.reproducibility import reproducibility
from tidegate.tracking.system_metrics import machine_last
from tidegate.workspace import Workspace

MOST_COLUMNS = 6
MOST_RUNS = 1000
MOST_COMPARED = 20
MOST_CURVES = 12
MOST_DIFF_LINES = 500
_LABELS: dict[Section, str] = {
    "metric": "Metrics",
    "param": "Parameters",
    "data": "Input data",
    "code": "Code",
    "environment": "Environment",
    "package": "Packages",
    "tag": "Tags",
}
_LINE_CLASSES = {"+": "added", "-": "removed", "@": "hunk", "d": "file"}


class Column(NamedTuple):
    """A column of the table: its heading, what it sorts by, the address that sorts by it, and whether it does now."""

    title: str
    field: str
    href: str
    arrow: str


def list_runs(workspace: Workspace, request: Request) -> Page:
    """The runs that match the filter. A filter that cannot be read is told above the table, never an empty page."""
    where = request.query_params.get("where", "")
    order_by = request.query_params.get("order_by", "")
    experiment = request.query_params.get("experiment", "")[:100]
    limit = query_limit(request, 100, MOST_RUNS)
    problem: UsageError | None = None
    runs: list[Run] = []
    try:
        runs = workspace.runs.search(experiment=experiment, where=where, order_by=order_by, limit=limit)
    except UsageError as error:
        problem = error
    asked = {"where": where, "experiment": experiment, "limit": str(limit) if limit != 100 else ""}
    metrics = _most_common([list(run.metrics) for run in runs], MOST_COLUMNS)
    params = [name for name in _most_common([list(run.params) for run in runs], 40) if _varies(runs, name)][:MOST_COLUMNS]
    fixed = [("name", "name"), ("experiment", "experiment"), ("state", "state"), ("started", "started_at"), ("author", "author")]
    return Page(
        "runs.html",
        "Runs",
        "runs",
        {
            "runs": runs,
            "problem": problem,
            "where": where,
            "order_by": order_by,
            "experiment": experiment,
            "limit": limit,
            "more": _href({**asked, "limit": str(min(limit * 5, MOST_RUNS))}, order_by) if len(runs) == limit < MOST_RUNS else "",
            "fixed": [_column(title, field, asked, order_by) for title, field in fixed],
            "metrics": [_column(name, f"metrics.{_quoted(name)}", asked, order_by) for name in metrics],
            "params": [_column(name, f"params.{_quoted(name)}", asked, order_by) for name in params],
        },
    )


def _most_common(names: list[list[str]], most: int) -> list[str]:
    """The machine's own series only where there is room for them."""
    found = [name for name, _ in Counter(name for row in names for name in row).most_common()]
    return sorted(found, key=lambda name: machine_last(name)[0])[:most]


def _varies(runs: list[Run], param: str) -> bool:
    return len({run.params.get(param) for run in runs}) > 1


def _quoted(name: str) -> str:
    return name if re.fullmatch(r"[\w./-]+", name) else f"`{name}`"


def _column(title: str, field: str, asked: dict[str, str], order_by: str) -> Column:
    current, _, direction = order_by.partition(" ")
    mine = current == field
    down = direction.strip().lower() == "desc"
    arrow = ("↓" if down else "↑") if mine else ""
    return Column(
        title, field, _href(asked, field if mine and down else f"{field} desc" if mine or field == "started_at" else field), arrow
    )


def _href(asked: dict[str, str], order_by: str) -> str:
    given = {key: value for key, value in {**asked, "order_by": order_by}.items() if value}
    return f"/runs?{urlencode(given)}" if given else "/runs"


def show_run(workspace: Workspace, request: Request) -> Page:
    """One run: parameters, metrics with their curves, artifacts, steps, environment."""
    run = workspace.store.runs.get(path_id(request, "run", "run"))
    curves = [
        (name, charts.curve([(run.name, _curve(workspace, run, name))], _axis(name)))
        for name, summary in sorted(run.metrics.items(), key=lambda item: machine_last(item[0]))
        if summary.count > 1
    ]
    return Page(
        "run.html",
        run.name,
        "runs",
        {
            "run": run,
            "inputs": [item for item in run.inputs if item.is_data],
            "curves": curves[:MOST_CURVES],
            "left_out": max(len(curves) - MOST_CURVES, 0),
            "steps": workspace.store.steps.of_run(run.id),
            "versions": [item for item in workspace.models.list() if item.manifest.lineage.run == run.id],
            "answers": reproducibility(run.environment, run.inputs, run.params),
        },
    )


def _axis(metric: str) -> str:
    machine, _ = machine_last(metric)
    return "second" if machine else "step"


def _curve(workspace: Workspace, run: Run, metric: str) -> Bucketed:
    return workspace.store.series.envelope(run.id, metric, pixels=charts.PIXELS)


def download_artifact(workspace: Workspace, request: Request) -> Response:
    """An artifact as a download: never shown by the browser, whatever it is."""
    run = workspace.store.runs.get(path_id(request, "run", "run"))
    name: str = request.path_params["artifact"]
    path = workspace.runs.artifact(run.id, name)
    return FileResponse(
        path,
        media_type="application/octet-stream",
        filename=re.sub(r"[^A-Za-z0-9._-]+", "_", name.rsplit("/", 1)[-1]) or "artifact",
        headers={"content-security-policy": "sandbox; default-src 'none'; frame-ancestors 'none'"},
    )


def compare_runs(workspace: Workspace, request: Request) -> Page:
    """Only what differs between the chosen runs, and their curves over each other."""
    ids = list(dict.fromkeys(request.query_params.getlist("run")))
    if not 2 <= len(ids) <= MOST_COMPARED:
        raise UsageError(
            "compare-how-many",
            f"{len(ids)} runs cannot be compared",
            why=f"a comparison has 2 to {MOST_COMPARED} runs",
            fix="choose some in the table of runs, then Compare",
        )
    if not all(is_name(run_id) for run_id in ids):
        raise NotFoundError("run-not-found", "one of these runs does not exist", fix="choose them in the table of runs")
    runs = [workspace.store.runs.get(run_id) for run_id in ids]
    comparison = workspace.runs.compare(ids, most_lines=MOST_DIFF_LINES)
    names = [
        name
        for name in _most_common([list(run.metrics) for run in runs], MOST_CURVES)
        if any(run.metrics[name].count > 1 for run in runs if name in run.metrics)
    ]
    curves = [
        (name, charts.curve([(run.name, _curve(workspace, run, name)) for run in runs if name in run.metrics], _axis(name)))
        for name in sorted(names, key=machine_last)
    ]
    sections = [(_LABELS[section], comparison.of(section)) for section in SECTIONS]
    return Page(
        "compare.html",
        f"Compare {len(runs)} runs",
        "runs",
        {
            "runs": runs,
            "sections": [item for item in sections if item[1]],
            "code": comparison.code,
            "lines": _diff_lines(comparison.code) if comparison.code else [],
            "curves": curves,
        },
    )


def _diff_lines(code: CodeDiff) -> list[tuple[str, str]]:
    """(CSS class, text) of each line of a unified diff. Before a file's first hunk, + and - begin its names."""
    found: list[tuple[str, str]] = []
    in_hunk = False
    for line in code.text.split("\n") if code.text else []:
        in_hunk = (in_hunk or line.startswith("@@")) and not line.startswith("diff ")
        named = _LINE_CLASSES.get(line[:1], "") if in_hunk or line.startswith("diff ") else "dim"
        found.append((named, line))
    return found
