"""A run while it runs: ``with tidegate.run("delay") as run: run.params(depth=6); run.log(loss=0.3, step=1)``."""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tidegate.clock import Clock
from tidegate.errors import BadInputError, ConflictError, TidegateError, UsageError
from tidegate.records.run import MetricPoint, Run, RunState
from tidegate.store import put_object
from tidegate.store.journal import Journal, Record, read_journal
from tidegate.store.ports import Bucket, RunStore

_SYNC_SECONDS = 1.0
_INGEST_EVERY = 5
"""Rounds of the background thread between two ingests: a killed run's curve is at most this many seconds behind."""


class ActiveRun:
    """Records one run. ``log`` may be called from any thread; leaving the ``with`` block ends the run.

    Logged points go to the run's journal and from there into the store, in batches, by a thread of its own: a store that
    is slow or away never stops training.
    """

    def __init__(self, run: Run, *, runs: RunStore, bucket: Bucket, journal_folder: Path, clock: Clock) -> None:
        self.id = run.id
        self.experiment = run.experiment
        self._runs = runs
        self._bucket = bucket
        self._clock = clock
        self._writer = f"{run.id}-1"
        self._journal = Journal(journal_folder / f"{self._writer}.journal")
        self._seq = 0
        self._step = -1
        self._ingested = 0
        self._ended = threading.Event()
        self._ingesting = threading.Lock()
        self._logging = threading.Lock()
        self._thread = threading.Thread(target=self._work, name=f"tidegate-run-{run.id}", daemon=True)
        self._thread.start()

    def params(self, **params: Any) -> None:
        """Adds parameters: what is set before training and describes the whole run.

        Raises:
            ConflictError: a parameter already has another value.
        """
        self._runs.annotate(self.id, params={key: str(value) for key, value in params.items()})

    def tag(self, **tags: Any) -> None:
        """Adds or replaces tags."""
        self._runs.annotate(self.id, tags={key: str(value) for key, value in tags.items()})

    def log(self, *, step: int | None = None, **values: float) -> None:
        """Logs metric values at a step (one more than the last, if none is given). When it returns, a kill loses nothing.

        Raises:
            BadInputError: a value is no number.
        """
        if self._ended.is_set():
            raise ConflictError("run-ended", f"run {self.id} has ended", why="a run ends once", fix="log inside the with block")
        now = self._clock.now()
        at = step if step is not None else self._step + 1
        try:
            points = [MetricPoint(name, int(at), now, float(value)) for name, value in values.items()]
        except (TypeError, ValueError):
            raise BadInputError(
                "metric-not-a-number",
                f"metrics are numbers, not {values!r}",
                why="a series has one float per step",
                fix="log texts as tags or parameters, arrays as artifacts",
            ) from None
        with self._logging:
            self._step = int(at)
            self._seq += 1
            self._journal.append(Record(self._seq, points))

    def artifact(self, source: str | Path | bytes, name: str = "") -> str:
        """Stores a copy of a file (or of bytes, then with a name) with the run and returns its SHA-256.

        Raises:
            UsageError: bytes without a name, or no such file.
        """
        payload = source if isinstance(source, bytes) else Path(source)
        label = name or (payload.name if isinstance(payload, Path) else "")
        if isinstance(payload, Path) and not payload.is_file():
            raise UsageError("file-not-found", f"no file {payload}", fix="check the path")
        if not label:
            raise UsageError(
                "artifact-unnamed",
                "bytes need a name",
                why="a file's name is taken, bytes have none",
                fix='artifact(data, "plot.png")',
            )
        stored = put_object(self._bucket, payload)
        self._runs.annotate(self.id, artifacts={label: stored})
        return stored

    def finish(self, state: RunState = RunState.FINISHED) -> None:
        """Takes in what was logged and ends the run. A second call does nothing.

        Raises:
            TidegateError: the store cannot be reached; the journal is kept, and what was logged is safe in it.
        """
        if self._ended.is_set():
            return
        self._ended.set()
        self._thread.join()
        try:
            self._ingest()
            self._runs.finish(self.id, state, self._clock.now())
            self._journal.path.unlink(missing_ok=True)
        finally:
            # Only now: as long as the journal is open, and so locked, nobody takes this run for a crashed one.
            self._journal.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if error is not None:
            self.tag(error=f"{type(error).__name__}: {error}"[:2000])
        self.finish(RunState.FAILED if error is not None else RunState.FINISHED)

    def _work(self) -> None:
        rounds = 0
        while not self._ended.wait(_SYNC_SECONDS):
            rounds += 1
            try:
                self._journal.sync()
                if rounds % _INGEST_EVERY == 0:
                    self._ingest()
            except (TidegateError, OSError) as error:
                # Training goes on; the journal keeps the points and the end of the run tries again.
                print(f"tidegate: run {self.id}: {error}", file=sys.stderr)  # noqa: T201 - a background thread has no caller to tell

    def _ingest(self) -> None:
        with self._ingesting:
            records = list(read_journal(self._journal.path, after=self._ingested))
            if records:
                points = [point for record in records for point in record.points]
                self._runs.ingest(self.id, self._writer, records[-1].seq, points)
                self._ingested = records[-1].seq
