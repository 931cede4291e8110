"""``tidegate run``: list, show and compare runs, and get their code back."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Annotated

import typer

from tidegate.cli.console import Json, colour, next_command, open_workspace, print_csv, print_json, print_section, print_table
from tidegate.clock import SECOND, format_time
from tidegate.errors import NotFoundError, UsageError
from tidegate.records.run import Run
from tidegate.store import fetch_object
from tidegate.store.filter import parse_order
from tidegate.tracking.comparison import SECTIONS, Comparison, Difference, groups
from tidegate.tracking.frame import title_of, value_of
from tidegate.tracking.rebuild import CodeDiff, restore_code
from tidegate.tracking.reproducibility import grade, reproducibility

_TITLES = {
    "metric": "metrics",
    "param": "parameters",
    "data": "input data",
    "code": "code",
    "environment": "environment",
    "package": "packages",
    "tag": "tags",
}
_COLUMNS = 4
"""With more runs than this, each value is a line with the runs that have it."""
_DIFF_LINES = 60

app = typer.Typer(
    help="Runs: list, show, compare, code, delete.", no_args_is_help=True, rich_markup_mode=None, add_completion=False
)


@app.command("list")
def list_runs(
    experiment: Annotated[str, typer.Argument(help="Only runs of this experiment.")] = "",
    where: Annotated[str, typer.Option(help="A filter, such as: metrics.loss < 0.3 and params.depth = '6'")] = "",
    order_by: Annotated[str, typer.Option(help="Such as: metrics.loss, min(metrics.error) desc")] = "",
    *,
    limit: Annotated[int, typer.Option(min=1, max=50_000)] = 20,
    offset: Annotated[int, typer.Option(min=0, help="How many runs to skip.")] = 0,
    columns: Annotated[str, typer.Option(help="Such as: name, metrics.loss, max(metrics.acc), params.depth, tags.team")] = "",
    deleted: Annotated[bool, typer.Option("--deleted", help="The deleted runs instead.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
    as_json: Json = False,
) -> None:
    """Runs, newest first."""
    fields = parse_order(columns)
    runs = open_workspace().runs.search(
        experiment=experiment, where=where, order_by=order_by, limit=limit, offset=offset, deleted=deleted
    )
    heading = list(dict.fromkeys(["id", *[title_of(field) for field in fields]]))
    if as_json:
        print_json(
            [{"id": run.id} | {title_of(field): value_of(run, field) for field in fields} for run in runs] if fields else runs
        )
        return
    chosen = [field for field in fields if title_of(field) != "id"]
    rows = [[run.id, *[_cell(value_of(run, field)) for field in chosen]] for run in runs]
    if not fields:
        heading = ["id", "experiment", "state", "started", "seconds", "metrics (last)"]
        rows = [[run.id, run.experiment, run.state, format_time(run.started_at), _seconds(run), _metrics(run)] for run in runs]
    if as_csv:
        print_csv(heading, rows)
        return
    print_table("deleted runs" if deleted else "runs", heading, rows, empty="no run matches")
    if len(runs) == limit:
        typer.echo(f"{limit} at most; go on with: --offset {offset + limit}")
    if runs:
        next_command(f"tidegate run {'restore' if deleted else 'show'} {runs[0].id}")


@app.command()
def delete(
    run_ids: Annotated[list[str] | None, typer.Argument(metavar="RUN...", help="Runs by id.")] = None,
    where: Annotated[str, typer.Option(help="Every run that fits this filter.")] = "",
    experiment: Annotated[str, typer.Option(help="With --where: only runs of this experiment.")] = "",
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: Json = False,
) -> None:
    """Delete runs. They can be restored until tidegate store gc removes them, after seven days."""
    workspace = open_workspace()
    if bool(run_ids) == bool(where):
        raise UsageError("which-runs", "say which runs: their ids, or --where", fix="tidegate run delete RUN, or --where FILTER")
    named = [workspace.runs.get(run_id) for run_id in run_ids or []]
    found = named or workspace.runs.search(experiment=experiment, where=where, limit=None)
    if where and found and not yes and not as_json:
        rows = [[run.id, run.experiment, run.name, format_time(run.started_at)] for run in found[:20]]
        print_table(f"{len(found)} runs fit", ["id", "experiment", "name", "started"], rows)
        typer.confirm(f"delete {len(found)} runs?", abort=True)
    if where and as_json and not yes:
        raise UsageError("not-confirmed", f"{len(found)} runs would be deleted", fix="add --yes")
    workspace.runs.delete([run.id for run in found])
    if as_json:
        print_json({"deleted": [run.id for run in found]})
        return
    typer.echo(f"{len(found)} runs deleted" if len(found) != 1 else f"run {found[0].id} deleted")
    if found:
        next_command(f"tidegate run restore {found[0].id}")


@app.command("restore")
def bring_back(run_ids: Annotated[list[str], typer.Argument(metavar="RUN...")], as_json: Json = False) -> None:
    """Bring deleted runs back."""
    workspace = open_workspace()
    found = [workspace.runs.get(run_id) for run_id in run_ids]
    workspace.runs.restore([run.id for run in found])
    if as_json:
        print_json({"restored": [run.id for run in found]})
        return
    typer.echo(f"{len(found)} runs restored" if len(found) != 1 else f"run {found[0].id} restored")
    next_command(f"tidegate run show {found[0].id}")


@app.command()
def show(run_id: Annotated[str, typer.Argument(metavar="RUN")], as_json: Json = False) -> None:
    """One run: parameters, metrics, artifacts, environment. The first characters of its id are enough."""
    run = open_workspace().runs.get(run_id)
    if as_json:
        print_json(run)
        return
    environment = run.environment
    rows = [
        ("id", run.id),
        ("experiment", run.experiment),
        ("state", run.state),
        *([("deleted", format_time(run.deleted_at))] if run.deleted_at is not None else []),
        *([("last heard of", format_time(run.heard_at))] if run.heard_at and run.state in {"RUNNING", "CRASHED"} else []),
        ("author", run.author),
        ("started", format_time(run.started_at)),
        ("seconds", _seconds(run)),
    ]
    if environment:
        changes = {None: environment.patch_note or "no git repository", True: "with uncommitted changes", False: "clean"}
        rows += [
            ("code", f"{environment.git_commit[:12]} {changes[environment.git_dirty]}".strip()),
            ("python", f"{environment.python}, {len(environment.packages)} packages"),
            ("command", " ".join(environment.argv)),
        ]
    answers = reproducibility(environment, run.inputs, run.params)
    print_table("", ["run", ""], [*rows, ("run again", grade(answers))])
    print_section("", ["to run it again", ""], [("yes" if answer.ok else "NO", answer.sentence) for answer in answers])
    for title, items in (("parameters", run.params), ("tags", run.tags), ("artifacts", run.artifacts)):
        if items:
            print_section("", [title, ""], sorted(items.items()))
    inputs = [[item.name, item.source_type, item.digest] for item in run.inputs if item.is_data]
    if inputs:
        print_section("", ["inputs", "kind", "digest"], inputs)
    metrics = [[item.name, f"{item.last:.6g}", f"{item.min:.6g}", f"{item.max:.6g}", item.count] for item in run.metrics.values()]
    if metrics:
        print_section("", ["metric", "last", "min", "max", "points"], metrics)


@app.command()
def compare(
    run_ids: Annotated[list[str], typer.Argument(metavar="RUN...")],
    packages: Annotated[bool, typer.Option(help="Show package versions that differ as well.")] = True,
    code: Annotated[bool, typer.Option("--code", help="Show all of the code's difference, of two runs.")] = False,
    as_json: Json = False,
) -> None:
    """What differs between runs, and only that: metrics, parameters, data, code, environment, packages, tags."""
    if len(run_ids) < 2:
        raise UsageError("one-run", "one run has nothing to be compared with", fix=f"tidegate run compare {run_ids[0]} RUN")
    workspace = open_workspace()
    lines = 1_000_000 if code or as_json else _DIFF_LINES
    comparison = workspace.runs.compare(run_ids, most_lines=lines)
    if as_json:
        print_json(comparison)
        return
    for section in SECTIONS:
        differences = comparison.of(section)
        if differences and (packages or section != "package"):
            _print_section(_TITLES[section], comparison, differences)
    if comparison.code:
        _print_code(comparison.code)
    if not comparison.differences:
        typer.echo("the runs are alike")
    if comparison.code and comparison.code.lines > lines:
        next_command(f"tidegate run compare {' '.join(run_ids)} --code")
    else:
        next_command(f"tidegate run show {comparison.runs[-1]}")


@app.command("code")
def restore(
    run_id: Annotated[str, typer.Argument(metavar="RUN")],
    to: Annotated[Path | None, typer.Option(metavar="DIR", help="Write the code into this new or empty folder.")] = None,
    repository: Annotated[
        Path | None, typer.Option(help="A clone that has the run's base commit; the project by default.")
    ] = None,
    as_json: Json = False,
) -> None:
    """The code of a run as it was: written to a folder, or else the patch from its base commit."""
    workspace = open_workspace()
    run = workspace.runs.get(run_id)
    environment = run.environment
    if environment is None or not (environment.git_tree or environment.patch_digest):
        why = environment.patch_note if environment else "its environment was not recorded"
        raise NotFoundError(
            "code-not-recorded", f"the code of run {run.id} was not recorded", why=why, fix=f"tidegate run show {run.id}"
        )
    told = {
        "run": run.id,
        "base": environment.git_base or environment.git_commit,
        "remote": environment.git_remote,
        "tree": environment.git_tree,
        "patch": environment.patch_digest,
        "folder": str(to) if to else "",
        "left_out": environment.left_out,
        "redacted": environment.redacted,
    }
    if to:
        restore_code(environment, workspace.store.bucket, repository or workspace.project.folder, to)
    if as_json:
        print_json(told)
    elif to:
        print_table("", ["code", ""], [(name, value) for name, value in told.items() if value and isinstance(value, str)])
        missing = [*environment.left_out, *environment.redacted]
        if missing:
            print_table("", ["missing in it"], [(line,) for line in missing])
        next_command(f"cd {to}")
    elif environment.patch_digest:
        stored = fetch_object(workspace.store.bucket, environment.patch_digest).read_bytes()
        typer.echo(zlib.decompress(stored) if environment.git_tree else stored, nl=False)


def _print_section(title: str, comparison: Comparison, differences: list[Difference]) -> None:
    """Columns for few runs, the best metric marked; a line per value for many."""
    named = zip(comparison.runs, comparison.names, strict=True)
    short = [name if name.endswith(run_id[-6:]) else f"{name} {run_id[-6:]}" for run_id, name in named]
    if len(short) <= _COLUMNS:
        columns = [title, *short, *(["change"] if len(short) == 2 else [])]
        rows = [
            [item.name, *_marked(item), *([item.change] if len(short) == 2 else [])]
            for item in differences
        ]  # fmt: skip
    else:
        columns = [title, "value", "runs"]
        rows = [
            [item.name if first else "", _marked(item)[positions[0]] or "(none)", _names(positions, short)]
            for item in differences
            for first, (_, positions) in zip([True, *[False] * len(short)], groups(item.values), strict=False)
        ]
    print_table("", columns, rows)
    typer.echo("")


def _marked(item: Difference) -> list[str]:
    return [f"{value} *" if position in item.best else value for position, value in enumerate(item.values)]


def _names(positions: list[int], short: list[str], most: int = 4) -> str:
    shown = ", ".join(short[position] for position in positions[:most])
    return f"{shown} and {len(positions) - most} more" if len(positions) > most else shown


def _print_code(code: CodeDiff) -> None:
    if code.note:
        typer.echo(f"code: {code.note}")
    if not code.files:
        return
    print_table("", ["added", "removed", "file"], [line.split(" ", 2) for line in code.files])
    colours = {sign: colour(name) for sign, name in (("+", "green"), ("-", "red"), ("@", "cyan"))}
    typer.echo("")
    lines = code.text.split("\n")
    for line in lines:
        typer.secho(line, fg=colours.get(line[:1]))
    if len(lines) < code.lines:
        typer.echo(f"... {code.lines - len(lines)} more lines")


def _cell(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _seconds(run: Run) -> str:
    return f"{(run.ended_at - run.started_at) / SECOND:.1f}" if run.ended_at is not None else "running"


def _metrics(run: Run) -> str:
    return "  ".join(f"{item.name}={item.last:.4g}" for item in list(run.metrics.values())[:4])
