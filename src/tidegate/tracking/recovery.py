"""What dead processes left behind: journals that nobody writes any more, and runs that nobody hears of."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from tidegate.clock import MINUTE, Clock
from tidegate.errors import ConflictError, NotFoundError, TidegateError
from tidegate.records.run import RunState
from tidegate.store import Store
from tidegate.store.journal import SUFFIX, UNNAMED, claimed, is_written, read_opening
from tidegate.tracking.intake import Intake, Taken, dispose, remove_folder
from tidegate.tracking.writer import host_name

SILENT = 5 * MINUTE
"""A running run that has not been heard of for longer is taken for crashed, until it is heard of again."""
_OLD = 10 * MINUTE


def recover_runs(store: Store, journals: Path, *, system: Clock, seconds: float, say: Callable[[str, str], None]) -> list[str]:
    """Takes in what dead processes of this host left in ``journals`` and marks their runs, and silent ones, CRASHED.

    Journals with a living writer are left alone (the lock that it holds tells), whatever the clock says. After ``seconds``
    the rest waits for the next time. A run whose journal cannot be taken in is left as it is; ``tidegate sync`` says why.

    Returns:
        The ids of the runs that became CRASHED.

    Raises:
        UnavailableError: the store cannot be used.
    """
    deadline = time.monotonic() + seconds
    crashed: list[str] = []
    for folder in sorted(journals.glob("*/")):
        if time.monotonic() > deadline:
            break
        try:
            if recover_folder(store, folder, system=system, deadline=deadline, say=say):
                crashed.append(folder.name)
        except (NotFoundError, ConflictError):
            continue
    return [*crashed, *_silent(store, journals, system)]


def recover_folder(
    store: Store,
    folder: Path,
    *,
    system: Clock,
    deadline: float | None,
    say: Callable[[str, str], None],
    intake: Intake | None = None,
) -> bool:
    """Takes in one run's folder, if a writer of it died; tells whether its run became CRASHED by that."""
    if not any(True for _ in folder.glob(f"*{SUFFIX}*")):
        if _is_old(folder, system):  # a run that is beginning may have put something there already
            remove_folder(folder)
        return False
    for path in folder.glob(f"*{SUFFIX}{UNNAMED}"):
        if _is_old(path, system):  # its writer died before it had a name, and so before anything was in it
            path.unlink(missing_ok=True)
    with ExitStack() as claims:
        dead = {path for path in sorted(folder.glob(f"*{SUFFIX}")) if claims.enter_context(claimed(path)) and _is_ours(path)}
        taken = ((intake or Intake(store, folder)).take(deadline=deadline) or []) if dead else []
    gone = [item for item in taken if item.path in dead]
    crashed = _mark_crashed(store, gone, taken)
    for item in gone:
        for text in dispose(item):
            say(folder.name, text)
    remove_folder(folder)
    return crashed


def has_living_owner(folder: Path) -> bool:
    """Whether a living process of this host has begun or resumed the run and not ended it."""
    for path in folder.glob(f"*{SUFFIX}"):
        try:
            opening = read_opening(path) if is_written(path) else None
        except (TidegateError, OSError):
            continue
        if opening is not None and opening.owner:
            return True
    return False


def _is_ours(path: Path) -> bool:
    """Whether a lock tells the truth about this journal: one from another host may look abandoned on a shared file system."""
    try:
        opening = read_opening(path)
    except (TidegateError, OSError):
        return False
    return opening is None or opening.host == host_name()


def _is_old(path: Path, system: Clock) -> bool:
    """Whether nothing has happened there for a while, by the clock of its file system and ours."""
    try:
        return system.now() - path.stat().st_mtime_ns // 1000 > _OLD
    except FileNotFoundError:
        return False


def _mark_crashed(store: Store, gone: list[Taken], taken: list[Taken]) -> bool:
    owners = [item for item in gone if item.opening is not None and item.opening.owner and _is_done(item) and not item.ended]
    if not owners or any(item.opening and item.opening.owner and item not in gone for item in taken):
        return False  # nobody who ends the run has died, or somebody has resumed it since
    opening = owners[0].opening
    assert opening is not None
    run = store.runs.get(opening.run_id)
    if run.state is not RunState.RUNNING:
        return False
    store.runs.change_state(run.id, RunState.CRASHED, max(run.started_at, *(item.last_at for item in gone)))
    return True


def _is_done(item: Taken) -> bool:
    """Whether nothing more can be had from a journal."""
    return item.finished or item.damaged


def _silent(store: Store, journals: Path, system: Clock) -> list[str]:
    """Runs of other hosts, and those whose journal is gone. Runs of MLflow clients are never heard of and so never silent."""
    before = system.now() - SILENT
    crashed: list[str] = []
    for run in store.runs.search(where=f"state = 'RUNNING' and heard_at > 0 and heard_at < {before}", limit=None):
        if not 0 < run.heard_at < before or has_living_owner(journals / run.id):
            continue
        try:
            store.runs.change_state(run.id, RunState.CRASHED, max(run.heard_at, run.started_at))
        except (ConflictError, NotFoundError):  # it has ended, or is gone, meanwhile
            continue
        crashed.append(run.id)
    return crashed
