"""Runs a page of documentation as its reader would, block after block, in one empty folder.

    ```python     runs; all blocks of a page share their names; a ```text block right after it is what it prints
    ```console    lines that begin with `$ ` run in bash; the lines below a command are what it prints
    ```toml ...   must parse (toml, json, yaml, csv)
    ```text       a drawing, or the output of the python block above

`...` stands for anything, in a line or for lines. A comment right above a block says more about it:

    <!-- skip: reason -->     not run: it needs a network, a person, or minutes
    <!-- file: gate.toml -->  the block is written to this file instead
    <!-- exit: 3 -->          the block's last command ends with this code
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import yaml

_BLOCK = re.compile(
    r"(?:<!--\s*(?P<key>[a-z]+):\s*(?P<value>[^\n]*?)\s*-->\n\n?)?^```(?P<language>\w*)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
_PARSERS: dict[str, Callable[[str], Any]] = {
    "toml": tomllib.loads,
    "json": json.loads,
    "yaml": yaml.safe_load,
    "csv": lambda text: list(csv.reader(io.StringIO(text), strict=True)),
}
_SHOWN = {"", "text", "mermaid", "sql", "http"}


class Block(NamedTuple):
    """One fenced block: its language, text, line on the page, and the comment above it."""

    language: str
    text: str
    line: int
    key: str = ""
    value: str = ""


class PageError(AssertionError):
    """The page says what is not so."""


def read_blocks(page: str) -> list[Block]:
    """The fenced blocks of a page, in order."""
    return [
        Block(found["language"], found["text"], page[: found.start("text")].count("\n"), found["key"] or "", found["value"] or "")
        for found in _BLOCK.finditer(page)
    ]


def run_page(page: str, folder: Path) -> int:
    """Runs the blocks of ``page`` in ``folder``, which must be the working directory; returns how many did something.

    Raises:
        PageError: a block does not parse, fails, or prints something else than the page says.
    """
    blocks = read_blocks(page)
    names: dict[str, Any] = {"__name__": "__main__"}
    for index, block in enumerate(blocks):
        if block.key not in {"", "skip", "file", "exit"}:
            raise PageError(f"line {block.line}: nobody knows the comment {block.key!r}")
        if block.key == "skip":
            continue
        if block.key == "file":
            target = folder / block.value
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(block.text, encoding="utf-8")
        elif block.language == "python":
            following = blocks[index + 1] if index + 1 < len(blocks) and blocks[index + 1].language == "text" else None
            _run_python(block, following if following and not following.key else None, names, folder)
        elif block.language == "console":
            _run_console(block, folder)
        elif block.language in _PARSERS:
            _parse(block)
        elif block.language not in _SHOWN:
            raise PageError(f"line {block.line}: a block of {block.language!r} is not run; use python or console, or text")
    return sum(block.language not in _SHOWN and block.key != "skip" for block in blocks)


def _parse(block: Block) -> None:
    try:
        _PARSERS[block.language](block.text)
    except (ValueError, yaml.YAMLError, csv.Error) as error:
        raise PageError(f"line {block.line}: {error}") from None


def _run_python(block: Block, following: Block | None, names: dict[str, Any], folder: Path) -> None:
    file = folder / f"snippet_{block.line}.py"  # a real file: what reads its own source (pipelines do) finds it
    file.write_text(block.text, encoding="utf-8")
    printed = io.StringIO()
    try:
        with contextlib.redirect_stdout(printed):
            exec(compile(block.text, str(file), "exec"), names)  # running the page is the point
    except Exception as error:
        raise PageError(f"line {block.line}: {type(error).__name__}: {error}") from error
    finally:
        file.unlink()
    if following:
        _compare(following.text.splitlines(), printed.getvalue(), following.line)


def _run_console(block: Block, folder: Path) -> None:
    commands: list[tuple[str, list[str]]] = []
    for line in block.text.splitlines():
        if line.startswith("$ "):
            commands.append((line[2:], []))
        elif commands and commands[-1][0].endswith("\\"):
            commands[-1] = (commands[-1][0] + "\n" + line.removeprefix("> "), [])
        elif commands:
            commands[-1][1].append(line)
        elif line.strip():
            raise PageError(f"line {block.line}: a console block begins with a command: $ ...")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TIDEGATE_")}
    environment |= {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}", "NO_COLOR": "1", "COLUMNS": "110"}
    for index, (command, expected) in enumerate(commands):
        try:
            done = subprocess.run(
                ["bash", "-c", command],
                cwd=folder,
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                text=True,
                timeout=120,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise PageError(f"line {block.line}: `{command}` did not end in two minutes; skip it, with the reason") from None
        wanted = int(block.value) if block.key == "exit" and index == len(commands) - 1 else 0
        if done.returncode != wanted:
            raise PageError(f"line {block.line}: `{command}` ended with {done.returncode}, not {wanted}:\n{done.stdout}")
        _compare(expected, done.stdout, block.line)


def _compare(expected: list[str], printed: str, line: int) -> None:
    """Every expected line comes, in this order and without a gap, but where the page says `...`."""
    if not any(text.strip() for text in expected):
        return  # the page shows no output
    pattern = "".join(
        r"(?:[^\n]*\n)*?" if text.strip() == "..." else re.escape(text.rstrip()).replace(r"\.\.\.", r"[^\n]*") + r"[ \t]*\n"
        for text in expected
    )
    if not re.fullmatch(pattern, printed.rstrip("\n") + "\n"):
        raise PageError(f"line {line}: the page says\n" + "\n".join(expected) + f"\nbut it prints\n{printed}")
