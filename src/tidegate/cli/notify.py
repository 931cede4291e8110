"""``tidegate notify``: who is told what happens, and what waits to be told."""

from __future__ import annotations

import typer

from tidegate.cli.console import Json, next_command, open_workspace, print_json, print_table
from tidegate.clock import format_time
from tidegate.errors import UsageError
from tidegate.notices import DeliveryError
from tidegate.records.ids import new_id
from tidegate.records.notice import Notice

app = typer.Typer(help="Webhooks and chats: test, list, send.", no_args_is_help=True, rich_markup_mode=None, add_completion=False)


@app.command("test")
def send_test(as_json: Json = False) -> None:
    """Tell every webhook and chat that this is a test, now and once."""
    workspace = open_workspace()
    if not workspace.outbox.targets:
        raise UsageError(
            "nobody-to-notify",
            "nobody is to be told anything",
            why="the settings webhooks and notify are empty",
            fix="set TIDEGATE_WEBHOOKS='[\"https://...\"]' with TIDEGATE_WEBHOOK_SECRET, or TIDEGATE_NOTIFY='[\"slack://...\"]'",
        )
    now = workspace.clock.now()
    text = f"by {workspace.actor}"
    notice = Notice(id=new_id(now), type="notify.test", at=now, title="Tidegate: a test", text=text)
    answers: list[tuple[str, str]] = []
    for target in workspace.outbox.targets:
        try:
            target.send(notice)
            answers.append((target.name, ""))
        except DeliveryError as error:
            answers.append((target.name, str(error)))
    if as_json:
        print_json({"targets": [{"name": name, "error": error} for name, error in answers]})
    else:
        print_table("told", ["target", "answer"], [[name, error or "taken"] for name, error in answers])
    raise typer.Exit(1 if any(error for _, error in answers) else 0)


@app.command("list")
def list_notices(as_json: Json = False) -> None:
    """What waits to be taken, and what was given up after three days."""
    outbox = open_workspace().outbox
    waiting, failed = outbox.waiting(), outbox.failed()
    if as_json:
        print_json({"targets": [target.name for target in outbox.targets], "waiting": waiting, "failed": failed})
        return
    rows = [
        [state, item.notice.title, item.attempts, format_time(item.next_at) if item.next_at else "now", item.error]
        for state, items in (("waiting", waiting), ("given up", failed))
        for item in items
    ]
    print_table("notices", ["state", "what", "attempts", "next", "last answer"], rows, empty="everything was taken")
    if failed:
        next_command("tidegate notify send --again")


@app.command()
def send(
    again: bool = typer.Option(False, "--again", help="Also what was given up."),
    as_json: Json = False,
) -> None:
    """Send what is due now. A move, tidegate tick and the server do it by themselves."""
    workspace = open_workspace()
    revived = workspace.outbox.again() if again else 0
    problems = workspace.follow_up.catch_up(workspace.model_names())
    left = len(workspace.outbox.waiting())
    if as_json:
        print_json({"revived": revived, "waiting": left, "problems": problems})
    else:
        typer.echo(f"{left} notices wait" if left else "everything was taken")
        for problem in problems:
            typer.echo(f"problem: {problem}", err=True)
    raise typer.Exit(1 if problems else 0)
