"""``tidegate features``: writing feature views online and reading them by key."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tidegate.cli.console import Json, next_command, open_workspace, print_json, print_table
from tidegate.clock import format_time, parse_time
from tidegate.errors import UsageError
from tidegate.features import FeatureView
from tidegate.pipelines import import_target
from tidegate.records.names import nearest

app = typer.Typer(
    help="Feature views: materialize, read by key.", no_args_is_help=True, rich_markup_mode=None, add_completion=False
)

Target = Annotated[str, typer.Argument(metavar="MODULE:VIEW", help="A feature view in the project, such as features:weather.")]
At = Annotated[str, typer.Option(metavar="TIME", help="The time that is asked about; default: now.")]


@app.command()
def materialize(
    target: Target,
    at: At = "",
    snapshot: Annotated[str, typer.Option(metavar="REF", help="Snapshot of the view's source; default: the latest.")] = "",
    as_json: Json = False,
) -> None:
    """Write what is available for every entity, so that it can be read by key."""
    workspace = open_workspace()
    view = load_view(target, workspace.project.folder)
    moment = parse_time(at) if at else workspace.clock.now()
    written = workspace.features.materialize(view, at=moment, snapshot=snapshot)
    if as_json:
        print_json({"view": view.name, "definition": view.digest, "at": moment, "rows": written})
        return
    typer.echo(f"{view.name}: {written:,} rows written as of {format_time(moment)}")
    next_command(f"tidegate features get {target} {' '.join(key.upper() for key in view.keys)}")


@app.command()
def get(
    target: Target,
    keys: Annotated[list[str], typer.Argument(metavar="KEY...", help="The entity's keys, in the view's order.")],
    at: At = "",
    as_json: Json = False,
) -> None:
    """Read one entity's features, null with a reason where they are missing or too old."""
    workspace = open_workspace()
    view = load_view(target, workspace.project.folder)
    moment = parse_time(at) if at else workspace.clock.now()
    (answer,) = workspace.features.online(view, [keys], at=moment)
    if as_json:
        print_json(answer)
        return
    shown = {**answer, **{name: _time(answer[name]) for name in ("event_at", "known_at")}}
    print_table("", [view.name, ""], [[name, "" if value is None else value] for name, value in shown.items()])


def load_view(target: str, folder: Path) -> FeatureView:
    """Imports ``module`` from the project's folder and returns the feature view ``name`` in it.

    Raises:
        TidegateError: see ``tidegate.pipelines.import_target``.
        UsageError: there is no such view in it.
    """
    module, name = import_target(target, folder)
    found = getattr(module, name, None)
    if not isinstance(found, FeatureView):
        views = [key for key, value in vars(module).items() if isinstance(value, FeatureView)]
        fix = nearest(name, views) if views else f"define a FeatureView in {module.__name__}"
        raise UsageError("no-such-view", f"module {module.__name__} has no feature view {name!r}", fix=fix)
    return found


def _time(us: int | None) -> str:
    return "" if us is None else format_time(us)
