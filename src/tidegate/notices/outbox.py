"""The outbox: notices wait in the bucket until each target has taken them, so nobody who writes one waits for a network.

    notices/waiting/<target>/<id>.json    not taken yet
    notices/failed/<target>/<id>.json     given up after the last attempt; kept until somebody sends it again

A notice is delivered at least once; a target that is told twice sees the same id. Attempts follow the schedule that Standard Webhooks
recommends ("Deliverability and reliability"), over about three days.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, TypeVar

import msgspec

from tidegate import digest as digests
from tidegate.clock import HOUR, MINUTE, SECOND, Clock
from tidegate.errors import ConflictError
from tidegate.notices.targets import DeliveryError, NoticeTarget
from tidegate.records.notice import Notice, Waiting
from tidegate.store.ports import Bucket

_Record = TypeVar("_Record")
_log = logging.getLogger("tidegate.notices")

PAUSES = (5 * SECOND, 5 * MINUTE, 30 * MINUTE, 2 * HOUR, 5 * HOUR, 10 * HOUR, 14 * HOUR, 20 * HOUR, 24 * HOUR)
"""How long after each failed attempt the next one comes; after the last, it is given up."""
CLAIM = MINUTE
"""How long an attempt may take before another process takes it for dead."""


class Delivery(NamedTuple):
    """A notice that one target has not taken: ``waiting``, or ``given up``."""

    target: str
    """As people know it; a part of its id, if nobody is told any more who had it."""
    state: str
    waiting: Waiting


class Outbox:
    """What is to be told to the targets of one project. Any number of threads and processes may put and send at once."""

    def __init__(self, bucket: Bucket, clock: Clock, targets: Sequence[NoticeTarget]) -> None:
        self._bucket = bucket
        self._clock = clock
        self.targets = list(targets)

    def put(self, notice: Notice) -> None:
        """Notes a notice for every target. It is durable when this returns; nothing was sent.

        Raises:
            UnavailableError: the bucket cannot be written.
        """
        data = digests.canonical(Waiting(notice=notice))
        for target in self.targets:
            self._bucket.put_if_absent(_key("waiting", target.id, notice.id), data)

    def collect(self, source: str, newer: Callable[[int], Sequence[tuple[int, Notice | None]]], *, first: int) -> None:
        """Notes what a numbered log holds that was not noted yet, and remembers how far it came.

        Args:
            source: the log's name.
            newer: gives the entries with a greater number than its argument; an entry without a notice is passed over.
            first: where to begin if nothing of this log was ever noted.
        """
        if not self.targets:
            return
        key = f"notices/seen/{source}.json"
        blob = self._bucket.find(key)
        known = _read(key, blob.data, int) if blob else None
        seen = first if known is None or known < 0 else known
        entries = newer(seen)
        for _, notice in entries:
            if notice is not None:
                self.put(notice)
        last = entries[-1][0] if entries else seen
        if blob is None or last > seen:
            try:
                self._bucket.compare_and_swap(key, str(last).encode(), blob.etag if blob else None)
            except ConflictError:
                return  # somebody else noted them, too: the same notices under the same ids

    def send(self) -> int:
        """Tells every target what is due; returns how many deliveries were taken. One failing target does not hold up another.

        Raises:
            UnavailableError: the bucket cannot be used.
        """
        return sum(self._attempt(target, key) for target in self.targets for key in self._due(target))

    def waiting(self) -> list[Waiting]:
        """What no target has taken yet."""
        return [waiting for _, waiting in self._listed("waiting")]

    def failed(self) -> list[Waiting]:
        """What was given up."""
        return [waiting for _, waiting in self._listed("failed")]

    def deliveries(self) -> list[Delivery]:
        """What was given up, then what waits, by target."""
        names = {target.id: target.name for target in self.targets}
        return [
            Delivery(names.get(target, f"{target[:8]}, which is no longer set"), told, waiting)
            for state, told in (("failed", "given up"), ("waiting", "waiting"))
            for target, waiting in self._listed(state)
        ]

    def again(self) -> int:
        """Lets everything that was given up wait again; returns how many."""
        count = 0
        for key in list(self._bucket.keys("notices/failed/")):
            found = self._bucket.find(key)
            if found is None:
                continue
            given_up = _read(key, found.data, Waiting)
            if given_up is None:
                continue
            again = digests.canonical(Waiting(notice=given_up.notice))
            self._bucket.put_if_absent(key.replace("/failed/", "/waiting/", 1), again)
            self._bucket.delete(key)
            count += 1
        return count

    def _due(self, target: NoticeTarget) -> list[str]:
        return list(self._bucket.keys(f"notices/waiting/{target.id}/"))

    def _attempt(self, target: NoticeTarget, key: str) -> bool:
        blob = self._bucket.find(key)
        if blob is None:
            return False
        waiting = _read(key, blob.data, Waiting)
        now = self._clock.now()
        if waiting is None or waiting.next_at > now:
            return False
        claimed = msgspec.structs.replace(waiting, attempts=waiting.attempts + 1, next_at=now + CLAIM)
        try:
            etag = self._bucket.compare_and_swap(key, digests.canonical(claimed), blob.etag)
        except ConflictError:
            return False  # somebody else tries right now
        try:
            target.send(waiting.notice)
        except DeliveryError as error:
            self._failed(key, claimed, error, etag)
            return False
        self._bucket.delete(key)
        return True

    def _failed(self, key: str, claimed: Waiting, error: DeliveryError, etag: str) -> None:
        told = msgspec.structs.replace(claimed, error=str(error)[:300])
        if claimed.attempts > len(PAUSES):
            self._bucket.put_if_absent(key.replace("/waiting/", "/failed/", 1), digests.canonical(told))
            self._bucket.delete(key)
            return
        pause = max(PAUSES[claimed.attempts - 1], error.wait * SECOND)
        told = msgspec.structs.replace(told, next_at=self._clock.now() + pause)
        try:
            self._bucket.compare_and_swap(key, digests.canonical(told), etag)
        except ConflictError:
            return  # it took so long that another process tries already

    def _listed(self, state: str) -> Iterator[tuple[str, Waiting]]:
        for key in self._bucket.keys(f"notices/{state}/"):
            found = self._bucket.find(key)
            waiting = _read(key, found.data, Waiting) if found is not None else None
            if waiting is not None:
                yield key.split("/")[2], waiting


def _read(key: str, data: bytes, kind: type[_Record]) -> _Record | None:
    """What a file of the outbox says; None if it is none: it must not hold up the others."""
    try:
        return digests.parsed(data, kind)
    except msgspec.MsgspecError as error:
        _log.warning("%s in the bucket is no file of the outbox and is passed over: %s", key, error)
        return None


def _key(state: str, target: str, notice: str) -> str:
    return f"notices/{state}/{target}/{notice}.json"
