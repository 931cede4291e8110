"""A file to be scored as portions of its rows, read one after the other with little memory.

Parquet is read where it lies, if its row groups are small enough to be read by themselves. Text, and Parquet with large groups,
is first rewritten into a scratch file; there text becomes the types that the model takes, and what cannot become one is
remembered as a problem of its row.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import numpy as np
from numpy.typing import NDArray

from tidegate import frames
from tidegate.data.table import is_text, reading
from tidegate.errors import BadInputError
from tidegate.frames import Columns, Connection, Relation, quote
from tidegate.models.scoring.rows import Portion, Problem
from tidegate.records.model import Tensor
from tidegate.records.names import nearest

PORTION = 61_440
"""Most rows of a portion: half of a row group as DuckDB writes them."""
NUMBER = "file_row_number"
_VALUES = 4_000_000
_LEAST = 2_048
_MEMORY = "1GB"
_PROBLEM = "tidegate: what is wrong with this row"
_NUMBERS = (
    "TINYINT",
    "SMALLINT",
    "INTEGER",
    "BIGINT",
    "HUGEINT",
    "UTINYINT",
    "USMALLINT",
    "UINTEGER",
    "UBIGINT",
    "FLOAT",
    "DOUBLE",
)


class Table(NamedTuple):
    """A readable Parquet file with the rows of the file ``name``: in columns of ``parts`` are the model's inputs."""

    file: int
    name: str
    path: Path
    rows: int
    parts: dict[str, list[str]]
    """By input: the columns that hold it, more than one where a matrix is spread over ``NAME.0``, ``NAME.1``, ..."""
    staged: bool


@contextmanager
def connected(scratch: Path) -> Generator[Connection]:
    """A connection that uses little memory and spills into ``scratch``."""
    with frames.connect() as con:
        con.execute(f"SET memory_limit = '{_MEMORY}'")
        con.execute(f"SET temp_directory = {frames.literal(str(scratch / 'spill'))}")
        yield con


def open_table(file: int, path: Path, name: str, inputs: Sequence[Tensor], keep: Sequence[str], scratch: Path) -> Table:
    """Looks at a file's columns and makes it readable in portions.

    Raises:
        BadInputError: it cannot be read, lacks an input or a column to keep, or an input has a type that the model cannot take.
    """
    with connected(scratch) as con, reading(name):
        relation = frames.relation(con, path)
        types = {column: str(kind) for column, kind in zip(relation.columns, relation.types, strict=True)}
        parts = {tensor.name: _parts(tensor, types, name) for tensor in inputs}
        for column in keep:
            if column not in types:
                raise BadInputError("no-such-column", f"{name} has no column {column!r}", fix=nearest(column, list(types)))
        if is_text(path):
            return _staged(con, _typed(con, path, inputs, parts, keep), file, name, parts, scratch)
        for tensor in inputs:
            _check_types(tensor, {part: types[part] for part in parts[tensor.name]}, name)
        groups = _row_groups(con, path)
        if max(groups, default=0) > 4 * PORTION:
            wanted = dict.fromkeys([*(part for each in parts.values() for part in each), *keep])
            return _staged(con, relation.project(", ".join(map(quote, wanted))), file, name, parts, scratch)
        return Table(file, name, path, sum(groups), parts, staged=False)


