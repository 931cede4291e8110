"""``tidegate gate validate``: can these policies be followed? For editors, pre-commit and CI."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer

from tidegate.cli.console import Json, flags, next_command, print_json
from tidegate.errors import NotFoundError, TidegateError, UsageError
from tidegate.gate import load_check_policy, parse_model_policy
from tidegate.settings import FILE, load_project


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
        table = _read(path)
    except TidegateError as error:
        return _Found(str(path), [], [error.as_dict()])
    if path.name not in {FILE, "pyproject.toml"} and "models" not in table:
        try:
            return _Found(str(path), [load_check_policy(path).candidate], [])
        except TidegateError as error:
            return _Found(str(path), [], [error.as_dict()])
    errors: list[dict[str, str]] = []
    if path.name in {FILE, "pyproject.toml"}:
        try:
            load_project(path.resolve().parent)
        except TidegateError as error:
            errors.append(error.as_dict())
    tables: Any = table if path.name != "pyproject.toml" else table.get("tool", {}).get("tidegate", {})
    names: list[str] = []
    for name, policy in tables.get("models", {}).items():
        try:
            parse_model_policy(name, policy)
            names.append(name)
        except TidegateError as error:
            errors.append(error.as_dict())
    return _Found(str(path), names, errors)


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError:
        raise NotFoundError(
            "policy-not-found", f"no policy file {path}", fix="check its path, or write one: docs/reference/gate-policy.md"
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError("bad-toml", f"{path} is not valid TOML", why=str(error), fix="mend the line that is named") from None
