"""MLflow's SQLite database. It is copied first: even reading would leave files beside one in use.

Source: ``mlflow/store/tracking/dbmodels/models.py`` and ``mlflow/store/model_registry/dbmodels/models.py`` of MLflow 2.22 and 3.18.
"""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from tidegate.errors import BadInputError, UnavailableError, UsageError
from tidegate.records.run import Run, RunInput
from tidegate.tracking.importing.mlflow_runs import (
    MODEL_INPUT,
    MODEL_OUTPUT,
    artifacts_at,
    as_json,
    dataset_input,
    infinite,
    leftovers,
    micros,
    model_link,
    state_of,
)
from tidegate.tracking.importing.points import PointList
from tidegate.tracking.importing.records import NOT_AS_EXPECTED, Attachment, ImportedExperiment, ImportedRun, Problem

_BESIDE = ("", "-wal", "-journal")
_NEEDED = {"experiments", "runs", "metrics", "params", "tags"}
_READ = _NEEDED | {"experiment_tags", "datasets", "inputs", "input_tags"}
_DERIVED = {"latest_metrics", "alembic_version", "workspaces", "scheduler_leases", "job_locks", "sqlite_sequence"}
_SECRET = {"secrets"}
_REGISTRY = ("registered_models", "registered_model_tags", "registered_model_aliases", "model_versions", "model_version_tags")
_MODEL_OUTPUTS = {"RUN_OUTPUT"}
_UNLINKED = {
    "datasets": "dataset_uuid NOT IN (SELECT source_id FROM inputs)",
    "inputs": "destination_type != 'RUN' AND source_type NOT IN ('RUN_INPUT', 'RUN_OUTPUT')",
}
"""Which rows of these tables belong to no run."""


def read_database(path: Path) -> Iterator[ImportedExperiment | ImportedRun | Problem]:
    """Everything in a database of MLflow.

    Raises:
        BadInputError: it is no SQLite database, it or it is damaged.
        UsageError: it is not MLflow's.
        UnavailableError: it changes all the time, so that it cannot be copied.
    """
    with _copied(path) as copy, closing(sqlite3.connect(copy)) as connection:
        connection.row_factory = sqlite3.Row
        connection.text_factory = _text
        yield from _Database(connection, path).items()


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")


@contextmanager
def _copied(path: Path) -> Generator[Path]:
    with tempfile.TemporaryDirectory(prefix="tidegate-import-") as folder:
        copy = Path(folder) / "mlflow.db"
        for _ in range(5):
            before = _states(path)
            for suffix in _BESIDE:
                beside = path.with_name(path.name + suffix)
                if beside.is_file():
                    shutil.copyfile(beside, copy.with_name(copy.name + suffix))
            if _states(path) == before:
                break
        else:
            raise UnavailableError(
                "source-changes",
                f"{path} changed while it was copied",
                why="somebody writes to it",
                fix="import when it is quiet",
            )
        _check(copy, path)
        yield copy


def _states(path: Path) -> list[tuple[int, int]]:
    found = [path.with_name(path.name + suffix) for suffix in _BESIDE]
    return [(item.stat().st_mtime_ns, item.stat().st_size) for item in found if item.is_file()]


def _check(copy: Path, path: Path) -> None:
    try:
        with closing(sqlite3.connect(copy)) as connection:
            said = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
            tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    except sqlite3.DatabaseError as error:
        said, tables = str(error), set[str]()
    if said != "ok":
        raise BadInputError(
            "source-damaged", f"{path} is no sound SQLite database", why=str(said)[:300], fix="restore a backup of it"
        )
    if not tables >= _NEEDED:
        raise UsageError(
            "nothing-to-import",
            f"{path} is no database of MLflow",
            why=f"it has no table {', '.join(sorted(_NEEDED - tables))}",
            fix="name the database of the tracking server, such as mlflow.db",
        )


