"""Starting, finding and recovering runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tidegate.clock import Clock
from tidegate.errors import NotFoundError, UsageError
from tidegate.frames import Relation
from tidegate.records.run import Run, Series
from tidegate.store import Store, fetch_object
from tidegate.tracking.active import ActiveRun
from tidegate.tracking.comparison import Comparison, compare_runs
from tidegate.tracking.frame import frame_of
from tidegate.tracking.inputs import FindSnapshot
from tidegate.tracking.recovery import recover_runs
from tidegate.tracking.shipping import tell
from tidegate.tracking.starting import Place, Wanted, start_run
from tidegate.tracking.sync import Sync

_RECOVERY_SECONDS = 5.0


class Runs:
    """The runs of one store. ``project`` is the folder whose state a run captures, ``journals`` the one it is recorded in.

    ``find_snapshot`` tells what a name like ``flights-train@3`` stands for; ``machine`` samples processor, memory and GPUs
    into series while a run runs.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        *,
        journals: Path,
        project: Path,
        author: str = "",
        find_snapshot: FindSnapshot | None = None,
        machine: bool = False,
    ) -> None:
        self._store = store
        self._journals = journals
        system = clock if clock.kind == "system" else Clock()
        self._place = Place(journals, project, clock, author, system, find_snapshot, machine)

    def start(
        self,
        experiment: str = "",
        *,
        name: str = "",
        params: Mapping[str, Any] | None = None,
        tags: Mapping[str, Any] | None = None,
        id: str = "",  # noqa: A002 - it is the run's, and called so everywhere
        resume: str = "",
        join: str = "",
    ) -> ActiveRun:
        """Starts a run and captures its environment: code, packages, command line, machine; or goes on with one.

        Args:
            experiment: the named series of runs that it belongs to.
            name: what people call it.
            params: parameters that are known already.
            tags: tags that are known already.
            id: its id, where several processes or a scheduler must agree on one: begun if it is new, else resumed.
            resume: the id of a run to go on with: it is RUNNING again and steps count on from its last one.
            join: the id of a run that another process began and ends, for ranks and workers.

        Raises:
            UsageError: the experiment's name or the id cannot be one.
            NotFoundError: there is no run to resume.
            ConflictError: a living process owns the run already, or it is deleted.
            UnavailableError: the journal cannot be written. A store that is away is no error: the run records offline.
        """
        return start_run(self._place, self._store, Wanted(experiment, name, params, tags, id, resume, join))

    def get(self, run_id: str) -> Run:
        """One run; its name, or the first characters of its id, are enough if no other run is meant by them.

        Raises:
            NotFoundError: no such run.
            UsageError: several runs are called or start like that.
        """
        try:
            return self._store.runs.get(run_id)
        except NotFoundError:
            if not run_id:
                raise
            quoted = run_id.replace("'", "''")
            found = self._store.runs.search(where=f"name = '{quoted}' or id like '{quoted}%'", limit=100)
            # In LIKE, _ and % stand for anything.
            matches = [run for run in found if run.id.startswith(run_id) or run.name == run_id]
            if not matches:
                raise
            if len(matches) > 1:
                raise UsageError(
                    "run-ambiguous",
                    f"{len(matches)} runs match {run_id!r}",
                    why=f"among them {matches[0].id} and {matches[1].id}",
                    fix="give more characters of the id",
                ) from None
            return matches[0]

    def search(
        self,
        *,
        experiment: str | Sequence[str] = (),
        where: str = "",
        order_by: str | Sequence[str] = "",
        limit: int | None = 100,
        offset: int = 0,
        deleted: bool | None = False,
    ) -> list[Run]:
        """Runs that match a filter (see ``tidegate.store.filter``), newest first unless ``order_by`` says otherwise.

        Args:
            experiment: only runs of this experiment, or of one of several.
            where: such as ``metrics.loss < 0.3 and not params.depth = '6'``.
            order_by: such as ``metrics.loss, min(metrics.error) desc``; missing values come last, NaN just before them.
            limit: at most so many; None: all.
            offset: so many are skipped first.
            deleted: True: the deleted runs instead; None: both.

        Raises:
            UsageError: the filter or the order cannot be understood; the error says where.
        """
        return self._store.runs.search(
            experiments=_names(experiment), where=where, order_by=_clauses(order_by), limit=limit, offset=offset, deleted=deleted
        )

    def frame(
        self,
        *,
        experiment: str | Sequence[str] = (),
        where: str = "",
        order_by: str | Sequence[str] = "",
        limit: int | None = None,
        aggregate: str = "last",
        deleted: bool | None = False,
    ) -> Relation:
        """The same runs as a frame: a row per run, columns of its attributes, ``params.*``, ``metrics.*`` and ``tags.*``.

        The result is a DuckDB relation: ``.pl()``, ``.df()``, ``polars.DataFrame(it)``, ``pyarrow.table(it)``, or SQL on it.
        ``aggregate`` says what of a metric: last, min, max, best or count.
        """
        found = self.search(experiment=experiment, where=where, order_by=order_by, limit=limit, deleted=deleted)
        return frame_of(found, aggregate=aggregate)

    def delete(self, run_ids: Sequence[str]) -> None:
        """Deletes runs. They can be restored until ``tidegate store gc`` removes them.

        Raises:
            NotFoundError: there is no run with one of these ids; none was deleted.
        """
        self._store.runs.delete(run_ids, at=self._place.clock.now())

    def restore(self, run_ids: Sequence[str]) -> None:
        """Brings deleted runs back.

        Raises:
            NotFoundError: there is no run with one of these ids, or it was removed for good.
        """
        self._store.runs.delete(run_ids, at=None)

    def points(self, run_id: str, metric: str) -> Series:
        """All points of one metric, by step."""
        return self._store.series.points(run_id, metric)

    def compare(self, run_ids: Sequence[str], *, most_lines: int = 400) -> Comparison:
        """What differs between runs, and only that; for two runs with at most ``most_lines`` lines of their codes' difference."""
        runs = [self.get(run_id) for run_id in run_ids]
        return compare_runs(runs, self._store.bucket, self._place.project, most_lines=most_lines)

    def artifact(self, run_id: str, name: str) -> Path:
        """A local copy of an artifact, checked against its digest.

        Raises:
            NotFoundError: the run has no artifact of that name.
        """
        run = self.get(run_id)
        if name not in run.artifacts:
            raise NotFoundError(
                "artifact-not-found",
                f"run {run.id} has no artifact {name!r}",
                why=f"it has: {', '.join(sorted(run.artifacts)) or 'none'}",
                fix=f"tidegate run show {run.id}",
            )
        return fetch_object(self._store.bucket, run.artifacts[name])

    def recover(self, *, seconds: float = _RECOVERY_SECONDS) -> list[str]:
        """Takes in the journals of processes of this host that died, and marks their runs, and silent ones, CRASHED.

        It costs a look at the folder of journals where nothing died. After ``seconds`` the rest waits for the next time.

        Returns:
            The ids of the runs that became CRASHED.
        """
        return recover_runs(self._store, self._journals, system=self._place.system, seconds=seconds, say=tell)

    def sync(self, folder: Path | None = None) -> Sync:
        """What ships the runs in a folder, such as one copied from another machine, into the store; by default its own journals.

        Raises:
            UsageError: there is no such folder, or it holds no journal.
        """
        if folder is None:
            self._journals.mkdir(parents=True, exist_ok=True)
            return Sync(self._store, self._journals, own=True, system=self._place.system)
        resolved = folder.resolve()
        own = self._journals.resolve() in {resolved, resolved.parent}
        return Sync(self._store, resolved, own=own, system=self._place.system)


def _names(experiment: str | Sequence[str]) -> Sequence[str]:
    return ([experiment] if experiment else []) if isinstance(experiment, str) else experiment


def _clauses(order_by: str | Sequence[str]) -> str:
    return order_by if isinstance(order_by, str) else ", ".join(order_by)
