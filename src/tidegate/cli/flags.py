"""The global options of a call, and the workspace that they lead to."""

from __future__ import annotations

import importlib
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tidegate.workspace import Workspace


@dataclass(frozen=True)
class Flags:
    """The project's folder, and settings that win over every other source."""

    folder: Path = Path()
    settings: dict[str, Any] = field(default_factory=dict[str, Any])


_current: ContextVar[Flags] = ContextVar("flags", default=Flags())  # noqa: B039 - frozen


def flags() -> Flags:
    """The global options of this call."""
    return _current.get()


def set_flags(chosen: Flags) -> None:
    """Sets the global options of this call."""
    _current.set(chosen)


def open_workspace(*, recover: bool = True) -> Workspace:
    """The workspace of the project that this call is about; loaded only now, so that help and ``gate check`` stay quick."""
    return importlib.import_module("tidegate.workspace").Workspace.open(flags().folder, recover=recover, **flags().settings)
