"""The connection to the metadata database: opening, migrating, reading and writing."""

from __future__ import annotations

import sqlite3
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import DatabaseError, IntegrityError, OperationalError

from tidegate.errors import UnavailableError

NEWEST = "0001"
"""The revision that this version of Tidegate works with: the newest file in ``migrations/versions``."""

# Before 3.51.3 SQLite can corrupt a database when the write-ahead log is reset under several writers.
_WAL_IS_SAFE = (3, 51, 3)
_BUSY_SECONDS = 30


def journal_mode() -> str:
    """``WAL`` where the linked SQLite is new enough to be trusted with several writers, else ``DELETE``."""
    return "WAL" if sqlite3.sqlite_version_info >= _WAL_IS_SAFE else "DELETE"


class Database:
    """A migrated database. Safe to share between threads; every process opens its own."""

    def __init__(self, url: str) -> None:
        """Opens ``url`` (an SQLAlchemy URL) and brings its tables up to date.

        Raises:
            UnavailableError: it cannot be opened, it is locked, or a newer Tidegate wrote it.
        """
        self.url = url
        self._engine = _engine(url)
        with _translated(url):
            self._migrate()

    @contextmanager
    def read(self) -> Generator[Connection]:
        """A connection for reading."""
        with _translated(self.url), self._engine.connect() as connection:
            yield connection

    @contextmanager
    def write(self) -> Generator[Connection]:
        """A transaction for writing; it is committed, and on disk, when the block ends without an error."""
        with _translated(self.url), self._engine.connect().execution_options(immediate=True) as connection, connection.begin():
            yield connection

    def close(self) -> None:
        """Closes all connections."""
        self._engine.dispose()

    def _migrate(self) -> None:
        with self._engine.connect() as connection:
            if _revision(connection) == NEWEST:
                return
        with self._engine.connect().execution_options(immediate=True) as connection, connection.begin():
            found = _revision(connection)
            if found == NEWEST:  # another process was faster
                return
            from alembic import command
            from alembic.config import Config
            from alembic.util import CommandError

            config = Config()
            config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
            config.attributes["connection"] = connection
            try:
                command.upgrade(config, NEWEST)
            except CommandError:
                raise UnavailableError(
                    "store-newer",
                    f"this store was written by a newer Tidegate (its database is at revision {found})",
                    why=f"this version knows revisions up to {NEWEST}",
                    fix="upgrade: pip install --upgrade tidegate",
                ) from None


def _revision(connection: Connection) -> str | None:
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()


def _engine(url: str) -> Engine:
    engine = sa.create_engine(url)
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _configure_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    return engine


def _configure_sqlite(connection: sqlite3.Connection, _record: Any) -> None:
    connection.isolation_level = None  # transactions are begun by _begin_sqlite, not by the driver's guess
    connection.execute(f"PRAGMA busy_timeout={_BUSY_SECONDS * 1000}")
    connection.execute(f"PRAGMA journal_mode={journal_mode()}")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA foreign_keys=ON")


def _begin_sqlite(connection: Connection) -> None:
    # A writer takes its lock at once: a read lock that has to grow can deadlock with another one.
    connection.exec_driver_sql("BEGIN IMMEDIATE" if connection.get_execution_options().get("immediate") else "BEGIN")


@contextmanager
def _translated(url: str) -> Generator[None]:
    try:
        yield
    except OperationalError as error:
        reason = str(error.orig)
        if "locked" in reason:
            raise UnavailableError(
                "store-locked",
                f"the metadata database stayed locked for {_BUSY_SECONDS} seconds: {url}",
                why="another process is writing to it, or hangs while it does",
                fix="find it with: fuser FILE; stop it and try again",
            ) from None
        if "full" in reason:
            raise UnavailableError(
                "disk-full", f"the disk is full: {url}", why="nothing was changed", fix="free some space and try again"
            ) from None
        raise UnavailableError(
            "database-unavailable",
            f"the metadata database cannot be used: {url}",
            why=reason,
            fix="check its folder, owner and mode",
        ) from None
    except DatabaseError as error:
        if isinstance(error, IntegrityError):
            raise
        raise UnavailableError(
            "database-damaged",
            f"the metadata database cannot be read: {url}",
            why=str(error.orig),
            fix="restore it from a backup",
        ) from None
