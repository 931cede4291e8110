"""``tidegate decision``: the retraining decisions, also those that ended in a no."""

from __future__ import annotations

from typing import Annotated

import typer

from tidegate.cli.console import Json, next_command, open_workspace, print_json, print_table
from tidegate.clock import format_time
from tidegate.errors import UsageError
from tidegate.loop import Decisions
from tidegate.records.decision import Decision, DecisionState
from tidegate.workspace import Workspace

app = typer.Typer(
    help="Retraining decisions: list, show, open, decline.", no_args_is_help=True, rich_markup_mode=None, add_completion=False
)

Id = Annotated[str, typer.Argument(metavar="DECISION", help="Such as delay-0001.")]


@app.command("list")
def list_(model: Annotated[str, typer.Argument(metavar="MODEL")] = "", as_json: Json = False) -> None:
    """Decisions of a model or of all, newest first."""
    found = _decisions(open_workspace()).list(model)
    if as_json:
        print_json({"decisions": found})
        return
    rows = [
        [item.id, item.state, item.trigger, format_time(item.opened_at), item.candidate or "", item.steps[-1].note]
        for item in found
    ]
    print_table("decisions", ["id", "state", "trigger", "opened", "version", "last"], rows, empty="none was opened yet")


@app.command()
def show(decision: Id, as_json: Json = False) -> None:
    """One decision with every step: when, who, why."""
    found = _decisions(open_workspace()).get(decision).decision
    if as_json:
        print_json(found)
        return
    typer.echo(f"{found.id} is {found.state}; opened by {found.trigger}: {found.reason}")
    if found.alerts:
        typer.echo(f"answers {len(found.alerts)} alerts")
    rows = [[format_time(step.at), step.state, step.actor, step.note] for step in found.steps]
    print_table("", ["at", "state", "who", "why"], rows)
    next_command(_next(found))


@app.command("open")
def open_(
    model: Annotated[str, typer.Argument(metavar="MODEL")],
    reason: Annotated[str, typer.Option(help="Why the model should be trained again.")] = "",
    as_json: Json = False,
) -> None:
    """Ask for a retraining by hand. The next tick trains; the gate and people decide as always."""
    workspace = open_workspace()
    if workspace.policy(model).retrain is None:
        raise UsageError(
            "not-retrained",
            f"the policy of {model} declares no retraining",
            fix=f"add [models.{model}.retrain] with its pipeline",
        )
    opened = _decisions(workspace).open(model, trigger="manual", reason=_given(reason), now=workspace.clock.now())
    if as_json:
        print_json(opened)
        return
    typer.echo(f"{opened.id} is {opened.state}")
    next_command("tidegate tick")


@app.command()
def decline(
    decision: Id,
    reason: Annotated[str, typer.Option(help="Kept with the decision for good.")] = "",
    as_json: Json = False,
) -> None:
    """Say no. The champion stays; the no is kept with its reason."""
    workspace = open_workspace()
    declined = _decisions(workspace).decline(decision, reason=_given(reason), now=workspace.clock.now())
    if as_json:
        print_json(declined)
        return
    typer.echo(f"{declined.id} is {declined.state}: {reason}")


def _decisions(workspace: Workspace) -> Decisions:
    return Decisions(workspace.store.documents, workspace.actor)


def _given(reason: str) -> str:
    if not reason.strip():
        raise UsageError(
            "reason-missing", "a reason is needed", why="it is kept with the decision for good", fix='--reason "what was seen"'
        )
    return reason


def _next(decision: Decision) -> str:
    if decision.state is DecisionState.WAITING:
        return f"tidegate approve {decision.model}@{decision.candidate}, then tidegate tick"
    return "tidegate decision list" if decision.state.is_final else "tidegate tick"
