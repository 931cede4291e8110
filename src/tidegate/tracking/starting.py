"""Beginning, resuming and joining runs: who owns them, and what the store must know."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

from tidegate.clock import Clock
from tidegate.errors import ConflictError, NotFoundError, UnavailableError, UsageError
from tidegate.records.ids import new_id
from tidegate.records.names import check_name
from tidegate.records.run import Environment, Run, RunState
from tidegate.store import Store
from tidegate.store.journal import SUFFIX, Bulk, Frame, JournalReader, Points, read_opening
from tidegate.tracking.active import ActiveRun, Recording, spool_of
from tidegate.tracking.environment import capture_environment
from tidegate.tracking.inputs import FindSnapshot
from tidegate.tracking.recovery import has_living_owner, recover_folder
from tidegate.tracking.shipping import tell, within
from tidegate.tracking.system_metrics import MACHINE
from tidegate.tracking.values import shown_text

_START_SECONDS = 10.0
"""How long a run waits for the store when it begins; after that it records offline."""
_Opened = TypeVar("_Opened")


class Place(NamedTuple):
    """Where runs are recorded, and by whom."""

    journals: Path
    """The folder of journals: one folder per run in it."""
    project: Path
    """The folder whose code and packages a run captures."""
    clock: Clock
    author: str = ""
    system: Clock = Clock()
    """The system's time, for heartbeats."""
    find_snapshot: FindSnapshot | None = None
    machine: bool = False
    """Whether the machine is sampled into series while a run runs."""


class Wanted(NamedTuple):
    """What somebody wants recorded."""

    experiment: str
    name: str = ""
    params: Mapping[str, Any] | None = None
    tags: Mapping[str, Any] | None = None
    id: str = ""
    """Empty: a new one. Else it is begun, or resumed if it is there."""
    resume: str = ""
    """The id of a run to go on with."""
    join: str = ""
    """The id of a run that another process began."""


def start_run(place: Place, store: Store | None, wanted: Wanted) -> ActiveRun:
    """Begins, resumes or joins a run, as wanted. Without a store, or when it is away, it records offline.

    Raises:
        UsageError: the experiment's name or the id cannot be one, or more than one of id, resume and join is given.
        NotFoundError: there is no run to resume.
        ConflictError: a living process of this host owns the run already, or it is deleted.
        UnavailableError: the journal cannot be written.
    """
    named = [name for name, value in (("id", wanted.id), ("resume", wanted.resume), ("join", wanted.join)) if value]
    if len(named) > 1:
        raise UsageError("run-options", f"{' and '.join(named)} exclude each other", fix="give one of id, resume and join")
    if not wanted.resume and not wanted.join:
        return begin_run(place, store, wanted)
    if wanted.resume:
        active = resume_run(place, store, wanted.resume)
    else:
        active = join_run(place, store, wanted.join, wanted.experiment)
    active.describe(wanted.params, wanted.tags)
    return active


def open_in_time(call: Callable[[], _Opened], journals: Path) -> _Opened | None:
    """What ``call`` opens, unless the store is away or does not answer in time: then None, and it is said."""
    try:
        return within(_START_SECONDS, call, "to begin a run")
    except UnavailableError as error:
        tell("", f"{error}\nThe run records offline in {journals}; ship it with: tidegate sync")
        return None


def begin_run(place: Place, store: Store | None, wanted: Wanted) -> ActiveRun:
    """Begins a run, or resumes it if there is one of the wanted id. Without a store, or when it is away, it records offline.

    Raises:
        UsageError: the experiment's name or the id cannot be one.
        ConflictError: a living process of this host owns a run of that id already.
        UnavailableError: the journal cannot be written.
    """
    check_name(wanted.experiment, "experiment")
    if wanted.id:
        check_name(wanted.id, "run")
        _refuse_second_owner(place, wanted.id)
        known = _known(place, store, wanted.id)
        if known is not None or _begun_here(place.journals / wanted.id):
            return _resumed(place, store if known is not None else None, wanted, known)
    run = _new_run(place, store, wanted)
    unknown = store is None
    if store is not None:
        try:
            within(_START_SECONDS, lambda: store.runs.create(run), "to begin a run")
        except UnavailableError as error:
            unknown = True
            tell(
                run.id,
                f"{error}\nThe run records in {place.journals / run.id} until the store is back; then it goes there by itself",
            )
    return _record(place, store, run, owner=True, unknown=unknown)


def resume_run(place: Place, store: Store | None, run_id: str) -> ActiveRun:
    """Goes on with a run that has ended, or whose process died: it is RUNNING again, and steps count on from its last one.

    Raises:
        NotFoundError: neither the store nor the folder of journals knows it.
        ConflictError: it is deleted, or a living process of this host owns it.
    """
    check_name(run_id, "run")
    _refuse_second_owner(place, run_id)
    known = _known(place, store, run_id)
    if known is None and store is not None and not _begun_here(place.journals / run_id):
        raise NotFoundError("run-not-found", f"there is no run {run_id!r}", fix="list runs with: tidegate run list")
    return _resumed(place, store if known is not None else None, Wanted("unknown", id=run_id), known)


