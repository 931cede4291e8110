"""A summer of flights, asked about over HTTP in the order in which it happened, with labels that come when they came."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import orjson
from numpy.typing import NDArray

from tidegate import frames
from tidegate.clock import DAY, from_us, parse_time
from tidegate.demo.stage import MODEL, Advance
from tidegate.monitoring import Labels
from tidegate.store.ports import Bucket


class Question(NamedTuple):
    """The flights that are asked about in the same minute: rows [first, last) of the table."""

    asked_at: int
    first: int
    last: int


@dataclass
class Replay:
    """The rows in time order, and what came of asking. ``inputs`` are the model's columns, one value per flight."""

    inputs: dict[str, NDArray[Any]]
    asked_at: NDArray[np.int64]
    landed_at: NDArray[np.int64]
    """0 for a flight that never landed where it was meant to."""
    late: NDArray[np.float64]
    ids: dict[int, str] = field(default_factory=dict[int, str])
    requests: int = 0
    failed: list[str] = field(default_factory=list[str])
    versions: dict[str, int] = field(default_factory=dict[str, int])
    labelled: int = 0
    _reported: set[int] = field(default_factory=set[int])

    @staticmethod
    def of(table: frames.Columns, inputs: list[str]) -> Replay:
        """The replay of a table of ``flight_rows``."""
        landed = table["landed_at"].astype("datetime64[us]")
        return Replay(
            inputs={name: table[name] for name in inputs},
            asked_at=table["asked_at"].astype("datetime64[us]").astype(np.int64),
            landed_at=np.where(np.isnat(landed), 0, landed.astype(np.int64)),
            late=table["late"].astype(np.float64),
        )

    def questions(self, start: str, until: str) -> Iterator[Question]:
        """The questions of [start, until), in order."""
        first, last = np.searchsorted(self.asked_at, [parse_time(start), parse_time(until)])
        moments, starts = np.unique(self.asked_at[first:last], return_index=True)
        ends = [*starts[1:], last - first]
        for moment, begin, end in zip(moments.tolist(), starts.tolist(), ends, strict=True):
            yield Question(moment, int(first) + begin, int(first) + int(end))

    def ask(self, host: str, port: int, start: str, until: str, *, advance: Advance) -> None:
        """Asks the questions of [start, until), one after the other, and keeps every prediction's id."""
        connection = http.client.HTTPConnection(host, port, timeout=30)
        try:
            for question in self.questions(start, until):
                self._ask(connection, question)
                advance(question.last - question.first)
        finally:
            connection.close()

    def report_labels(self, bucket: Bucket, known_at: str) -> int:
        """Tells the monitor the outcome of every flight that has landed by now and was not told yet; returns how many."""
        now = parse_time(known_at)
        due = [row for row in self.ids if row not in self._reported and 0 < self.landed_at[row] <= now]
        if not due:
            return 0
        rows = np.array(due)
        added = Labels(bucket, MODEL).add(
            {
                "prediction_id": np.array([self.ids[row] for row in due], dtype=object),
                "label": self.late[rows],
                "known_at": self.landed_at[rows].astype("datetime64[us]"),
            }
        )
        self._reported.update(due)
        self.labelled += added
        return added

    def _ask(self, connection: http.client.HTTPConnection, question: Question) -> None:
        rows = slice(question.first, question.last)
        count = question.last - question.first
        body = orjson.dumps(
            {
                "inputs": [_tensor(name, values[rows], count) for name, values in self.inputs.items()],
                "parameters": {"event_time": question.asked_at},
            }
        )
        self.requests += 1
        try:
            connection.request("POST", f"/v2/models/{MODEL}/infer", body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            text = answer.read()
        except (OSError, http.client.HTTPException) as error:
            self.failed.append(f"{type(error).__name__}: {error}")
            connection.close()
            return
        if answer.status != 200:
            self.failed.append(f"{answer.status}: {text[:200].decode(errors='replace')}")
            return
        value = json.loads(text)
        version = str(value["model_version"])
        self.versions[version] = self.versions.get(version, 0) + count
        self.ids.update(zip(range(question.first, question.last), value["parameters"]["prediction_ids"], strict=True))


def _tensor(name: str, values: NDArray[Any], count: int) -> dict[str, Any]:
    if values.dtype.kind == "O":
        return {"name": name, "shape": [count], "datatype": "BYTES", "data": values.tolist()}
    numbers = values.astype(np.float64)
    return {
        "name": name,
        "shape": [count],
        "datatype": "FP32",
        "data": [None if np.isnan(number) else number for number in numbers.tolist()],
    }


def days(start: str, until: str) -> list[str]:
    """The midnights after ``start`` up to ``until``."""
    return [from_us(us).date().isoformat() for us in range(parse_time(start) + DAY, parse_time(until) + 1, DAY)]