class _Database:
    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._connection, self._path = connection, path
        names = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")
        self._tables = [str(row[0]) for row in names]

    def items(self) -> Iterator[ImportedExperiment | ImportedRun | Problem]:
        """Experiments, their runs, then what belongs to none."""
        experiments = {row["experiment_id"]: self._experiment(row) for row in self._rows("experiments")}
        for number, experiment in experiments.items():
            yield experiment
            for row in self._rows("runs", "experiment_id = ?", number):
                try:
                    yield self._run(row, experiment)
                except NOT_AS_EXPECTED as error:
                    yield Problem("runs", str(row["run_uuid"]), str(error))
        for row in self._rows("runs"):
            if row["experiment_id"] not in experiments:
                yield Problem("runs", str(row["run_uuid"]), f"there is no experiment {row['experiment_id']}")
        created = min((item.created_at for item in experiments.values()), default=0)
        rest = self._rest(created)
        if rest.files or rest.problems:
            yield rest

    def _rows(self, table: str, where: str = "", *values: Any) -> list[dict[str, Any]]:
        """Rows of a table; none if there is no such table."""
        if table not in self._tables:
            return []
        query = f'SELECT * FROM "{table}"' + (f" WHERE {where}" if where else "")
        return [dict(row) for row in self._connection.execute(query, values)]

    def _texts(self, table: str, where: str, *values: Any) -> dict[str, str]:
        return {str(row["key"]): str(row["value"] or "") for row in self._rows(table, where, *values)}

    def _experiment(self, row: dict[str, Any]) -> ImportedExperiment:
        created, updated = micros(row.get("creation_time")), micros(row.get("last_update_time"))
        deleted_at = (updated or created or 1) if row.get("lifecycle_stage") == "deleted" else None
        tags = self._texts("experiment_tags", "experiment_id = ?", row["experiment_id"])
        return ImportedExperiment(str(row["name"]), created, tags, deleted_at)

    def _run(self, row: dict[str, Any], experiment: ImportedExperiment) -> ImportedRun:
        run_id = str(row["run_uuid"])
        params, tags = (self._texts(table, "run_uuid = ?", run_id) for table in ("params", "tags"))
        problems: list[Problem] = []
        points = self._points(run_id, problems)
        expected = "mlflow.log-model.history" in tags
        found = artifacts_at(str(row.get("artifact_uri") or ""), run_id, self._path.parent, expected=expected)
        started, ended, state = micros(row.get("start_time")), row.get("end_time"), state_of(row.get("status"))
        deleted = row.get("lifecycle_stage") == "deleted"
        run = Run(
            id=run_id,
            experiment=experiment.name,
            name=str(row.get("name") or tags.get("mlflow.runName") or run_id),
            state=state,
            started_at=started,
            ended_at=micros(ended) if ended is not None else (points.last_at or started if state.ended else None),
            deleted_at=(micros(row.get("deleted_time")) or experiment.deleted_at or started or 1) if deleted else None,
            author=str(row.get("user_id") or tags.get("mlflow.user") or ""),
            params=params,
            tags=tags,
            inputs=self._inputs(run_id, problems),
        )
        return ImportedRun(run, points.series(), found.files, {}, [*problems, *found.problems])

    def _points(self, run_id: str, problems: list[Problem]) -> PointList:
        points = PointList()
        query = 'SELECT key, value, "timestamp", step, is_nan FROM metrics WHERE run_uuid = ?'
        for key, value, timestamp, step, is_nan in self._connection.execute(query, (run_id,)):
            try:
                number = float("nan") if is_nan or value is None else infinite(float(value))
                points.add(str(key), int(step or 0), micros(timestamp), number)
            except NOT_AS_EXPECTED as error:
                problems.append(Problem("points", f"{run_id} {key}", str(error)))
        return points

    def _inputs(self, run_id: str, problems: list[Problem]) -> list[RunInput]:
        found: list[RunInput] = []
        for row in self._rows("inputs", "destination_id = ? AND destination_type = 'RUN'", run_id):
            datasets = self._rows("datasets", "dataset_uuid = ?", row["source_id"])
            if row["source_type"] != "DATASET" or not datasets:
                problems.append(Problem("inputs", f"{run_id} {row['source_id']}", f"there is no such {row['source_type']}"))
                continue
            tags = {str(tag["name"]): str(tag["value"]) for tag in self._rows("input_tags", "input_uuid = ?", row["input_uuid"])}
            dataset = {name.removeprefix("dataset_"): value for name, value in datasets[0].items()}
            found.append(dataset_input(dataset, tags))
        for row in self._rows("inputs", "source_id = ? AND source_type IN ('RUN_INPUT', 'RUN_OUTPUT')", run_id):
            kind = MODEL_OUTPUT if row["source_type"] in _MODEL_OUTPUTS else MODEL_INPUT
            found.append(model_link(str(row["destination_id"]), kind, row.get("step")))
        return found

    def _rest(self, created: int) -> ImportedRun:
        """The registry, logged models with their files, and every table without a place here."""
        files: list[Attachment] = []
        problems: list[Problem] = []
        kept = 0
        registry = {table: self._rows(table) for table in _REGISTRY}
        if any(registry.values()):
            files.append(Attachment("registry.json", as_json(registry), of_source=False))
            kept += sum(map(len, registry.values()))
        for row in self._rows("logged_models"):
            model_id, uri = str(row["model_id"]), str(row.get("artifact_location") or "")
            found = artifacts_at(uri, model_id, self._path.parent, f"logged-models/{model_id}/", expected=True)
            files += found.files
            problems += found.problems
        for table, unlinked in _UNLINKED.items():
            rows = self._rows(table, unlinked) if "inputs" in self._tables else []
            if rows:
                files.append(Attachment(f"tables/{table}.json", as_json(rows), of_source=False))
                kept += len(rows)
        for table in self._tables:
            if table in _READ | _DERIVED | {*_REGISTRY} or table.endswith("_rollups"):
                continue
            rows = self._rows(table)
            if table in _SECRET and rows:
                problems.append(Problem("records", table, "secrets are not copied", len(rows)))
            elif rows:
                files.append(Attachment(f"tables/{table}.json", as_json(rows), of_source=False))
                kept += len(rows)
        return leftovers(str(created), created, files, {"records": kept}, problems)
