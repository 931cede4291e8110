"""Any dataframe in and out.

In: a path to Parquet or CSV, pandas, Polars, PyArrow, DuckDB, anything with the Arrow PyCapsule interface, or a mapping
of column names to arrays (a two-dimensional one becomes a column of lists). Out: a DuckDB relation, which turns into all of them (``.df()``, ``.pl()``,
``.to_arrow_table()``) and streams what does not fit into memory; or NumPy columns.
"""

from __future__ import annotations

import csv
import gzip
import re
import zlib
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

import duckdb
import numpy as np
from numpy.typing import NDArray

from tidegate.errors import BadInputError, NotFoundError

Relation: TypeAlias = duckdb.DuckDBPyRelation
Connection: TypeAlias = duckdb.DuckDBPyConnection
Columns: TypeAlias = dict[str, NDArray[Any]]

_PARQUET = {".parquet", ".pq"}
_CSV = {".csv", ".tsv", ".txt"}
_DELIMITERS = ",;\t|"
_LONGEST = 1_000_000
"""Characters of a line that are looked at."""


class _ArrowStream:
    """Hides a frame's type from DuckDB, which would otherwise ask for PyArrow before it takes a Polars frame."""

    def __init__(self, frame: Any) -> None:
        self._frame = frame

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        return self._frame.__arrow_c_stream__(requested_schema)


def connect() -> Connection:
    """A DuckDB connection in memory that keeps time in UTC, never reaches for the network and prints no progress."""
    con = duckdb.connect(
        ":memory:",
        config={"TimeZone": "UTC", "autoinstall_known_extensions": "false", "autoload_known_extensions": "true"},
    )
    con.execute("SET enable_progress_bar = false")  # in notebooks and `python -c` it is on, on stdout
    return con


def relation(con: Connection, source: Any) -> Relation:
    """A relation over ``source`` (see the module's text for what it may be), evaluated lazily on ``con``.

    Raises:
        NotFoundError: ``source`` is a path and nothing is there.
        BadInputError: ``source`` is no frame, or a file that cannot be read as one.
    """
    if isinstance(source, (str, Path)):
        return _plain_times(_from_file(con, Path(source)))
    if isinstance(source, Mapping):
        return _from_mapping(con, source)
    if isinstance(source, duckdb.DuckDBPyRelation):
        try:
            return _plain_times(con.from_arrow(_ArrowStream(source)))
        except duckdb.Error:
            return _plain_times(source)  # it lives on this very connection, which cannot stream from itself
    if type(source).__module__.partition(".")[0] == "pandas" and hasattr(source, "columns"):
        return _from_pandas(con, source)
    if hasattr(source, "__arrow_c_stream__"):
        return _plain_times(con.from_arrow(_ArrowStream(source)))
    raise BadInputError(
        "not-a-frame",
        f"a {type(source).__name__} is not a dataframe",
        why="frames are pandas, Polars, PyArrow, DuckDB, a mapping of arrays, or a path to Parquet or CSV",
        fix="convert it to one of these",
    )


def numbered(con: Connection, path: Path) -> Relation:
    """The rows of a Parquet file and, in the column ``file_row_number``, their numbers from 0: a range of them is read by itself."""
    return _plain_times(con.read_parquet(str(path), file_row_number=True))


def _from_file(con: Connection, path: Path) -> Relation:
    if not path.exists():
        raise NotFoundError("file-not-found", f"no file {path}", fix="check the path")
    if path.stat().st_size == 0:
        raise BadInputError("empty-file", f"{path} is empty (0 bytes)", fix="check what wrote it")
    try:
        if path.suffix.lower() in _PARQUET:
            return con.read_parquet(str(path))
        if path.suffix.lower() in _CSV or path.name.lower().endswith(".csv.gz"):
            frame = con.read_csv(str(path))
            if len(frame.columns) == 1 and (cut := _cut(path)):
                raise cut
            return _without_doubles(frame, path)
    except duckdb.Error as error:
        raise unreadable(error, path) from None
    raise BadInputError(
        "unknown-format",
        f"{path} is neither Parquet nor CSV",
        why=f"its name ends in {path.suffix!r}",
        fix="name it .parquet or .csv",
    )


