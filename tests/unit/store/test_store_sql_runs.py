import sqlite3

import pytest

from tidegate.errors import UnavailableError
from tidegate.store import open_store
from tidegate.store.sql.database import NEWEST, journal_mode


def test_a_store_of_a_newer_version_is_refused(tmp_path):
    open_store(tmp_path).close()
    with sqlite3.connect(tmp_path / "metadata.db") as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    with pytest.raises(UnavailableError, match="written by a newer Tidegate"):
        open_store(tmp_path)


def test_a_damaged_database_is_an_error_in_words(tmp_path):
    open_store(tmp_path).close()
    (tmp_path / "metadata.db").write_bytes(b"no database at all, but long enough to be read" * 100)
    with pytest.raises(UnavailableError, match="cannot be read"):
        open_store(tmp_path)


def test_the_journal_mode_follows_the_linked_sqlite(store):
    safe = sqlite3.sqlite_version_info >= (3, 51, 3)
    assert journal_mode() == ("WAL" if safe else "PERSIST")
    with store.database.read() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == journal_mode().lower()
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1
    assert NEWEST.isdigit()
