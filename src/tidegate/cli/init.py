"""``tidegate init``: a project in this folder."""

from __future__ import annotations

from typing import Annotated

import typer

from tidegate.cli.console import Json, flags, next_command, open_workspace, print_json
from tidegate.errors import ConflictError
from tidegate.records.names import check_name
from tidegate.settings import FILE

app = typer.Typer(rich_markup_mode=None, add_completion=False)

_TEMPLATE = """\
# A Tidegate project. Settings stand at the top (see: tidegate settings explain), policies below:
# remove the "# " before them, and see docs/reference/gate-policy.md for every key.

# [models.{model}]
# task = "binary"                          # or multiclass, multilabel, regression, ranking, scores
# owner = "your-team"
# [models.{model}.gate]
# snapshot = "{model}-eval@1"              # the frozen evaluation snapshot
# label = "label"
# baseline = {{ kind = "constant" }}         # what the first version must beat
# [[models.{model}.gate.rules]]
# metric = "log_loss"
# test = "superior"
"""


@app.command()
def init(
    model: Annotated[str, typer.Argument(help="Name of the first model, for the template.")] = "model", as_json: Json = False
) -> None:
    """Write a tidegate.toml to start from, and make the store. Touches nothing that exists."""
    check_name(model, "model")
    folder = flags().folder.resolve()
    path = folder / FILE
    if path.exists():
        raise ConflictError(
            "project-exists", f"{path} exists", why="init never overwrites a project", fix="edit it, or choose another folder"
        )
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(_TEMPLATE.format(model=model), encoding="utf-8")
    ignore = folder / ".gitignore"
    lines = ignore.read_text(encoding="utf-8").splitlines() if ignore.exists() else []
    if ".tidegate/" not in lines:
        ignore.write_text("\n".join([*lines, ".tidegate/", ""]), encoding="utf-8")
    workspace = open_workspace()
    if as_json:
        print_json({"project": str(folder), "store": str(workspace.store.root)})
        return
    typer.echo(f"project in {folder}, store in {workspace.store.root}")
    next_command("tidegate data snapshot FILE NAME")
