"""Follows a model's pointer: load, warm, check, swap.

A thread looks at the pointer five times a second. The new version is made ready beside the running one; then one
assignment swaps them. Whatever goes wrong (the bucket is away, a file was changed, the pointer names a version that is
not there), the old version keeps answering and the problem is told by ``/health`` and ``/metrics``.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from time import monotonic

from tidegate.clock import Clock
from tidegate.errors import NotFoundError, TidegateError
from tidegate.models import read_version
from tidegate.models.devices import Device
from tidegate.models.signing import TrustedKey
from tidegate.records.ledger import Pointer, Promoted, RolledBack
from tidegate.records.receipt import Baseline
from tidegate.release import read_entries, read_pointer
from tidegate.serving.handle import Handle, load_handle
from tidegate.serving.rollout.router import Router
from tidegate.store.ports import Bucket

POLL_SECONDS = 0.2
RETRY_SECONDS = 5.0
SILENT_SECONDS = 10.0
"""A bucket that has not answered for so long is told as a problem, while it is still waited for."""
_LOOK_BACK = 50
"""Ledger entries among which the last move is looked for when a server starts."""

_log = logging.getLogger("tidegate.serving")


class Follower:
    """Keeps the version that the pointer of one model names loaded. ``handle`` may be read from any thread."""

    def __init__(
        self,
        bucket: Bucket,
        model: str,
        *,
        allow_code: bool = False,
        signed_by: Sequence[TrustedKey] = (),
        clock: Clock | None = None,
        version: int = 0,
        pins: Sequence[int] = (),
        device: Device = "auto",
    ) -> None:
        """``version`` stands for the pointer where one version is to be served whatever happens: an image holds just one.

        ``pins`` are versions that can be asked by their number as long as the process lives, wherever the pointer goes.
        """
        self.model = model
        self.swaps = 0
        self._bucket = bucket
        self._allow_code = allow_code
        self._signed_by = signed_by
        self._device: Device = device
        self._fixed = _fixed_pointer(bucket, model, version) if version else None
        self._kept: dict[str, Handle] = {}
        self._pinned: dict[str, Handle] = {}
        self._failed: tuple[str, float] = ("", 0.0)
        self._problem = ""
        self._asked_at = 0.0  # since when the bucket is asked for the pointer; 0: it is not asked now
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self.router = Router(bucket, model, load=self._load_version, clock=clock or Clock())
        """Which of two models answers, while a rollout runs."""
        pointer = self._pointer()
        champion = pointer.champion
        if not champion.version:
            raise NotFoundError(
                "nothing-promoted",
                f"no version of {model} has been promoted",
                why="a server serves what the pointer names, and it names nothing yet"
                if pointer.head or any(bucket.keys(f"models/{model}/"))
                else "the bucket holds nothing of that name: is it the right one (--store, --bucket)?",
                fix=f"tidegate promote {model}@N, after the gate and an approval; or check the name: tidegate model list",
            )
        self.handle = self._load(champion)
        self.wanted = champion.version
        """The version that the pointer named when it was last read."""
        self.router.follow(pointer.rollout, self.handle)
        self._pinned = {str(number): self._pin(number) for number in pins}

    def start(self) -> None:
        """Begins to follow, in a thread of its own."""
        self._thread = threading.Thread(target=self._follow, name=f"follow-{self.model}", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stops following; the handle stays."""
        self._stop.set()
        if self._thread:
            self._thread.join(timeout=10)
        self.router.stop()

    @property
    def problem(self) -> str:
        """Why the version that the pointer names is not the one that serves, or nobody knows it; empty when all is well."""
        asked_at = self._asked_at
        silent = monotonic() - asked_at if asked_at else 0.0
        return (
            f"the bucket has not answered for {silent:.0f} s [bucket-unavailable]" if silent > SILENT_SECONDS else self._problem
        )

    def find(self, number: str) -> Handle | None:
        """A version that is loaded, by its number: the one that serves, the one before it, one that is rolled out, or a pinned one."""
        handle = self.handle
        return handle if handle.number == number else self._loaded().get(number)

    def served(self) -> list[str]:
        """The numbers of the versions that ``find`` finds, in order."""
        return sorted({self.handle.number, *self._loaded()}, key=int)

    def look(self) -> None:
        """One look at the pointer, and a swap if it moved. Never raises."""
        try:
            pointer = self._ask()
            champion = pointer.champion
            if champion.digest == self.handle.version.digest:
                self._settle(champion.version, "")
                self.router.follow(pointer.rollout, self.handle)
                return
            self.router.pause()
            self.wanted = champion.version
            if self._failed[0] == champion.digest and monotonic() < self._failed[1]:
                return
            try:
                handle = self._load(champion)
            except Exception:
                self._failed = (champion.digest, monotonic() + RETRY_SECONDS)
                raise
        except TidegateError as error:
            self._settle(self.wanted, f"{error.what} [{error.code}]")
        except Exception as error:  # noqa: BLE001 - whatever a package does when it is loaded, the old version keeps serving
            self._settle(self.wanted, f"{type(error).__name__} while looking at the pointer")
        else:
            self.handle = handle  # the swap: requests that hold the old handle finish on it
            self.swaps += 1
            _log.info("serving %s", handle.version.ref)
            self._settle(champion.version, "")

    def _loaded(self) -> dict[str, Handle]:
        live = self.router.live
        candidate = live.candidate if live is not None else None
        others = [*self._kept.values(), *([candidate] if candidate is not None else [])]
        return self._pinned | {handle.number: handle for handle in others}

    def _pin(self, number: int) -> Handle:
        return self.find(str(number)) or self._load_version(number, read_version(self._bucket, self.model, number).digest)

    def _load_previous(self) -> None:
        """Makes the version before ready as well: it can be asked by its number, and a rollback is a step to it. Never raises."""
        handle = self.handle
        try:
            previous = find_previous(self._bucket, self._pointer())
            if previous is not None and previous.digest not in self._kept:
                before = self._load_version(previous.version, previous.digest)
                if self.handle is handle:
                    self._kept = {before.version.digest: before, handle.version.digest: handle}
        except Exception as error:  # noqa: BLE001 - whatever is wrong with it, it does not serve
            _log.warning("the version before %s cannot be loaded: %s", handle.version.ref, error)

    def _follow(self) -> None:
        if self._fixed is None:
            self._load_previous()
        while not self._stop.wait(POLL_SECONDS):
            self.look()

    def _settle(self, wanted: int, problem: str) -> None:
        if problem and problem != self._problem:
            _log.warning("keeps serving %s: %s", self.handle.version.ref, problem)
        self.wanted, self._problem = wanted, problem

    def _ask(self) -> Pointer:
        self._asked_at = monotonic()
        try:
            pointer = self._pointer()
        finally:
            self._asked_at = 0.0
        if not pointer.champion.version:  # no move leads there
            raise NotFoundError("nothing-promoted", f"ledger and pointer of {self.model} are gone, or the bucket is")
        return pointer

    def _pointer(self) -> Pointer:
        return self._fixed or read_pointer(self._bucket, self.model)

    def _load(self, champion: Baseline) -> Handle:
        handle = self._kept.get(champion.digest) or self.router.find(champion.digest)
        if handle is None:
            handle = self._load_version(champion.version, champion.digest)
        # The version before stays ready: a rollback is a step to it, and should not wait for a load.
        previous = getattr(self, "handle", handle)
        self._kept = {previous.version.digest: previous, champion.digest: handle}
        return handle

    def _load_version(self, version: int, digest: str) -> Handle:
        return load_handle(
            self._bucket,
            self.model,
            version,
            digest,
            allow_code=self._allow_code,
            signed_by=self._signed_by,
            device=self._device,
        )


def find_previous(bucket: Bucket, pointer: Pointer) -> Baseline | None:
    """The version that the champion took over from; None if it was the first, or took over from one that was rolled back."""
    for _, entry in reversed(read_entries(bucket, pointer.model, after=max(0, pointer.head - _LOOK_BACK))):
        if isinstance(entry.event, Promoted):
            return entry.event.previous if entry.event.previous.version else None
        if isinstance(entry.event, RolledBack):
            return None
    return None


def _fixed_pointer(bucket: Bucket, model: str, version: int) -> Pointer:
    champion = Baseline(version=version, digest=read_version(bucket, model, version).digest)
    return Pointer(model=model, champion=champion, head=0, head_digest="")
