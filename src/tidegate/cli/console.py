"""How the command line speaks: tables, progress, errors, JSON. Plain when nobody watches."""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Table
from rich.text import Text

from tidegate.cli.flags import flags, open_workspace

__all__ = [
    "Json",
    "colour",
    "counted",
    "flags",
    "next_command",
    "open_workspace",
    "print_csv",
    "print_json",
    "print_section",
    "print_table",
    "progress",
    "rows",
    "transfer",
]

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]


def print_json(value: Any) -> None:
    """Prints a record or plain value as one JSON document on standard output."""
    typer.echo(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]], *, empty: str = "nothing yet") -> None:
    """A table; rich on a terminal, aligned plain text otherwise."""
    if not rows:
        typer.echo(f"{title}: {empty}" if title else empty)
        return
    table = Table(title=title or None, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*[escape(str(cell)) for cell in row])
    out = Console(soft_wrap=False)
    if out.is_terminal:
        out.print(table)
        return
    with (plain := Console(width=200)).capture() as text:
        plain.print(table)
    typer.echo("\n".join(line.rstrip() for line in text.get().splitlines()))


def print_section(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]], *, empty: str = "nothing yet") -> None:
    """A table below another one, apart from it."""
    typer.echo("")
    print_table(title, columns, rows, empty=empty)


def print_csv(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """The same as CSV (RFC 4180, but lines end as everywhere here)."""
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)


def colour(name: str) -> str | None:
    """A colour for typer, which leaves it out where nobody watches; none where NO_COLOR is set."""
    return None if Console().no_color else name


def counted(number: int, noun: str) -> str:
    """``1 file``, ``2,000 files``. The noun must take an s."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def next_command(command: str) -> None:
    """Ends a command by naming the one that usually follows."""
    if sys.stdout.isatty():
        typer.secho(f"next: {command}", dim=True)
    else:
        typer.echo(f"next: {command}")


@contextmanager
def progress(label: str, total: float | None = None) -> Generator[Callable[[float], None]]:
    """A progress bar on standard error while a block runs; gives a function that advances it. Silent without a terminal."""
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
        disable=not sys.stderr.isatty(),
    )
    with bar:
        task = bar.add_task(label, total=total)
        yield lambda amount=1.0: bar.advance(task, amount)


@contextmanager
def transfer(label: str) -> Generator[Callable[[int, int], None]]:
    """A bar of bytes on standard error while a block runs; gives a function of (bytes moved, bytes in all)."""
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        console=Console(stderr=True),
        transient=True,
        disable=not sys.stderr.isatty(),
    )
    with bar:
        task = bar.add_task(label, total=None)
        yield lambda moved, total: bar.update(task, completed=moved, total=total)


@contextmanager
def rows(label: str) -> Generator[Callable[[int, int], None]]:
    """A bar of rows, with rows a second and the time that is left, while a block runs; gives a function of (rows done, rows in all)."""
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _RowsPerSecond(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
        disable=not sys.stderr.isatty(),
    )
    with bar:
        task = bar.add_task(label, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


class _RowsPerSecond(ProgressColumn):
    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed:,.0f} rows/s" if speed else "", style="progress.data.speed")
