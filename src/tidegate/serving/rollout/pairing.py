"""Beside the answers: the model that did not answer is asked as well, and both are kept. Nothing here ever holds a response up.

A request is queued with what it was answered; one thread asks the other model and writes parts. When the queue is full, or the
bucket is away, rows are dropped and counted.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from math import inf
from time import monotonic, perf_counter
from typing import NamedTuple, Protocol

import numpy as np

from tidegate.clock import SECOND
from tidegate.errors import TidegateError
from tidegate.frames import Columns
from tidegate.serving.handle import Handle
from tidegate.serving.rollout.live import Live, check_outputs, values_of
from tidegate.serving.rollout.pairs import NOT_ASKED, Pair
from tidegate.stats.estimate import Floats

MAX_WAITING_ROWS = 20_000
MAX_PART_REQUESTS = 20_000
STOP_SECONDS = 5.0
"""So long a server that stops goes on asking about what waits; the rest is dropped and counted."""
_LOOK_SECONDS = 0.05
_LEAST_FLUSH, _MOST_FLUSH = 1.0, 60.0
_ROUNDS_OF_AGE = 100

_log = logging.getLogger("tidegate.serving")


class Answered(NamedTuple):
    """A request as it was answered: outputs are None where a model failed, or was not asked (then ``failed`` is NaN)."""

    live: Live
    champion: Handle
    ids: list[str]
    served_at: int
    point: float
    assigned: bool
    columns: Columns
    by_champion: Columns | None = None
    by_candidate: Columns | None = None
    champion_failed: float = NOT_ASKED
    candidate_failed: float = NOT_ASKED
    seconds: float = NOT_ASKED


class Write(Protocol):
    """Writes pairs of one rollout durably (``pairs.write_pairs``); called from one thread only."""

    def __call__(self, rollout: int, pairs: Sequence[Pair], *, dropped: int) -> None: ...


def flush_seconds(age: float) -> float:
    """How long pairs may wait to be written, at an age of the step in seconds: a hundredth of it, from 1 to 60.

    So what is new is seen at once, and what runs for weeks does not fill the bucket with small files.
    """
    return min(max(age / _ROUNDS_OF_AGE, _LEAST_FLUSH), _MOST_FLUSH)


class Pairing:
    """The queue of one model and its thread. ``put`` never waits and never raises."""

    def __init__(self, write: Write, now: Callable[[], int], *, max_waiting: int = MAX_WAITING_ROWS) -> None:
        self.written = 0
        self.dropped = 0
        self.problem = ""
        """Why the last part was not written; empty when it was."""
        self._write = write
        self._now = now
        self._max_waiting = max_waiting
        self._queue: deque[Answered] = deque()
        self._waiting = 0
        self._lock = threading.Lock()
        self._made: list[tuple[int, Pair]] = []
        self._told = 0
        self._since = 0
        self._flushed = monotonic()
        self._stop = threading.Event()
        self._until = inf
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begins to pair, in a thread of its own; nothing happens if it has begun."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="rollout-pairs", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Pairs what waits, as far as ``STOP_SECONDS`` reach, and writes it; does not wait for a model that never answers."""
        self._until = monotonic() + STOP_SECONDS
        self._stop.set()
        if self._thread:
            self._thread.join(timeout=STOP_SECONDS + 1)
        if self._thread is None or not self._thread.is_alive():
            self.pair()
        with self._lock:
            self.dropped += self._waiting
            self._waiting = 0
            self._queue.clear()
        self._write_made()

    def put(self, answered: Answered) -> bool:
        """Queues a request; False if it was dropped."""
        rows = len(answered.ids)
        with self._lock:
            if self._waiting + rows > self._max_waiting:
                self.dropped += rows
                return False
            self._waiting += rows
            self._queue.append(answered)
        return True

    def pair(self) -> None:
        """Asks the other model about everything that waits. Never raises."""
        while self._pair_next():
            pass

    def flush(self) -> None:
        """Pairs and writes what waits now. Never raises."""
        self.pair()
        self._write_made()

    def _write_made(self) -> None:
        self._flushed = monotonic()
        made, self._made = self._made, []
        for rollout in sorted({number for number, _ in made}):
            self._write_part(rollout, [pair for number, pair in made if number == rollout])

    def _write_part(self, rollout: int, pairs: list[Pair]) -> None:
        rows = sum(len(pair.ids) for pair in pairs)
        told = self.dropped
        try:
            self._write(rollout, pairs, dropped=told - self._told)
        except Exception as error:  # noqa: BLE001 - whatever the bucket does, serving goes on; the rows are counted as dropped
            self._lose(rows, f"{error.what} [{error.code}]" if isinstance(error, TidegateError) else type(error).__name__)
        else:
            self.written += rows
            self._told = told
            self.problem = ""

    def _lose(self, rows: int, problem: str) -> None:
        with self._lock:
            self.dropped += rows
        if problem != self.problem:
            _log.warning("the rollout loses rows: %s", problem)
        self.problem = problem

    def _next(self) -> Answered | None:
        with self._lock:
            if not self._queue:
                return None
            answered = self._queue.popleft()
            self._waiting -= len(answered.ids)
            return answered

    def _run(self) -> None:
        while not self._stop.wait(_LOOK_SECONDS):
            while self._pair_next():  # more may come than a slow model answers: what is known is written all the same
                self._write_if_due()
            self._write_if_due()

    def _pair_next(self) -> bool:
        """Pairs a request; False if none waits, or the time is over."""
        answered = self._next() if monotonic() < self._until else None
        if answered is None:
            return False
        self._since = answered.live.rollout.moved_at
        try:
            self._made.append((answered.live.rollout.seq, _paired(answered)))
        except Exception as error:  # noqa: BLE001 - whatever the answers are, the next request is paired
            self._lose(len(answered.ids), f"{type(error).__name__} while comparing two answers")
        return True

    def _write_if_due(self) -> None:
        age = (self._now() - self._since) / SECOND
        if self._made and (monotonic() - self._flushed >= flush_seconds(age) or len(self._made) >= MAX_PART_REQUESTS):
            self._write_made()


