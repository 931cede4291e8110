"""``tidegate data``: snapshots of data, and the contracts that data must keep."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tidegate.cli.console import Json, next_command, open_workspace, print_json, print_section, print_table, transfer
from tidegate.clock import format_time
from tidegate.data import CheckResult, check_file, load_contract
from tidegate.data.check import enforce
from tidegate.digest import short
from tidegate.errors import IntegrityError
from tidegate.records.dataset import Snapshot

app = typer.Typer(help="Dataset snapshots and contracts.", no_args_is_help=True, rich_markup_mode=None, add_completion=False)

Ref = Annotated[str, typer.Argument(metavar="REF", help="Such as flights@3, or flights for the latest.")]
_UNITS = ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"))


@app.command()
def snapshot(
    source: Annotated[Path, typer.Argument(help="A file or a folder. It is read, never changed.")],
    name: Annotated[str, typer.Argument(help="The dataset's name.")],
    contract: Annotated[Path | None, typer.Option(help="A data contract (ODCS, YAML) that the table must keep.")] = None,
    message: Annotated[str, typer.Option("--message", "-m", help="What is new about it.")] = "",
    as_json: Json = False,
) -> None:
    """Store a file or folder as the next snapshot. Equal content is the snapshot that is there already."""
    datasets = open_workspace().datasets
    before = {each.number for each in datasets.list(name)}
    with transfer("snapshot") as told:
        taken = datasets.snapshot(source, name, contract=contract, message=message, progress=told)
    if as_json:
        print_json(taken)
        return
    typer.echo(f"{taken.ref} was there already: nothing has changed" if taken.number in before else _line(taken))
    next_command(f"tidegate data show {taken.ref}")


@app.command("list")
def list_snapshots(name: Annotated[str, typer.Argument(help="Only this dataset.")] = "", as_json: Json = False) -> None:
    """Snapshots, newest first."""
    found = open_workspace().datasets.list(name)
    if as_json:
        print_json(found)
        return
    rows = [
        [each.ref, format_time(each.created_at), len(each.files), _size(each.size), _rows(each), short(each.digest), each.message]
        for each in found
    ]
    print_table("", ["snapshot", "taken", "files", "size", "rows", "digest", "message"], rows, empty="no snapshot yet")
    next_command(f"tidegate data show {found[0].ref}" if found else "tidegate data snapshot SOURCE NAME")


@app.command()
def show(ref: Ref, as_json: Json = False) -> None:
    """One snapshot: its files and, for a table, its columns."""
    datasets = open_workspace().datasets
    found = datasets.get(ref)
    if as_json:
        print_json(found)
        return
    contract = datasets.contract(found)
    facts = [
        ["taken", f"{format_time(found.created_at)} by {found.author or 'nobody named'}"],
        ["digest", found.digest],
        ["files", f"{len(found.files):,}, {_size(found.size)}"],
        ["rows", _rows(found)],
        ["contract", contract.title if contract else "none"],
    ]
    print_table("", [found.ref, found.message], facts)
    if found.columns:
        later = contract.later_columns if contract else frozenset[str]()
        rows = [
            [column.name, column.type, f"{column.nulls:,}", f"~{column.distinct:,}", column.minimum, column.maximum,
             "known later" if column.name in later else ""]
            for column in found.columns
        ]  # fmt: skip
        print_section("", ["column", "type", "nulls", "distinct", "min", "max", ""], rows)
    else:
        print_section("", ["file", "size", "digest"], [[each.path, _size(each.size), short(each.digest)] for each in found.files])
    typer.echo("")
    next_command(f"tidegate data verify {found.ref}")


@app.command()
def verify(ref: Ref, as_json: Json = False) -> None:
    """Hash every file of a snapshot again. Exit 1 if one is changed or missing."""
    datasets = open_workspace().datasets
    found = datasets.get(ref)
    problems = datasets.verify(found)
    if as_json:
        print_json({"snapshot": found.ref, "files": len(found.files), "problems": problems})
        raise typer.Exit(1 if problems else 0)
    if problems:
        raise IntegrityError(
            "snapshot-damaged",
            f"{found.ref}: {len(problems)} of {_files(found)} not as recorded",
            why="\n".join(problems),
            fix="restore the objects from a backup, or take a new snapshot from the source",
        )
    typer.echo(f"{found.ref}: {_files(found)} as recorded")


@app.command()
def restore(
    ref: Ref, target: Annotated[Path, typer.Argument(help="A folder; nothing in it is overwritten.")], as_json: Json = False
) -> None:
    """Write a snapshot's files into a folder, each one verified."""
    datasets = open_workspace().datasets
    found = datasets.get(ref)
    with transfer("restore") as told:
        datasets.restore(found, target, progress=told)
    if as_json:
        print_json({"snapshot": found.ref, "target": str(target), "files": [each.path for each in found.files]})
    else:
        typer.echo(f"{found.ref}: {_files(found)} ({_size(found.size)}) restored to {target}")


@app.command()
def check(
    file: Annotated[Path, typer.Argument(help="A Parquet or CSV file.")],
    contract: Annotated[Path, typer.Option(help="A data contract (ODCS, YAML).")],
    as_json: Json = False,
) -> None:
    """Check a file against a contract, without any store. Exit 1 if the contract is broken."""
    declared = load_contract(contract)
    result = check_file(file, declared)
    if as_json:
        print_json({"ok": result.ok, **_plain(result)})
        raise typer.Exit(0 if result.ok else 1)
    for violation in result.violations:
        if not violation.blocks:
            typer.echo(f"note: [{violation.check}] {violation.message}")
    enforce(result, declared, where=str(file))
    typer.echo(f"{file}: {result.rows:,} rows keep the contract {result.contract} ({result.checks} checks)")
    next_command(f"tidegate data snapshot {file} NAME --contract {contract}")


def _plain(result: CheckResult) -> dict[str, object]:
    return {"contract": result.contract, "rows": result.rows, "checks": result.checks, "violations": result.violations}


def _line(taken: Snapshot) -> str:
    table = f", {taken.rows:,} rows" if taken.rows is not None else ""
    return f"{taken.ref}: {_files(taken)}, {_size(taken.size)}{table}, digest {short(taken.digest)}"


def _files(found: Snapshot) -> str:
    return "1 file" if len(found.files) == 1 else f"{len(found.files):,} files"


def _rows(found: Snapshot) -> str:
    return "" if found.rows is None else f"{found.rows:,}"


def _size(count: int) -> str:
    for unit, name in _UNITS:
        if count >= unit:
            return f"{count / unit:.1f} {name}"
    return f"{count} B"
