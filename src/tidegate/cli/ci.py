"""``tidegate ci``: the gate as a job of a CI system."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from tidegate.ci.gating import Gated, gate_file, gate_version, not_judged, write_report
from tidegate.ci.posting import post_report
from tidegate.ci.scaffold import SYSTEMS, scaffold_files, write_scaffold
from tidegate.ci.surroundings import Surroundings, read_surroundings
from tidegate.cli.console import Json, flags, next_command, open_workspace, print_json
from tidegate.errors import NotFoundError, TidegateError, UsageError
from tidegate.gate import parse_report, render_text
from tidegate.records.verdict import Verdict

app = typer.Typer(
    help="The gate as a job of a CI system: init, run, comment.",
    no_args_is_help=True,
    rich_markup_mode=None,
    add_completion=False,
)

Inconclusive = Annotated[
    bool,
    typer.Option("--allow-inconclusive", help="Let the job go on where there are too few rows to tell. Promotion still refuses."),
]


@app.command()
def init(
    system: Annotated[str, typer.Argument(metavar="|".join(SYSTEMS), help="The CI system.")],
    model: Annotated[str, typer.Option(metavar="NAME", help="Judge the version of this model that a change registered.")] = "",
    show: Annotated[bool, typer.Option("--print", help="Print the files instead of writing them.")] = False,
    as_json: Json = False,
) -> None:
    """Write the files that run the gate for every pull request. Overwrites nothing.

    Without --model the job judges predictions.parquet by gate.toml, which needs no store and no secret.
    """
    if show:
        found = scaffold_files(system, model=model)
        if as_json:
            print_json({"files": found})
            return
        for path, text in found.items():
            typer.echo(f"# {path}\n{text}")
        return
    written, more = write_scaffold(flags().folder, system, model=model)
    if as_json:
        print_json({"written": written, "more": more})
        return
    for path in written:
        typer.echo(f"wrote {path}")
    typer.echo(more)
    next_command(f"git add {' '.join(written)}")


@app.command()
def run(
    candidate: Annotated[str, typer.Argument(metavar="CANDIDATE", help="MODEL, MODEL@VERSION, or a file of predictions.")],
    policy: Annotated[Path | None, typer.Option(metavar="FILE", help="The policy of a file of predictions.")] = None,
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Where the report goes.")] = Path("gate"),
    allow_inconclusive: Inconclusive = False,
    as_json: Json = False,
) -> None:
    """Judge the candidate of a change and write the report as JSON, Markdown and HTML. Needs no token.

    MODEL stands for the version that was registered from this commit. Exit codes: 0 PASS, 3 FAIL, 4 INCONCLUSIVE, 5 INVALID.
    """
    if policy is None and Path(candidate).suffix.lower() in {".csv", ".parquet"}:
        raise UsageError(
            "policy-needed", f"{candidate} is a file of predictions, and no policy is named", fix="add --policy gate.toml"
        )
    place = read_surroundings()
    try:
        gated = gate_file(Path(candidate), policy, place) if policy else gate_version(open_workspace(), candidate, place)
    except TidegateError as error:
        write_report(not_judged(candidate, error), out, summary=place.summary)
        raise
    _finish(gated, place, out, allow_inconclusive=allow_inconclusive, as_json=as_json)


@app.command()
def comment(
    report: Annotated[Path, typer.Argument(metavar="REPORT", help="The report.json that ci run wrote.")] = Path(
        "gate/report.json"
    ),
    allow_inconclusive: Inconclusive = False,
    as_json: Json = False,
) -> None:
    """Tell the pull request: one comment that is written anew each time, and one status on the commit.

    Takes GITHUB_TOKEN or GITLAB_TOKEN. Whatever becomes of it is printed and changes no exit code: the gate's verdict stands.
    """
    try:
        found = parse_report(report.read_bytes())
    except (OSError, msgspec.MsgspecError) as error:
        raise NotFoundError(
            "report-not-found", f"no report at {report}", why=str(error), fix="run it first: tidegate ci run CANDIDATE"
        ) from None
    posted = post_report(found, read_surroundings(), allow_inconclusive=allow_inconclusive)
    if as_json:
        print_json(posted._asdict())
        return
    typer.echo(f"comment {posted.comment or 'not posted'}, status {posted.status or 'not set'}")
    for reason in posted.why:
        typer.echo(f"  {reason}")


def _finish(gated: Gated, place: Surroundings, out: Path, *, allow_inconclusive: bool, as_json: bool) -> None:
    report, receipt = gated
    written = write_report(report, out, summary=place.summary)
    allowed = allow_inconclusive and report.verdict is Verdict.INCONCLUSIVE
    code = 0 if allowed else report.verdict.exit_code
    if as_json:
        print_json(
            {"verdict": report.verdict, "sentence": report.sentence, "receipt": receipt, "exit_code": code, "files": written}
        )
    else:
        typer.echo(render_text(report), nl=False)
        typer.echo(f"written to {out}{f', receipt {receipt}' if receipt else ''}")
        if allowed:
            typer.echo("INCONCLUSIVE is allowed here: the job goes on, promotion will not")
        next_command(f"tidegate ci comment {json.dumps(written['json']) if ' ' in written['json'] else written['json']}")
    raise typer.Exit(code)
