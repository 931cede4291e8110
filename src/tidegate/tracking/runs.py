"""Starting, finding and recovering runs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tidegate.clock import Clock
from tidegate.errors import NotFoundError, UsageError
from tidegate.records.ids import new_id
from tidegate.records.names import check_name
from tidegate.records.run import MetricPoint, Run, RunState
from tidegate.store import fetch_object, put_object
from tidegate.store.journal import claimed, read_journal
from tidegate.store.ports import Bucket, RunStore
from tidegate.tracking.active import ActiveRun
from tidegate.tracking.comparison import Comparison, compare
from tidegate.tracking.environment import MAX_PATCH_BYTES, capture, git_state


class Runs:
    """The runs of one store. ``project`` is the folder whose git state a run captures."""

    def __init__(self, runs: RunStore, bucket: Bucket, clock: Clock, *, journals: Path, project: Path, author: str = "") -> None:
        self._runs = runs
        self._bucket = bucket
        self._clock = clock
        self._journals = journals
        self._project = project
        self._author = author

    def start(
        self, experiment: str, *, name: str = "", params: Mapping[str, Any] | None = None, tags: Mapping[str, Any] | None = None
    ) -> ActiveRun:
        """Starts a run and captures its environment: git commit and uncommitted changes, packages, command line, machine.

        Raises:
            UsageError: the experiment's name cannot be one.
            UnavailableError: the store cannot be used.
        """
        check_name(experiment, "experiment")
        now = self._clock.now()
        run_id = new_id(now)
        git = git_state(self._project)
        keep_patch = git is not None and git.dirty and len(git.patch) <= MAX_PATCH_BYTES
        run = Run(
            id=run_id,
            experiment=experiment,
            name=name or f"{experiment}-{run_id[-6:]}",
            state=RunState.RUNNING,
            started_at=now,
            author=self._author,
            params={key: str(value) for key, value in (params or {}).items()},
            tags={key: str(value) for key, value in (tags or {}).items()},
            environment=capture(self._project, git, put_object(self._bucket, git.patch) if git and keep_patch else ""),
        )
        self._runs.create(run)
        return ActiveRun(run, runs=self._runs, bucket=self._bucket, journal_folder=self._journals, clock=self._clock)

    def get(self, run_id: str) -> Run:
        """One run; the first characters of its id are enough if no other run's id starts with them.

        Raises:
            NotFoundError: no such run.
            UsageError: several runs start like that.
        """
        try:
            return self._runs.get(run_id)
        except NotFoundError:
            matches = [
                run for run in self._runs.search(where="", limit=10_000) if run.id.startswith(run_id) or run.name == run_id
            ]
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

    def search(self, *, experiment: str = "", where: str = "", order_by: str = "", limit: int = 100) -> list[Run]:
        """Runs that match a filter (see ``tidegate.store.filter``), newest first unless ``order_by`` says otherwise."""
        return self._runs.search(experiment=experiment, where=where, order_by=order_by, limit=limit)

    def points(self, run_id: str, metric: str) -> list[MetricPoint]:
        """All points of one metric, by step."""
        return self._runs.points(run_id, metric)

    def compare(self, run_ids: list[str]) -> Comparison:
        """What differs between runs: parameters, tags, metrics, code and packages."""
        return compare([self.get(run_id) for run_id in run_ids])

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
        return fetch_object(self._bucket, run.artifacts[name])

    def recover(self) -> list[str]:
        """Takes in the journals of processes of this host that died, and marks their runs CRASHED; returns the runs' ids."""
        recovered: list[str] = []
        for path in sorted(self._journals.glob("*.journal")):
            with claimed(path) as abandoned:
                run_id = path.stem.rpartition("-")[0]
                if abandoned and self._recovered(run_id, path):
                    recovered.append(run_id)
        return recovered

    def _recovered(self, run_id: str, path: Path) -> bool:
        """Takes in one abandoned journal. That of a run which this store does not know is left alone."""
        try:
            state = self._runs.get(run_id).state
        except NotFoundError:
            return False
        records = list(read_journal(path))
        if records:
            self._runs.ingest(run_id, path.stem, records[-1].seq, [point for record in records for point in record.points])
        if state is RunState.RUNNING:
            self._runs.finish(run_id, RunState.CRASHED, self._clock.now())
        path.unlink(missing_ok=True)
        return state is RunState.RUNNING
