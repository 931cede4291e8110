"""The global options of a call, and the workspace that they lead to."""

from __future__ import annotations

import importlib
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from tidegate.workspace import Workspace


@dataclass(frozen=True)
class Flags:
    """The project's folder, and settings that win over every other source."""

    folder: Path = Path()
    settings: dict[str, Any] = field(default_factory=dict[str, Any])


_current: ContextVar[Flags] = ContextVar("flags", default=Flags())  # noqa: B039 - frozen
_opened: ContextVar[Workspace | None] = ContextVar("opened", default=None)


def flags() -> Flags:
    """The global options of this call."""
    return _current.get()


def set_flags(chosen: Flags) -> None:
    """Sets the global options of this call."""
    _current.set(chosen)


def open_workspace(*, recover: bool = True) -> Workspace:
    """The workspace of the project that this call is about; loaded only now, so that help and ``gate check`` stay quick."""
    _tell_a_new_place()
    opened = importlib.import_module("tidegate.workspace").Workspace.open(flags().folder, recover=recover, **flags().settings)
    _opened.set(opened)
    return opened


def finish() -> None:
    """Waits for what follows this call's ledger entries, as long as the interpreter is whole: when it ends, threads can start none."""
    opened = _opened.get()
    if opened is not None:
        opened.follow_up.wait()


def _tell_a_new_place() -> None:
    """Says that nothing is here yet, before an empty store is made where perhaps somebody only stands in the wrong folder."""
    folder = flags().folder
    if (folder / ".tidegate").exists() or (folder / "tidegate.toml").exists() or not folder.is_dir():
        return
    project = importlib.import_module("tidegate.settings").load_project(folder, flags().settings)
    settings, known = project.settings, (project.folder / "tidegate.toml").exists() or project.policy_file
    if known or project.store.exists() or settings.bucket or settings.server:
        return
    if not any(each.source == "pyproject.toml" for each in project.explained):
        typer.echo(f"note: no project around {project.folder}, an empty store is made here; another: -C FOLDER", err=True)


def require_known(workspace: Workspace, model: str) -> None:
    """A misspelt model is an error: an empty answer would look as if all were well.

    Raises:
        NotFoundError: no version of it is registered; the nearest name is told.
    """
    if not workspace.release.state(model).digests:
        workspace.models.get(model)