def _paired(answered: Answered) -> Pair:
    """Asks whichever model has not been asked, unless the mode says that nobody does."""
    live, champion = answered.live, answered.champion
    by_champion, by_candidate = answered.by_champion, answered.by_candidate
    champion_failed, candidate_failed, seconds = answered.champion_failed, answered.candidate_failed, answered.seconds
    if live.plan.mode != "ab":
        if np.isnan(candidate_failed):
            by_candidate, candidate_failed, seconds = _ask(live.candidate, answered.columns, len(answered.ids))
        if np.isnan(champion_failed):
            by_champion, champion_failed, _ = _ask(champion, answered.columns, len(answered.ids))
    rows = len(answered.ids)
    return Pair(
        answered.ids,
        answered.served_at,
        live.rollout.step,
        live.rollout.share,
        answered.point,
        answered.assigned,
        _values(champion, champion, by_champion, rows),
        _values(champion, live.candidate, by_candidate, rows),
        champion_failed,
        candidate_failed,
        seconds,
    )


def _ask(handle: Handle | None, columns: Columns, rows: int) -> tuple[Columns | None, float, float]:
    """A model's outputs (None: it failed), 1 if it failed, and the seconds that it took."""
    if handle is None:
        return None, 1.0, NOT_ASKED
    start = perf_counter()
    try:
        outputs = handle.predictor.predict(columns)
        check_outputs(handle.signature, outputs, rows)
    except Exception:  # noqa: BLE001 - whatever it does, it is evidence about this model and nobody's answer
        return None, 1.0, perf_counter() - start
    return outputs, 0.0, perf_counter() - start


def _values(champion: Handle, answering: Handle | None, outputs: Columns | None, rows: int) -> Floats:
    if outputs is None or answering is None:
        return np.full(rows, np.nan)
    values = values_of(champion.version.manifest, answering.version.manifest, outputs)
    if len(values) != rows:
        raise ValueError
    return values
