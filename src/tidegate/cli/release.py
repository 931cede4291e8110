"""``tidegate approve | promote | rollback`` and ``tidegate release``: moving the pointer, and the ledger that says who did."""

from __future__ import annotations

from typing import Annotated

import typer

from tidegate.cli.console import Json, next_command, open_workspace, print_json, print_table
from tidegate.clock import format_time, parse_time
from tidegate.errors import UsageError
from tidegate.records.ledger import LedgerEntry
from tidegate.records.names import Reference, parse_reference
from tidegate.release import served_at, tell

app = typer.Typer(
    help="The ledger of a model: log, plan, freeze, lift.", no_args_is_help=True, rich_markup_mode=None, add_completion=False
)
approve_app = typer.Typer(rich_markup_mode=None, add_completion=False)
promote_app = typer.Typer(rich_markup_mode=None, add_completion=False)
rollback_app = typer.Typer(rich_markup_mode=None, add_completion=False)

Version = Annotated[str, typer.Argument(metavar="MODEL@VERSION", help="Such as delay@12.")]
Model = Annotated[str, typer.Argument(metavar="MODEL")]
Reason = Annotated[str, typer.Option(help="Kept in the ledger for good.")]


@approve_app.command()
def approve(
    version: Version, comment: Annotated[str, typer.Option(help="What you looked at.")] = "", as_json: Json = False
) -> None:
    """Consent to what the gate found about a version. Bound to the receipt, expires, never the author's."""
    workspace = open_workspace()
    ref = _numbered(version)
    policy = workspace.policy(ref.name).release
    entry = workspace.release.approve(ref.name, _number(ref), policy=policy, comment=comment)
    _show(ref.name, entry, as_json)
    if not as_json:
        next_command(f"tidegate promote {ref}")


@promote_app.command()
def promote(version: Version, as_json: Json = False) -> None:
    """Move the pointer to a version that passed the gate and is approved. Of several who try at once, one wins."""
    workspace = open_workspace()
    ref = _numbered(version)
    entry = workspace.release.promote(ref.name, _number(ref), policy=workspace.policy(ref.name).release)
    _show(ref.name, entry, as_json)
    if not as_json:
        next_command(f"tidegate serve {ref.name}    (a running server follows by itself)")


@rollback_app.command()
def rollback(
    model: Model,
    reason: Reason = "",
    to: Annotated[int | None, typer.Option(help="An earlier champion's version; the one before, if none is given.")] = None,
    as_json: Json = False,
) -> None:
    """Move the pointer back to an earlier champion, at once, and quarantine the version that it leaves."""
    workspace = open_workspace()
    entry = workspace.release.rollback(model, reason=reason, to=to)
    _show(model, entry, as_json)
    if not as_json:
        next_command(f"tidegate release log {model}")


@app.command()
def log(model: Model, as_json: Json = False) -> None:
    """Every decision about a model, oldest first."""
    entries = open_workspace().release.history(model)
    if as_json:
        print_json(entries)
        return
    rows = [[entry.seq, format_time(entry.at), entry.actor, tell(entry.event).sentence] for entry in entries]
    print_table(f"ledger of {model}", ["entry", "at", "who", "what"], rows, empty="no decision has been recorded")


@app.command()
def plan(version: Version, as_json: Json = False) -> None:
    """What promoting a version would do now, rule by rule. Changes nothing."""
    workspace = open_workspace()
    ref = _numbered(version)
    workspace.version(str(ref))  # a version that is not there is an error, not a plan
    found = workspace.release.plan(ref.name, _number(ref), policy=workspace.policy(ref.name).release)
    if as_json:
        refusal = found.refusal
        print_json(
            {"possible": found.event is not None, "lines": found.explain(), "refusal": refusal.as_dict() if refusal else None}
        )
        return
    for line in found.explain():
        typer.echo(line)


@app.command()
def history(
    model: Model, at: Annotated[str, typer.Option(help="A time, ISO 8601.", show_default="now")] = "", as_json: Json = False
) -> None:
    """Which version served at a time, and why."""
    workspace = open_workspace()
    time = parse_time(at) if at else workspace.clock.now()
    version, why = served_at(workspace.release.history(model), time)
    if as_json:
        print_json({"model": model, "at": at or format_time(time), "version": version, "why": why})
        return
    typer.echo(f"{model}@{version}: {why}" if version else f"nothing served: {why}")


@app.command()
def freeze(model: Model, reason: Reason = "", as_json: Json = False) -> None:
    """Forbid promotions until it is lifted. Rolling back stays possible."""
    _show(model, open_workspace().release.freeze(model, reason=reason), as_json)


@app.command()
def unfreeze(model: Model, reason: Reason = "", as_json: Json = False) -> None:
    """Allow promotions again."""
    _show(model, open_workspace().release.unfreeze(model, reason=reason), as_json)


@app.command()
def lift(version: Version, reason: Reason = "", as_json: Json = False) -> None:
    """End the quarantine of a version that was rolled back. It still has to pass the gate again."""
    ref = _numbered(version)
    _show(ref.name, open_workspace().release.lift(ref.name, _number(ref), reason=reason), as_json)
    if not as_json:
        next_command(f"tidegate gate {ref}")


def _numbered(text: str) -> Reference:
    ref = parse_reference(text, "model")
    if ref.number is None:
        raise UsageError(
            "version-missing",
            f"{text!r} does not say which version",
            why="a move of the pointer names its version",
            fix=f"write {ref.name}@3",
        )
    return ref


def _number(ref: Reference) -> int:
    assert ref.number is not None
    return ref.number


def _show(model: str, entry: LedgerEntry, as_json: bool) -> None:
    if as_json:
        print_json({"model": model, **_plain(entry)})
        return
    typer.echo(f"{model}: {tell(entry.event).sentence} (ledger entry {entry.seq}, by {entry.actor})")


def _plain(entry: LedgerEntry) -> dict[str, object]:
    return {"seq": entry.seq, "at": entry.at, "actor": entry.actor, "event": entry.event}
