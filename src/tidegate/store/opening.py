"""Opening a store: a folder with a database beside a bucket."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tidegate.store.bucket import open_bucket
from tidegate.store.ports import Bucket, Catalog, Documents, OnlineStore, RunStore, StepStore
from tidegate.store.sql.database import Database
from tidegate.store.sql.records import SqlCatalog, SqlDocuments, SqlOnline, SqlSteps
from tidegate.store.sql.runs import SqlRuns


@dataclass(frozen=True)
class Store:
    """The one metadata store: a bucket, and ports on the database."""

    root: Path
    bucket: Bucket
    runs: RunStore
    catalog: Catalog
    documents: Documents
    steps: StepStore
    online: OnlineStore
    database: Database

    def close(self) -> None:
        """Closes the database; the store cannot be used after that."""
        self.database.close()


def open_store(root: Path) -> Store:
    """Opens the store in the folder ``root``, making it if it is not there.

    Raises:
        UnavailableError: a newer Tidegate wrote it, it is locked, damaged, or the disk is full.
        IntegrityError: the mark of its format cannot be read.
    """
    bucket = open_bucket(root)
    database = Database(f"sqlite:///{root / 'metadata.db'}")
    return Store(
        root=root,
        bucket=bucket,
        runs=SqlRuns(database),
        catalog=SqlCatalog(database),
        documents=SqlDocuments(database),
        steps=SqlSteps(database),
        online=SqlOnline(database),
        database=database,
    )
