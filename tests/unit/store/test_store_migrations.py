import math
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from tidegate.errors import RefusedError
from tidegate.records.run import RunInput
from tidegate.store import open_store
from tidegate.store.sql import database
from tidegate.store.sql.database import Database, migrations
from tidegate.store.sql.tables import metadata
from tidegate.testing.series import of_points


@pytest.fixture(params=["sqlite", "postgres"])
def url(request, tmp_path):
    """The address of an empty database without tables."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'metadata.db'}"
    return request.getfixturevalue("postgres_server").empty()


def engine(url):
    return sa.create_engine(url.replace("postgresql://", "postgresql+psycopg://"), poolclass=sa.NullPool)


def move(url, direction, revision):
    with engine(url).begin() as connection:
        if connection.dialect.name == "sqlite":
            connection.connection.dbapi_connection.isolation_level = None
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        getattr(command, direction)(migrations(connection), revision)


def old_store(url, points=2500):
    """A store as 0001 left it: two runs of two experiments, a long series, one with NaN and infinity, an artifact."""
    move(url, "upgrade", "0001")
    rows = [(1, step, step * 1000 + 7, math.sin(step)) for step in range(points)]
    rows += [(1, 5, 5007, math.sin(5)), (2, 3, 1, None), (2, -1, 2, math.inf), (3, 1, 1, 0.5)]
    with engine(url).begin() as connection:
        for statement in (
            "INSERT INTO runs VALUES ('a', 'delay', 'first', 'FINISHED', 10, 20, 'me', NULL)",
            "INSERT INTO runs VALUES ('b', 'fares', 'second', 'RUNNING', 11, NULL, 'me', NULL)",
            "INSERT INTO run_params VALUES ('a', 'depth', '6')",
            "INSERT INTO run_tags VALUES ('a', 'team', 'ops')",
            "INSERT INTO run_artifacts VALUES ('a', 'plot.png', 'dd')",
            f"INSERT INTO metrics VALUES (1, 'a', 'loss', {points + 1}, 0.5, {points - 1}, 1, -1.0, 1.0)",
            "INSERT INTO metrics VALUES (2, 'a', 'acc', 2, NULL, 3, 1, NULL, NULL)",
            "INSERT INTO metrics VALUES (3, 'b', 'loss', 1, 0.5, 1, 1, 0.5, 0.5)",
            "INSERT INTO journal_positions VALUES ('a', 'w', 7)",
        ):
            connection.exec_driver_sql(statement)
        table = sa.table("metric_points", *(sa.column(name) for name in ("metric_id", "step", "at", "value")))
        connection.execute(sa.insert(table), [dict(zip(("metric_id", "step", "at", "value"), row, strict=True)) for row in rows])


def opened(url, tmp_path):
    return open_store(tmp_path, database=url)


def test_the_migrations_end_where_the_code_says():
    assert ScriptDirectory.from_config(migrations(None)).get_current_head() == database.NEWEST


def test_up_gives_the_tables_and_down_takes_them_away(url):
    move(url, "upgrade", "head")
    with engine(url).begin() as connection:

        def of_this_database(thing, name, kind, _reflected, _other):
            return kind != "index" or name not in {"run_params_by_key", "run_tags_by_key"}  # one of each name per database

        context = MigrationContext.configure(
            connection, opts={"include_object": of_this_database, "compare_type": connection.dialect.name == "sqlite"}
        )
        assert compare_metadata(context, metadata) == []
        for table in ("run_params", "run_tags"):
            assert f"{table}_by_key" in {index["name"] for index in sa.inspect(connection).get_indexes(table)}
    move(url, "downgrade", "base")
    with engine(url).connect() as connection:
        assert set(sa.inspect(connection).get_table_names()) == {"alembic_version"}


def test_an_old_store_comes_up_with_all_it_had_and_goes_back(url, tmp_path):
    old_store(url)
    for _ in range(2):
        store = opened(url, tmp_path)
        run = store.runs.get("a")
        assert (run.experiment, run.params, run.tags, run.artifacts) == (
            "delay",
            {"depth": "6"},
            {"team": "ops"},
            {"plot.png": "dd"},
        )
        assert {item.name for item in store.experiments.list()} == {"delay", "fares"}
        loss = store.series.points("a", "loss")
        assert loss.steps.tolist() == list(range(2500))
        assert loss.values.tolist() == [math.sin(step) for step in range(2500)]
        acc = store.series.points("a", "acc")
        assert acc.steps.tolist() == [-1, 3]
        assert math.isinf(acc.values[0])
        assert math.isnan(acc.values[1])
        assert (run.metrics["loss"].count, run.metrics["loss"].best, run.metrics["acc"].count) == (2500, -1.0, 2)
        assert store.series.taken("a") == {"w": 7}
        assert [item.id for item in store.runs.search(where="params.depth = '6'")] == ["a"]
        store.close()
        move(url, "downgrade", "0001")
        with engine(url).connect() as connection:
            assert connection.exec_driver_sql("SELECT count(*) FROM metric_points WHERE metric_id = 1").scalar() == 2500
            assert connection.exec_driver_sql("SELECT experiment FROM runs ORDER BY id").scalars().all() == ["delay", "fares"]


@pytest.mark.parametrize("what", ["deleted run", "deleted experiment", "tags", "inputs", "artifacts"])
def test_going_back_refuses_to_lose(url, tmp_path, what):
    old_store(url, points=3)
    store = opened(url, tmp_path)
    match what:
        case "deleted run":
            store.runs.delete(["a"], at=1)
        case "deleted experiment":
            store.experiments.delete(store.experiments.create("x", at=1).id, at=2)
        case "tags":
            store.experiments.change(store.experiments.list()[0].id, at=1, tags={"a": "b"})
        case "inputs":
            store.runs.annotate("a", inputs=[RunInput(name="d", digest="e")])
        case _:
            from tidegate.records.run import Artifact

            store.artifacts.put("m-1", [Artifact(path="x", digest="d", size=1)])
    store.close()
    with pytest.raises(RefusedError):
        move(url, "downgrade", "0001")
    again = opened(url, tmp_path)
    assert again.series.points("a", "loss").steps.tolist() == [0, 1, 2, 5]
    again.close()


def test_two_that_open_a_new_store_at_once_do_not_meet(url, tmp_path):
    errors = []

    def work():
        try:
            Database(url).close()
        except Exception as error:  # noqa: BLE001 - told below
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


def test_a_killed_migration_changes_nothing(tmp_path):
    """kill -9 at some moments of it; the next one who opens the store finds all of it."""
    url = f"sqlite:///{tmp_path / 'metadata.db'}"
    old_store(url, points=30_000)
    script = (
        "import sys; from tidegate.store.sql.database import Database; print('go', flush=True); Database(sys.argv[1]).close()"
    )
    killed = 0
    for wait in (0.05, 0.15, 0.25, 0.35):
        child = subprocess.Popen([sys.executable, "-c", script, url], stdout=subprocess.PIPE)
        child.stdout.readline()
        time.sleep(wait)
        killed += child.poll() is None
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
        child.stdout.close()
    assert killed
    store = opened(url, tmp_path)
    assert len(store.series.points("a", "loss")) == 30_000
    assert store.series.points("b", "loss").values.tolist() == [0.5]
    store.series.ingest([])
    store.close()
    connection = sqlite3.connect(tmp_path / "metadata.db")
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()


def test_a_migrated_store_takes_points(url, tmp_path):
    from tidegate.store.ports import Batch

    old_store(url, points=3)
    store = opened(url, tmp_path)
    assert store.series.ingest([Batch("b", "w", 1, [of_points("loss", (2, 2, 0.25))])]) == [None]
    summary = store.runs.get("b").metrics["loss"]
    assert (summary.count, summary.last, summary.best) == (2, 0.25, 0.25)
    store.close()
