"""``tidegate approve | promote | rollback`` and ``tidegate release``: moving the pointer, and the ledger that says who did."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from tidegate.ci import read_surroundings
from tidegate.cli.console import Json, colour, counted, next_command, open_workspace, print_json, print_table
from tidegate.cli.flags import require_known
from tidegate.clock import format_time, parse_time
from tidegate.digest import short
from tidegate.errors import ApprovalMissing, IntegrityError, UsageError
from tidegate.records.ledger import LedgerEntry, Workflow
from tidegate.records.names import Reference, parse_reference
from tidegate.release import audit_ledger, served_at, tell

if TYPE_CHECKING:
    from tidegate.workspace import Workspace

app = typer.Typer(
    help="The ledger of a model: log, verify, history, plan, revoke, freeze, checkpoint.",
    no_args_is_help=True,
    rich_markup_mode=None,
    add_completion=False,
)
approve_app = typer.Typer(rich_markup_mode=None, add_completion=False)
promote_app = typer.Typer(rich_markup_mode=None, add_completion=False)
rollback_app = typer.Typer(rich_markup_mode=None, add_completion=False)

Version = Annotated[str, typer.Argument(metavar="MODEL@VERSION", help="Such as delay@12.")]
Model = Annotated[str, typer.Argument(metavar="MODEL")]
Reason = Annotated[str, typer.Option(metavar="TEXT", help="Needed; kept in the ledger for good.")]


@approve_app.command()
def approve(
    version: Version, comment: Annotated[str, typer.Option(help="What you looked at.")] = "", as_json: Json = False
) -> None:
    """Consent to what the gate found about a version. Bound to the receipt, expires, never the author's.

    In a CI job, whoever started the job consents; the ledger keeps the job's address.
    """
    workspace = open_workspace()
    ref = _numbered(version)
    policy = workspace.policy(ref.name)
    job = read_surroundings()
    ci = Workflow(system=job.system, actor=job.actor, repository=job.project, run=job.link) if job.system else None
    via = "ci" if ci else "cli"
    entry = workspace.release.approve(ref.name, _number(ref), policy=policy, comment=comment, via=via, ci=ci)
    _show(ref.name, entry, as_json)
    if not as_json:
        ahead = workspace.release.plan(ref.name, _number(ref), policy=policy)
        next_command(ahead.follows + (f"    ({ahead.refusal.what})" if isinstance(ahead.refusal, ApprovalMissing) else ""))


@promote_app.command()
def promote(
    version: Version,
    break_glass: Annotated[
        bool, typer.Option("--break-glass", help="In an emergency: past verdict and approvals, if the policy lets you. Loud.")
    ] = False,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Needed with --break-glass; kept in the ledger for good.")] = "",
    as_json: Json = False,
) -> None:
    """Move the pointer to a version that passed the gate, is approved, and signed where the policy asks. Of several who try, one wins."""
    workspace = open_workspace()
    ref = _numbered(version)
    policy = workspace.policy(ref.name)
    if reason and not break_glass:
        raise UsageError("reason-unused", "--reason goes with --break-glass", why="a promotion's reason is its receipt")
    if break_glass:
        entry = workspace.release.break_glass(ref.name, _number(ref), policy=policy, reason=reason)
        typer.secho(f"{ref} serves past the gate, by {entry.actor}: {reason}", fg=colour("red"), bold=True, err=True)
    else:
        entry = workspace.release.promote(ref.name, _number(ref), policy=policy)
    _show(ref.name, entry, as_json)
    if not as_json:
        follows = f"tidegate gate {ref}    (a red flag until it passes)" if break_glass else f"tidegate serve {ref.name}"
        next_command(follows + ("" if break_glass else "    (a running server follows by itself)"))


@rollback_app.command()
def rollback(
    model: Model,
    reason: Reason = "",
    to: Annotated[int | None, typer.Option(help="An earlier champion's version; the one before, if none is given.")] = None,
    as_json: Json = False,
) -> None:
    """Move the pointer back to an earlier champion, at once, and quarantine the version that it leaves."""
    workspace = open_workspace()
    require_known(workspace, model)
    entry = workspace.release.rollback(model, reason=reason, to=to)
    _show(model, entry, as_json)
    if not as_json:
        next_command(f"tidegate release log {model}")


@app.command()
def revoke(
    version: Version,
    reason: Reason = "",
    approver: Annotated[str, typer.Option(help="Whose approval; policy for one by rule.", show_default="yours")] = "",
    as_json: Json = False,
) -> None:
    """Take an approval back. What serves stays; a rollout that rests on it grows no further."""
    ref = _numbered(version)
    _show(ref.name, open_workspace().release.revoke(ref.name, _number(ref), reason=reason, approver=approver), as_json)
    if not as_json:
        next_command(f"tidegate release plan {ref}")


@app.command()
def log(model: Model, as_json: Json = False) -> None:
    """Every decision about a model, oldest first."""
    workspace = open_workspace()
    require_known(workspace, model)
    entries = workspace.release.history(model)
    if as_json:
        print_json(entries)
        return
    rows = [[entry.seq, format_time(entry.at), entry.actor, tell(entry.event).sentence] for entry in entries]
    print_table(f"ledger of {model}", ["entry", "at", "who", "what"], rows, empty="no decision has been recorded")
    next_command(f"tidegate release history {model}")


@app.command()
def verify(
    model: Annotated[str, typer.Argument(metavar="MODEL", show_default="every model")] = "",
    key: Annotated[str, typer.Option(help="Public key of the checkpoints, in PEM.", show_default="that of signing_key")] = "",
    as_json: Json = False,
) -> None:
    """Hold ledgers against their chain, pointer, receipts and checkpoints. Finds edits, and entries that were taken away."""
    workspace = open_workspace()
    names = [model] if model else sorted({*workspace.model_names(), *workspace.checkpoints.models()})
    checked = [_check(workspace, name, key) for name in names]
    wrong = any(item.problems for item in checked)
    if as_json:
        print_json({"ledgers": [item._asdict() for item in checked], "ok": not wrong})
    for item in checked if not as_json else []:
        if not item.problems:
            told = (
                f"{counted(item.checkpoints, 'checkpoint')} in agreement"
                if item.checkpoints
                else "no checkpoint: nobody would see a cut"
            )
            typer.echo(f"{item.model}: {item.entries} entries, chain, pointer and receipts hold; {told}")
        for problem in item.problems:
            typer.secho(f"{item.model}: {problem}", fg=colour("red"), err=True)
    raise typer.Exit(1 if wrong else 0)


@app.command()
def checkpoint(model: Model, as_json: Json = False) -> None:
    """Sign what the ledger ends with now and store it in the second place. Done after each move by itself, where configured."""
    workspace = open_workspace()
    taken = workspace.checkpoints.take(model)
    if as_json:
        print_json({"checkpoint": taken, "places": [place.name for place in workspace.checkpoints.places]})
        return
    if taken is None:
        typer.echo(f"the ledger of {model} is empty")
        return
    places = ", ".join(place.name for place in workspace.checkpoints.places)
    typer.echo(f"{model}: entry {taken.seq} ({taken.head[:12]}) signed, in {places}")
    next_command(f"tidegate release verify {model}")


@app.command()
def plan(version: Version, as_json: Json = False) -> None:
    """What promoting a version would do now, rule by rule. Changes nothing."""
    workspace = open_workspace()
    ref = _numbered(version)
    workspace.version(str(ref))  # a version that is not there is an error, not a plan
    found = workspace.release.plan(ref.name, _number(ref), policy=workspace.policy(ref.name))
    if as_json:
        refusal = found.refusal
        print_json(
            {
                "possible": found.event is not None,
                "lines": found.explain(),
                "refusal": refusal.as_dict() if refusal else None,
                "not_by_policy": found.not_by_policy,
            }
        )
        return
    for line in found.explain():
        typer.echo(line)
    next_command(found.follows)


@app.command()
def history(
    model: Model, at: Annotated[str, typer.Option(help="A time, ISO 8601.", show_default="now")] = "", as_json: Json = False
) -> None:
    """What served at a time, to the microsecond, and what that rested on: who moved the pointer, receipt, report and approvals."""
    workspace = open_workspace()
    time = parse_time(at) if at else workspace.clock.now()
    require_known(workspace, model)
    served = served_at(model, workspace.release.history(model), time)
    if as_json:
        print_json(served)
        return
    for line in served.lines():
        typer.echo(line)
    next_command(f"tidegate gate report {short(served.receipt)}" if served.receipt else f"tidegate release log {model}")


@app.command()
def freeze(model: Model, reason: Reason = "", as_json: Json = False) -> None:
    """Forbid promotions until unfreeze. Rolling back stays possible."""
    workspace = open_workspace()
    require_known(workspace, model)
    _show(model, workspace.release.freeze(model, reason=reason), as_json)
    if not as_json:
        next_command(f"tidegate release unfreeze {model} --reason TEXT")


@app.command()
def unfreeze(model: Model, reason: Reason = "", as_json: Json = False) -> None:
    """Allow promotions again."""
    workspace = open_workspace()
    require_known(workspace, model)
    _show(model, workspace.release.unfreeze(model, reason=reason), as_json)
    if not as_json:
        next_command(f"tidegate release log {model}")


@app.command()
def lift(version: Version, reason: Reason = "", as_json: Json = False) -> None:
    """End the quarantine of a version that was rolled back. It still has to pass the gate again."""
    ref = _numbered(version)
    _show(ref.name, open_workspace().release.lift(ref.name, _number(ref), reason=reason), as_json)
    if not as_json:
        next_command(f"tidegate gate {ref}")


class _Checked(NamedTuple):
    model: str
    entries: int
    checkpoints: int
    problems: list[str]


def _check(workspace: Workspace, model: str, key: str) -> _Checked:
    problems = [*workspace.release.verify(model), *audit_ledger(workspace.store.bucket, model)]
    try:
        count, found = workspace.checkpoints.verify(model, key)
        entries = len(workspace.release.history(model))
    except IntegrityError as error:  # the ledger's own check tells it
        return _Checked(model, 0, 0, problems or [error.what])
    return _Checked(model, entries, count, problems + found)


def _numbered(text: str) -> Reference:
    ref = parse_reference(text, "model")
    if ref.number is None:
        raise UsageError(
            "version-missing",
            f"{text!r} does not say which version",
            why="a move of the pointer names its version",
            fix=f"write {ref.name}@NUMBER: tidegate model list {ref.name} tells which there are",
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
