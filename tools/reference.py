"""Writes docs/reference/commands.md and settings.md from the code; with --check says whether they are true.

Run it in the project's environment: .venv/bin/python tools/reference.py (make reference)
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import typer

from tidegate.cli.app import COMMANDS
from tidegate.settings import Settings

REFERENCE = Path(__file__).parents[1] / "docs" / "reference"


def commands_page() -> str:
    """Every command with its arguments and options."""
    lines = ["# Commands", "", "Written by `tools/reference.py` from the code; do not edit."]
    lines += [
        "`tidegate COMMAND --help` shows the same.",
        "",
        "Before the command stand the global options `-C FOLDER`, `--store`, `--as NAME` and `--now TIME`.",
    ]
    for name, entry in COMMANDS.items():
        room = importlib.import_module(f"tidegate.cli.{entry.module}")
        command: Any = typer.main.get_command(getattr(room, entry.attribute))
        lines += ["", f"## tidegate {name}", "", entry.help]
        lines += _describe(f"tidegate {name}", command, top=True)
    return "\n".join(lines) + "\n"


def _describe(path: str, command: Any, *, top: bool) -> list[str]:
    subcommands: dict[str, Any] = getattr(command, "commands", {})
    lines: list[str] = []
    if not subcommands or getattr(command, "invoke_without_command", False):
        if not top:
            lines += ["", f"### {path}", "", _sentence(command.help)]
        lines += _parameters(path, command)
    for name, subcommand in subcommands.items():
        lines += _describe(f"{path} {name}", subcommand, top=False)
    return lines


def _sentence(text: str | None) -> str:
    return " ".join((text or "").split("\f")[0].split())


def _parameters(path: str, command: Any) -> list[str]:
    context: Any = typer.Context(command, info_name=path)
    usage = f"{path} {' '.join(command.collect_usage_pieces(context))}"
    rows = [record for parameter in command.params if (record := parameter.get_help_record(context))]
    lines = ["", f"    {usage}"]
    if rows:
        lines += ["", "| option | meaning |", "|---|---|"]
        lines += [f"| `{_cell(option)}` | {_cell(meaning)} |" for option, meaning in rows]
    return lines


def _cell(text: str) -> str:
    return " ".join(str(text).replace("|", "\\|").split())


def settings_page() -> str:
    """Every setting, its variable, default and meaning."""
    lines = ["# Settings", "", "Written by `tools/reference.py` from the code; do not edit.", ""]
    lines += [
        "Who wins: flags, then `TIDEGATE_*` variables, then `tidegate.toml`, then `[tool.tidegate]` in `pyproject.toml`, then the"
    ]
    lines += ["default. `tidegate settings explain` shows every value and who set it.", ""]
    lines += ["| key | variable | default | meaning |", "|---|---|---|---|"]
    for name, field in Settings.model_fields.items():
        default = "worked out" if field.default_factory else f"`{field.default}`" if str(field.default) else "empty"
        lines.append(f"| `{name}` | `TIDEGATE_{name.upper()}` | {default} | {_cell(field.description or '')} |")
    return "\n".join(lines) + "\n"


def main() -> int:
    """Writes the pages, or with --check names those that are not true."""
    stale = 0
    for name, text in {"commands.md": commands_page(), "settings.md": settings_page()}.items():
        page = REFERENCE / name
        if "--check" not in sys.argv:
            page.write_text(text, encoding="utf-8")
        elif not page.exists() or page.read_text(encoding="utf-8") != text:
            print(f"docs/reference/{name} is not what the code says; run tools/reference.py")
            stale += 1
    return int(stale > 0)


if __name__ == "__main__":
    sys.exit(main())
