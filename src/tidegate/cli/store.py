"""``tidegate store``: is everything that was recorded still there, unchanged, and still needed?"""

from __future__ import annotations

from typing import Annotated

import typer

from tidegate.cli.console import Json, counted, next_command, open_workspace, print_json, progress
from tidegate.clock import parse_duration
from tidegate.store.garbage import SAFE_GRACE_US, Collected, Garbage, collect, explain, find_garbage, readable

app = typer.Typer(help="The store: verify, reindex, gc.", no_args_is_help=True, rich_markup_mode=None, add_completion=False)


@app.command()
def verify(as_json: Json = False) -> None:
    """Re-hash everything and check every chain. Exit 1 if anything is missing or changed."""
    workspace = open_workspace()
    with progress("verify") as advance:
        result = workspace.verify(advance=advance)
    if as_json:
        print_json(result)
    else:
        for problem in result.problems:
            typer.echo(f"problem: {problem}")
        counts = (
            (result.objects, "object"), (result.snapshots, "snapshot"), (result.versions, "model version"), (result.ledgers, "ledger")
        )  # fmt: skip
        found = counted(len(result.problems), "problem") if result.problems else "all as recorded"
        typer.echo(f"{', '.join(counted(*each) for each in counts)} checked: {found}")
    raise typer.Exit(1 if result.problems else 0)


@app.command()
def reindex(as_json: Json = False) -> None:
    """Rebuild the database's index of what is in the bucket."""
    count = open_workspace().reindex()
    if as_json:
        print_json({"entries": count})
    else:
        typer.echo(f"{count} entries indexed")


@app.command()
def gc(
    grace: Annotated[str, typer.Option(help="What was deleted or written within this time stays, such as 7d, 12h, 0s.")] = "7d",
    apply: Annotated[bool, typer.Option("--apply", help="Remove it. Without this, only tell what would be removed.")] = False,
    as_json: Json = False,
) -> None:
    """Tell what was deleted, or is needed by nothing, and remove it with --apply."""
    workspace = open_workspace()
    grace_us = parse_duration(grace)
    with progress("gc") as advance:
        garbage = find_garbage(workspace.store, workspace.clock, grace_us=grace_us, advance=lambda: advance(1))
        done = collect(workspace.store, workspace.clock, garbage, advance=lambda: advance(1)) if apply else None
    if as_json:
        print_json({"plan": garbage, "bytes": garbage.bytes, "removed": done})
        return
    for line in explain(garbage):
        typer.echo(line)
    if grace_us < SAFE_GRACE_US:
        typer.echo("with a grace of less than an hour, nobody else may write to this store meanwhile")
    if done:
        _told(done)
    elif garbage:
        typer.echo(_would(garbage))
        next_command(f"tidegate store gc --grace {grace} --apply")
    else:
        typer.echo("there is nothing to remove")


def _would(garbage: Garbage) -> str:
    return (
        f"would remove {len(garbage.runs)} runs, {len(garbage.experiments)} experiments, {len(garbage.objects)} objects "
        f"({readable(garbage.bytes)}); nothing was changed"
    )


def _told(done: Collected) -> None:
    typer.echo(
        f"removed {done.runs} runs, {done.experiments} experiments, {done.objects} objects ({readable(done.object_bytes)})"
        + (f" and {readable(done.unfinished_bytes)} of unfinished writes" if done.unfinished_bytes else "")
    )
    before, after = readable(done.database_before), readable(done.database_after)
    if before != after:
        typer.echo(f"the database went from {before} to {after}")
    for note in done.notes:
        typer.echo(note)
    next_command("tidegate store verify")
