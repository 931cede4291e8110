"""Shipping journals by hand: a folder of offline runs, perhaps copied from another machine, into a store."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from tidegate.clock import Clock
from tidegate.errors import TidegateError, UnavailableError, UsageError
from tidegate.records.run import RunState
from tidegate.store import Store
from tidegate.store.journal import is_written
from tidegate.tracking.intake import Intake, Taken, journals_in
from tidegate.tracking.recovery import SILENT, recover_folder

_PATIENCE = 50


class Shipped(msgspec.Struct, frozen=True, kw_only=True):
    """What came of one run's folder."""

    run: str
    folder: str
    points: int
    """Points that were read and are in the store now; those that were there before are not counted."""
    writing: bool
    """Whether somebody still writes to it."""
    state: str
    """The run's state in the store; empty if it is not there."""
    problems: list[str]


class SyncReport(msgspec.Struct, frozen=True, kw_only=True):
    """What ``tidegate sync`` did."""

    folder: str
    runs: list[Shipped]

    @property
    def problems(self) -> list[str]:
        """Everything that is not in the store and should be, in sentences."""
        return [f"{shipped.folder}: {text}" for shipped in self.runs for text in shipped.problems]


class Sync:
    """Ships the runs in a folder, as often as one likes; what is in the store already is left alone.

    ``own`` says that the folder is the store's own: then journals that are in the store as a whole and have no living
    writer are removed, and runs of dead processes of this host are marked CRASHED. Other folders are read and left as they are.
    """

    def __init__(self, store: Store, folder: Path, *, own: bool, system: Clock) -> None:
        """Looks for runs in ``folder``: a folder of runs, or the folder of one.

        Raises:
            UsageError: there is no such folder, or it holds no journal.
        """
        if not folder.is_dir():
            raise UsageError(
                "no-such-folder", f"no folder {folder}", fix="check the path; offline runs lie in the store's folder journal"
            )
        self._store = store
        self._folder = folder
        self._own = own
        self._system = system
        self._intakes: dict[Path, Intake] = {}
        if not own and not any(True for _ in self._folders()):
            raise UsageError(
                "no-journals",
                f"{folder} holds no journal",
                why="a run is a folder with *.journal files",
                fix="copy the whole folder journal",
            )

    def size(self) -> int:
        """Bytes of all journals, for a progress bar."""
        return sum(_bytes(folder) for folder in self._folders())

    def once(self, advance: Callable[[float], None] = lambda _: None) -> SyncReport:
        """Ships what is there now; ``advance`` is called with the bytes of journals that are done.

        Raises:
            UnavailableError: the store cannot be used; what was shipped before that stays.
        """
        shipped: list[Shipped] = []
        for folder in sorted(self._folders()):
            size = _bytes(folder)
            shipped.append(self._ship(folder))
            advance(size)
        return SyncReport(folder=str(self._folder), runs=shipped)

    def _folders(self) -> Iterator[Path]:
        if journals_in(self._folder):
            yield self._folder
        for folder in self._folder.glob("*/"):
            if journals_in(folder):
                yield folder

    def _ship(self, folder: Path) -> Shipped:
        intake = self._intakes.setdefault(folder, Intake(self._store, folder))
        writing = any(is_written(path) for path in journals_in(folder))
        taken = _patiently(intake)
        problems = [text for item in taken for text in _problems(item)]
        problems += [f"{text}; the value is kept as a tag" for text in intake.conflicts]
        intake.conflicts.clear()
        run_id = next((item.opening.run_id for item in taken if item.opening is not None), folder.name)
        points = sum(item.points for item in taken)
        known = not any(item.problem is not None for item in taken)
        if self._own and known:
            recover_folder(
                self._store, folder, system=self._system, deadline=None, say=lambda _, text: problems.append(text), intake=intake
            )
        elif points and known and not any(item.ended for item in taken):
            self._hear(run_id, max(item.path.stat().st_mtime_ns // 1000 for item in taken))
        return Shipped(
            run=run_id, folder=str(folder), points=points, writing=writing, state=self._state(run_id), problems=problems
        )

    def _hear(self, run_id: str, written_at: int) -> None:
        """Another machine's process lived when its journal was last written to. If that is long ago, it has crashed."""
        self._store.runs.hear(run_id, written_at)
        run = self._store.runs.get(run_id)
        if run.state is RunState.RUNNING and self._system.now() - written_at > SILENT:
            self._store.runs.change_state(run_id, RunState.CRASHED, max(written_at, run.started_at))

    def _state(self, run_id: str) -> RunState | str:
        try:
            return self._store.runs.get(run_id).state
        except UnavailableError:
            raise
        except TidegateError:
            return ""


def _patiently(intake: Intake) -> list[Taken]:
    """What was taken; nothing if another process is at it for all the time, for then that one ships the journals."""
    for _ in range(_PATIENCE):
        taken = intake.take()
        if taken is not None:
            return taken
        time.sleep(0.1)
    return []


def _problems(item: Taken) -> list[str]:
    if item.opening is None:
        return [f"{item.path.name} is no journal: it does not begin like one"] if item.size else []
    found = [f"{item.path.name}: {item.problem.what}: {item.problem.why or item.problem.fix}"] if item.problem is not None else []
    if item.damaged:
        found.append(f"{item.path.name} is damaged in the middle: what follows the damage was not taken; the file is kept")
    return found


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in journals_in(folder))
