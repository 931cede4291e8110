"""The prediction log's way out of the server: a bounded queue and one thread that writes.

Nothing here ever blocks a response. When the queue is full, or the log cannot be written (a full disk), rows are
dropped and counted.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

from tidegate.errors import TidegateError
from tidegate.frames import Columns
from tidegate.records.serving import Prediction

FLUSH_SECONDS = 1.0
MAX_WAITING_ROWS = 100_000
BATCH_ROWS = 20_000

_log = logging.getLogger("tidegate.serving")


class Served(NamedTuple):
    """One answered request: its rows' ids, inputs and outputs, and when it was about, answered, and how long it took."""

    model: str
    version: int
    ids: list[str]
    event_at: int
    served_at: int
    seconds: float
    inputs: Columns
    outputs: Columns


class LogQueue:
    """Takes what was served and hands it on in batches.

    Args:
        append: Writes predictions durably (``monitoring.PredictionLog.append``); called from one thread only.
        max_waiting: Rows that may wait; more are dropped.
    """

    def __init__(self, append: Callable[[list[Prediction]], None], *, max_waiting: int = MAX_WAITING_ROWS) -> None:
        self.written = 0
        self.dropped = 0
        self.problem = ""
        """Why the last batch was not written; empty when it was."""
        self._append = append
        self._max_waiting = max_waiting
        self._queue: deque[Served] = deque()
        self._waiting = 0
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._stopping = False
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begins to write, in a thread of its own."""
        self._thread = threading.Thread(target=self._write, name="prediction-log", daemon=True)
        self._thread.start()

    def put(self, served: Served) -> bool:
        """Queues a request's rows; False if they were dropped."""
        rows = len(served.ids)
        with self._lock:
            if self._waiting + rows > self._max_waiting:
                self.dropped += rows
                return False
            self._waiting += rows
            self._queue.append(served)
            waiting = self._waiting
        if waiting >= BATCH_ROWS:
            self._wake.set()
        return True

    def stop(self) -> None:
        """Writes what waits, then ends."""
        self._stopping = True
        self._wake.set()
        if self._thread:
            self._thread.join(timeout=30)

    def flush(self) -> None:
        """Writes what waits now, in batches. Never raises."""
        while batch := self._take():
            try:
                self._append([row for served in batch for row in predictions(served)])
            except Exception as error:  # noqa: BLE001 - whatever the log does, serving goes on; the rows are counted as dropped
                with self._lock:
                    self.dropped += sum(len(served.ids) for served in batch)
                problem = f"{error.what} [{error.code}]" if isinstance(error, TidegateError) else type(error).__name__
                if problem != self.problem:
                    _log.warning("the prediction log drops rows: %s", problem)
                self.problem = problem
            else:
                self.written += sum(len(served.ids) for served in batch)
                self.problem = ""

    def _take(self) -> list[Served]:
        batch: list[Served] = []
        rows = 0
        with self._lock:
            while self._queue and rows < BATCH_ROWS:
                batch.append(self._queue.popleft())
                rows += len(batch[-1].ids)
            self._waiting -= rows
        return batch

    def _write(self) -> None:
        # It sleeps instead of being woken by every request: a wake-up would take the interpreter from the event loop.
        while not self._stopping:
            self._wake.wait(FLUSH_SECONDS)
            self._wake.clear()
            self.flush()
        self.flush()


def predictions(served: Served) -> list[Prediction]:
    """A request's rows as records; a matrix becomes one column ``NAME.0``, ``NAME.1``, ... each, a missing number None."""
    inputs, outputs = _plain(served.inputs), _plain(served.outputs)
    names, answers = list(inputs), list(outputs)
    given = list(zip(*inputs.values(), strict=True))
    found = list(zip(*outputs.values(), strict=True))
    return [
        Prediction(
            id=row_id,
            model=served.model,
            version=served.version,
            event_at=served.event_at,
            served_at=served.served_at,
            seconds=served.seconds,
            inputs=dict(zip(names, given[row], strict=True)),
            outputs=dict(zip(answers, found[row], strict=True)),
        )
        for row, row_id in enumerate(served.ids)
    ]


def _plain(columns: Columns) -> dict[str, list[Any]]:
    plain: dict[str, list[Any]] = {}
    for name, values in columns.items():
        parts = {name: values} if values.ndim == 1 else {f"{name}.{place}": values[:, place] for place in range(values.shape[1])}
        for part, column in parts.items():
            numbers: list[Any] = column.tolist()
            plain[part] = [None if number != number else number for number in numbers] if column.dtype.kind == "f" else numbers  # noqa: PLR0124 - NaN
    return plain
