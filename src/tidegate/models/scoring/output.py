"""The output of a scoring: a part for each portion, put together at the end, so that there is a whole file or none.

predictions.parquet.partial/plan.json        what is being scored: an interrupted scoring of exactly this goes on where it was
predictions.parquet.partial/000007.parquet   the answers of a portion
predictions.parquet.partial/000007.json      their digest, and which rows were refused; written last
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Generator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import duckdb
import msgspec

from tidegate import digest as digests
from tidegate import frames
from tidegate.errors import ConflictError, TidegateError, UnavailableError, UsageError
from tidegate.frames import Columns, Connection, quote
from tidegate.models.scoring.rows import Answer, Refusal
from tidegate.models.scoring.table import NUMBER, Table, connected

ROW = "row"
"""The column that says which row of the input an answer is for, where no column of the input is kept."""

SUFFIXES = (".parquet", ".csv")


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a written part."""

    digest: str
    rows: int
    refused: list[Refusal]


class Parts:
    """The parts of one output in the folder beside it. One process at a time."""

    def __init__(self, folder: Path, keep: Sequence[str]) -> None:
        self.folder = folder
        self._keep = list(keep)

    def find(self, number: int) -> Part | None:
        """A part that an earlier scoring wrote whole."""
        path = self._path(number)
        try:
            part = digests.parsed(path.with_suffix(".json").read_bytes(), Part)
            return part if digests.of_file(path) == part.digest else None
        except (OSError, msgspec.MsgspecError):
            return None

    def write(self, con: Connection, answer: Answer, table: Table, first: int, last: int, *, offset: int) -> Part:
        """Writes a portion's answers beside the columns that are kept. ``offset`` is the number of rows in the files before."""
        path = self._path(answer.number)
        fresh = path.with_suffix(".tmp")
        with closing(con.cursor()) as own, writing(path):  # what is registered with it goes with it
            self._copy(own, answer.outputs | {NUMBER: answer.places + first}, table, (first, last), offset, fresh)
        part = Part(digest=digests.of_file(fresh), rows=len(answer.places), refused=answer.refused)
        fresh.replace(path)
        note = path.with_suffix(".note")
        note.write_bytes(msgspec.json.encode(part))
        note.replace(path.with_suffix(".json"))
        return part

    def merge(self, numbers: int, target: Path) -> None:
        """Puts all parts together into ``target``, in their order."""
        paths = ", ".join(frames.literal(str(self._path(number))) for number in range(numbers))
        options = "FORMAT csv, HEADER" if target.suffix == ".csv" else "FORMAT parquet, COMPRESSION zstd"
        fresh = self.folder / f"whole{target.suffix}"
        with connected(self.folder) as con, writing(target):
            con.execute("SET threads = 1")  # so that equal answers are equal bytes
            con.execute(f"COPY (FROM read_parquet([{paths}])) TO {frames.literal(str(fresh))} ({options})")
            with fresh.open("rb+") as file:
                os.fsync(file.fileno())
            fresh.replace(target)

    def _copy(self, con: Connection, answers: Columns, table: Table, span: tuple[int, int], offset: int, path: Path) -> None:
        named = [f"a.{quote(name)}" for name in answers if name != NUMBER]
        frames.relation(con, answers).create_view("answers")
        source = "answers a"
        shown = [f"a.{NUMBER} + {offset} AS {ROW}"]
        if self._keep:
            between = f"{NUMBER} BETWEEN {span[0]} AND {span[1]}"
            rows = con.read_parquet(str(table.path), file_row_number=True).filter(between)
            rows.project(", ".join([*map(quote, self._keep), NUMBER])).create_view("kept")
            source += f" JOIN kept k ON k.{NUMBER} = a.{NUMBER}"
            shown = [f"k.{quote(name)}" for name in self._keep]
        con.execute(
            f"COPY (SELECT {', '.join([*shown, *named])} FROM {source} ORDER BY a.{NUMBER}) "
            f"TO {frames.literal(str(path))} (FORMAT parquet, COMPRESSION zstd)"
        )

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:06}.parquet"


def check_output(target: Path, inputs: Sequence[Path]) -> None:
    """Refuses an output that could not be written, or would replace an input.

    Raises:
        UsageError: it is one of the inputs, a folder, in no folder, or neither Parquet nor CSV.
    """
    if target.suffix not in SUFFIXES:
        raise UsageError(
            "unknown-format",
            f"{target} is neither Parquet nor CSV",
            fix=f"name it {target.stem or 'predictions'}.parquet or .csv",
        )
    if target.is_dir() or not target.parent.is_dir():
        raise UsageError("bad-output", f"{target} cannot be written", why="it is a folder" if target.is_dir() else "its folder is not there", fix="name a file in a folder that exists")  # fmt: skip
    if target.resolve() in [path.resolve() for path in inputs]:
        raise UsageError(
            "bad-output", f"{target} is what is to be read", why="the predictions would replace it", fix="name another"
        )


@contextmanager
def working(target: Path, plan: dict[str, Any]) -> Generator[Path]:
    """The folder of parts beside ``target``, held by this process. What another plan left in it is removed.

    When the block ends well the folder goes, as when it is refused; else it stays for the same scoring to go on with.

    Raises:
        ConflictError: another process writes the same output.
    """
    folder = target.with_name(f"{target.name}.partial")
    with writing(target):
        folder.mkdir(exist_ok=True)
        held = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConflictError(
                "output-busy", f"another process is writing {target}", fix="wait for it, or choose another --output"
            ) from None
        known = digests.canonical(plan)
        note = folder / "plan.json"
        if not note.is_file() or note.read_bytes() != known:
            for path in folder.iterdir():
                shutil.rmtree(path) if path.is_dir() else path.unlink()
            with writing(target):
                note.write_bytes(known)
        try:
            yield folder
        except UnavailableError:
            raise
        except TidegateError:  # the same call would fail again: there is nothing to go on with
            shutil.rmtree(folder)
            raise
        shutil.rmtree(folder)
    finally:
        os.close(held)


@contextmanager
def writing(target: Path) -> Generator[None]:
    """Tells a disk that is full or read-only as ours."""
    try:
        yield
    except (OSError, duckdb.IOException, duckdb.OutOfMemoryException) as error:
        raise UnavailableError(
            "output-unwritable",
            f"{target} cannot be written",
            why=str(error).split("\n")[0][:300],
            fix="make room, or choose another --output; what is done is kept, and the same command goes on",
        ) from None
