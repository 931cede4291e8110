"""``tidegate run``: list, show and compare runs."""

from __future__ import annotations

from typing import Annotated

import typer

from tidegate.cli.console import Json, next_command, open_workspace, print_json, print_table
from tidegate.clock import SECOND, format_time
from tidegate.errors import UsageError
from tidegate.records.run import Run

app = typer.Typer(help="Runs: list, show, compare.", no_args_is_help=True, rich_markup_mode=None, add_completion=False)


@app.command("list")
def list_runs(
    experiment: Annotated[str, typer.Argument(help="Only runs of this experiment.")] = "",
    where: Annotated[str, typer.Option(help="A filter, such as: metrics.loss < 0.3 and params.depth = '6'")] = "",
    order_by: Annotated[str, typer.Option(help="Such as: metrics.loss, started_at desc")] = "",
    limit: Annotated[int, typer.Option(min=1, max=50_000)] = 20,
    as_json: Json = False,
) -> None:
    """Runs, newest first."""
    runs = open_workspace().runs.search(experiment=experiment, where=where, order_by=order_by, limit=limit)
    if as_json:
        print_json(runs)
        return
    rows = [[run.id, run.experiment, run.state, format_time(run.started_at), _seconds(run), _metrics(run)] for run in runs]
    print_table("runs", ["id", "experiment", "state", "started", "seconds", "metrics (last)"], rows, empty="no run matches")
    if runs:
        next_command(f"tidegate run show {runs[0].id}")


@app.command()
def show(run_id: Annotated[str, typer.Argument(metavar="RUN")], as_json: Json = False) -> None:
    """One run: parameters, metrics, artifacts, environment. The first characters of its id are enough."""
    run = open_workspace().runs.get(run_id)
    if as_json:
        print_json(run)
        return
    environment = run.environment
    rows = [
        ("id", run.id),
        ("experiment", run.experiment),
        ("state", run.state),
        ("author", run.author),
        ("started", format_time(run.started_at)),
        ("seconds", _seconds(run)),
    ]
    if environment:
        changes = {None: "no git repository", True: f"with uncommitted changes ({environment.patch_digest[:12]})", False: "clean"}
        rows += [
            ("code", f"{environment.git_commit[:12]} {changes[environment.git_dirty]}".strip()),
            ("python", f"{environment.python}, {len(environment.packages)} packages"),
            ("command", " ".join(environment.argv)),
        ]
    print_table("", ["run", ""], rows)
    for title, items in (("parameters", run.params), ("tags", run.tags), ("artifacts", run.artifacts)):
        if items:
            print_table("", [title, ""], sorted(items.items()))
    metrics = [[item.name, f"{item.last:.6g}", f"{item.min:.6g}", f"{item.max:.6g}", item.count] for item in run.metrics.values()]
    if metrics:
        print_table("", ["metric", "last", "min", "max", "points"], metrics)


@app.command()
def compare(
    run_ids: Annotated[list[str], typer.Argument(metavar="RUN...")],
    packages: Annotated[bool, typer.Option(help="Show package versions that differ as well.")] = True,
    as_json: Json = False,
) -> None:
    """What differs between runs, and only that."""
    if len(run_ids) < 2:
        raise UsageError("one-run", "one run has nothing to be compared with", fix=f"tidegate run compare {run_ids[0]} RUN")
    comparison = open_workspace().runs.compare(run_ids)
    if as_json:
        print_json(comparison)
        return
    rows = [[item.section, item.name, *item.values] for item in comparison.differences if packages or item.section != "package"]
    print_table("", ["", "", *[run_id[-8:] for run_id in comparison.runs]], rows, empty="the runs are alike")


def _seconds(run: Run) -> str:
    return f"{(run.ended_at - run.started_at) / SECOND:.1f}" if run.ended_at is not None else "running"


def _metrics(run: Run) -> str:
    return "  ".join(f"{item.name}={item.last:.4g}" for item in list(run.metrics.values())[:4])
