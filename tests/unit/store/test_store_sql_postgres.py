"""What is special about Postgres: crashes, refusals, and values that it does not take."""

import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import psycopg
import pytest
import sqlalchemy as sa

from postgres_server import PostgresServer
from tidegate.errors import BadInputError, ConflictError, UnavailableError, UsageError
from tidegate.records.run import Series
from tidegate.store import open_store
from tidegate.store.ports import Batch
from tidegate.store.sql.database import Database
from tidegate.testing.runs import a_run


@pytest.fixture(scope="module")
def mortal_server():
    """A Postgres of its own, to be killed."""
    with tempfile.TemporaryDirectory(prefix="tidegate-postgres-") as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_RUNTIME_DIR", folder)
        server = PostgresServer(Path(folder))
        yield server
        server.stop()


def line(metric, first, last, value=1.0):
    steps = np.arange(first, last)
    return Series(metric, steps, steps, np.full(last - first, value))


def survive(server, tmp_path, crashes, writers):
    """Writers that repeat what was not acknowledged, while the server is killed again and again."""
    store = open_store(tmp_path, database=server.fresh())
    store.runs.create(a_run("a"))
    stop = threading.Event()
    acknowledged = dict.fromkeys(range(writers), 0)
    unexpected, refusals = [], []

    def write(number):
        while not stop.is_set():
            seq = acknowledged[number] + 1
            batch = Batch(
                "a", f"w{number}", seq, [line(f"own{number}", seq * 70, seq * 70 + 70), line("all", seq, seq + 1, number)]
            )
            try:
                assert store.series.ingest([batch]) == [None]
            except UnavailableError as error:
                refusals.append(error.code)
                time.sleep(0.02)
            except BaseException as error:  # noqa: BLE001 - told below
                unexpected.append(error)
                return
            else:
                acknowledged[number] = seq

    threads = [threading.Thread(target=write, args=(number,)) for number in range(writers)]
    for thread in threads:
        thread.start()
    for _ in range(crashes):
        before = sum(acknowledged.values())
        deadline = time.monotonic() + 30
        while sum(acknowledged.values()) < before + writers and time.monotonic() < deadline and not unexpected:
            time.sleep(0.01)
        server.kill()
        time.sleep(0.1)
        server.start()
    before = sum(acknowledged.values())
    deadline = time.monotonic() + 30
    while sum(acknowledged.values()) <= before + writers and time.monotonic() < deadline and not unexpected:
        time.sleep(0.01)
    stop.set()
    for thread in threads:
        thread.join()
    assert unexpected == []
    assert sum(acknowledged.values()) > before, "the writers go on by themselves"
    assert set(refusals) <= {"database-unreachable"}
    taken = store.series.taken("a")
    for number in range(writers):
        assert taken[f"w{number}"] >= acknowledged[number]
        steps = store.series.points("a", f"own{number}").steps.tolist()
        assert steps == list(range(70, taken[f"w{number}"] * 70 + 70))
        assert store.runs.get("a").metrics[f"own{number}"].count == len(steps)
    assert len(store.series.points("a", "all")) == sum(taken.values())
    store.close()


def test_a_killed_postgres_loses_nothing_that_was_acknowledged(mortal_server, tmp_path):
    survive(mortal_server, tmp_path, 1, 3)


@pytest.mark.slow
def test_twenty_crashes_under_load_lose_nothing(mortal_server, tmp_path):
    survive(mortal_server, tmp_path, 20, 8)


