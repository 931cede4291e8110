"""``tidegate store``: is everything that was recorded still there, and unchanged?"""

from __future__ import annotations

import typer

from tidegate.cli.console import Json, open_workspace, print_json, progress

app = typer.Typer(help="The store: verify, reindex.", no_args_is_help=True, rich_markup_mode=None, add_completion=False)


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
        typer.echo(
            f"{result.objects} objects, {result.snapshots} snapshots, {result.versions} model versions, {result.ledgers} ledgers checked: "
            + (f"{len(result.problems)} problems" if result.problems else "all as recorded")
        )
    raise typer.Exit(1 if result.problems else 0)


@app.command()
def reindex(as_json: Json = False) -> None:
    """Rebuild the database's index of what is in the bucket."""
    count = open_workspace().reindex()
    if as_json:
        print_json({"entries": count})
    else:
        typer.echo(f"{count} entries indexed")
