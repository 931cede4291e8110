"""What turned out to be true: Parquet parts by day of knowledge, ``monitoring/<model>/labels/<day>/labels-<digest>.parquet``.

Labels come late, twice, and sometimes corrected. Nothing is ever changed: a row that is already there is dropped when it
is added, and a reader sees for every prediction the newest label that was known at the time it asks about.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from tidegate import digest, frames
from tidegate.errors import BadInputError
from tidegate.monitoring.days import day_of, days_between, timestamp
from tidegate.records.names import check_name
from tidegate.store.ports import Bucket

_COLUMNS = ("prediction_id", "label", "known_at")
_EMPTY = "SELECT ''::VARCHAR AS prediction_id, 0::DOUBLE AS label, NULL::TIMESTAMP AS known_at LIMIT 0"
_NEWEST_FIRST = "PARTITION BY prediction_id ORDER BY known_at DESC, label DESC"


class Labels:
    """The labels of one model's predictions. Safe from any number of threads and processes: parts are only ever added."""

    def __init__(self, bucket: Bucket, model: str) -> None:
        self._bucket = bucket
        self._folder = f"monitoring/{check_name(model, 'model')}/labels"

    def add(self, frame: Any) -> int:
        """Stores labels and returns how many rows were new; they are durable when this returns.

        Args:
            frame: Any dataframe or file with ``prediction_id``, ``label`` (a number or a text) and ``known_at``: when
                the label was known, as a time in UTC. Rows that are stored already count for nothing.

        Raises:
            BadInputError: a column is missing, a value is null or NaN, or ``known_at`` is no time; nothing was stored.
        """
        with tempfile.TemporaryDirectory(prefix="tidegate-") as folder, frames.connect() as con:
            _checked(con, frame).create("given")
            _refuse_gaps(con)
            spans = con.execute("SELECT DISTINCT epoch_us(date_trunc('day', known_at)) FROM given ORDER BY 1").fetchall()
            return sum(self._add_day(con, day_of(int(us)), Path(folder)) for (us,) in spans)

    def _add_day(self, con: frames.Connection, day: str, folder: Path) -> int:
        con.execute(
            f"CREATE OR REPLACE TEMP TABLE part AS SELECT DISTINCT prediction_id, label, known_at FROM given "
            f"WHERE known_at::DATE = {frames.literal(day)}::DATE"
        )
        stored = self._parts([day])
        if stored:
            con.execute(
                "CREATE OR REPLACE TEMP TABLE part AS SELECT * FROM part p WHERE NOT EXISTS "
                "(SELECT 1 FROM read_parquet(?, union_by_name=true) s WHERE s.prediction_id = p.prediction_id "
                "AND s.known_at = p.known_at AND s.label::VARCHAR = p.label::VARCHAR)",
                [stored],
            )
        rows = con.table("part").order("prediction_id, known_at")
        count = rows.shape[0]
        if count:
            path = folder / f"{day}.parquet"
            rows.write_parquet(str(path), compression="zstd")
            self._bucket.put_if_absent(f"{self._folder}/{day}/labels-{digest.of_file(path)}.parquet", path)
        return count

    def read(self, con: frames.Connection, start: int, end: int) -> frames.Relation:
        """The labels that became known in [start, end), one row per prediction: the newest one; lazy, in no order.

        Columns: ``prediction_id``, ``label``, ``known_at``, and ``disputed``: whether other labels were given in that time.
        """
        rows = self.given(con, start, end).sql_query()
        return con.sql(
            "SELECT *, min(label) OVER same <> max(label) OVER same AS disputed "
            f"FROM ({rows}) WINDOW same AS (PARTITION BY prediction_id) QUALIFY row_number() OVER ({_NEWEST_FIRST}) = 1"
        )

    def conflicts(self, con: frames.Connection, start: int, end: int) -> frames.Relation:
        """Predictions that were given different labels in [start, end), with the newest one, which counts."""
        return self.read(con, start, end).filter("disputed").order("prediction_id")

    def given(self, con: frames.Connection, start: int, end: int) -> frames.Relation:
        """Every label that became known in [start, end), also those that a newer one replaced; lazy, in no order."""
        paths = self._parts(days_between(start, end))
        if not paths:
            return con.sql(_EMPTY)
        rows = con.read_parquet(paths, union_by_name=True)  # pyright: ignore[reportArgumentType]  (the stub knows one path only)
        return rows.filter(f"known_at >= {timestamp(start)} AND known_at < {timestamp(end)}")

    def _parts(self, days: list[str]) -> list[str]:
        return [str(self._bucket.local(key)) for day in days for key in self._bucket.keys(f"{self._folder}/{day}/")]


def _checked(con: frames.Connection, frame: Any) -> frames.Relation:
    given = frames.relation(con, frame)
    missing = [name for name in _COLUMNS if name not in given.columns]
    if missing:
        raise BadInputError(
            "labels-column-missing",
            f"the labels have no column {', '.join(missing)}",
            why=f"found: {', '.join(given.columns)}",
            fix="give prediction_id, label and known_at (when the label was known, a time in UTC)",
        )
    kinds = {name: str(kind) for name, kind in zip(given.columns, given.types, strict=True)}
    if kinds["known_at"] not in {"TIMESTAMP", "DATE"}:
        raise BadInputError(
            "labels-time",
            f"known_at is no time but {kinds['known_at']}",
            why="only labels that were known by the end of the waiting time count",
            fix="give it as a timestamp in UTC",
        )
    # BOOLEAN and TINYINT labels would not unite with the other parts' numbers.
    label = "label::BIGINT" if kinds["label"] == "BOOLEAN" else "label"
    return given.project(f"prediction_id::VARCHAR AS prediction_id, {label} AS label, known_at::TIMESTAMP AS known_at")


def _refuse_gaps(con: frames.Connection) -> None:
    kind = str(con.table("given").types[1])
    broken = "label IS NULL" + (" OR NOT isfinite(label)" if kind in {"DOUBLE", "FLOAT"} else "")
    row = con.execute(f"SELECT count(*) FROM given WHERE prediction_id IS NULL OR known_at IS NULL OR {broken}").fetchone()
    if row and row[0]:
        raise BadInputError(
            "labels-null",
            f"{row[0]:,} of the labels have a null or NaN",
            why="a label that is not known yet is simply not given; nothing was stored",
            fix="leave these rows out and add them when they are known",
        )
