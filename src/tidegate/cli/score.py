"""``tidegate score``: predictions for whole files."""

from __future__ import annotations

from typing import Annotated

import typer

from tidegate.cli.console import Json, counted, next_command, open_workspace, print_json, rows
from tidegate.cli.model_transfer import trusted_keys
from tidegate.digest import short
from tidegate.errors import UsageError
from tidegate.models.scoring import Options, engine_names
from tidegate.records.scoring import Scored

app = typer.Typer(rich_markup_mode=None, add_completion=False)

_ON_ERROR = ("fail", "skip")


@app.command()
def score(
    model: Annotated[str, typer.Argument(metavar="MODEL[@VERSION]", help="Without a version it is the champion.")],
    source: Annotated[
        str,
        typer.Argument(metavar="DATA", help="A file, a folder, a pattern in quotes, a snapshot such as flights@3, or s3://..."),
    ],
    *,
    output: Annotated[
        str, typer.Option("--output", "-o", help="Parquet or CSV; replaced when all is done.")
    ] = "predictions.parquet",
    keep: Annotated[
        list[str] | None,
        typer.Option("--keep", metavar="COLUMN", help="Columns of the input to write beside; repeat it, or use commas."),
    ] = None,
    columns: Annotated[
        list[str] | None, typer.Option("--columns", metavar="OUTPUT", help="Only these of the model's outputs.")
    ] = None,
    on_error: Annotated[
        str,
        typer.Option(metavar="|".join(_ON_ERROR), help="Rows that the model cannot take: none is scored, or these are left out."),
    ] = "fail",
    engine: Annotated[str, typer.Option(metavar="|".join(engine_names()), help="Where the model is called.")] = "local",
    workers: Annotated[int, typer.Option(help="Calls of the model at once.", show_default="what there is room for", min=0)] = 0,
    as_json: Json = False,
) -> None:
    """Predict every row of a file and write the predictions. Interrupted, the same command goes on where it was.

    Without --keep the first column of the output is the number of the row, counted from 0.
    """
    if on_error not in _ON_ERROR:
        raise UsageError("bad-option", f"--on-error cannot be {on_error!r}", fix=f"choose {' or '.join(_ON_ERROR)}")
    workspace = open_workspace()
    version = workspace.version(model if "@" in model else f"{model}@champion")
    policy = workspace.policies.get(version.name)
    options = Options(
        keep=_listed(keep),
        columns=_listed(columns),
        on_error="skip" if on_error == "skip" else "fail",
        engine=engine,
        workers=workers,
        allow_code=policy is not None and policy.serving.allow_code,
        signed_by=trusted_keys(workspace, version.name),
    )
    with rows(f"score {version.ref}") as told:
        done = workspace.scoring.score(version, source, output, options, progress=told)
    if as_json:
        print_json(done)
        return
    _tell(done)
    next_command(f"tidegate run show {done.run}")


def _listed(given: list[str] | None) -> list[str]:
    return [name.strip() for each in given or [] for name in each.split(",") if name.strip()]


def _tell(done: Scored) -> None:
    speed = f", {done.rows / done.seconds:,.0f} rows/s" if done.seconds else ""
    files = "1 file" if len(done.inputs) == 1 else f"{len(done.inputs):,} files"
    typer.echo(f"{done.model}: {done.rows:,} rows of {files} in {done.seconds:.1f} s{speed}")
    if done.resumed:
        typer.echo(f"{done.resumed:,} rows had been done before it was interrupted")
    for each in done.refused:
        typer.echo(
            f"left out: {counted(each.rows, 'row')}, {each.what} [{each.code}]: {', '.join(each.first[:3])}{' ...' if each.rows > 3 else ''}"
        )
    typer.echo(f"{done.output}: SHA-256 {short(done.output_digest)}..., by {done.engine} with {counted(done.workers, 'worker')}")
