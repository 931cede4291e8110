"""Tables in files: which files are tables, reading them, and what one pass over their columns tells."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from contextlib import contextmanager
from pathlib import Path

import duckdb

from tidegate import frames
from tidegate.errors import BadInputError
from tidegate.frames import Connection, Relation, quote
from tidegate.records.dataset import ColumnProfile

_COLUMNAR = (".parquet", ".pq")
_TEXT = (".csv", ".tsv", ".txt", ".csv.gz")
_TABULAR = (*_COLUMNAR, ".csv", ".tsv", ".csv.gz")
_LONGEST = 200  # characters of a minimum or maximum that are kept
_NESTED = ("STRUCT", "MAP", "UNION", "BLOB", "BIT")


def is_table(path: str | Path) -> bool:
    """Whether a file's name says that it is a table: Parquet, CSV or TSV. A ``.txt`` may be anything."""
    return str(path).lower().endswith(_TABULAR)


def is_text(path: str | Path) -> bool:
    """Whether types are read out of text: CSV and its kin."""
    return str(path).lower().endswith(_TEXT)


def read_table(con: Connection, path: Path, *, text_columns: Iterable[str] = ()) -> Relation:
    """The rows of a Parquet or CSV file, lazily. In a CSV file ``text_columns`` stay text: ``007`` is no 7.

    Raises:
        NotFoundError: no such file.
        BadInputError: it is empty or cannot be read.
    """
    rows = frames.relation(con, path)
    wanted = set(text_columns) & set(rows.columns)
    guessed = {name for name, kind in zip(rows.columns, rows.types, strict=True) if name in wanted and str(kind) != "VARCHAR"}
    if not guessed or not is_text(path):
        return rows
    with reading(path):
        return con.read_csv(str(path), dtype=dict.fromkeys(guessed, "VARCHAR"))


def stage_table(con: Connection, path: Path, *, text_columns: Iterable[str] = ()) -> Relation:
    """Like ``read_table``, but a CSV file is read once, whole, into ``con``, which must be the caller's own.

    Parsed text is asked many questions here; and DuckDB 2.0 pushes a ``try_cast`` into its CSV reader as a plain cast, which
    then fails on the very values that are looked for.
    """
    rows = read_table(con, path, text_columns=text_columns)
    if not is_text(path):
        return rows
    with reading(path):
        rows.query("parsed", "CREATE TEMP TABLE staged AS SELECT * FROM parsed")
    return con.table("staged")


@contextmanager
def reading(where: str | Path) -> Generator[None]:
    """Tells a failure of DuckDB while it reads the data ``where`` as ours."""
    try:
        yield
    except duckdb.Error as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise BadInputError(
            "unreadable-file", f"{where} cannot be read as a table", why="; ".join(lines[:4]), fix="check what wrote it"
        ) from None


def profile(rows: Relation, *, where: str | Path = "the table") -> tuple[int, list[ColumnProfile]]:
    """Number of rows, and per column nulls, approximate distinct values, minimum and maximum: all in one pass.

    Raises:
        BadInputError: the data turns out to be unreadable on the way.
    """
    wanted = ["count(*)"]
    for name, kind in zip(rows.columns, rows.types, strict=True):
        column = quote(name)
        nested = str(kind).startswith(_NESTED) or str(kind).endswith("]")
        wanted += [f"count({column})", f"approx_count_distinct({column})"]
        wanted += (
            ["NULL", "NULL"]
            if nested
            else [f"left(min({column})::VARCHAR, {_LONGEST})", f"left(max({column})::VARCHAR, {_LONGEST})"]
        )
    with reading(where):
        (found,) = rows.aggregate(", ".join(wanted)).fetchall()
    count = int(found[0])
    columns = [
        ColumnProfile(
            name=name,
            type=str(kind),
            nulls=count - int(found[1 + 4 * i]),
            distinct=int(found[2 + 4 * i]),
            minimum=found[3 + 4 * i] or "",
            maximum=found[4 + 4 * i] or "",
        )
        for i, (name, kind) in enumerate(zip(rows.columns, rows.types, strict=True))
    ]
    return count, columns
