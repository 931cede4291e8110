"""What ends a process before its runs do: a signal, the end of the interpreter, a fork."""

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading
from types import FrameType
from typing import Protocol

from tidegate.records.run import RunState

_ERROR_LENGTH = 2000


class Terminated(SystemExit):
    """SIGTERM came. It unwinds the program like ``sys.exit``: ``with`` blocks end, checkpoints in ``finally`` are written."""


class Interruptible(Protocol):
    """A run of this process that has not ended."""

    def end_by(self, error: BaseException | None) -> None:
        """Ends it, with the reason."""
        ...

    def forked(self) -> None:
        """Called in a forked child: the run belongs to the parent."""
        ...


_runs: list[Interruptible] = []
_hooked = False
_terminated = False


def watch(run: Interruptible) -> None:
    """Ends ``run`` when the interpreter ends or SIGTERM comes, unless it has ended before.

    A SIGTERM handler is installed only in the main thread and only where the program has none of its own.
    """
    global _hooked  # noqa: PLW0603 - a process has one set of hooks
    if not _hooked:
        _hooked = True
        atexit.register(_at_exit)
        os.register_at_fork(after_in_child=_in_child)
    _runs.append(run)
    if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _on_terminate)


def unwatch(run: Interruptible) -> None:
    """The run has ended."""
    if run in _runs:
        _runs.remove(run)
    if not _runs:
        _restore()


def outcome(error: BaseException | None) -> tuple[RunState, str]:
    """How a run ends that is left by ``error``: its state, and the reason in words."""
    if error is None or (isinstance(error, SystemExit) and not isinstance(error, Terminated) and error.code in {None, 0}):
        return RunState.FINISHED, ""
    if isinstance(error, Terminated):
        return RunState.KILLED, "SIGTERM"
    if isinstance(error, KeyboardInterrupt):
        return RunState.KILLED, "KeyboardInterrupt"
    return RunState.FAILED, f"{type(error).__name__}: {error}"[:_ERROR_LENGTH]


def _on_terminate(number: int, frame: FrameType | None) -> None:
    del number, frame
    global _terminated  # noqa: PLW0603
    _terminated = True
    raise Terminated(128 + signal.SIGTERM)


def _at_exit() -> None:
    """Runs that were begun without ``with``. What the program died of is known unless it was ``sys.exit``."""
    error: BaseException | None = Terminated() if _terminated else None
    if error is None and not hasattr(sys, "ps1"):
        error = getattr(sys, "last_value", None)
    while _runs:
        _runs.pop().end_by(error)


def _in_child() -> None:
    _restore()
    while _runs:
        _runs.pop().forked()


def _restore() -> None:
    if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) is _on_terminate:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
