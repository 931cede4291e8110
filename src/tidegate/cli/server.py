"""``tidegate server`` and ``tidegate ui``: the web pages of this project, on this machine."""

from __future__ import annotations

import sys
import webbrowser
from typing import Annotated

import typer

from tidegate import server as web
from tidegate.cli.console import next_command, open_workspace

app = typer.Typer(rich_markup_mode=None, add_completion=False)
ui_app = typer.Typer(rich_markup_mode=None, add_completion=False)

Port = Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes any free one.")]


@app.command()
def server(
    host: Annotated[str, typer.Option(help="127.0.0.1, localhost or ::1: until sign-in exists, no other.")] = "127.0.0.1",
    port: Port = 7070,
) -> None:
    """Serve the web pages and the HTTP API of this project until Ctrl-C. On this machine only, and nothing can be changed."""
    _run(host, port, open_browser=False)


@ui_app.command()
def ui(
    port: Port = 7070,
    browser: Annotated[bool, typer.Option("--open/--no-open", help="Open a browser, where there is a display.")] = True,
    display: Annotated[str, typer.Option(envvar=["DISPLAY", "WAYLAND_DISPLAY"], hidden=True)] = "",
) -> None:
    """Open the web pages of this project."""
    _run("127.0.0.1", port, open_browser=browser and bool(display or sys.platform in {"darwin", "win32"}))


def _run(host: str, port: int, *, open_browser: bool) -> None:
    with web.listen(host, port) as listener:
        workspace = open_workspace()
        url = web.url_of(listener)
        typer.echo(f"the pages of {workspace.project.folder} are at {url}")
        next_command("Ctrl-C to stop")
        sys.stdout.flush()
        if open_browser:
            webbrowser.open(url)
        web.run_server(workspace, listener)
