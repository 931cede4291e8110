import math
import sqlite3
import threading

import pytest

from tidegate.errors import ConflictError, NotFoundError, UnavailableError
from tidegate.records.run import Environment, MetricPoint, Run, RunState
from tidegate.store import open_store
from tidegate.store.sql.database import NEWEST, journal_mode


def a_run(run_id, experiment="delay", at=1, **params):
    return Run(id=run_id, experiment=experiment, name=run_id, state=RunState.RUNNING, started_at=at, params=params)


def test_a_run_comes_back_whole(store):
    store.runs.create(a_run("a", depth="6"))
    environment = Environment(
        argv=["x"], directory="/", python="3", platform="p", processors=1, memory_bytes=1, packages={"numpy": "2"}
    )
    store.runs.annotate("a", tags={"team": "ops"}, artifacts={"plot.png": "d" * 64}, environment=environment)
    store.runs.finish("a", RunState.FINISHED, 9)
    run = store.runs.get("a")
    assert (run.params, run.tags, run.artifacts) == ({"depth": "6"}, {"team": "ops"}, {"plot.png": "d" * 64})
    assert (run.state, run.ended_at, run.environment) == (RunState.FINISHED, 9, environment)


def test_points_keep_nan_infinity_and_order(store):
    store.runs.create(a_run("a"))
    points = [MetricPoint("loss", 2, 1, math.nan), MetricPoint("loss", 1, 2, math.inf), MetricPoint("loss", 3, 3, 0.5)]
    store.runs.ingest("a", "w", 1, points)
    found = store.runs.points("a", "loss")
    assert [point.step for point in found] == [1, 2, 3]
    assert math.isinf(found[0].value)
    assert math.isnan(found[1].value)
    summary = store.runs.get("a").metrics["loss"]
    assert (summary.count, summary.last, summary.last_step, summary.min) == (3, 0.5, 3, 0.5)


def test_a_batch_is_taken_once(store):
    store.runs.create(a_run("a"))
    for _ in range(3):
        store.runs.ingest("a", "w", 5, [MetricPoint("loss", 1, 1, 1.0)])
    store.runs.ingest("a", "w", 4, [MetricPoint("loss", 1, 1, 1.0)])
    store.runs.ingest("a", "other", 1, [MetricPoint("loss", 2, 1, 3.0)])
    assert len(store.runs.points("a", "loss")) == 2


def test_the_last_value_is_that_of_the_greatest_step(store):
    store.runs.create(a_run("a"))
    store.runs.ingest("a", "w", 1, [MetricPoint("loss", 10, 1, 1.0)])
    store.runs.ingest("a", "w", 2, [MetricPoint("loss", 5, 9, 7.0)])
    summary = store.runs.get("a").metrics["loss"]
    assert (summary.last, summary.last_step, summary.max, summary.count) == (1.0, 10, 7.0, 2)


def test_a_parameter_cannot_change(store):
    store.runs.create(a_run("a", depth="6"))
    store.runs.annotate("a", params={"depth": "6"})
    with pytest.raises(ConflictError, match="cannot become '7'"):
        store.runs.annotate("a", params={"depth": "7", "new": "x"})
    assert store.runs.get("a").params == {"depth": "6"}


def test_a_run_ends_once(store):
    store.runs.create(a_run("a"))
    store.runs.finish("a", RunState.FAILED, 1)
    with pytest.raises(ConflictError, match="already ended as FAILED"):
        store.runs.finish("a", RunState.FINISHED, 2)


def test_an_unknown_run_is_not_found(store):
    for call in (
        lambda: store.runs.get("x"),
        lambda: store.runs.annotate("x", tags={"a": "b"}),
        lambda: store.runs.finish("x", RunState.FAILED, 1),
        lambda: store.runs.ingest("x", "w", 1, []),
        lambda: store.runs.points("x", "loss"),
    ):
        with pytest.raises(NotFoundError, match="no run 'x'"):
            call()


def test_search_filters_orders_and_limits(store):
    for number in range(6):
        store.runs.create(a_run(f"r{number}", at=number, depth=str(number % 2)))
        store.runs.ingest(f"r{number}", "w", 1, [MetricPoint("loss", 1, 1, number / 10)])
    store.runs.create(a_run("bare", at=99))
    found = store.runs.search(where="metrics.loss >= 0.2 and params.depth = '0'", order_by="metrics.loss desc")
    assert [run.id for run in found] == ["r4", "r2"]
    assert store.runs.search(limit=1)[0].id == "bare"
    assert store.runs.search(order_by="metrics.loss", limit=10)[-1].id == "bare"
    assert [run.id for run in store.runs.search(where="name like 'ba%' or params.depth = '1'")] == ["bare", "r5", "r3", "r1"]
    assert store.runs.search(experiment="other") == []


def test_values_in_a_filter_never_become_sql(store):
    store.runs.create(a_run("a", depth="x' OR '1'='1"))
    assert store.runs.search(where="params.depth = 'y'") == []
    assert len(store.runs.search(where="params.depth = 'x'' OR ''1''=''1'")) == 1


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
