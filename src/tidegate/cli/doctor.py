"""``tidegate doctor``: the maturity level, what blocks the next one, red flags, and every check with its evidence."""

from __future__ import annotations

import sys

import typer

from tidegate.cli.console import Json, colour, open_workspace, print_json, print_table
from tidegate.health import LEVELS
from tidegate.records.health import Check, CheckState, Health

app = typer.Typer(rich_markup_mode=None, add_completion=False)

_MARKS = {CheckState.OK: "yes", CheckState.FAIL: "no", CheckState.UNKNOWN: "unknown"}


@app.command()
def doctor(as_json: Json = False) -> None:
    """How mature is this project, what is missing, what is dangerous? Only evidence in the store counts."""
    health = open_workspace().health(probe=True)
    if as_json:
        print_json(health)
        return
    _tell(health)


def _tell(health: Health) -> None:
    watched = sys.stdout.isatty()
    typer.secho(f"level {health.level} of {max(LEVELS)}: {LEVELS[health.level]}", bold=watched)
    blocking = next((check for check in health.checks if check.name == health.blocked_by), None)
    if blocking is not None:
        typer.echo(f"level {health.level + 1} ({LEVELS[health.level + 1]}) needs: {blocking.name}")
        typer.echo(f"  {_MARKS[blocking.state]}: {blocking.evidence}")
        typer.echo(f"  fix: {blocking.fix}")
    for flag in health.red_flags:
        typer.secho(f"red flag: {flag}", fg=colour("red") if watched else None)
    print_table("", ["level", "section", "check", "", "evidence"], [_row(check) for check in health.checks])


def _row(check: Check) -> list[str]:
    level = str(check.level) if check.level else "-"
    return [level, check.section, check.name, _MARKS[check.state], check.evidence + (f"; fix: {check.fix}" if check.fix else "")]