def unreadable(error: duckdb.Error, *sources: Any) -> BadInputError:
    """The error for rows that cannot be read, or not to their end. It says which file is cut, if one is."""
    for source in sources:
        if isinstance(source, (str, Path)) and (cut := _cut(Path(source))):
            return cut
    what = str(sources[0]) if len(sources) == 1 and isinstance(sources[0], (str, Path)) else "the rows"
    why = str(error).split("\n")[0][:300]
    return BadInputError("unreadable-file", f"{what} cannot be read", why=why, fix="check what wrote it")


def _cut(path: Path) -> BadInputError | None:
    """An error if a CSV file ends within a line, before its last column: DuckDB would doubt the delimiter instead."""
    name = path.name.lower()
    if path.suffix.lower() not in _CSV and not name.endswith(".csv.gz"):
        return None
    fix = "write it again, and wait until it is whole"
    try:
        with _opened(path) as file:
            header = file.readline(_LONGEST)
            if not name.endswith(".gz"):
                file.seek(max(file.tell(), path.stat().st_size - _LONGEST))
            last = next(iter(deque(file, maxlen=1)), "")
    except EOFError:
        return BadInputError("unreadable-file", f"{path} seems to be cut: it ends within its compressed bytes", fix=fix)
    except (OSError, zlib.error):
        return None
    widths = {mark: [len(next(csv.reader([line], delimiter=mark), [])) for line in (header, last)] for mark in _DELIMITERS}
    wanted, there = max(widths.values())
    if last.endswith("\n") or not last or there >= wanted:
        return None
    what = f"{path} seems to be cut: its last line ends within, with {there} of {wanted} columns"
    return BadInputError("unreadable-file", what, fix=fix)


def _opened(path: Path) -> Any:
    opened: Any = gzip.open if path.name.lower().endswith(".gz") else open
    return opened(path, "rt", encoding="utf-8-sig", newline="", errors="replace")


def _without_doubles(frame: Relation, path: Path) -> Relation:
    """Refuses a header that names a column twice: DuckDB would call the second one ``name_1``."""
    if not any(re.search(r"_\d+$", name) for name in frame.columns):
        return frame
    with _opened(path) as file:
        text = file.readline(_LONGEST)
    for delimiter in _DELIMITERS:
        names = [name.strip() for name in next(csv.reader([text], delimiter=delimiter), [])]
        doubled = [name for name in dict.fromkeys(names) if names.count(name) > 1]
        if len(names) == len(frame.columns) and doubled:
            raise BadInputError(
                "duplicate-columns",
                f"{path} names the column {doubled[0]!r} {names.count(doubled[0])} times",
                fix="give every column a name of its own",
            )
    return frame


def _plain_times(frame: Relation) -> Relation:
    """Times as TIMESTAMP: microseconds, UTC by the house's rule (DuckDB needs pytz to hand out a TIMESTAMPTZ)."""
    odd = {
        name
        for name, kind in zip(frame.columns, frame.types, strict=True)
        if str(kind).startswith("TIMESTAMP") and str(kind) != "TIMESTAMP"
    }
    if not odd:
        return frame
    return frame.project(
        ", ".join(f"{quote(name)}::TIMESTAMP AS {quote(name)}" if name in odd else quote(name) for name in frame.columns)
    )


def _from_pandas(con: Connection, frame: Any) -> Relation:
    """DuckDB reads pandas by itself; pandas would stream Arrow only where PyArrow is installed, which is no dependency."""
    rows = _plain_times(_registered(con, f"frame_{id(frame):x}", frame))
    enums = {name for name, kind in zip(rows.columns, rows.types, strict=True) if str(kind).startswith("ENUM")}
    if not enums:
        return rows
    return rows.project(
        ", ".join(f"{quote(name)}::VARCHAR AS {quote(name)}" if name in enums else quote(name) for name in rows.columns)
    )


