"""MLflow: a folder ``mlruns``, a database ``mlflow.db``, or a folder that holds them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tidegate.errors import NotFoundError, UsageError
from tidegate.tracking.importing.mlflow_database import read_database
from tidegate.tracking.importing.mlflow_files import is_file_store, read_files
from tidegate.tracking.importing.records import ImportedExperiment, ImportedRun, Problem, Source

KIND = "mlflow"
_DATABASE, _FILES = "mlflow.db", "mlruns"


def open_mlflow(path: Path) -> Source:
    """What MLflow left at ``path``; nothing there is changed.

    Raises:
        NotFoundError: there is nothing at ``path``.
        UsageError: it is nothing of MLflow's.
    """
    if not path.exists():
        raise NotFoundError("source-not-found", f"no file or folder {path}", fix="check the path")
    databases, folders = _places(path.absolute())
    if not databases and not folders:
        raise UsageError(
            "nothing-to-import",
            f"{path} holds nothing that MLflow wrote",
            why=f"it is no database and holds neither {_DATABASE} nor {_FILES} nor folders of experiments with a meta.yaml",
            fix="name the folder mlruns, or the database",
        )
    total = sum(len(list(folder.glob("*/*/meta.yaml"))) for folder in folders)
    return Source(KIND, path.absolute(), total, _items(databases, folders))


def _places(path: Path) -> tuple[list[Path], list[Path]]:
    if path.is_file():
        return [path], []
    databases = [path / _DATABASE] if (path / _DATABASE).is_file() else []
    folders = [folder for folder in (path, path / _FILES) if folder.is_dir() and is_file_store(folder)]
    return databases, folders


def _items(databases: list[Path], folders: list[Path]) -> Iterator[ImportedExperiment | ImportedRun | Problem]:
    for database in databases:
        yield from read_database(database)
    for folder in folders:
        yield from read_files(folder)
