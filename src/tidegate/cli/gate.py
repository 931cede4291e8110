"""``tidegate gate``: is this model better than the one it replaces?"""

from __future__ import annotations

import csv
import sys
from collections.abc import Generator
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from typer.core import TyperGroup

from tidegate.cli.attestation import attest, verify
from tidegate.cli.console import Json, next_command, open_workspace, print_json, print_table, progress
from tidegate.cli.validation import validate
from tidegate.errors import TidegateError, UnavailableError, UsageError
from tidegate.gate import (
    Plan,
    SelfTest,
    ToLabel,
    check,
    importable,
    is_target,
    load_check_policy,
    plan_evaluation,
    read_receipt,
    read_report,
    render_html,
    render_markdown,
    render_rich,
    render_text,
    report_schema,
    selftest,
)
from tidegate.gate.selftest import STEPS
from tidegate.records.policy import CheckPolicy
from tidegate.records.report import Report
from tidegate.records.verdict import Verdict
from tidegate.release import find_judged
from tidegate.settings import find_project

_POLICY = Path("gate.toml")
_CLOSE = 0.75
"""How alike a word and a command are that are taken for the same, from 0 to 1."""


class _Reference(TyperGroup):
    """Takes ``tidegate gate delay@12`` for ``tidegate gate run delay@12``, and no misspelt command or file for a model."""

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        if args and args[0] not in self.commands and not args[0].startswith("-"):
            _refuse_misread(args[0], sorted(self.commands))
            args = ["run", *args]
        return super().resolve_command(ctx, args)


app = typer.Typer(
    cls=_Reference,
    help="Is this model better than the one it replaces? In a project: tidegate gate MODEL@VERSION. Without one: tidegate gate check FILE.",
    no_args_is_help=True,
    rich_markup_mode=None,
    add_completion=False,
)

Judged = Annotated[
    str, typer.Argument(metavar="MODEL@VERSION|FILE", help="A version of the project, or a Parquet or CSV file of predictions.")
]
PolicyFile = Annotated[Path, typer.Option("--policy", metavar="FILE", help="For a file: the rules.")]
Html = Annotated[Path | None, typer.Option("--html", metavar="FILE", help="Write the report as one HTML page.")]
Markdown = Annotated[Path | None, typer.Option("--markdown", metavar="FILE", help="Write the report for a pull request.")]


@app.command("check")
def check_file(
    predictions: Annotated[Path, typer.Argument(metavar="PREDICTIONS", help="A Parquet or CSV file: labels and predictions.")],
    policy: Annotated[Path, typer.Option(metavar="FILE", help="The rules, see docs/reference/gate-policy.md.")] = _POLICY,
    champion: Annotated[
        Path | None, typer.Option("--champion", metavar="FILE", help="The champion's predictions, joined by the policy's key.")
    ] = None,
    labels: Annotated[
        Path | None, typer.Option("--labels", metavar="FILE", help="Labels, slices, clusters and weights, joined by the key.")
    ] = None,
    anchor: Annotated[Path | None, typer.Option("--anchor", metavar="FILE", help="The anchor's predictions, joined.")] = None,
    as_json: Json = False,
    html: Html = None,
    markdown: Markdown = None,
) -> None:
    """Judge columns of one file, or of files joined by a key, by a policy. Needs no project and no store.

    Exit codes: 0 PASS, 3 FAIL, 4 INCONCLUSIVE, 5 INVALID, 2 the policy or the call is wrong.
    """
    rules = _read_rules(policy)
    with _code_of(rules):
        found = check(predictions, rules, champion=champion, labels=labels, anchor=anchor)
    _finish(found, as_json=as_json, html=html, markdown=markdown)


@app.command()
def run(
    version: Annotated[str, typer.Argument(metavar="MODEL@VERSION", help="Such as delay@12.")],
    as_json: Json = False,
    html: Html = None,
    markdown: Markdown = None,
) -> None:
    """Judge a version against the champion on the policy's snapshot, and store the receipt.

    Exit codes: 0 PASS, 3 FAIL, 4 INCONCLUSIVE, 5 INVALID; 1, 2: it could not be judged, or the policy or the call is wrong.
    """
    workspace = open_workspace()
    judged = workspace.judge(version)
    if not as_json:
        _show(judged.report)
        typer.echo(f"receipt: {judged.receipt_digest}")
    else:
        print_json({"digest": judged.receipt_digest, "receipt": judged.receipt, "report": judged.report})
    _write(judged.report, html, markdown, as_json=as_json)
    if judged.report.verdict is Verdict.PASS and not as_json:
        name, number = judged.version.name, judged.version.version
        follows = workspace.release.plan(name, number, policy=workspace.policy(name))
        for why in follows.not_by_policy:
            typer.echo(f"the policy does not approve it by itself: {why}")
        next_command(follows.follows)
    raise typer.Exit(judged.report.verdict.exit_code)