def _from_mapping(con: Connection, columns: Mapping[str, Any]) -> Relation:
    arrays = {str(name): _forward(np.asanyarray(values)) for name, values in columns.items()}  # asarray would drop a mask
    lengths = {name: len(values) if values.ndim in {1, 2} else f"shape {values.shape}" for name, values in arrays.items()}
    if not arrays or len(set(lengths.values())) != 1:
        raise BadInputError(
            "ragged-columns", f"the columns differ in length: {lengths}", fix="give every column the same number of rows"
        )
    flat: dict[str, Any] = {}
    shown: list[str] = []
    for name, values in arrays.items():
        if values.ndim == 1:
            flat[name] = values
            shown.append(quote(name))
            continue
        if not values.shape[1]:
            raise BadInputError("ragged-columns", f"{name!r} has no columns", fix="give it at least one")
        parts = {f"{name} {place} of {values.shape[1]}": values[:, place] for place in range(values.shape[1])}
        flat |= parts
        shown.append(f"array_value({', '.join(map(quote, parts))}) AS {quote(name)}")
    rows = _registered(con, f"columns_{id(flat):x}", flat)
    return (
        rows
        if len(flat) == len(arrays) and all(values.ndim == 1 for values in arrays.values())
        else rows.project(", ".join(shown))
    )


def _forward(values: NDArray[Any]) -> NDArray[Any]:
    """DuckDB cannot read an array that is turned round, such as ``values[::-1]``."""
    return values.copy() if min(values.strides, default=0) < 0 else values


def _registered(con: Connection, view: str, frame: Any) -> Relation:
    try:
        con.register(view, frame)
        return con.view(view)
    except duckdb.Error as error:
        raise BadInputError(
            "not-a-frame",
            f"a column of this {type(frame).__name__} cannot be read",
            why=str(error).split("\n")[0],
            fix="frames hold numbers, text, times and true/false",
        ) from None


def to_columns(frame: Relation) -> Columns:
    """All rows as NumPy arrays, one per column: nulls are NaN in float columns and None in object columns.

    An integer or boolean column that has nulls comes as float64 with NaN, a timestamp as datetime64[us] with NaT.
    """
    return {name: plain(values) for name, values in frame.fetchnumpy().items()}


def plain(values: Any) -> NDArray[Any]:
    """A NumPy array without a mask: masked places become NaN, NaT or None."""
    if not isinstance(values, np.ma.MaskedArray):
        return np.asarray(values)
    masked: Any = values
    if not masked.mask.any():
        return np.asarray(masked.data)
    if masked.dtype.kind in "iub":
        return np.asarray(masked.astype(np.float64).filled(np.nan))
    if masked.dtype.kind == "f":
        return np.asarray(masked.filled(np.nan))
    if masked.dtype.kind in "mM":
        return np.asarray(masked.filled(np.datetime64("NaT") if masked.dtype.kind == "M" else np.timedelta64("NaT")))
    values_out = np.array(masked.data, dtype=object)
    values_out[masked.mask] = None  # filled(None) would mean "the default fill value"
    return values_out


def quote(name: str) -> str:
    """A column or table name as SQL takes it."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A text as a SQL literal."""
    return "'" + text.replace("'", "''") + "'"


def write_parquet(frame: Relation, path: Path) -> int:
    """Writes the rows to ``path`` as Parquet (zstd) and returns how many there are."""
    frame.write_parquet(str(path), compression="zstd")
    return _count(path)


def _count(path: Path) -> int:
    with connect() as con:
        row = con.execute("SELECT sum(num_rows) FROM parquet_file_metadata(?)", [str(path)]).fetchone()
    return int(row[0]) if row and row[0] is not None else 0
