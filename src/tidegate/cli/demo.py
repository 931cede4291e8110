"""``tidegate demo``: the whole loop on real flights."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Annotated

import typer

from tidegate.cli.console import next_command, print_json, progress
from tidegate.demo import AUTUMN, tell
from tidegate.errors import missing_extra

app = typer.Typer(rich_markup_mode=None, add_completion=False)

_NEEDS = ["sklearn", "skl2onnx", "onnxruntime", "uvicorn", "jinja2", "plotly", "pandas"]


@app.command()
def demo(
    folder: Annotated[Path, typer.Option("--dir", metavar="DIR", help="Where the project is made: empty or absent.")] = Path(
        "demo"
    ),
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object last.")] = False,
) -> None:
    """Fly the whole loop on 336,776 real flights: data, features, training, gate, release, serving, drift, retraining, rollback.

    Takes two to five minutes, needs no network, and leaves a project folder to read and copy from.
    """
    for module in _NEEDS:
        if importlib.util.find_spec(module) is None:
            raise missing_extra("demo", module, "the demo")

    def headline(number: int, title: str) -> None:
        typer.secho(f"\n{number}. {title}", bold=True, err=as_json)

    def say(line: str) -> None:
        typer.echo(f"   {line}", err=as_json)

    result = tell(folder, say=say, headline=headline, bar=progress)
    typer.echo(
        f"\n{'every step held' if result.ok else 'a step did not hold'}: {result.seconds:.0f} s, project in {result.folder}",
        err=as_json,
    )
    if as_json:
        print_json(result)
    else:
        next_command(f"tidegate -C {folder} --now {AUTUMN} ui")
    raise typer.Exit(0 if result.ok else 1)
