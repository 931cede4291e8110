"""What follows a ledger entry and must neither delay nor fail it: a checkpoint of a move, and notices.

The ledger says what happened; a cursor in the outbox and the newest checkpoint say how far this came. So whatever a process that ended
too early left undone is done by the next one that looks: after another entry, in ``tidegate tick``, or in the server.
"""

from __future__ import annotations

import atexit
import logging
import threading
from collections.abc import Callable, Iterable
from pathlib import Path

from tidegate.clock import Clock
from tidegate.digest import short
from tidegate.errors import TidegateError
from tidegate.notices import Outbox, notice_targets
from tidegate.records.ledger import LedgerEntry
from tidegate.records.notice import Notice
from tidegate.release.checkpoints import Checkpoints, checkpoint_places
from tidegate.release.ledger import read_entries, read_pointer
from tidegate.release.telling import tell
from tidegate.settings import Settings
from tidegate.store.ports import Bucket

PATIENCE = 5.0
"""How many seconds a process that ends waits for what follows its last entry."""
_URGENT = {"break-glass", "ungated", "rolled-back", "frozen"}
_QUIET = {"registered", "aliased", "unaliased", "staged"}
_log = logging.getLogger("tidegate.release")


def follow_up(bucket: Bucket, clock: Clock, settings: Settings, folder: Path, cache: Path) -> FollowUp:
    """What the settings of the project in ``folder`` want to follow its ledger entries."""
    places = checkpoint_places(settings, folder, cache)
    checkpoints = Checkpoints(bucket, clock, places, settings.signing_key.get_secret_value())
    return FollowUp(bucket, checkpoints, Outbox(bucket, clock, notice_targets(settings, clock)))


class FollowUp:
    """Takes checkpoints and tells notices, in the background where an entry is appended. Any thread may call it."""

    def __init__(self, bucket: Bucket, checkpoints: Checkpoints, outbox: Outbox) -> None:
        self._bucket = bucket
        self.checkpoints = checkpoints
        self.outbox = outbox
        self._lock = threading.Lock()
        self._todo: dict[str, int] = {}
        self._reached: dict[str, int] = {}
        """Of each model the newest move that is known to be in every place."""
        self._thread: threading.Thread | None = None

    @property
    def wanted(self) -> bool:
        """Whether anything is configured that has to follow."""
        return bool(self.checkpoints.places or self.outbox.targets)

    def after(self, model: str, entry: LedgerEntry) -> None:
        """To be called when an entry is durable; returns at once."""
        if not self.wanted:
            return
        with self._lock:
            self._todo.setdefault(model, entry.seq - 1)
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="follow-up", daemon=True)
                self._thread.start()
                atexit.register(self.wait)

    def wait(self, seconds: float = PATIENCE) -> bool:
        """Waits until nothing is to be done any more, but not for ever; tells whether it is so."""
        thread = self._thread
        if thread is not None:
            thread.join(seconds)
        return thread is None or not thread.is_alive()

    def catch_up(self, models: Iterable[str]) -> list[str]:
        """Does now what is still to be done about these models; returns what failed, in sentences. It is tried again next time."""
        if not self.wanted:
            return []
        problems: list[str] = []
        for model in models:
            problems += self._follow(model, first=read_pointer(self._bucket, model).head)
        return problems + self._deliver()

    def _work(self) -> None:
        while True:
            with self._lock:
                if not self._todo:
                    self._thread = None
                    atexit.unregister(self.wait)
                    return
                model, first = self._todo.popitem()
            for problem in [*self._follow(model, first=first), *self._deliver()]:
                _log.warning("%s", problem)

    def _follow(self, model: str, *, first: int) -> list[str]:
        return _tried(model, lambda: self._checkpoint(model)) + _tried(model, lambda: self._collect(model, first=first))

    def _deliver(self) -> list[str]:
        return _tried("notices", self.outbox.send)

    def _checkpoint(self, model: str) -> None:
        """Takes a checkpoint if some place has none since the last move."""
        if not self.checkpoints.places:
            return
        moved = read_pointer(self._bucket, model).champion.move
        if moved > self._reached.get(model, 0):
            if self.checkpoints.newest(model) < moved:
                self.checkpoints.take(model)
            self._reached[model] = moved

    def _collect(self, model: str, *, first: int) -> None:
        def newer(seen: int) -> list[tuple[int, Notice | None]]:
            pairs = read_entries(self._bucket, model, after=seen)
            return [(entry.seq, notice_of(model, digest, entry)) for digest, entry in pairs]

        self.outbox.collect(model, newer, first=first)


def _tried(what: str, work: Callable[[], object]) -> list[str]:
    """What is wrong if the work fails, in one sentence."""
    try:
        work()
    except TidegateError as error:
        return [f"{what}: {error.what}: {error.why}"]
    except Exception as error:  # noqa: BLE001 - it runs beside a move that is done: nothing of it may be undone or hidden
        return [f"{what}: {type(error).__name__}: {error}"]
    return []


def notice_of(model: str, digest: str, entry: LedgerEntry) -> Notice | None:
    """What outsiders are told about an entry; None for what only insiders look for, such as an alias."""
    told = tell(entry.event)
    if told.kind in _QUIET:
        return None
    return Notice(
        id=f"{model}.{entry.seq}.{short(digest)}",
        type=f"release.{told.kind.replace('-', '_')}",
        at=entry.at,
        title=f"{model}: {told.what} version {told.version}{told.how}" if told.version else f"{model}: {told.what}",
        text=f"by {entry.actor}" + (f": {told.why}" if told.why else ""),
        urgent=told.kind in _URGENT,
        data={
            "model": model,
            "entry": entry.seq,
            "digest": digest,
            "version": told.version,
            "actor": entry.actor,
            "reason": told.why,
            "receipt": told.receipt,
        },
    )
