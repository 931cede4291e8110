"""``tidegate serve``: a model over HTTP. It opens the bucket alone."""

from __future__ import annotations

from typing import Annotated

import msgspec
import typer

from tidegate.cli.flags import flags
from tidegate.errors import UsageError
from tidegate.records.names import check_name
from tidegate.records.policy import ServingPolicy
from tidegate.serving import serve as run_server
from tidegate.settings import Project, load_project
from tidegate.store.bucket import open_bucket

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
def serve(
    name: Annotated[str, typer.Argument(metavar="MODEL")],
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 for all.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="0 takes a free one.", min=0, max=65535)] = 8080,
    store: Annotated[str | None, typer.Option(help="Folder of the store.", show_default="the project's")] = None,
    bucket: Annotated[str | None, typer.Option(help="URL of the bucket.", show_default="the project's")] = None,
) -> None:
    """Serve a model over HTTP and follow its pointer until it is told to stop (SIGTERM, Ctrl-C)."""
    if "@" in name:
        model = name.partition("@")[0]
        raise UsageError(
            "version-not-wanted", f"{name!r} names a version", why="a server follows the pointer", fix=f"tidegate serve {model}"
        )
    check_name(name, "model")
    given = {"store": store, "bucket": bucket}
    project = load_project(flags().folder, flags().settings | {key: value for key, value in given.items() if value})
    address = project.settings.bucket
    opened = open_bucket(address, project.store / "cache") if address else open_bucket(project.store)
    run_server(opened, name, host=host, port=port, policy=_policy(project, name), ready=_say)


def _policy(project: Project, name: str) -> ServingPolicy:
    table = project.policies.get(name, {})
    try:
        return msgspec.convert(table.get("serving", {}), ServingPolicy)
    except msgspec.ValidationError as error:
        raise UsageError(
            "bad-policy",
            f"[models.{name}.serving] cannot be read: {error}",
            fix=f"its keys are {', '.join(ServingPolicy.__struct_fields__)}",
        ) from None


def _say(line: str) -> None:
    typer.echo(line)  # echo flushes: who waits for the line gets it at once