def ranges(table: Table) -> Iterator[tuple[int, int]]:
    """First and last row numbers of portions; one begins where a row group does, if the groups are small enough."""
    columns = sum(map(len, table.parts.values()))
    most = max(_LEAST, min(PORTION, _VALUES // max(columns, 1)))
    with frames.connect() as con:
        groups = _row_groups(con, table.path)
    start = end = 0
    for rows in groups:
        if end > start and end - start + rows > most:
            yield start, end - 1
            start = end
        end += rows
        while end - start > most:
            yield start, start + most - 1
            start += most
    if end > start or not end:  # a file without rows is one portion, so that the output has its columns
        yield start, end - 1


def read_portion(con: Connection, table: Table, inputs: Sequence[Tensor], number: int, first: int, last: int) -> Portion:
    """The rows from ``first`` to ``last``, both counted from 0 and included."""
    wanted = [part for each in table.parts.values() for part in each]
    with reading(table.name):
        rows = frames.numbered(con, table.path).filter(f"{NUMBER} BETWEEN {first} AND {last}")
        read = frames.to_columns(rows.project(", ".join(map(quote, [*wanted, *([_PROBLEM] if table.staged else [])]))))
    noted = read.pop(_PROBLEM, np.empty(0, dtype=object))
    problems: dict[int, Problem] = {place: ("wrong-type", text) for place, text in enumerate(noted.tolist()) if text is not None}
    columns: Columns = {}
    for tensor in inputs:
        parts = table.parts[tensor.name]
        if len(parts) > 1:
            columns[tensor.name] = np.column_stack([read[part] for part in parts])
        else:
            columns[tensor.name] = _matrix(tensor, read[parts[0]], problems) if tensor.shape[1] > 1 else read[parts[0]]
    return Portion(number, table.file, first, columns, problems)


def _parts(tensor: Tensor, types: dict[str, str], name: str) -> list[str]:
    """The columns of an input: the one of its name, or the columns of a matrix as the prediction log writes them."""
    width = tensor.shape[1]
    spread = [f"{tensor.name}.{place}" for place in range(width)]
    if tensor.name in types:
        return [tensor.name]
    if width > 1 and all(part in types for part in spread):
        return spread
    raise BadInputError(
        "missing-feature",
        f"{name} has no column {tensor.name!r}, which the model takes",
        why=f"its columns are {', '.join(list(types)[:12])}{', ...' if len(types) > 12 else ''}",
        fix=nearest(tensor.name, list(types))
        if width == 1
        else f"give a column of lists of {width} numbers, or the columns {spread[0]} to {spread[-1]}",
    )


def _check_types(tensor: Tensor, types: dict[str, str], name: str) -> None:
    """Columns of Parquet have a type: text where the model takes numbers is wrong in every row."""
    for column, kind in types.items():
        text = kind == "VARCHAR" or kind.startswith("ENUM")
        nested = kind.endswith("]") and tensor.shape[1] > 1
        fits = text if tensor.dtype == "string" else kind == "BOOLEAN" or kind.startswith(("DECIMAL", *_NUMBERS))
        if not nested and (not fits or (tensor.dtype == "bool" and kind != "BOOLEAN")):
            raise BadInputError(
                "wrong-type",
                f"the column {column!r} of {name} is {kind}, the model takes {tensor.dtype}",
                fix="convert it where the file is written, or give CSV, whose text is read as what the model takes",
            )


def _typed(con: Connection, path: Path, inputs: Sequence[Tensor], parts: dict[str, list[str]], keep: Sequence[str]) -> Relation:
    """The rows of a text file, the inputs in the model's types, and beside them what could not become one."""
    texts = {part for each in parts.values() for part in each}
    rows = con.read_csv(str(path), dtype=dict.fromkeys(texts, "VARCHAR"), sample_size=-1)
    shown: list[str] = []
    wrong: list[str] = []
    for tensor in inputs:
        for part in parts[tensor.name]:
            value = f"nullif(trim({quote(part)}), '')"  # through a function: DuckDB 2.0 would push a bare cast into its reader
            if tensor.dtype == "string":
                shown.append(f"{quote(part)} AS {quote(part)}")
                continue
            made = _cast(value, tensor)
            shown.append(f"{made} AS {quote(part)}")
            what = frames.literal(f"{part!r} is no {'whole number' if tensor.dtype.startswith('int') else tensor.dtype}")
            wrong.append(f"WHEN {value} IS NOT NULL AND {made} IS NULL THEN {what}")
    problem = f"CASE {' '.join(wrong)} END" if wrong else "NULL::VARCHAR"
    others = [quote(column) for column in keep if column not in texts]
    return rows.project(", ".join([*shown, *others, f"{problem} AS {quote(_PROBLEM)}"]))


def _cast(value: str, tensor: Tensor) -> str:
    if tensor.shape[1] > 1:
        return f"TRY_CAST({value} AS DOUBLE[])"
    if tensor.dtype == "bool":
        return f"TRY_CAST({value} AS BOOLEAN)"
    if tensor.dtype.startswith("int"):  # a cast of 1.5 would round it
        kind = "INTEGER" if tensor.dtype == "int32" else "BIGINT"
        return f"CASE WHEN TRY_CAST({value} AS DOUBLE) = TRY_CAST({value} AS {kind}) THEN TRY_CAST({value} AS {kind}) END"
    return f"TRY_CAST({value} AS DOUBLE)"


def _staged(con: Connection, rows: Relation, file: int, name: str, parts: dict[str, list[str]], scratch: Path) -> Table:
    if _PROBLEM not in rows.columns:
        rows = rows.project(f"*, NULL::VARCHAR AS {quote(_PROBLEM)}")
    path = scratch / f"input-{file:04}.parquet"
    rows.write_parquet(str(path), compression="zstd", row_group_size=PORTION)
    return Table(file, name, path, sum(_row_groups(con, path)), parts, staged=True)


def _row_groups(con: Connection, path: Path) -> list[int]:
    try:
        found = con.execute(
            "SELECT any_value(row_group_num_rows) FROM parquet_metadata(?) GROUP BY row_group_id ORDER BY row_group_id",
            [str(path)],
        ).fetchall()
    except duckdb.Error as error:
        raise BadInputError(
            "unreadable-file", f"{path} cannot be read", why=str(error).split("\n")[0], fix="check what wrote it"
        ) from None
    return [int(row[0]) for row in found]


def _matrix(tensor: Tensor, values: NDArray[Any], problems: dict[int, Problem]) -> NDArray[Any]:
    """A column of lists as a matrix; a list of another length is a problem of its row."""
    width = tensor.shape[1]
    if values.ndim == 2:
        return values
    rows = np.zeros((len(values), width), dtype=np.float64)
    for place, value in enumerate(values.tolist()):
        found = np.ma.filled(np.ma.asarray(value if value is not None else [], dtype=np.float64), np.nan)
        if found.shape != (width,):
            problems.setdefault(place, ("wrong-shape", f"{tensor.name!r} has {found.size} values, the model takes {width}"))
        else:
            rows[place] = found
    return rows
