"""A real Postgres on a socket, with one migrated database to copy for each test."""

from __future__ import annotations

import itertools
import os
import signal
import time
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa

from tidegate.store.sql.database import Database


class PostgresServer:
    """Started at once; ``kill`` is a crash, ``start`` comes back from it."""

    def __init__(self, folder: Path) -> None:
        import pgserver  # makes folders when it is imported

        self._server = pgserver.get_server(folder / "data", cleanup_mode="stop")
        self._numbers = itertools.count()
        self._create("template_for_tests", "template0")
        Database(self.url("template_for_tests")).close()

    def url(self, name: str) -> str:
        """The address of a database on it."""
        url = sa.make_url(self._server.get_uri()).set(drivername="postgresql", database=name)
        return url.render_as_string(hide_password=False)

    def empty(self) -> str:
        """The address of a new database without tables."""
        return self._create(f"empty_{next(self._numbers)}", "template0")

    def fresh(self) -> str:
        """The address of a new, empty store."""
        return self._create(f"store_{next(self._numbers)}", "template_for_tests")

    def kill(self) -> None:
        """Kills the postmaster and, with it, everything that it does."""
        self._end(signal.SIGKILL)
        # Where nobody buries the dead, its number looks alive for ever.
        for left in (self._server.pgdata / "postmaster.pid", *self._server.pgdata.glob(".s.PGSQL.*")):
            left.unlink(missing_ok=True)

    def start(self) -> None:
        """Starts it again; its old children may take a moment to go."""
        for _ in range(50):
            try:
                self._server.ensure_postgres_running()
            except Exception:  # noqa: BLE001 - whatever pg_ctl says about the one before
                time.sleep(0.2)
            else:
                return
        pytest.fail("Postgres does not come back")

    def stop(self) -> None:
        """Stops it for good, at once: an orderly end would first put onto the disk what is thrown away next."""
        self._end(signal.SIGQUIT)
        self._server.cleanup_mode = None
        self._server.cleanup()

    def _end(self, how: signal.Signals) -> None:
        pid = self._server.get_pid()
        os.kill(pid, how)
        while Path(f"/proc/{pid}").exists() and "(postgres) Z" not in Path(f"/proc/{pid}/stat").read_text():
            time.sleep(0.01)

    def _create(self, name: str, template: str) -> str:
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        return self.url(name)
