"""The run whose ``with`` block is open here: of this thread or task."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tidegate.tracking.active import ActiveRun

_open: ContextVar[tuple[ActiveRun, ...]] = ContextVar("open_runs", default=())


def current_run() -> ActiveRun | None:
    """The innermost run whose ``with`` block is open in this thread or task, or None."""
    runs = _open.get()
    return runs[-1] if runs else None


def entered(run: ActiveRun) -> None:
    """A ``with`` block of ``run`` begins."""
    _open.set((*_open.get(), run))


def left(run: ActiveRun) -> None:
    """A ``with`` block of ``run`` ends, which need not be the innermost one."""
    _open.set(tuple(item for item in _open.get() if item is not run))
