"""What was served: Parquet parts by day of the event, ``monitoring/<model>/<day>/predictions-<id>.parquet``.

A part has the columns ``prediction_id``, ``model``, ``version``, ``event_at`` and ``served_at`` (TIMESTAMP, UTC),
``seconds``, and one column ``in.<name>`` per input and ``out.<name>`` per output, so that a reader of one feature
reads one column. Versions may differ in their inputs: parts are united by column name.

Who asks chooses the time that a request is about, and could choose a new day for each. So rows of many days at once share a part,
``monitoring/<model>/spread/predictions-<first day>_<last day>-<id>.parquet``, but for the days that most of them are about.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from tidegate import digest, frames
from tidegate.clock import DAY
from tidegate.monitoring.days import day_of, day_start, days_between, is_day, timestamp
from tidegate.records.ids import new_id
from tidegate.records.names import check_name
from tidegate.records.serving import Prediction
from tidegate.store.ports import Bucket

INPUT = "in."
OUTPUT = "out."
MOST_DAYS = 64
"""Days that get a part of their own in one append."""

_SPREAD = re.compile(r"/predictions-(\d{4}-\d{2}-\d{2})_(\d{4}-\d{2}-\d{2})-[^/]+\.parquet$")
_EMPTY = (
    "SELECT ''::VARCHAR AS prediction_id, ''::VARCHAR AS model, 0::BIGINT AS version, NULL::TIMESTAMP AS event_at, "
    "NULL::TIMESTAMP AS served_at, 0::DOUBLE AS seconds LIMIT 0"
)


class PredictionColumns(NamedTuple):
    """Predictions of one version as columns, a row each: what ``Prediction`` says one by one.

    Times are microseconds UTC. An input or output [n, k] becomes the columns ``NAME.0`` to ``NAME.<k-1>``; NaN is a missing number.
    """

    model: str
    version: int
    ids: list[str]
    event_at: NDArray[np.int64]
    served_at: NDArray[np.int64]
    seconds: NDArray[np.float64]
    inputs: frames.Columns
    outputs: frames.Columns


class PredictionLog:
    """The prediction log of one model. Safe from any number of threads and processes: parts are only ever added."""

    def __init__(self, bucket: Bucket, model: str) -> None:
        self._bucket = bucket
        self._model = check_name(model, "model")
        self._database: frames.Connection | None = None

    def append(self, predictions: Sequence[Prediction]) -> None:
        """Writes one part per day of ``event_at``; it is durable when this returns.

        A part's name is made of what it holds: to append the same list again after a failure writes nothing twice.
        """
        for day, members in groupby(sorted(predictions, key=lambda row: row.event_at), key=lambda row: day_of(row.event_at)):
            rows = list(members)
            self._write(day, _part_id([row.id for row in rows], min(row.served_at for row in rows)), _columns(rows))

    def append_columns(self, served: PredictionColumns) -> None:
        """Like ``append``, from columns: no Python object is made for a row but its id."""
        days = served.event_at // DAY
        found, rows = np.unique(days, return_counts=True)
        own = found[np.argsort(rows, kind="stable")[-MOST_DAYS:]]
        for day in own.tolist():
            self._append_rows(day_of(day * DAY), served, np.flatnonzero(days == day))
        if len(own) < len(found):
            rest = np.flatnonzero(~np.isin(days, own))
            first, last = (day_of(int(end(days[rest])) * DAY) for end in (np.min, np.max))
            self._append_rows("spread", served, rest, f"{first}_{last}-")

    def _append_rows(self, folder: str, served: PredictionColumns, rows: NDArray[np.intp], prefix: str = "") -> None:
        whole = len(rows) == len(served.ids)
        ids = served.ids if whole else [served.ids[row] for row in rows.tolist()]
        columns = _table(served, ids, slice(None) if whole else rows)
        self._write(folder, prefix + _part_id(ids, int(served.served_at[rows].min())), columns)

    def _write(self, folder: str, part: str, columns: Mapping[str, NDArray[Any]]) -> None:
        if self._database is None:  # kept: to open one costs more than to write a part
            self._database = frames.connect()
            # A server predicts beside this: its cores are not the log's. And DuckDB's threads, when they have been idle for half a
            # second, give back to the system what memory the whole process has free, which the server then has to ask for again.
            self._database.execute("SET threads = 1; SET async_threads = 0")
        with tempfile.TemporaryDirectory(prefix="tidegate-") as scratch, self._database.cursor() as con:
            path = Path(scratch, "part.parquet")
            frames.relation(con, columns).write_parquet(str(path), compression="snappy")
            self._bucket.put_if_absent(f"monitoring/{self._model}/{folder}/predictions-{part}.parquet", path)

    def days(self) -> list[str]:
        """The days that have predictions, in order."""
        prefix = f"monitoring/{self._model}/"
        names = (key.removeprefix(prefix).split("/") for key in self._bucket.keys(prefix))
        found = {parts[0] for parts in names if len(parts) == 2 and is_day(parts[0]) and parts[1].startswith("predictions-")}
        if spread := [str(self._bucket.local(key)) for key, _, _ in self._spread()]:
            with frames.connect() as con:
                days = con.read_parquet(spread, union_by_name=True)  # pyright: ignore[reportArgumentType]  (the stub knows one path only)
                found |= {day for (day,) in days.project("strftime(event_at, '%Y-%m-%d')").distinct().fetchall()}
        return sorted(found)

    def span(self) -> tuple[int, int] | None:
        """From midnight of the first day to midnight after the last one, in microseconds UTC; None if nothing was served."""
        days = self.days()
        return (day_start(days[0]), day_start(days[-1]) + DAY) if days else None

    def read(self, con: frames.Connection, start: int, end: int) -> frames.Relation:
        """The predictions about events in [start, end), microseconds UTC; lazy, in no order, without rows if there are none."""
        paths = self._parts(start, end)
        if not paths:
            return con.sql(_EMPTY)
        rows = con.read_parquet(paths, union_by_name=True)  # pyright: ignore[reportArgumentType]  (the stub knows one path only)
        return rows.filter(f"event_at >= {timestamp(start)} AND event_at < {timestamp(end)}")

    def _parts(self, start: int, end: int) -> list[str]:
        keys = (key for day in days_between(start, end) for key in self._bucket.keys(f"monitoring/{self._model}/{day}/"))
        spread = (key for key, first, last in self._spread() if day_start(first) < end and start < day_start(last) + DAY)
        return [str(self._bucket.local(key)) for key in (*keys, *spread) if key.rsplit("/", 1)[-1].startswith("predictions-")]

    def _spread(self) -> Iterator[tuple[str, str, str]]:
        """The parts of many days, each with the first and the last."""
        for key in self._bucket.keys(f"monitoring/{self._model}/spread/"):
            if match := _SPREAD.search(key):
                yield key, match[1], match[2]


def _part_id(ids: Sequence[str], served_at: int) -> str:
    content = digest.of_bytes("\n".join(ids).encode())
    return new_id(served_at, int(content, 16) & ((1 << 70) - 1))


def _table(served: PredictionColumns, ids: Sequence[str], rows: Any) -> dict[str, NDArray[Any]]:
    columns: dict[str, NDArray[Any]] = {
        "prediction_id": np.array(ids, dtype=object),
        "model": np.full(len(ids), served.model, dtype=object),
        "version": np.full(len(ids), served.version, dtype=np.int64),
        "event_at": served.event_at[rows].astype("datetime64[us]"),
        "served_at": served.served_at[rows].astype("datetime64[us]"),
        "seconds": served.seconds[rows],
    }
    for prefix, given in ((INPUT, served.inputs), (OUTPUT, served.outputs)):
        for name, values in given.items():
            parts = {name: values} if values.ndim == 1 else {f"{name}.{place}": each for place, each in enumerate(values.T)}
            columns |= {prefix + part: _masked(each[rows]) for part, each in parts.items()}
    return columns


def _masked(values: NDArray[Any]) -> NDArray[Any]:
    if values.dtype.kind != "f":
        return values
    missing = np.isnan(values)
    return np.ma.masked_array(values, mask=missing) if missing.any() else values


def _columns(rows: Sequence[Prediction]) -> dict[str, NDArray[Any]]:
    columns: dict[str, NDArray[Any]] = {
        "prediction_id": np.array([row.id for row in rows], dtype=object),
        "model": np.array([row.model for row in rows], dtype=object),
        "version": np.array([row.version for row in rows], dtype=np.int64),
        "event_at": np.array([row.event_at for row in rows], dtype="datetime64[us]"),
        "served_at": np.array([row.served_at for row in rows], dtype="datetime64[us]"),
        "seconds": np.array([row.seconds for row in rows], dtype=np.float64),
    }
    for prefix, dicts in ((INPUT, [row.inputs for row in rows]), (OUTPUT, [row.outputs for row in rows])):
        for name in _names(dicts):
            columns[prefix + name] = column_of([values.get(name) for values in dicts])
    return columns


def _names(dicts: Iterable[dict[str, Any]]) -> list[str]:
    return list(dict.fromkeys(name for values in dicts for name in values))


def column_of(values: Sequence[Any]) -> NDArray[Any]:
    """Scalars of one column as an array: numbers with a mask where they are None, else texts (other things as JSON)."""
    present = [value for value in values if value is not None]
    missing = np.array([value is None for value in values])
    if not present:
        return np.ma.masked_array(np.zeros(len(values)), mask=missing)
    if not any(isinstance(value, (str, bytes, list, tuple, dict, np.ndarray)) for value in present):
        found = np.asarray(present)
        if found.dtype.kind in "biuf" and found.ndim == 1:
            data = np.zeros(len(values), dtype=found.dtype)
            data[~missing] = found
            return np.ma.masked_array(data, mask=missing) if missing.any() else data
    return np.array([_text(value) for value in values], dtype=object)


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return msgspec.json.encode(value, enc_hook=_plain).decode()


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, (np.ndarray, np.generic)) else str(value)
