"""``tidegate tick``: one pass of the loop."""

from __future__ import annotations

import typer

from tidegate.cli.console import Json, open_workspace, print_json, progress
from tidegate.clock import format_time
from tidegate.loop import TickReport
from tidegate.records.decision import DecisionState

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
def tick(as_json: Json = False) -> None:
    """Close due windows, raise alerts, open and move retraining decisions. Run it from cron; twice does nothing twice."""
    workspace = open_workspace()
    with progress("tick") as advance:
        report = workspace.tick(progress=lambda _event: advance(1))
    if as_json:
        print_json(report)
    else:
        _tell(report)
    raise typer.Exit(1 if report.problems else 0)


def _tell(report: TickReport) -> None:
    typer.echo(
        f"{format_time(report.at)}: {len(report.windows)} windows closed, {len(report.alerts)} alerts, {len(report.moves)} moves"
    )
    for model in dict.fromkeys(window.model for window in report.windows):
        mine = [window for window in report.windows if window.model == model]
        rows, labelled = sum(window.rows for window in mine), sum(window.labelled for window in mine)
        typer.echo(f"  {model}: {len(mine)} windows with {rows:,} predictions, {labelled:,} of them labelled")
    for alert in report.alerts[:10]:
        typer.echo(f"  {alert.severity}: {alert.message}")
    if len(report.alerts) > 10:
        typer.echo(f"  and {len(report.alerts) - 10} more alerts: tidegate monitor windows NAME")
    for move in report.moves:
        typer.echo(f"  {move.decision} {move.state}: {move.note}")
    for look in report.looks:
        typer.echo(f"  rollout of {look.model}@{look.version}: {look.action}: {look.sentence}")
    for note in report.notes:
        typer.echo(f"  {note}")
    for problem in report.problems:
        typer.echo(f"  problem in {problem.model}: {problem.what} [{problem.code}] {problem.why}", err=True)
    waiting = any(move.state is DecisionState.WAITING for move in report.moves)
    for line in report.next or (["tidegate decision list"] if waiting else []):
        typer.echo(f"next: {line}")
