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

from tidegate.errors import NotFoundError, TidegateError
from tidegate.models.signing import TrustedKey
from tidegate.records.receipt import Baseline
from tidegate.release import read_pointer
from tidegate.serving.handle import Handle, load_handle
from tidegate.store.ports import Bucket

POLL_SECONDS = 0.2
RETRY_SECONDS = 5.0

_log = logging.getLogger("tidegate.serving")


class Follower:
    """Keeps the version that the pointer of one model names loaded. ``handle`` may be read from any thread."""

    def __init__(
        self, bucket: Bucket, model: str, *, allow_code: bool = False, signed_by: Sequence[TrustedKey] = ()
    ) -> None:
        self.model = model
        self.problem = ""
        """Why the version that the pointer names is not the one that serves; empty when all is well."""
        self.swaps = 0
        self._bucket = bucket
        self._allow_code = allow_code
        self._signed_by = signed_by
        self._kept: dict[str, Handle] = {}
        self._failed: tuple[str, float] = ("", 0.0)
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        champion = self._champion()
        if not champion.version:
            raise NotFoundError(
                "nothing-promoted",
                f"no version of {model} has been promoted",
                why="a server serves what the pointer names, and it names nothing yet",
                fix=f"tidegate promote {model}@N, after the gate and an approval",
            )
        self.handle = self._load(champion)
        self.wanted = champion.version
        """The version that the pointer named when it was last read."""

    def start(self) -> None:
        """Begins to follow, in a thread of its own."""
        self._thread = threading.Thread(target=self._follow, name=f"follow-{self.model}", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stops following; the handle stays."""
        self._stop.set()
        if self._thread:
            self._thread.join(timeout=10)

    def look(self) -> None:
        """One look at the pointer, and a swap if it moved. Never raises."""
        try:
            champion = self._champion()
            if not champion.version or champion.digest == self.handle.version.digest:
                self._settle(champion.version or self.handle.version.version, "")
                return
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

    def _follow(self) -> None:
        while not self._stop.wait(POLL_SECONDS):
            self.look()

    def _settle(self, wanted: int, problem: str) -> None:
        if problem and problem != self.problem:
            _log.warning("keeps serving %s: %s", self.handle.version.ref, problem)
        self.wanted, self.problem = wanted, problem

    def _champion(self) -> Baseline:
        return read_pointer(self._bucket, self.model).champion

    def _load(self, champion: Baseline) -> Handle:
        handle = self._kept.get(champion.digest)
        if handle is None:
            handle = load_handle(
                self._bucket,
                self.model,
                champion.version,
                champion.digest,
                allow_code=self._allow_code,
                signed_by=self._signed_by,
            )
        # The version before stays ready: a rollback is a step to it, and should not wait for a load.
        previous = getattr(self, "handle", handle)
        self._kept = {previous.version.digest: previous, champion.digest: handle}
        return handle
