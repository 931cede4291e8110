"""Opening a store: a folder with a database beside a bucket."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from tidegate.store.bucket import open_bucket
from tidegate.store.place import Store
from tidegate.store.sql.artifacts import SqlArtifacts
from tidegate.store.sql.database import Database
from tidegate.store.sql.experiments import SqlExperiments
from tidegate.store.sql.records import SqlCatalog, SqlDocuments, SqlOnline, SqlSteps
from tidegate.store.sql.runs import SqlRuns
from tidegate.store.sql.series import SqlSeries


def open_store(root: Path, *, database: str = "", bucket: str = "") -> Store:
    """Opens the store in the folder ``root``, making it if it is not there.

    ``database`` (a postgresql:// URL) and ``bucket`` (such as s3://name/prefix) stand for what is in the folder otherwise.

    Raises:
        UnavailableError: a newer Tidegate wrote it, it is locked, damaged, or the disk is full.
        IntegrityError: the mark of its format cannot be read.
    """
    values = open_bucket(bucket, root / "cache") if bucket else open_bucket(root)
    with suppress(OSError):  # the database tells what is wrong with the folder
        root.mkdir(parents=True, exist_ok=True)
    tables = Database(database or f"sqlite:///{root / 'metadata.db'}")
    return Store(
        root=root,
        bucket=values,
        experiments=SqlExperiments(tables),
        runs=SqlRuns(tables),
        series=SqlSeries(tables),
        artifacts=SqlArtifacts(tables),
        catalog=SqlCatalog(tables),
        documents=SqlDocuments(tables),
        steps=SqlSteps(tables),
        online=SqlOnline(tables),
        close=tables.close,
        database=tables,
    )
