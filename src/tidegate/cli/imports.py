"""``tidegate import``: bring over the runs that another tracker left in a folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from tidegate.cli.console import Json, next_command, open_workspace, print_json, print_table, progress
from tidegate.tracking.importing import (
    Count,
    ImportReport,
    Source,
    import_source,
    open_mlflow,
    open_tensorboard,
    open_wandb,
)

_SHOWN = 20

app = typer.Typer(
    help="Bring runs over from MLflow, W&B or TensorBoard. The folder is only read; importing it again adds what is new.",
    no_args_is_help=True,
    rich_markup_mode=None,
    add_completion=False,
)

_DryRun = Annotated[bool, typer.Option("--dry-run", help="Read everything, tell what would come, write nothing.")]


@app.command()
def mlflow(
    path: Annotated[Path, typer.Argument(help="A folder mlruns, a database mlflow.db, or the folder that holds them.")],
    dry_run: _DryRun = False,
    as_json: Json = False,
) -> None:
    """Import the runs of MLflow 2 or 3 from its files or its SQLite database."""
    _import(open_mlflow, path, dry_run, as_json)


@app.command("wandb-offline")
def wandb_offline(
    path: Annotated[Path, typer.Argument(help="A folder wandb, or one folder offline-run-... in it.")],
    dry_run: _DryRun = False,
    as_json: Json = False,
) -> None:
    """Import runs that W&B recorded offline. The package wandb is not needed."""
    _import(open_wandb, path, dry_run, as_json)


@app.command()
def tensorboard(
    path: Annotated[Path, typer.Argument(help="A folder of logs: each folder below it with event files is a run.")],
    dry_run: _DryRun = False,
    as_json: Json = False,
) -> None:
    """Import TensorBoard's event files. The package tensorboard is not needed."""
    _import(open_tensorboard, path, dry_run, as_json)


def _import(open_source: Callable[[Path], Source], path: Path, dry_run: bool, as_json: bool) -> None:
    source = open_source(path)
    workspace = open_workspace()
    with progress(f"import {source.kind}", source.total or None) as advance:
        report = import_source(workspace.store, source, clock=workspace.clock, dry_run=dry_run, advance=lambda: advance(1))
    if as_json:
        print_json(report)
    else:
        _tell(report)
    raise typer.Exit(1 if report.problems else 0)


def _tell(report: ImportReport) -> None:
    rows = [[kind, *_cells(count)] for kind, count in report.counts.items() if count.found]
    would = "would be imported" if report.dry_run else "imported"
    print_table("", ["", "found", would, "there already", "kept as file", "unreadable"], rows, empty="there is nothing to import")
    for note in report.notes:
        typer.echo(f"note: {note}")
    for problem in report.problems[:_SHOWN]:
        typer.echo(f"unreadable: {problem.where}: {problem.why}")
    if len(report.problems) > _SHOWN:
        typer.echo(f"... and {len(report.problems) - _SHOWN} more; --json lists them all")
    if report.dry_run:
        typer.echo("nothing was written")
    elif report.runs:
        next_command(f"tidegate run show {report.runs[-1]}")


def _cells(count: Count) -> list[int]:
    return [count.found, count.imported, count.known, count.kept, count.unreadable]