@app.command()
def plan(
    what: Judged,
    policy: PolicyFile = _POLICY,
    write: Annotated[
        Path | None, typer.Option("--write", metavar="FILE", help="Write the keys of the rows to label as CSV.")
    ] = None,
    as_json: Json = False,
) -> None:
    """How many rows and labels the rules take, before anybody labels.

    Labels may be missing. Ends with 0; nothing is judged.
    """
    source, rules = _rows_and_rules(what, policy)
    with _code_of(rules):
        found, wanted = plan_evaluation(source, rules)
    if as_json:
        print_json(found)
    else:
        _show_plan(found)
    if write is not None:
        _write_keys(write, rules.key or "row", wanted)
        _tell_written(write, as_json=as_json)
    if not as_json:
        again = _with_policy(what, policy)
        if found.labelled == found.rows:
            next_command(f"tidegate gate selftest {again}")
        elif write is None:
            next_command(f"tidegate gate plan {again} --write rows.csv")
        else:
            next_command(f"tidegate gate plan {again}    (with labels for the rows in {write})")


@app.command("selftest")
def self_test(what: Judged, policy: PolicyFile = _POLICY, as_json: Json = False) -> None:
    """Try rules and rows before you trust them: models that are equal must not win, and known-bad candidates must be blocked.

    Exit codes: 0 both are as they should be, 1 one is not, 2 the policy or the call is wrong.
    """
    source, rules = _rows_and_rules(what, policy)
    with _code_of(rules), progress("self-test", STEPS) as advance:
        found = selftest(source, rules, advance=advance)
    if as_json:
        print_json(found)
    else:
        _show_selftest(found)
        next_command(f"tidegate gate {'check ' if _is_file(what) else ''}{_with_policy(what, policy)}")
    raise typer.Exit(0 if found.ok else 1)


@app.command()
def report(
    receipt: Annotated[str, typer.Argument(metavar="RECEIPT", help="A receipt's digest or its beginning, or MODEL@VERSION.")],
    as_json: Json = False,
    html: Html = None,
    markdown: Markdown = None,
) -> None:
    """Show a stored report again. Ends with 0, whatever the verdict was."""
    bucket = open_workspace().store.bucket
    model, digest = find_judged(bucket, receipt)
    found = read_report(bucket, model, digest)
    if as_json:
        print_json({"digest": digest, "receipt": read_receipt(bucket, model, digest), "report": found})
    else:
        _show(found)
        typer.echo(f"receipt: {digest}")
    _write(found, html, markdown, as_json=as_json)


@app.command()
def schema(as_json: Json = False) -> None:
    """Print the JSON Schema of reports."""
    del as_json
    print_json(report_schema())


def _is_file(what: str) -> bool:
    """Whether an argument names a file of predictions and no model."""
    return Path(what).exists() or _is_table(what)


def _is_table(what: str) -> bool:
    return Path(what).suffix.lower() in {".csv", ".parquet"}


def _refuse_misread(word: str, commands: list[str]) -> None:
    """What stands for a model and is plainly none: a file of predictions, a command with a typo."""
    if "@" in word:
        return
    if _is_table(word):
        raise UsageError("file-not-model", f"{word} is a file, no model", fix=f"tidegate gate check {word} --policy gate.toml")
    meant = get_close_matches(word, commands, n=1, cutoff=_CLOSE)
    if meant:
        raise UsageError(
            "unknown-command",
            f"there is no command {word!r}",
            why=f"did you mean {meant[0]!r}?",
            fix=f"tidegate gate {meant[0]}; or for a model of this name tidegate gate run {word}",
        )


def _with_policy(what: str, policy: Path) -> str:
    """A file and the policy that the next command needs as well."""
    return f"{what} --policy {policy}" if _is_file(what) and policy != _POLICY else what


def _rows_and_rules(what: str, policy: Path) -> tuple[Any, CheckPolicy]:
    """A file with the rules of a policy file, or a version's rows and rules from the project."""
    if not _is_file(what):
        rehearsal = open_workspace().rehearse(what)
        return rehearsal.predictions, rehearsal.policy
    return what, _read_rules(policy)


