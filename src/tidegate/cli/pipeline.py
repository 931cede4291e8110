"""``tidegate pipeline``: run one, see its graph, and why a step runs again."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Generator
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.tree import Tree

from tidegate.cli.console import Json, colour, flags, next_command, open_workspace, print_json, print_table
from tidegate.errors import TidegateError, UsageError
from tidegate.pipelines import Graph, StepEvent, load_pipeline, make_plan
from tidegate.pipelines import Progress as Listener
from tidegate.pipelines.authoring import Pipeline
from tidegate.pipelines.graph import shown_argument
from tidegate.pipelines.why import Outlook
from tidegate.records.model import ModelVersion
from tidegate.records.pipeline import StepRun, StepState
from tidegate.settings import load_project

app = typer.Typer(
    help="Pipelines: run, and why a step runs again.", no_args_is_help=True, rich_markup_mode=None, add_completion=False
)

Target = Annotated[str, typer.Argument(metavar="MODULE:NAME", help="The pipeline function, such as pipelines:train.")]
Params = Annotated[list[str] | None, typer.Option("--param", "-p", metavar="NAME=VALUE", help="A parameter; may be repeated.")]
Full = Annotated[bool, typer.Option("--full", help="If a step fails, show the whole traceback as well.")]

_MARKS = {StepState.DONE: ("done", "green"), StepState.CACHED: ("cached", "cyan"), StepState.FAILED: ("FAILED", "red")}


@app.command()
def run(target: Target, param: Params = None, full: Full = False, as_json: Json = False) -> None:
    """Run a pipeline; a step whose result is still true is not run again."""
    workspace = open_workspace()
    try:
        with _listening(quiet=as_json) as listener:
            result = workspace.run_pipeline(target, _pairs(param), progress=listener)
    except TidegateError as error:
        if full and error.__cause__ is not None:
            traceback.print_exception(error.__cause__)
        raise
    version: ModelVersion | None = result.version
    if as_json:
        steps = [_step_row(step) for step in result.steps]
        print_json(
            {"run": result.run_id, "version": version.ref if version else None, "warnings": result.warnings, "steps": steps}
        )
        return
    for warning in result.warnings:
        typer.secho(f"warning: {warning}", err=True, fg=colour("yellow") if sys.stderr.isatty() else None)
    reused = sum(step.state is StepState.CACHED for step in result.steps)
    typer.echo(
        f"run {result.run_id}: {len(result.steps)} step{'s' if len(result.steps) > 1 else ''}, {reused} of them from the cache"
    )
    if version:
        typer.echo(f"version {version.ref} ({version.digest[:12]})")
    next_command(f"tidegate gate {version.ref}" if version else f"tidegate run show {result.run_id}")


@app.command()
def step(
    target: Target,
    name: Annotated[str, typer.Argument(metavar="STEP")],
    run_id: Annotated[str, typer.Option("--run", metavar="RUN", help="The run that the step belongs to.")],
    full: Full = False,
    as_json: Json = False,
) -> None:
    """Run one step of a run on the stored results of the steps before it. Safe to repeat; what an engine calls."""
    try:
        with _listening(quiet=as_json) as listener:
            done = open_workspace().runner.run_step(_pipeline(target), name, run_id=run_id, progress=listener)
    except TidegateError as error:
        if full and error.__cause__ is not None:
            traceback.print_exception(error.__cause__)
        raise
    if as_json:
        print_json(_step_row(done))
    else:
        typer.echo(f"step {done.step} of run {done.run}: {done.state.value.lower()}")


@app.command()
def why(
    target: Target,
    name: Annotated[str, typer.Argument(metavar="[STEP]")] = "",
    param: Params = None,
    as_json: Json = False,
) -> None:
    """What would run now, and which part of the code, inputs or packages changed since the last time."""
    found = open_workspace().runner.why(_pipeline(target), name, _pairs(param))
    if as_json:
        print_json(found)
        return
    print_table(
        f"if {target} ran now", ["step", "outlook", "why"], [[item.step, item.outlook.value, item.reason] for item in found]
    )
    for item in found:
        if item.outlook is Outlook.RUNS and item.changes:
            typer.echo(f"{item.step}, since run {item.compared_with}:")
            for change in item.changes:
                typer.echo(f"  {change}")
    next_command(f"tidegate pipeline run {target}")


@app.command()
def graph(target: Target, param: Params = None, as_json: Json = False) -> None:
    """The steps of a pipeline and what each of them takes. Nothing runs."""
    drawn = make_plan(_pipeline(target), _pairs(param)).graph
    if as_json:
        print_json(_plain_graph(drawn))
        return
    out = Console(width=None if sys.stdout.isatty() else 200)
    out.print(_tree(drawn))
    next_command(f"tidegate pipeline run {target}")


@app.command("list-steps")
def list_steps(target: Target, param: Params = None, as_json: Json = False) -> None:
    """The steps of a pipeline in the order in which they run."""
    nodes = make_plan(_pipeline(target), _pairs(param)).graph.nodes
    if as_json:
        print_json([{"step": node.id, "function": node.function, "cache": node.cache, "after": node.upstream} for node in nodes])
        return
    rows = [[node.id, node.function, "yes" if node.cache else "no", ", ".join(node.upstream)] for node in nodes]
    print_table("", ["step", "function", "cached", "after"], rows)
    next_command(f"tidegate pipeline why {target}")


def _pairs(params: list[str] | None) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for text in params or []:
        name, sign, value = text.partition("=")
        if not (name and sign):
            raise UsageError("bad-param", f"--param {text!r} is no NAME=VALUE", fix="write --param depth=6")
        pairs[name] = value
    return pairs


def _pipeline(target: str) -> Pipeline[..., Any]:
    return load_pipeline(target, load_project(flags().folder, flags().settings).folder)


def _step_row(step_run: StepRun) -> dict[str, Any]:
    return {
        "step": step_run.step,
        "state": step_run.state,
        "seconds": round(step_run.seconds, 6),
        "key": step_run.key,
        "note": step_run.note,
        "unhashable": step_run.fingerprint.unhashable,
    }


def _plain_graph(drawn: Graph) -> dict[str, Any]:
    nodes = [
        {
            "step": node.id,
            "function": node.function,
            "cache": node.cache,
            "arguments": {key: shown_argument(item) for key, item in node.arguments.items()},
        }
        for node in drawn.nodes
    ]
    return {"pipeline": drawn.pipeline, "target": drawn.target, "nodes": nodes, "result": shown_argument(drawn.result)}


def _tree(drawn: Graph) -> Tree:
    """One branch per step, in order, with its arguments; a result of a step is shown by the step's name."""
    tree = Tree(f"{drawn.pipeline} ({drawn.target})")
    for node in drawn.nodes:
        branch = tree.add(f"{node.id}{'' if node.cache else '  (never cached)'}")
        for name, argument in node.arguments.items():
            branch.add(f"{name} = {shown_argument(argument)}")
    tree.add(f"returns {shown_argument(drawn.result)}")
    return tree


@contextmanager
def _listening(*, quiet: bool) -> Generator[Listener]:
    """Shows steps as they start and end: a moving display on a terminal, one line per finished step otherwise."""
    if quiet or not sys.stderr.isatty():
        yield lambda event: None if quiet else _print_line(event)
        return
    columns = (SpinnerColumn(finished_text=" "), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as display:
        tasks: dict[str, Any] = {}

        def listen(event: StepEvent) -> None:
            if event.state is None:
                tasks[event.step] = display.add_task(f"{event.step} ...", total=1)
                return
            word, colour = _MARKS[event.state]
            display.update(tasks[event.step], description=f"{event.step} [{colour}]{word}[/]{_told(event)}", completed=1)

        yield listen


def _print_line(event: StepEvent) -> None:
    if event.state is not None:
        typer.echo(
            f"[{event.number}/{event.total}] {event.step}: {_MARKS[event.state][0]} in {event.seconds:.2f} s{_told(event)}",
            err=True,
        )


def _told(event: StepEvent) -> str:
    """The note of a step, unless it only says whose result was used."""
    return f" ({event.note})" if event.note and event.state is not StepState.CACHED else ""
