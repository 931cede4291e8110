"""``tidegate model``: versions and their packages."""

from __future__ import annotations

from typing import Annotated

import typer

from tidegate.cli.console import Json, next_command, open_workspace, print_json, print_table
from tidegate.clock import format_time
from tidegate.digest import short
from tidegate.errors import BadInputError
from tidegate.models.signature import synthetic_row
from tidegate.records.model import Manifest, ModelVersion, Tensor

app = typer.Typer(help="Model versions and their packages.", no_args_is_help=True, rich_markup_mode=None, add_completion=False)

Version = Annotated[str, typer.Argument(metavar="MODEL@VERSION", help="Such as delay@12, delay@latest or delay@champion.")]


@app.command("list")
def list_versions(name: Annotated[str, typer.Argument(metavar="MODEL")] = "", as_json: Json = False) -> None:
    """Versions, newest first."""
    versions = open_workspace().models.list(name)
    if as_json:
        print_json(versions)
        return
    rows = [_row(version) for version in versions]
    print_table("versions", ["version", "registered", "by", "format", "kB", "digest", "description"], rows)
    if versions:
        next_command(f"tidegate model show {versions[0].ref}")


@app.command()
def show(version: Version, as_json: Json = False) -> None:
    """One version: what it takes and gives, how it was packed, where it comes from."""
    found = open_workspace().version(version)
    if as_json:
        print_json(found)
        return
    manifest = found.manifest
    print_table("", [found.ref, manifest.description], _facts(found))
    print_table(
        "takes", ["input", "type", "shape", "may be missing"], [_described(tensor) for tensor in manifest.signature.inputs]
    )
    print_table("gives", ["output", "type", "shape"], [_described(tensor)[:3] for tensor in manifest.signature.outputs])
    print_table("files", ["path", "bytes", "SHA-256"], [[file.path, file.size, file.digest] for file in manifest.files])
    next_command(f"tidegate gate {found.ref}")


@app.command()
def verify(version: Version, as_json: Json = False) -> None:
    """Hash a version's manifest and files again. Exit 1 if anything is missing or changed."""
    workspace = open_workspace()
    found = workspace.version(version)
    problems = workspace.models.verify(found)
    if as_json:
        print_json({"version": found.ref, "digest": found.digest, "problems": problems})
    else:
        for problem in problems:
            typer.echo(f"problem: {problem}")
        typer.echo(f"{found.ref}: {len(problems)} problems" if problems else f"{found.ref}: all as registered")
    raise typer.Exit(1 if problems else 0)


@app.command("load-check")
def load_check(version: Version, as_json: Json = False) -> None:
    """Load a version as a server would (digests first), and let it answer one made-up row."""
    workspace = open_workspace()
    found = workspace.version(version)
    predictor = workspace.models.load(found)
    try:
        plain = {name: values.tolist() for name, values in predictor.predict(synthetic_row(found.manifest.signature)).items()}
    except BadInputError as error:  # it runs: a row of zeros is nonsense to some models, and they say so
        plain = {"refused": [error.what]}
    if as_json:
        print_json({"version": found.ref, "digest": found.digest, "format": found.manifest.format, "outputs": plain})
        return
    typer.echo(
        f"{found.ref} loads as {found.manifest.format} and answers: {', '.join(f'{name} {value}' for name, value in plain.items())}"
    )


def _row(version: ModelVersion) -> list[str]:
    manifest = version.manifest
    return [
        version.ref,
        format_time(manifest.created_at),
        manifest.author,
        manifest.format,
        f"{manifest.size / 1000:.1f}",
        short(version.digest),
        manifest.description,
    ]


def _facts(version: ModelVersion) -> list[tuple[str, str]]:
    manifest = version.manifest
    lineage = manifest.lineage
    changed = {None: "", True: " with uncommitted changes", False: ""}[lineage.git_dirty]
    facts = [
        ("digest", version.digest),
        ("registered", f"{format_time(manifest.created_at)} by {manifest.author or 'unknown'}"),
        ("task", manifest.task + (f", classes {', '.join(manifest.classes)}" if manifest.classes else "")),
        ("format", manifest.format + (" (runs code when loaded)" if manifest.loads_code else "")),
        ("parity", _parity(manifest)),
        ("trained on", ", ".join(lineage.snapshots)),
        ("run", lineage.run),
        ("pipeline", lineage.pipeline),
        ("code", f"git {lineage.git_commit[:12]}{changed}" if lineage.git_commit else ""),
    ]
    return [(name, value or "not known") for name, value in facts]


def _parity(manifest: Manifest) -> str:
    parity = manifest.parity
    if parity is None or not parity.holds:
        return f"native, because of {parity.reason}" if parity and parity.reason else "native"
    return f"differs from the estimator by at most {parity.largest_difference:.2g} on {parity.rows} rows ({parity.tolerance:g} is allowed)"


def _described(tensor: Tensor) -> list[str]:
    return [tensor.name, tensor.dtype, str(tensor.shape), "yes" if tensor.nullable else "no"]
