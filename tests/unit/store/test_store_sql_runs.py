import sqlite3
import threading

import pytest

from tidegate.errors import UnavailableError
from tidegate.records.run import MetricPoint, Run, RunState
from tidegate.store import open_store
from tidegate.store.sql.database import NEWEST, journal_mode


def a_run(run_id, experiment="delay", at=1, **params):
    return Run(id=run_id, experiment=experiment, name=run_id, state=RunState.RUNNING, started_at=at, params=params)


def test_many_writers_lose_nothing(tmp_path):
    root = tmp_path / "s"
    first = open_store(root)
    first.runs.create(a_run("a"))

    def write(writer):
        own = open_store(root)
        for seq in range(1, 11):
            own.runs.ingest("a", writer, seq, [MetricPoint("loss", seq, 1, 1.0)])
        own.close()

    threads = [threading.Thread(target=write, args=(f"w{number}",)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert first.runs.get("a").metrics["loss"].count == 80
    first.close()


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


def test_the_journal_mode_follows_the_linked_sqlite():
    assert journal_mode() == ("WAL" if sqlite3.sqlite_version_info >= (3, 51, 3) else "DELETE")
    assert NEWEST.isdigit()
