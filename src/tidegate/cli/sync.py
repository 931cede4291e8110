"""``tidegate sync``: ship runs that were recorded offline, here or on another machine."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer
from msgspec.structs import replace

from tidegate.cli.console import Json, next_command, open_workspace, print_json, print_table, progress
from tidegate.errors import UnavailableError
from tidegate.tracking import SyncReport

_FOLLOW_SECONDS = 5.0

app = typer.Typer(help="Ship runs that were recorded offline.", rich_markup_mode=None, add_completion=False)


@app.command()
def sync(
    folder: Annotated[
        Path | None,
        typer.Argument(help="A folder of journals, such as one copied from another machine.", show_default="the store's own"),
    ] = None,
    follow: Annotated[bool, typer.Option(help="Go on until nobody writes to the folder any more.")] = False,
    as_json: Json = False,
) -> None:
    """Brings what lies in journals into the store. Doing it twice does no harm; a folder that is not the store's is only read."""
    shipping = open_workspace(recover=False).runs.sync(folder)
    with progress("journals (bytes)", shipping.size()) as advance:
        report = shipping.once(advance)
        while follow and any(run.writing for run in report.runs):
            time.sleep(_FOLLOW_SECONDS)
            report = _added(report, shipping.once())
    if as_json:
        print_json({"folder": report.folder, "runs": report.runs, "problems": report.problems})
        if report.problems:
            raise typer.Exit(1)
        return
    rows = [[run.run, run.state or "not in the store", run.points, "yes" if run.writing else "no"] for run in report.runs]
    print_table("", ["run", "state", "points shipped", "still written to"], rows, empty="there is nothing to ship")
    if report.problems:
        raise UnavailableError(
            "sync-incomplete",
            f"{len(report.problems)} {'things' if len(report.problems) > 1 else 'thing'} could not be shipped",
            why="; ".join(report.problems),
            fix="mend what is named and sync again; everything is still in the folder",
        )
    if report.runs:
        next_command(f"tidegate run show {report.runs[-1].run}")


def _added(before: SyncReport, now: SyncReport) -> SyncReport:
    """The newer report, with the points of both, and with runs that are done and gone."""
    points = {run.run: run.points for run in before.runs}
    fresh = {run.run for run in now.runs}
    gone = [replace(run, writing=False) for run in before.runs if run.run not in fresh]
    added = [replace(run, points=run.points + points.get(run.run, 0)) for run in now.runs]
    return SyncReport(folder=now.folder, runs=[*gone, *added])
