"""Recording of training code, wherever it runs: ``tidegate.run`` and ``tidegate.autolog``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tidegate.clock import Clock, parse_time
from tidegate.settings import load_project, process_rank
from tidegate.tracking import ActiveRun, Place, Wanted, open_in_time, start_run
from tidegate.tracking.autolog import switch_off, switch_on
from tidegate.workspace import Workspace


def run(
    experiment: str = "",
    *,
    name: str = "",
    params: Mapping[str, Any] | None = None,
    tags: Mapping[str, Any] | None = None,
    id: str = "",  # noqa: A002 - it is the run's, and called so everywhere
    resume: str = "",
    join: str = "",
    offline: bool | None = None,
) -> ActiveRun:
    """Starts a run in the project around the working directory: ``with tidegate.run("delay") as run: run.log(loss=0.3)``.

    Args:
        experiment: the named series of runs that it belongs to.
        name: what people call it.
        params: parameters that are known already.
        tags: tags that are known already.
        id: the run's id, where several processes must agree on one: begun if it is new, else resumed. A process whose ``RANK``
            is greater than 0 joins it instead. The variable ``TIDEGATE_RUN_ID`` says it for a whole training.
        resume: the id of a run to go on with: it is RUNNING again, and steps count on from its last one.
        join: the id of a run that another process began and ends, for ranks and workers.
        offline: records without the store; ``tidegate sync`` ships the run later. Left out, the setting ``offline`` says it.
            A store that is away, or silent for ten seconds, has the same effect, with a warning.

    Raises:
        UsageError: the experiment's name or the id cannot be one.
        NotFoundError: there is no run to resume.
        ConflictError: a living process owns the run already, or it is deleted.
        UnavailableError: the run cannot be recorded on this machine's disk.
    """
    project = load_project(Path())
    settings = project.settings
    if not (id or resume or join):
        id = settings.run_id  # noqa: A001
    if id and process_rank() > 0:
        id, join = "", id  # noqa: A001
    journals = project.store / "journal"
    wanted = Wanted(experiment, name, params, tags, id, resume, join)
    if not (settings.offline if offline is None else offline):
        workspace = open_in_time(Workspace.open, journals)
        if workspace is not None:
            return workspace.runs.start(experiment, name=name, params=params, tags=tags, id=id, resume=resume, join=join)
    clock = Clock.replay(parse_time(settings.now)) if settings.now else Clock()
    return start_run(Place(journals, project.folder, clock, settings.actor, machine=True), None, wanted)


def autolog(*frameworks: str, experiment: str = "autolog", off: bool = False) -> None:
    """Records training code as it is: from now on every fit, in the open run or in one of its own.

    Frameworks are ``sklearn``, ``xgboost``, ``lightgbm``, ``lightning`` and ``transformers``; those that are imported later are
    recorded too. Only the outermost fit counts: no run for the folds of a cross-validation or the steps of a pipeline. What
    cannot be recorded is told once on standard error and never ends a training.

    Args:
        frameworks: only these; all, if none is named.
        experiment: where the runs go that a fit begins because no ``with tidegate.run(...)`` is open.
        off: puts the frameworks back as they were.

    Raises:
        UsageError: a framework is unknown.
    """
    if off:
        switch_off(frameworks)
    else:
        switch_on(frameworks, lambda: run(experiment))
