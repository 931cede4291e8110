"""The ``tidegate`` command: its nouns and verbs, its global options, and how errors end."""

from __future__ import annotations

import importlib
import sys
import traceback
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import msgspec
import typer
from typer.core import TyperCommand, TyperGroup

from tidegate.cli.flags import Flags, finish, set_flags
from tidegate.errors import TidegateError


class _Entry(NamedTuple):
    module: str
    attribute: str
    help: str


# The daily verbs first, then the nouns. The texts stand here so that --help loads nothing.
COMMANDS: dict[str, _Entry] = {
    "init": _Entry("init", "app", "Start a project in this folder."),
    "demo": _Entry("demo", "app", "Fly the whole loop on real flights, from raw data to rollback."),
    "gate": _Entry("gate", "app", "Is this model better than the one it replaces? Compare, decide, record."),
    "approve": _Entry("release", "approve_app", "Consent to what the gate found about a version."),
    "promote": _Entry("release", "promote_app", "Move the pointer to a version that passed and is approved."),
    "rollback": _Entry("release", "rollback_app", "Move the pointer back, at once, with a reason."),
    "serve": _Entry("serve", "app", "Serve a model over HTTP and follow its pointer."),
    "score": _Entry("score", "app", "Predict whole files with a version: Parquet or CSV in, predictions out."),
    "tick": _Entry("tick", "app", "One pass of the loop: close windows, raise alerts, move decisions. For cron."),
    "doctor": _Entry("doctor", "app", "How mature is this project, what is missing, what is dangerous?"),
    "ui": _Entry("server", "ui_app", "Open the web pages of this project."),
    "run": _Entry("run", "app", "Runs: list, show, compare, code, delete."),
    "sync": _Entry("sync", "app", "Ship runs that were recorded offline."),
    "import": _Entry("imports", "app", "Bring runs over from MLflow, W&B or TensorBoard."),
    "data": _Entry("data", "app", "Dataset snapshots and contracts."),
    "features": _Entry("features", "app", "Feature views: materialize, read by key."),
    "pipeline": _Entry("pipeline", "app", "Pipelines: run, and why a step runs again."),
    "model": _Entry("model", "app", "Model versions and their packages."),
    "build": _Entry("build", "app", "Images of a model: a Dockerfile, and an OCI layout without any engine."),
    "deploy": _Entry("deploy", "app", "Render what runs a model: compose, kubernetes, helm, argo, kserve, systemd."),
    "rollout": _Entry("rollout", "app", "Give a version live requests by a plan, and watch it: start, plan, status, stop."),
    "release": _Entry("release", "app", "The ledger of a model: log, verify, history, plan, revoke, freeze, checkpoint."),
    "monitor": _Entry("monitor", "app", "What was served, how it drifts, how well it does."),
    "notify": _Entry("notify", "app", "Webhooks and chats that are told what happens: test, list, send."),
    "decision": _Entry("decision", "app", "Retraining decisions: list, show, open, decline."),
    "ci": _Entry("ci", "app", "The gate as a job of a CI system: init, run, comment."),
    "store": _Entry("store", "app", "The store: verify, reindex, gc."),
    "server": _Entry("server", "app", "The web server of this project."),
    "settings": _Entry("settings", "app", "Settings, and which source set them."),
}


class _Lazy(TyperGroup):
    """Lists the commands from the table above and imports one only when it is called."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002
        entry = COMMANDS.get(cmd_name)
        return TyperCommand(cmd_name, help=entry.help) if entry else None

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        args = [_singular(args[0]), *args[1:]] if args else args
        if args and args[0] not in COMMANDS:  # what typer looks through for "did you mean"
            self.commands = {name: TyperCommand(name, help=entry.help) for name, entry in COMMANDS.items()}
        name, stub, rest = super().resolve_command(ctx, args)
        if stub is None or name is None:
            return name, stub, rest
        entry = COMMANDS[name]
        command: Any = typer.main.get_command(getattr(importlib.import_module(f"tidegate.cli.{entry.module}"), entry.attribute))
        command.name = name
        return name, command, rest


def _singular(word: str) -> str:
    """A noun that was written in the plural, as it is listed; anything else as it is."""
    return word[:-1] if word not in COMMANDS and word.endswith("s") and word[:-1] in COMMANDS else word


app = typer.Typer(
    cls=_Lazy,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(importlib.import_module("importlib.metadata").version("tidegate"))
        raise typer.Exit


@app.callback()
def root(
    directory: Annotated[Path, typer.Option("--project", "-C", help="Folder of the project.", show_default="here")] = Path(),
    store: Annotated[str | None, typer.Option(help="Folder of the store.")] = None,
    actor: Annotated[str | None, typer.Option("--as", metavar="NAME", help="Who acts.")] = None,
    now: Annotated[str | None, typer.Option(metavar="TIME", help="A fixed time, for replays; records say so.")] = None,
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")] = False,
) -> None:
    """Carries models from notebook to production and back, through a gate that asks: is it better, and how do you know?"""
    _ = version
    set_flags(Flags(directory, {"store": store, "actor": actor, "now": now}))


def main(arguments: list[str] | None = None) -> None:
    """Runs the command line and exits: 0 done, 1 error, 2 usage, 3 to 6 the gate's answers."""
    words = sys.argv[1:] if arguments is None else arguments
    try:
        app(args=words, prog_name="tidegate")
    except TidegateError as error:
        print_error(error, as_json="--json" in words)
        sys.exit(error.exit_code)
    except BrokenPipeError:
        sys.stderr.close()  # the reader, such as head, has gone: nobody is left to tell
        sys.exit(0)
    except Exception as error:  # noqa: BLE001 - the last seam: a bug ends in four lines as well
        print_error(_internal(error), as_json="--json" in words)
        sys.exit(1)
    finally:
        finish()


def print_error(error: TidegateError, *, as_json: bool) -> None:
    """An error in four short lines on standard error; with ``--json`` as an object on standard output."""
    if as_json:
        typer.echo(msgspec.json.format(msgspec.json.encode({"error": error.as_dict()}), indent=2).decode())
        return
    from rich.console import Console

    red = sys.stderr.isatty() and not Console(stderr=True).no_color
    typer.secho(f"error: {error.what}", err=True, fg="red" if red else None)
    for label, text in (("why", error.why), ("fix", error.fix), ("code", error.code)):
        if text:
            typer.echo(f"{label:>5}: {text}", err=True)


def _internal(error: Exception) -> TidegateError:
    if sys.flags.dev_mode:
        traceback.print_exception(error)
    last = traceback.extract_tb(error.__traceback__)[-1]
    return TidegateError(
        "internal",
        f"{type(error).__name__}: {error}",
        why=f"this is a bug in Tidegate or in code that it called: {last.filename}:{last.lineno} in {last.name}",
        fix="run it again with python -X dev -m tidegate ... for the traceback, and report it",
    )
