"""``tidegate model``: versions and their packages."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tidegate.cli.console import Json, counted, next_command, open_workspace, print_json, print_section, print_table
from tidegate.cli.model_folder import card, diff, export_version, import_folder, roles_of, verdicts_of
from tidegate.cli.model_transfer import pull_version, push_version, sign, trusted_keys
from tidegate.clock import format_time
from tidegate.digest import short
from tidegate.errors import BadInputError
from tidegate.models.card import lineage_facts
from tidegate.models.comparing import parity_text
from tidegate.models.declared import allowed_text
from tidegate.models.signature import synthetic_row
from tidegate.models.signing import find_signatures, read_trusted_keys, require_signature
from tidegate.records.model import ModelVersion, Tensor

app = typer.Typer(help="Model versions and their packages.", no_args_is_help=True, rich_markup_mode=None, add_completion=False)

Version = Annotated[str, typer.Argument(metavar="MODEL@VERSION", help="Such as delay@12, delay@latest or delay@champion.")]

app.command("diff")(diff)
app.command("card")(card)
app.command("export")(export_version)
app.command("import")(import_folder)
app.command("sign")(sign)
app.command("push")(push_version)
app.command("pull")(pull_version)


@app.command("list")
def list_versions(
    name: Annotated[str, typer.Argument(metavar="MODEL", show_default="every model")] = "", as_json: Json = False
) -> None:
    """Versions, newest first."""
    workspace = open_workspace()
    versions = workspace.models.list(name)
    if name and not versions:
        workspace.models.get(name)  # says which name is near
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
    workspace = open_workspace()
    found = workspace.version(version)
    roles, verdicts = roles_of(workspace, found), verdicts_of(workspace, found)
    if as_json:
        told = [{"verdict": each.verdict, "snapshot": each.snapshot, "receipt": each.receipt, "at": each.at} for each in verdicts]
        print_json({"digest": found.digest, "manifest": found.manifest, "roles": roles, "verdicts": told})
        return
    manifest = found.manifest
    print_table("", [found.ref, manifest.description], _facts(found, roles))
    columns = ["input", "type", "shape", "may be missing", "unit", "allowed"]
    signature = manifest.signature
    sections = [
        ("takes", columns, [_described(tensor) for tensor in signature.inputs], "not known"),
        ("gives", ["output", *columns[1:3]], [_described(tensor)[:3] for tensor in signature.outputs], "not known"),
        ("files", ["path", "bytes", "SHA-256"], [[file.path, f"{file.size:,}", file.digest] for file in manifest.files], "none"),
        ("requirements", ["distribution", "version"], [line.split("==") for line in manifest.requirements], "not known"),
        (
            "verdicts",
            ["verdict", "on", "at", "receipt"],
            [[each.verdict, each.snapshot, format_time(each.at), short(each.receipt)] for each in verdicts],
            "none yet",
        ),
    ]
    for title, heading, rows, empty in sections:
        print_section(title, heading, rows, empty=empty)
    typer.echo("")
    next_command(f"tidegate gate {found.ref}")


@app.command()
def verify(
    version: Version,
    key: Annotated[
        list[str] | None, typer.Option(metavar="FILE", help="A public key, one of which must have signed it; repeatable.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Hash a version's manifest and files again, and check its signature. Exit 1 if anything is missing or changed.

    The keys are those given, else those of the model's policy; without any, no signature is asked for.
    """
    workspace = open_workspace()
    found = workspace.version(version)
    trusted = read_trusted_keys(key, Path()) if key else trusted_keys(workspace, found.name)
    signatures = find_signatures(workspace.store.bucket, found)
    signer = require_signature(signatures, found, trusted) if trusted else None
    problems = workspace.models.verify(found)
    if as_json:
        ids = [signature.key_id for signature in signatures]
        told = {"version": found.ref, "digest": found.digest, "problems": problems, "signatures": ids}
        print_json(told | {"signed_by": signer.id if signer else ""})
    else:
        if signer:
            typer.echo(f"{found.ref} is signed by {signer.name}")
        elif signatures:
            keys = ", ".join(sorted({short(each.key_id) for each in signatures}))
            typer.echo(f"{found.ref} says it is signed by {keys}: to hold it against a key you trust, --key FILE")
        for problem in problems:
            typer.echo(f"problem: {problem}")
        typer.echo(f"{found.ref}: {counted(len(problems), 'problem')}" if problems else f"{found.ref}: all as registered")
        next_command(f"tidegate model load-check {found.ref}" if not problems else "tidegate store verify")
    raise typer.Exit(1 if problems else 0)


@app.command("load-check")
def load_check(
    version: Version,
    allow_code: Annotated[bool, typer.Option("--allow-code", help="Also if loading it runs code that came with it.")] = False,
    as_json: Json = False,
) -> None:
    """Load a version as a server would (digests first), and let it answer one made-up row."""
    workspace = open_workspace()
    found = workspace.version(version)
    if found.manifest.loads_code and allow_code:
        typer.echo(f"loading {found.ref} now runs code that came with it ({found.manifest.format})", err=True)
    predictor = workspace.models.load(found, allow_code=allow_code)
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
    next_command(f"tidegate gate {found.ref}")


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


def _facts(version: ModelVersion, roles: list[str]) -> list[tuple[str, str]]:
    manifest = version.manifest
    changed = {None: "", True: " with uncommitted changes", False: ""}[manifest.lineage.git_dirty]
    facts = [
        ("digest", version.digest),
        ("stands as", ", ".join(roles) or "registered, serving nowhere"),
        ("registered", f"{format_time(manifest.created_at)} by {manifest.author or 'unknown'}"),
        ("task", manifest.task + (f", classes {', '.join(manifest.classes)}" if manifest.classes else "")),
        ("format", manifest.format + (" (runs code when loaded)" if manifest.loads_code else "")),
        ("size", f"{manifest.size:,} bytes in {counted(len(manifest.files), 'file')}"),
        ("parity", parity_text(manifest)),
        *lineage_facts(manifest, changed),
    ]
    return [(name, value or "not known") for name, value in facts]


def _described(tensor: Tensor) -> list[str]:
    missing = "yes" if tensor.nullable else "no"
    return [tensor.name, tensor.dtype, str(tensor.shape), missing, tensor.unit, allowed_text(tensor)]
