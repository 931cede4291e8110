"""The prediction log's way out of the server: a bounded queue and one thread that writes.

Nothing here ever blocks a response. While the log cannot be written (a full disk, a bucket that is away), rows wait; when the queue
is full, rows are dropped and counted. The thread works on whole columns: what it does for a row in Python, the event loop has to wait for.
"""

from __future__ import annotations

import logging
import os
import threading
from array import array
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tidegate.errors import TidegateError, UnavailableError
from tidegate.frames import Columns
from tidegate.monitoring.prediction_log import PredictionColumns

FLUSH_SECONDS = 1.0
MAX_WAITING_ROWS = 100_000
MAX_WAITING_BYTES = 128 * 1024 * 1024
BATCH_ROWS = 20_000
_NICE = 10

_log = logging.getLogger("tidegate.serving")


class Served(NamedTuple):
    """What one call of a model answered: inputs and outputs by name, and of each request its rows, event time and seconds.

    It waits for a second, in few pieces: small objects that stay leave holes between those that go, and the next requests' memory lies
    all over the place. So ``ids``, one for each row, are one text, a line each.
    """

    model: str
    version: int
    ids: str
    total: int
    """Rows in all."""
    rows: array[int]
    event_at: array[int]
    served_at: int
    seconds: array[float]
    inputs: Columns
    outputs: Columns


class LogQueue:
    """Takes what was served and hands it on in batches.

    Args:
        append: Writes predictions of one version durably (``monitoring.PredictionLog.append_columns``); called from one thread only.
        max_waiting: Rows that may wait; more are dropped, as is what needs more than ``MAX_WAITING_BYTES``.
    """

    def __init__(self, append: Callable[[PredictionColumns], None], *, max_waiting: int = MAX_WAITING_ROWS) -> None:
        self.written = 0
        self.dropped = 0
        self.problem = ""
        """Why the last batch was not written; empty when it was."""
        self._append = append
        self._max_waiting = max_waiting
        self._queue: deque[tuple[int, Served]] = deque()
        self._waiting = 0
        self._again: list[list[Served]] = []  # calls of one version each that could not be written
        self._bytes = 0
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._stopping = False
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begins to write, in a thread of its own."""
        self._thread = threading.Thread(target=self._write, name="prediction-log", daemon=True)
        self._thread.start()

    def put(self, served: Served) -> bool:
        """Queues the rows of a call; False if they were dropped."""
        rows, size = served.total, _size(served.inputs) + _size(served.outputs)
        with self._lock:
            if self._waiting + rows > self._max_waiting or self._bytes + size > MAX_WAITING_BYTES:
                self.dropped += rows
                return False
            before = self._waiting
            self._waiting += rows
            self._bytes += size
            self._queue.append((size, served))
        if before < BATCH_ROWS <= before + rows:
            self._wake.set()
        return True

    def stop(self) -> None:
        """Writes what waits, then ends."""
        self._stopping = True
        self._wake.set()
        if self._thread:
            self._thread.join(timeout=30)
        if lost := self.dropped + self._waiting:
            _log.warning("the prediction log lost %d rows", lost)

    def flush(self) -> None:
        """Writes what waits now, in batches; what comes meanwhile waits for the next time, so that parts are few. Never raises.

        What cannot be written while the surroundings fail is tried again the next time, but for the last time: then it is dropped.
        """
        again, self._again = self._again, []
        self._hand_on_all(again)
        left = 0 if self._again else self._waiting
        while left > 0 and (batch := self._take()):
            left -= sum(served.total for served in batch)
            versions: dict[tuple[str, int], list[Served]] = {}
            for served in batch:
                versions.setdefault((served.model, served.version), []).append(served)
            self._hand_on_all(versions.values())
            if self._again:
                return

    def _hand_on_all(self, groups: Iterable[list[Served]]) -> None:
        # Tried again are the same rows together: by them a part is known, and nothing is written twice.
        self._again += [calls for calls in groups if not self._hand_on(calls)]

    def _hand_on(self, calls: list[Served]) -> bool:
        """Writes calls of one version, or drops them; False if they are to be tried again."""
        rows = sum(served.total for served in calls)
        try:
            self._append(columns_of(calls))
        except Exception as error:  # noqa: BLE001 - whatever the log does, serving goes on
            again = isinstance(error, UnavailableError) and not self._stopping
            code = error.code if isinstance(error, TidegateError) else type(error).__name__
            if not self.problem.endswith(f"[{code}]"):  # told once, not every second with the name of another part
                _log.warning("the prediction log cannot be written: %s", error)
            self.problem = f"{error.what if isinstance(error, TidegateError) else 'an error of the server'} [{code}]"
            if not again:
                with self._lock:
                    self.dropped += rows
            return not again
        self.written += rows
        self.problem = ""
        return True

    def _take(self) -> list[Served]:
        batch: list[Served] = []
        rows = 0
        with self._lock:
            while self._queue and rows < BATCH_ROWS:
                size, served = self._queue.popleft()
                batch.append(served)
                rows += served.total
                self._bytes -= size
            self._waiting -= rows
        return batch

    def _write(self) -> None:
        # On Linux threads have a niceness of their own: where cores are few, answers go first.
        with suppress(OSError, AttributeError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
        # It sleeps instead of being woken by every request: a wake-up would take the interpreter from the event loop.
        while not self._stopping:
            self._wake.wait(FLUSH_SECONDS)
            self._wake.clear()
            self.flush()
        self.flush()


def columns_of(calls: Sequence[Served]) -> PredictionColumns:
    """The rows of calls of one version, one after the other."""
    first = calls[0]
    rows = _put_together([served.rows for served in calls])
    return PredictionColumns(
        first.model,
        first.version,
        "\n".join([served.ids for served in calls]).split("\n"),
        np.repeat(_put_together([served.event_at for served in calls]), rows),
        np.repeat([served.served_at for served in calls], [served.total for served in calls]),
        np.repeat(_put_together([served.seconds for served in calls]), rows),
        _joined([served.inputs for served in calls]),
        _joined([served.outputs for served in calls]),
    )


def _size(columns: Columns) -> int:
    """Bytes that columns take, texts with what they say."""
    size = 0
    for values in columns.values():
        size += values.nbytes
        if values.dtype.kind == "O":
            size += sum([len(text) for text in values.reshape(-1).tolist() if text is not None])
    return size


def _put_together(parts: Sequence[array[Any]]) -> NDArray[Any]:
    return np.frombuffer(b"".join(parts), dtype=parts[0].typecode)


def _joined(parts: Sequence[Columns]) -> Columns:
    return {name: _concatenated([columns[name] for columns in parts]) for name in parts[0]}


def _concatenated(parts: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """[n] or [n, k]: one value per row may be written as [n] in one request and as [n, 1] in the next."""
    if {values.ndim for values in parts} != {1}:
        parts = [values.reshape(len(values), -1) for values in parts]
    found = np.concatenate(parts)
    return found.reshape(-1) if found.ndim == 2 and found.shape[1] == 1 else found