def _read_rules(policy: Path) -> CheckPolicy:
    """A policy file; whatever is wrong with it is a wrong call."""
    try:
        return load_check_policy(policy)
    except TidegateError as error:
        raise UsageError(error.code, error.what, why=error.why, fix=error.fix) from None


def _show_plan(found: Plan) -> None:
    typer.echo(found.sentence)
    labelled = "" if found.noun == "items" else f", {found.labelled:,} of them labelled"
    typer.echo(f"{found.rows:,} {found.noun}{labelled}; intervals at alpha = {found.alpha:g}, one-sided.")
    if found.parts > 1:
        typer.echo(f"{found.parts} parts must all pass: each is planned with {found.power_each:.1%} power.")
    typer.echo("")
    labels = {"rows": ["labels needed"], "queries": ["queries to label"]}.get(found.noun, [])
    print_table(
        "",
        ["rule", found.noun, "known from", "power now", "detectable", f"{found.noun} needed", *labels],
        [
            [
                f"{rule.metric} {rule.test}{' on ' + rule.where if rule.where else ''}",
                f"{rule.rows:,}",
                rule.basis,
                _cell(rule.power, ".0%"),
                _cell(rule.detectable, ".3g"),
                _cell(rule.rows_needed, ","),
                *([_cell(rule.labels_needed, ",")] if labels else []),
            ]
            for rule in found.rules
        ],
    )


def _cell(value: float | None, form: str) -> str:
    return "?" if value is None else format(value, form)


def _show_selftest(found: SelfTest) -> None:
    typer.echo(f"{'ok' if found.ok else 'NOT OK'}  {found.sentence}")
    if found.alarms:
        typer.echo("")
        print_table(
            f"Two exchangeable models, {found.alarms[0].trials} times on {found.rows_used:,} rows",
            ["metric", "called better", "called worse", "allowed", ""],
            [
                [each.metric, f"{each.passes:.1%}", f"{each.fails:.1%}", f"{each.allowed:.1%}", _said(each.ok, each.enough)]
                for each in found.alarms
            ],
        )
    typer.echo("")
    print_table(
        "Known-bad candidates",
        ["what was done", "verdict", "stopped by"],
        [
            [each.about, each.verdict.value, ", ".join(each.by) or ("no rule asks" if each.unseen else "NOTHING")]
            for each in found.spoilt
        ],
    )


def _said(ok: bool, enough: bool) -> str:
    return "too few rows" if not enough else "ok" if ok else "TOO MANY"


def _write_keys(path: Path, name: str, wanted: ToLabel) -> None:
    try:
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow([name])
            writer.writerows([key] for key in wanted.keys)
    except OSError as error:
        raise UnavailableError("cannot-write", f"cannot write {path}", why=str(error), fix="check the folder") from None


@contextmanager
def _code_of(rules: CheckPolicy) -> Generator[None]:
    """Says which functions a policy makes the gate run, and lets it find those of the project around the working directory."""
    functions = sorted({rule.metric for rule in rules.rules if is_target(rule.metric)})
    if not functions:
        yield
        return
    folder = find_project(Path.cwd())
    typer.echo(f"runs {', '.join(functions)}, as the policy says, from installed packages or {folder}", err=True)
    with importable(folder):
        yield


def _finish(found: Report, *, as_json: bool, html: Path | None, markdown: Path | None) -> None:
    if as_json:
        print_json(found)
    else:
        _show(found)
    _write(found, html, markdown, as_json=as_json)
    raise typer.Exit(found.verdict.exit_code)


def _show(found: Report) -> None:
    if sys.stdout.isatty():
        Console().print(render_rich(found))
    else:
        typer.echo(render_text(found), nl=False)


def _write(found: Report, html: Path | None, markdown: Path | None, *, as_json: bool) -> None:
    for path, render in ((html, render_html), (markdown, render_markdown)):
        if path is None:
            continue
        try:
            path.write_text(render(found), encoding="utf-8")
        except OSError as error:
            raise UnavailableError("cannot-write", f"cannot write {path}", why=str(error), fix="check the folder") from None
        _tell_written(path, as_json=as_json)


def _tell_written(path: Path, *, as_json: bool) -> None:
    typer.echo(f"wrote {path}", err=as_json)


app.command()(attest)
app.command()(verify)
app.command()(validate)