def join_run(place: Place, store: Store | None, run_id: str, experiment: str = "") -> ActiveRun:
    """Writes to a run that another process began: its rank, its worker. Ending it ends only this process's part.

    Nothing is asked of the store: what is recorded comes to the run as soon as the store knows it.
    """
    check_name(run_id, "run")
    return _record(place, store, _stub(place, run_id, experiment), owner=False)


def _record(place: Place, store: Store | None, run: Run, **how: Any) -> ActiveRun:
    recording = Recording(
        folder=place.journals / run.id,
        clock=place.clock,
        store=store,
        system=place.system,
        machine=place.machine and how.get("owner", True),
        find_snapshot=place.find_snapshot,
        **how,
    )
    return ActiveRun(run, recording)


def _resumed(place: Place, store: Store | None, wanted: Wanted, known: Run | None) -> ActiveRun:
    folder = place.journals / wanted.id
    run = known or _stub(place, wanted.id, wanted.experiment)
    steps = [summary.last_step for name, summary in run.metrics.items() if not name.startswith(MACHINE)]
    step = max([*steps, _last_step(folder)])
    if store is not None and known is not None:
        if known.deleted_at is not None:
            raise ConflictError("run-deleted", f"run {run.id} is deleted", fix=f"tidegate run restore {run.id}")
        now = place.clock.now()
        within(_START_SECONDS, lambda: store.runs.change_state(run.id, RunState.RUNNING, now), "to resume a run")
        store.runs.hear(run.id, place.system.now())
    active = _record(place, store, run, owner=True, step=step, resumed=store is None)
    active.describe(wanted.params, wanted.tags)
    return active


def _new_run(place: Place, store: Store | None, wanted: Wanted) -> Run:
    now = place.clock.now()
    run_id = wanted.id or new_id(now)
    return Run(
        id=run_id,
        experiment=wanted.experiment,
        name=wanted.name or f"{wanted.experiment}-{run_id[-6:]}",
        state=RunState.RUNNING,
        started_at=now,
        heard_at=place.system.now(),
        author=place.author,
        params={shown_text(key): shown_text(value) for key, value in (wanted.params or {}).items()},
        tags={shown_text(key): shown_text(value) for key, value in (wanted.tags or {}).items()},
        environment=_captured(place, store, run_id),
    )


def _captured(place: Place, store: Store | None, run_id: str) -> Environment:
    return capture_environment(place.project, spool_of(store, place.journals / run_id))


def _stub(place: Place, run_id: str, experiment: str) -> Run:
    """A run of which this process knows the id alone."""
    now = place.clock.now()
    return Run(id=run_id, experiment=experiment, name=run_id, state=RunState.RUNNING, started_at=now, author=place.author)


def _known(place: Place, store: Store | None, run_id: str) -> Run | None:
    """The run as the store knows it, after what its dead processes left was taken in; None if it does not, or is away."""
    if store is None:
        return None

    def look() -> Run | None:
        try:
            if (place.journals / run_id).is_dir():
                recover_folder(
                    store, place.journals / run_id, system=place.system, deadline=time.monotonic() + _START_SECONDS, say=tell
                )
            return store.runs.get(run_id)
        except NotFoundError:
            return None

    try:
        return within(_START_SECONDS, look, "to find a run")
    except UnavailableError as error:
        tell(run_id, f"{error}\nThe run records in {place.journals / run_id}; ship it with: tidegate sync")
        return None


def _refuse_second_owner(place: Place, run_id: str) -> None:
    # Somebody who looks for dead journals holds a lock on each for a moment: look again before taking it for a living one.
    for _ in range(5):
        if not has_living_owner(place.journals / run_id):
            return
        time.sleep(0.1)
    raise ConflictError(
        "run-is-running",
        f"a living process has begun or resumed run {run_id}",
        why="one process ends a run; others join it",
        fix=f'tidegate.run(join="{run_id}")',
    )


def _begun_here(folder: Path) -> bool:
    """Whether a process that owned the run has left its journal in this folder."""
    for path in folder.glob(f"*{SUFFIX}"):
        with suppress(FileNotFoundError, UnavailableError):
            opening = read_opening(path)
            if opening is not None and opening.owner:
                return True
    return False


def _last_step(folder: Path) -> int:
    """The last step in a run's journals here; -1 if there is none."""
    found = -1
    for path in folder.glob(f"*{SUFFIX}"):
        with suppress(FileNotFoundError, UnavailableError):
            found = max(found, max(map(_step_of, JournalReader(path).frames()), default=-1))
    return found


def _step_of(frame: Frame) -> int:
    if isinstance(frame, Bulk):
        return int(np.frombuffer(frame.steps, "<i8").max())
    return frame.step if isinstance(frame, Points) and not next(iter(frame.values)).startswith(MACHINE) else -1
