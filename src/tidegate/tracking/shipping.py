"""The threads behind a run: one puts the journal onto the disk, one takes it into the store. Training waits for neither."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from tidegate.clock import Clock
from tidegate.errors import TidegateError, UnavailableError
from tidegate.store import Store
from tidegate.store.journal import Journal
from tidegate.tracking.intake import Intake, dispose, remove_folder
from tidegate.tracking.system_metrics import SystemMetrics

_SYNC_SECONDS = 0.5
"""Between two looks at whether anything is to be synced: with the sync itself, under a second."""
_TAKE_SECONDS = 5.0
"""A killed run's curve is at most this far behind for others, until its journal is taken in."""
_HEAR_SECONDS = 30.0
_SAMPLE_SECONDS = 15.0
_LAST_SECONDS = 10.0
"""How long the end of a run waits for a store that makes no progress."""

_Answer = TypeVar("_Answer")


class Syncing:
    """Puts a journal onto the disk at most a second after anything was appended."""

    def __init__(self, run_id: str, journal: Journal) -> None:
        self._run_id = run_id
        self._journal = journal
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name=f"tidegate-sync-{run_id}", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread."""
        self._stop.set()
        self._thread.join(_LAST_SECONDS)

    def _work(self) -> None:
        told = ""
        while not self._stop.wait(_SYNC_SECONDS):
            try:
                self._journal.sync()
            except OSError as error:
                told = tell_once(self._run_id, error, told)


class Sampling:
    """Logs what the machine does, as series of their own; the step is the second since the start."""

    def __init__(self, run_id: str, journal: Journal, clock: Clock) -> None:
        self._run_id = run_id
        self._journal = journal
        self._clock = clock
        self._stop = threading.Event()
        threading.Thread(target=self._work, name=f"tidegate-sample-{run_id}", daemon=True).start()

    def stop(self) -> None:
        """Ends the thread, after the sample that it may be at."""
        self._stop.set()

    def _work(self) -> None:
        metrics, began, told = SystemMetrics(), time.monotonic(), ""
        while not self._stop.wait(_SAMPLE_SECONDS):
            values = metrics.sample()
            if self._stop.is_set() or not values:
                continue
            try:
                self._journal.aside(int(time.monotonic() - began), self._clock.now(), values)
            except TidegateError as error:
                told = tell_once(self._run_id, error, told)


class Shipping:
    """Takes the journals of a run's folder into the store while the run runs, and says that its process lives."""

    def __init__(self, run_id: str, journal: Journal, store: Store, intake: Intake, system: Clock) -> None:
        self._run_id = run_id
        self._journal = journal
        self._store = store
        self._intake = intake
        self._system = system
        self._heard = time.monotonic()
        self._last = threading.Event()
        self._given_up = threading.Event()
        self.done = threading.Event()
        """Set when everything is in the store and the journal is gone."""
        self.problem: TidegateError | None = None
        self._thread = threading.Thread(target=self._work, name=f"tidegate-ship-{run_id}", daemon=True)
        self._thread.start()

    def finish(self) -> bool:
        """Takes in what is left; gives up when nothing moves for a while. Tells whether all of it is in the store."""
        self._last.set()
        seen, since = -1, time.monotonic()
        while not self.done.wait(0.02) and self._thread.is_alive():
            if self._intake.progress != seen:
                seen, since = self._intake.progress, time.monotonic()
            elif time.monotonic() - since > _LAST_SECONDS:
                break
        self._given_up.set()
        return self.done.is_set()

    def _work(self) -> None:
        told = ""
        while not self._last.wait(_TAKE_SECONDS):
            try:
                self._take()
                self._hear()
                self.problem, told = None, ""
            except TidegateError as error:
                # Training goes on: the journal keeps everything, and the next round tries again.
                told = tell_once(self._run_id, error, told)
            self._tell_conflicts()
        while not self._given_up.is_set() and not self.done.is_set():
            try:
                if self._take():
                    self._journal.path.unlink(missing_ok=True)
                    remove_folder(self._intake.folder)
                    self.done.set()
            except TidegateError as error:
                self.problem = error
                if not isinstance(error, UnavailableError):
                    break  # waiting does not help
            self._tell_conflicts()
            self.done.wait(0.05)

    def _hear(self) -> None:
        if time.monotonic() - self._heard >= _HEAR_SECONDS:
            self._heard = time.monotonic()
            self._store.runs.hear(self._run_id, self._system.now())

    def _take(self) -> bool:
        """One round; tells whether this process's journal is in the store as a whole."""
        taken = self._intake.take(stop=self._given_up)
        for item in taken or []:
            # An owner's journal without an end tells of a crash: that is for ``recover``.
            if item.opening is not None and (item.ended or not item.opening.owner):
                for text in dispose(item):
                    tell(self._run_id, text)
        mine = next((item for item in taken or [] if item.path == self._journal.path), None)
        if mine is not None and mine.problem is not None:
            raise mine.problem
        return mine is not None and mine.whole

    def _tell_conflicts(self) -> None:
        while self._intake.conflicts:
            tell(self._run_id, f"{self._intake.conflicts.pop(0)}; the value is kept as a tag")


def within(seconds: float, call: Callable[[], _Answer], what: str) -> _Answer:
    """What ``call`` returns or raises, if it does so in time; it goes on in the background otherwise.

    Raises:
        UnavailableError: it takes too long.
    """
    answers: list[_Answer] = []
    errors: list[BaseException] = []

    def work() -> None:
        try:
            answers.append(call())
        except BaseException as error:  # noqa: BLE001 - it is raised again below, in the thread that asked
            errors.append(error)

    thread = threading.Thread(target=work, name="tidegate-waiting", daemon=True)
    thread.start()
    thread.join(seconds)
    if errors:
        raise errors[0]
    if not answers:
        raise UnavailableError(
            "store-slow",
            f"the store did not answer within {seconds:g} seconds: {what}",
            why="another process holds its lock, or the network or server hangs",
            fix="look at the store with: tidegate doctor",
        )
    return answers[0]


def tell(run_id: str, text: str) -> None:
    """Says something about a run on standard error: a background thread has no caller to tell."""
    with suppress(OSError, ValueError):
        print(f"tidegate: {f'run {run_id}: ' if run_id else ''}{text}", file=sys.stderr, flush=True)  # noqa: T201


def tell_once(run_id: str, error: Exception, told: str) -> str:
    """Tells an error unless it is the one that was told last; returns what was told."""
    text = str(error)
    if text != told:
        tell(run_id, f"{text}\nThe run goes on; what it records is safe in its journal, and this is tried again.")
    return text
