"""``tidegate settings``: what is set, and by whom."""

from __future__ import annotations

import typer

from tidegate.cli.console import Json, flags, print_json, print_table
from tidegate.settings import load_project

app = typer.Typer(help="Settings, and which source set them.", no_args_is_help=True, rich_markup_mode=None, add_completion=False)


@app.callback()
def settings() -> None:
    """Settings, and which source set them."""


@app.command()
def explain(as_json: Json = False) -> None:
    """Every setting: its value, the source that won, and what it means."""
    project = load_project(flags().folder, flags().settings)
    if as_json:
        print_json([item._asdict() for item in project.explained])
        return
    print_table(f"settings of {project.folder}", ["setting", "value", "set by", "meaning"], project.explained)
