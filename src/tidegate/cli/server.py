"""``tidegate server`` and ``tidegate ui``: the web pages of this project, and where MLflow clients log to."""

from __future__ import annotations

import sys
import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from tidegate import server as web
from tidegate.cli.console import flags, next_command, open_workspace
from tidegate.errors import UsageError, without_passwords
from tidegate.settings import load_project

app = typer.Typer(rich_markup_mode=None, add_completion=False)
ui_app = typer.Typer(rich_markup_mode=None, add_completion=False)

Port = Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes any free one.")]
Store = Annotated[Path | None, typer.Option(help="Folder of the store.", show_default="the project's")]


@app.command()
def server(
    host: Annotated[str, typer.Option(help="Without a token 127.0.0.1, localhost or ::1.")] = "127.0.0.1",
    port: Port = 7070,
    store: Store = None,
) -> None:
    """Serve the web pages and the store to MLflow clients until Ctrl-C; to other machines only with the setting token."""
    _run(host, port, store=store, open_browser=False)


@ui_app.command()
def ui(
    port: Port = 7070,
    store: Store = None,
    browser: Annotated[bool, typer.Option("--open/--no-open", help="Open a browser, where there is a display.")] = True,
    display: Annotated[str, typer.Option(envvar=["DISPLAY", "WAYLAND_DISPLAY"], hidden=True)] = "",
) -> None:
    """Open the web pages of this project; MLflow clients can log to the same address."""
    _run("127.0.0.1", port, store=store, open_browser=browser and bool(display or sys.platform in {"darwin", "win32"}))


def _run(host: str, port: int, *, store: Path | None, open_browser: bool) -> None:
    if store is not None:
        flags().settings["store"] = store
    project = load_project(flags().folder, flags().settings)  # the address is refused before a store is made
    if project.settings.server:
        raise UsageError(
            "server-of-server",
            "this project has no store of its own to serve",
            why=f"its setting server says that {without_passwords(project.settings.server)} has the store",
            fix="start the server where the store is, or remove the setting here: tidegate settings explain says who set it",
        )
    token = web.token_of(project)
    web.check_token(token, host)
    with web.listen(host, port, anywhere=bool(token)) as listener:
        url = web.url_of(listener)

        def ready() -> None:
            typer.echo(f"the pages of {project.folder} are at {url}")
            typer.echo(f'MLflow clients log here after: mlflow.set_tracking_uri("{url.rstrip("/")}")')
            if token:
                typer.echo("it asks for the token: MLFLOW_TRACKING_TOKEN for MLflow clients, the password for browsers")
            next_command("Ctrl-C to stop")
            sys.stdout.flush()
            if open_browser:
                webbrowser.open(url)

        web.run_server(open_workspace(), listener, ready=ready)
