"""The connection to the metadata database: opening, migrating, reading and writing."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.dialects.sqlite.base import SQLiteCompiler
from sqlalchemy.engine import URL, Connection, Engine
from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError

from tidegate.errors import UnavailableError, UsageError, missing_extra, without_passwords
from tidegate.store.sql.failures import BUSY_SECONDS, is_gone, translated, was_undone

NEWEST = "0002"
"""The revision that this version of Tidegate works with: the newest file in ``migrations/versions``."""

# Before 3.51.3 SQLite can corrupt a database when the write-ahead log is reset under several writers.
_WAL_IS_SAFE = (3, 51, 3)
_PAUSES = (0.05, 0.2, 0.8)  # seconds before a transaction is done again
_CACHE_KIB = 65_536  # what a search of 100,000 runs walks over fits in; it is taken as it is needed
_MIGRATION_LOCK = 7_243_348_301_112  # any number, as long as it stays the same
_POOL = {"pool_size": 8, "max_overflow": 24}
_CONFIGURE_POSTGRES = f"""
    SELECT set_config('statement_timeout', '{2 * BUSY_SECONDS}s', false),
        set_config('lock_timeout', '{BUSY_SECONDS}s', false),
        set_config('idle_in_transaction_session_timeout', '{4 * BUSY_SECONDS}s', false),
        CASE current_setting('synchronous_commit') WHEN 'off' THEN set_config('synchronous_commit', 'on', false) END
