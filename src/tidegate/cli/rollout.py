"""``tidegate rollout``: a version gets live requests beside the champion, by a plan, and is watched."""

from __future__ import annotations

from typing import Annotated

import typer

from tidegate.cli.console import Json, next_command, open_workspace, print_json
from tidegate.cli.flags import require_known
from tidegate.clock import format_time
from tidegate.errors import UsageError
from tidegate.records.ledger import Rollout
from tidegate.records.names import Reference, parse_reference
from tidegate.records.rollout import Look, RolloutPolicy
from tidegate.release import tell
from tidegate.serving.rollout.conditions import watched
from tidegate.serving.rollout.live import plan_of
from tidegate.serving.rollout.picture import LEGEND, picture
from tidegate.workspace import Workspace

app = typer.Typer(
    help="Give a version live requests by a plan, and watch it: start, plan, status, stop.",
    no_args_is_help=True,
    rich_markup_mode=None,
    add_completion=False,
)

_POINTS = 8

Model = Annotated[str, typer.Argument(metavar="MODEL")]


@app.command()
def start(version: Annotated[str, typer.Argument(metavar="MODEL@VERSION")], as_json: Json = False) -> None:
    """Begin the rollout of a version. It needs what a promotion needs: a PASS and its approvals."""
    workspace, ref = open_workspace(), parse_reference(version, "model")
    policy = workspace.policy(ref.name)
    rollout = workspace.rollouts.start(ref.name, _number(ref), policy=policy)
    if as_json:
        print_json({"model": ref.name, **_plain(rollout)})
        return
    typer.echo(f"{ref} is rolled out: {_steps(plan_of(rollout), rollout)}")
    typer.echo(f"watched: {watched(plan_of(rollout), policy.task)}")
    next_command(f"tidegate rollout status {ref.name}    (tidegate tick, best from cron, moves it on)")


@app.command()
def plan(version: Annotated[str, typer.Argument(metavar="MODEL[@VERSION]")], as_json: Json = False) -> None:
    """What the next tick would do about the rollout that runs; with a version: whether it could be started. Changes nothing."""
    workspace, ref = open_workspace(), parse_reference(version, "model")
    if ref.version:
        _plan_start(workspace, ref, as_json)
        return
    require_known(workspace, ref.name)
    found = workspace.rollouts.plan(ref.name)
    if as_json:
        print_json({"model": ref.name, "look": found.look if found else None, "event": found.event if found else None})
        return
    for line in found.explain() if found else [f"no version of {ref.name} is being rolled out"]:
        typer.echo(line)
    next_command("tidegate tick" if found else f"tidegate rollout start {ref.name}@VERSION")


@app.command()
def status(model: Model, as_json: Json = False) -> None:
    """The rollout that runs: where it stands, and the confidence sequences that decide about it."""
    workspace = open_workspace()
    require_known(workspace, model)
    found = workspace.rollouts.plan(model)
    if as_json:
        print_json({"model": model, **(_plain(found.rollout) if found else {}), "look": found.look if found else None})
        return
    if found is None:
        typer.echo(f"no version of {model} is being rolled out")
        next_command(f"tidegate release log {model}")
        return
    look = found.look
    typer.echo(f"{model}@{look.version}: {_steps(plan_of(found.rollout), found.rollout)}")
    typer.echo(
        f"since {format_time(found.rollout.moved_at)}, {look.rows:,} rows at this step, {look.matured:,} labels{_lost(look)}"
    )
    typer.echo(f"{look.action}: {look.sentence}\n")
    for line in picture(workspace.rollouts.course(model, _POINTS)):
        typer.echo(line)
    typer.echo(LEGEND)
    promoting = look.action == "done"
    next_command(
        f"tidegate promote {model}@{look.version}"
        if promoting
        else f"tidegate tick    (to end it: tidegate rollout stop {model} --reason TEXT)"
    )


@app.command()
def stop(
    model: Model,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Needed; kept in the ledger for good.")] = "",
    as_json: Json = False,
) -> None:
    """End the rollout that runs: the champion answers everything again."""
    workspace = open_workspace()
    require_known(workspace, model)
    entry = workspace.rollouts.stop(model, reason=reason)
    if as_json:
        print_json({"model": model, "seq": entry.seq, "at": entry.at, "actor": entry.actor, "event": entry.event})
        return
    typer.echo(f"{model}: {tell(entry.event).sentence} (ledger entry {entry.seq}, by {entry.actor})")
    next_command(f"tidegate release log {model}")


def _plan_start(workspace: Workspace, ref: Reference, as_json: bool) -> None:
    policy = workspace.policy(ref.name)
    found = workspace.release.plan(ref.name, _number(ref), policy=policy)
    if as_json:
        refusal = found.refusal.as_dict() if found.refusal else None
        print_json({"model": ref.name, "possible": refusal is None, "refusal": refusal, "plan": policy.rollout})
        return
    for sentence, refusal in found.answers:
        typer.echo(f"{'no ' if refusal else 'yes'} {sentence}")
    typer.echo(f"{policy.rollout.mode}: {_told(policy.rollout)}")
    typer.echo(f"watched: {watched(policy.rollout, policy.task)}")
    if found.refusal:
        typer.echo(f"it cannot be started: {found.refusal.what}")
    next_command(found.follows if found.refusal else f"tidegate rollout start {ref}")


def _steps(plan: RolloutPolicy, rollout: Rollout) -> str:
    step = f"step {rollout.step + 1} of {len(plan.shares)}" if rollout.step < len(plan.shares) else "every step is over"
    return f"{plan.mode}, {step}, {_share(rollout.share)}"


def _told(plan: RolloutPolicy) -> str:
    shares = ", then ".join(map(_share, plan.shares))
    return f"{shares}; each for {plan.minimum_duration} and {plan.minimum_samples:,} rows at least"


def _share(share: float) -> str:
    return f"{100 * share:g} % of keys" if share else "in the shadow"


def _lost(look: Look) -> str:
    return f", {look.dropped:,} rows lost" if look.dropped else ""


def _plain(rollout: Rollout) -> dict[str, object]:
    return {
        "rollout": rollout.seq,
        "version": rollout.version,
        "step": rollout.step,
        "share": rollout.share,
        "started_at": rollout.started_at,
        "moved_at": rollout.moved_at,
        "plan": rollout.plan,
    }


def _number(ref: Reference) -> int:
    if ref.number is None:
        raise UsageError(
            "version-missing",
            f"{str(ref)!r} does not say which version",
            why="a rollout is of one version",
            fix=f"write {ref.name}@NUMBER: tidegate model list {ref.name} tells which there are",
        )
    return ref.number
