"""``tidegate gate``: is this model better than the one it replaces?"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from typer.core import TyperGroup

from tidegate.cli.console import Json, next_command, open_workspace, print_json
from tidegate.errors import TidegateError, UnavailableError, UsageError
from tidegate.gate import (
    check,
    find_receipt,
    load_check_policy,
    read_receipt,
    read_report,
    render_html,
    render_markdown,
    render_rich,
    render_text,
)
from tidegate.records.report import Report
from tidegate.records.verdict import Verdict


class _Reference(TyperGroup):
    """Takes ``tidegate gate delay@12`` for ``tidegate gate run delay@12``."""

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        if args and args[0] not in self.commands and not args[0].startswith("-"):
            args = ["run", *args]
        return super().resolve_command(ctx, args)


app = typer.Typer(
    cls=_Reference,
    help="Is this model better than the one it replaces? tidegate gate MODEL@VERSION, or: check, run, report.",
    no_args_is_help=True,
    rich_markup_mode=None,
    add_completion=False,
)

Html = Annotated[Path | None, typer.Option("--html", metavar="FILE", help="Write the report as one HTML page.")]
Markdown = Annotated[Path | None, typer.Option("--markdown", metavar="FILE", help="Write the report for a pull request.")]


@app.command("check")
def check_file(
    predictions: Annotated[Path, typer.Argument(metavar="PREDICTIONS", help="A Parquet or CSV file: labels and predictions.")],
    policy: Annotated[Path, typer.Option(metavar="FILE", help="The rules, see docs/reference/gate-policy.md.")] = Path(
        "gate.toml"
    ),
    as_json: Json = False,
    html: Html = None,
    markdown: Markdown = None,
) -> None:
    """Judge columns of one file by a policy. Needs no project and no store.

    Exit codes: 0 PASS, 3 FAIL, 4 INCONCLUSIVE, 5 INVALID, 2 the policy or the call is wrong.
    """
    try:
        rules = load_check_policy(policy)
    except TidegateError as error:
        raise UsageError(error.code, error.what, why=error.why, fix=error.fix) from None
    _finish(check(predictions, rules), as_json=as_json, html=html, markdown=markdown)


@app.command()
def run(
    version: Annotated[str, typer.Argument(metavar="MODEL@VERSION", help="Such as delay@12.")],
    as_json: Json = False,
    html: Html = None,
    markdown: Markdown = None,
) -> None:
    """Compare a version with the champion on the policy's frozen snapshot, and store the receipt."""
    workspace = open_workspace()
    judged = workspace.judge(version)
    if not as_json:
        _show(judged.report)
        typer.echo(f"receipt: {judged.receipt_digest}")
        if judged.report.verdict is Verdict.PASS:
            next_command(f"tidegate approve {judged.version.ref}")
    else:
        print_json({"digest": judged.receipt_digest, "receipt": judged.receipt, "report": judged.report})
    _write(judged.report, html, markdown)
    raise typer.Exit(judged.report.verdict.exit_code)


@app.command()
def report(
    receipt: Annotated[str, typer.Argument(metavar="RECEIPT", help="A receipt's digest or its beginning, or MODEL@VERSION.")],
    as_json: Json = False,
    html: Html = None,
    markdown: Markdown = None,
) -> None:
    """Show a stored report again. Exits 0 whatever its verdict was."""
    bucket = open_workspace().store.bucket
    model, digest = find_receipt(bucket, receipt)
    found = read_report(bucket, model, digest)
    if as_json:
        print_json({"digest": digest, "receipt": read_receipt(bucket, model, digest), "report": found})
    else:
        _show(found)
        typer.echo(f"receipt: {digest}")
    _write(found, html, markdown)


def _finish(found: Report, *, as_json: bool, html: Path | None, markdown: Path | None) -> None:
    if as_json:
        print_json(found)
    else:
        _show(found)
    _write(found, html, markdown)
    raise typer.Exit(found.verdict.exit_code)


def _show(found: Report) -> None:
    if sys.stdout.isatty():
        Console().print(render_rich(found))
    else:
        typer.echo(render_text(found), nl=False)


def _write(found: Report, html: Path | None, markdown: Path | None) -> None:
    for path, render in ((html, render_html), (markdown, render_markdown)):
        if path is None:
            continue
        try:
            path.write_text(render(found), encoding="utf-8")
        except OSError as error:
            raise UnavailableError("cannot-write", f"cannot write {path}", why=str(error), fix="check the folder") from None