def test_deadlocked_work_is_done_again(postgres_url):
    database = Database(postgres_url)
    with database.write() as connection:
        connection.execute(sa.text("CREATE TABLE pair (id int PRIMARY KEY, n int)"))
        connection.execute(sa.text("INSERT INTO pair VALUES (1, 0), (2, 0)"))
    barrier = threading.Barrier(2)
    tries = []

    def work(first, second):
        def both(connection):
            tries.append(first)
            connection.execute(sa.text("UPDATE pair SET n = n + 1 WHERE id = :id"), {"id": first})
            if len(tries) <= 2:
                barrier.wait()
            connection.execute(sa.text("UPDATE pair SET n = n + 1 WHERE id = :id"), {"id": second})

        database.run(both)

    threads = [threading.Thread(target=work, args=order) for order in ((1, 2), (2, 1))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with database.read() as connection:
        assert connection.execute(sa.text("SELECT n FROM pair ORDER BY id")).scalars().all() == [2, 2]
    assert len(tries) == 3
    database.close()


def test_a_read_is_of_one_moment_and_changes_nothing(postgres_url):
    database = Database(postgres_url)
    with database.read() as reader:
        assert reader.execute(sa.text("SELECT count(*) FROM experiments")).scalar_one() == 0
        with database.write() as writer:
            writer.execute(sa.text("INSERT INTO experiments VALUES (1, 'x', 1, 1, NULL, '', '{}')"))
        assert reader.execute(sa.text("SELECT count(*) FROM experiments")).scalar_one() == 0
    with pytest.raises(UnavailableError), database.read() as reader:
        reader.execute(sa.text("DELETE FROM experiments"))
    database.close()


def test_addresses_are_checked_and_passwords_never_told(postgres_server, tmp_path):
    for bad in ("mysql://a:secret@b/c", "postgresql+psycopg2://a:secret@b/c", "nothing at all"):
        with pytest.raises(UsageError) as refused:
            Database(bad)
        assert "secret" not in str(refused.value)
    with pytest.raises(UnavailableError) as caught:
        Database("postgresql://me:secret@127.0.0.1:9/nothing")
    assert caught.value.code == "database-unreachable"
    assert "secret" not in str(caught.value)
    with pytest.raises(UnavailableError) as caught:
        Database(postgres_server.url("postgres").replace("postgres:", "nobody:secret", 1))
    assert caught.value.code in {"database-login", "database-unreachable"}
    assert "secret" not in str(caught.value)


def test_a_statement_that_takes_too_long_is_given_up(postgres_url):
    database = Database(postgres_url)

    def sleep(connection):
        connection.execute(sa.text("SET LOCAL statement_timeout = '50ms'"))
        connection.execute(sa.text("SELECT pg_sleep(5)"))

    with pytest.raises(UnavailableError) as caught:
        database.run(sleep)
    assert caught.value.code == "database-busy"
    with database.read() as connection:
        assert connection.execute(sa.text("SHOW statement_timeout")).scalar_one() == "1min"
    database.close()


def test_a_server_that_does_not_wait_for_its_disk_is_made_to(postgres_server):
    url = postgres_server.fresh()
    with psycopg.connect(url, autocommit=True) as connection:
        name = connection.info.dbname
        connection.execute(f'ALTER DATABASE "{name}" SET synchronous_commit = off')
    database = Database(url)
    with database.read() as connection:
        assert connection.execute(sa.text("SHOW synchronous_commit")).scalar_one() == "on"
    database.close()


def test_a_key_that_no_index_holds_is_refused_in_words(postgres_store):
    postgres_store.runs.create(a_run("a"))
    key = "".join(chr(0x4E00 + place * 7919 % 20_000) for place in range(4000))
    with pytest.raises(BadInputError) as caught:
        postgres_store.runs.annotate("a", tags={key: "x"})
    assert caught.value.code == "text-not-storable"


def test_an_ingest_and_a_purge_do_not_cross(postgres_store):
    """A run is purged while points come in: afterwards there is nothing of it."""
    errors = []

    def ingest():
        for seq in range(1, 40):
            answer = postgres_store.series.ingest([Batch("a", "w", seq, [line("loss", seq * 50, seq * 50 + 50)])])[0]
            errors.append(answer)

    for _ in range(3):
        postgres_store.runs.create(a_run("a"))
        thread = threading.Thread(target=ingest)
        thread.start()
        while True:
            try:
                postgres_store.runs.delete(["a"], at=1)
                break
            except ConflictError:
                continue
        postgres_store.runs.purge(["a"])
        thread.join()
        with postgres_store.database.read() as connection:
            for table in ("metrics", "metric_loose", "metric_chunks", "journal_positions"):
                assert connection.execute(sa.text(f"SELECT count(*) FROM {table}")).scalar_one() == 0