"""  # what was acknowledged is durable, whatever the server does by default

T = TypeVar("T")


def journal_mode() -> str:
    """``WAL`` where the linked SQLite is new enough to be trusted with several writers, else ``PERSIST``.

    PERSIST is the rollback journal of DELETE, as safe, but its file stays and is not created anew for each commit.
    """
    return "WAL" if sqlite3.sqlite_version_info >= _WAL_IS_SAFE else "PERSIST"


class Database:
    """A migrated database. Safe to share between threads; every process opens its own."""

    def __init__(self, url: str) -> None:
        """Opens ``url`` (sqlite:///FILE or postgresql://USER:PASSWORD@HOST/NAME) and brings its tables up to date.

        Raises:
            UnavailableError: it cannot be opened, it is locked, or a newer Tidegate wrote it.
            UsageError: it is no such URL.
        """
        parsed = _parsed(url)
        self.url = without_passwords(parsed.render_as_string(hide_password=True))
        self._engine = _engine(parsed)
        self._postgres = self._engine.dialect.name == "postgresql"
        try:
            with translated(self.url):
                self._migrate()
        except BaseException:
            self.close()
            raise

    @contextmanager
    def read(self) -> Generator[Connection]:
        """A connection for reading; all that is read through it is of one moment."""
        options: dict[str, Any] = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True} if self._postgres else {}
        with translated(self.url), self._engine.connect() as connection:
            yield connection.execution_options(**options)

    @contextmanager
    def write(self) -> Generator[Connection]:
        """A transaction for writing; it is committed, and on disk, when the block ends without an error.

        On SQLite it is alone. On Postgres others write at the same time: lock the rows that a decision rests on.
        """
        with translated(self.url), self._connect() as connection, connection.begin():
            yield connection

    def run(self, work: Callable[[Connection], T]) -> T:
        """Does ``work`` in a transaction for writing, and again if Postgres gave it up: deadlock, or a broken connection.

        Never again when the connection broke in the commit, for then nobody knows whether it was done.
        """
        with translated(self.url):
            for pause in _PAUSES:
                committing = False
                try:
                    with self._connect() as connection, connection.begin() as transaction:
                        result = work(connection)
                        committing = True
                        transaction.commit()
                        return result
                except DBAPIError as error:
                    if not (was_undone(error) or (is_gone(error) and not committing)):
                        raise
                time.sleep(pause)
            with self._connect() as connection, connection.begin():
                return work(connection)

    def compact(self) -> None:
        """Gives the room of what was removed back to the file system. Postgres does so by itself, in its own time.

        Raises:
            UnavailableError: another process uses the database, or the disk has no room for a copy of what is left.
        """
        if self._postgres:
            return
        with translated(self.url):
            connection = self._engine.raw_connection()
            try:
                connection.cursor().execute("VACUUM")
            except sqlite3.Error as error:
                raise OperationalError("VACUUM", None, error) from None
            finally:
                connection.close()

    def close(self) -> None:
        """Closes all connections."""
        self._engine.dispose()

    def _connect(self) -> Connection:
        return self._engine.connect().execution_options(immediate=True)

    def _migrate(self) -> None:
        with self._engine.connect() as connection:
            if _revision(connection) == NEWEST:
                return
        with self._connect() as connection, connection.begin():
            if self._postgres:  # two processes may open a new store at once, and moving points can take its time
                connection.exec_driver_sql("SET LOCAL lock_timeout = '10min'")
                connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
                connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_MIGRATION_LOCK})")
            found = _revision(connection)
            if found == NEWEST:  # another process was faster
                return
            from alembic import command
            from alembic.util import CommandError

            try:
                command.upgrade(migrations(connection), NEWEST)
            except CommandError:
                raise UnavailableError(
                    "store-newer",
                    f"this store was written by a newer Tidegate (its database is at revision {found})",
                    why=f"this version knows revisions up to {NEWEST}",
                    fix="upgrade: pip install --upgrade tidegate",
                ) from None


def migrations(connection: Connection) -> Any:
    """Alembic's configuration for our migrations on a connection."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    return config


def _revision(connection: Connection) -> str | None:
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()


def _parsed(url: str) -> URL:
    try:
        parsed = sa.make_url(url)
    except (ArgumentError, ValueError):
        parsed = None
    if parsed is not None and parsed.drivername == "sqlite":
        return parsed
    if parsed is not None and parsed.drivername in {"postgres", "postgresql", "postgresql+psycopg"}:
        if "@" in f"{parsed.host}{parsed.database}":
            raise UsageError(  # else a part of the password would be taken for the host, and shown
                "database-url",
                "this is no address of a database: it has more than one @",
                why="what comes before the last one may belong to the password",
                fix="write @ in a user or a password as %40, / as %2F and : as %3A",
            )
        return parsed.set(drivername="postgresql+psycopg")
    kind = url.partition(":")[0][:30]
    raise UsageError(
        "database-url",
        f"this is no address of a database: {kind!r}",
        why="SQLite and Postgres are supported",
        fix="write postgresql://USER:PASSWORD@HOST:5432/NAME",
    )


def _engine(url: URL) -> Engine:
    if url.get_backend_name() == "sqlite":
        engine = sa.create_engine(url, **_POOL)
        engine.dialect.statement_compiler = _HintingCompiler
        event.listen(engine, "connect", _configure_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine
    try:
        engine = sa.create_engine(url, pool_pre_ping=True, connect_args={"connect_timeout": 10}, **_POOL)
    except ModuleNotFoundError:
        raise missing_extra("postgres", "psycopg", "a store on Postgres") from None
    event.listen(engine, "connect", _configure_postgres)
    return engine


class _HintingCompiler(SQLiteCompiler):
    """Writes ``INDEXED BY``: SQLite plans without statistics, and search knows which index it means."""

    def get_from_hint_text(self, table: Any, text: str | None) -> str | None:  # noqa: ARG002 - the signature is SQLAlchemy's
        """The hint as it is given."""
        return text


def _configure_sqlite(connection: sqlite3.Connection, _record: Any) -> None:
    connection.isolation_level = None  # transactions are begun by _begin_sqlite, not by the driver's guess
    connection.execute(f"PRAGMA busy_timeout={BUSY_SECONDS * 1000}")
    connection.execute(f"PRAGMA journal_mode={journal_mode()}")
    connection.execute("PRAGMA journal_size_limit=16777216")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA foreign_keys=ON")
    connection.execute(f"PRAGMA cache_size=-{_CACHE_KIB}")


def _begin_sqlite(connection: Connection) -> None:
    # A writer takes its lock at once: a read lock that has to grow can deadlock with another one.
    connection.exec_driver_sql("BEGIN IMMEDIATE" if connection.get_execution_options().get("immediate") else "BEGIN")


def _configure_postgres(connection: Any, _record: Any) -> None:
    connection.autocommit = True
    connection.execute(_CONFIGURE_POSTGRES)
    connection.autocommit = False
