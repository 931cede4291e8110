"""``tidegate gate validate``: can these policies be followed? For editors, pre-commit and CI."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from tidegate.cli.console import Json, flags, next_command, print_json
from tidegate.errors import TidegateError
from tidegate.gate import parse_check_policy, parse_model_policy, read_policy_file
from tidegate.settings import FILE, load_project, table_at


class _Found(NamedTuple):
    file: str
    models: list[str]
    errors: list[dict[str, str]]


def validate(
    files: Annotated[
        list[Path] | None, typer.Argument(metavar="FILE", help="tidegate.toml, pyproject.toml or policy files.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Read policies as the gate would, and judge nothing. Needs no store. Ends with 2 if one cannot be followed."""
    found = [_of_file(path) for path in files or [flags().folder / FILE]]
    wrong = [error for item in found for error in item.errors]
    if as_json:
        print_json({"files": [item._asdict() for item in found], "valid": not wrong})
    else:
        for item in found:
            if not item.errors:
                typer.echo(f"{item.file}: {', '.join(item.models) or 'no policy'} can be followed")
            for error in item.errors:
                typer.echo(f"{item.file}: error: {error['what']}", err=True)
                for label in ("why", "fix", "code"):
                    if error[label]:
                        typer.echo(f"  {label:>4}: {error[label]}", err=True)
        if not wrong:
            next_command("tidegate gate MODEL@VERSION, or: tidegate gate check PREDICTIONS")
    raise typer.Exit(2 if wrong else 0)


def _of_file(path: Path) -> _Found:
    """A project's file has a table ``models``, or ``tool.tidegate``; any other is the policy of a file of predictions."""
    try:
        table = read_policy_file(path)
    except TidegateError as error:
        return _Found(str(path), [], [error.as_dict()])
    if path.name not in {FILE, "pyproject.toml"} and "models" not in table:
        try:
            return _Found(str(path), [parse_check_policy(table).candidate], [])
        except TidegateError as error:
            return _Found(str(path), [], [error.as_dict()])
    errors: list[dict[str, str]] = []
    if path.name in {FILE, "pyproject.toml"}:
        try:
            load_project(path.resolve().parent)
        except TidegateError as error:
            errors.append(error.as_dict())
    try:
        tables = table_at(table, "tool", "tidegate") if path.name == "pyproject.toml" else table
        policies = table_at(tables, "models")
    except TidegateError as error:
        return _Found(str(path), [], [error.as_dict()])
    names: list[str] = []
    for name, policy in policies.items():
        try:
            parse_model_policy(name, policy, tables.get("roles"))
            names.append(name)
        except TidegateError as error:
            errors.append(error.as_dict())
    return _Found(str(path), names, errors)
