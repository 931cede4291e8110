import random
from functools import partial

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from tidegate.store import open_store
from tidegate.store.filter import Combination, Comparison, matches, parse_order
from tidegate.store.sql import search as sql_search
from tidegate.testing.search import ORDERS, fill, in_order, value_of


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    store = open_store(tmp_path_factory.mktemp("search") / "store")
    yield store, fill(store.runs, store.series, 40)
    store.close()


NUMBERS = st.sampled_from([-30, -1, 0, 0.25, 0.5, 3, 17.5, 40, 1e308])
TEXTS = st.sampled_from(["", "0", "2", "ops", "Ops", "core", "ß1", "it's", "%_*?[x]", "17"])
PATTERNS = st.text(st.sampled_from("%_opsOS*?[]ß1'"), max_size=5)
LEAVES = st.one_of(
    st.builds(
        Comparison,
        st.just("metrics"),
        st.sampled_from(["loss", "val loss", "nothing"]),
        st.sampled_from(["=", "!=", "<", "<=", ">", ">="]),
        NUMBERS,
        st.sampled_from(["last", "min", "max", "best", "count"]),
    ),
    st.builds(
        Comparison,
        st.sampled_from(["params", "tags"]),
        st.sampled_from(["depth", "odd key", "team", "größe", "n"]),
        st.sampled_from(["=", "!="]),
        TEXTS,
        st.just("last"),
    ),
    st.builds(
        Comparison,
        st.sampled_from(["params", "tags"]),
        st.sampled_from(["depth", "odd key", "team", "größe"]),
        st.sampled_from(["like", "not like", "ilike", "not ilike"]),
        PATTERNS,
        st.just("last"),
    ),
    st.builds(
        Comparison,
        st.sampled_from(["params", "tags", "metrics"]),
        st.sampled_from(["depth", "team", "loss", "val loss"]),
        st.sampled_from(["is null", "is not null"]),
        st.none(),
        st.just("last"),
    ),
    st.builds(
        Comparison,
        st.just("attributes"),
        st.sampled_from(["started_at", "ended_at"]),
        st.sampled_from(["=", "!=", "<", ">="]),
        st.sampled_from([0, 5000, 5010.5, 12_000]),
        st.just("last"),
    ),
    st.builds(
        Comparison,
        st.just("attributes"),
        st.sampled_from(["state", "experiment", "id"]),
        st.sampled_from(["in", "not in"]),
        st.sampled_from([("FINISHED",), ("exp1", "FAILED"), ("r001", "r002", "exp0")]),
        st.just("last"),
    ),
)
TREES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.builds(Combination, st.sampled_from(["and", "or"]), st.lists(inner, min_size=2, max_size=3)),
        st.builds(lambda term: Combination("not", [term]), inner),
    ),
    max_leaves=6,
)


@settings(max_examples=150)
@given(TREES, st.sampled_from(ORDERS), st.sampled_from([(None, 0), (5, 0), (7, 9), (50, 0)]), st.sampled_from([1, 20_000]))
def test_sql_finds_what_python_finds(filled, tree, order, page, most_counted):
    store, everything = filled
    limit, offset = page
    expected = in_order([run for run in everything if matches(tree, partial(value_of, run))], parse_order(order))
    with pytest.MonkeyPatch.context() as patch, store.database.read() as connection:
        patch.setattr(sql_search, "parse_filter", lambda _: tree)
        patch.setattr(sql_search, "_MOST_COUNTED", most_counted)
        patch.setattr(sql_search, "_LEAST_WALK", 2)
        found = sql_search.found_runs(
            connection, experiments=[], where="x", order_by=order, limit=limit, offset=offset, since=None, deleted=None
        )
    wanted = expected[offset:] if limit is None else expected[offset : offset + limit]
    assert [row.id for row in found] == [run.id for run in wanted]


# Which way is taken, seen in SQLite's own plan.


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """Four thousand runs with three metrics, by the shortest way."""
    store = open_store(tmp_path_factory.mktemp("many") / "store")
    chance = random.Random(3)
    with store.database.write() as connection:
        connection.exec_driver_sql("INSERT INTO experiments VALUES (1, 'e', 0, 0, NULL, '', '{}')")
        for number in range(4000):
            run_id = f"{number:024}"
            connection.exec_driver_sql(
                "INSERT INTO runs (id, experiment_id, name, state, started_at, heard_at, author) VALUES (?, 1, 'n', 'FINISHED', ?, 0, '')",
                (run_id, number),
            )
            connection.exec_driver_sql("INSERT INTO run_params VALUES (?, 'depth', ?)", (run_id, str(number % 10)))
            for name in ("loss", "acc", "rare"):
                value = number / 4000 if name == "acc" else chance.random()
                connection.exec_driver_sql(
                    "INSERT INTO metrics (run_id, name, points, last, last_step, last_at, min, max, best) VALUES (?, ?, 1, ?, 1, 1, ?, ?, ?)",
                    (run_id, name, value, value, value, value),
                )
    yield store
    store.close()


def searched(store, where, order_by, offset=0):
    """The statements of a search with their plans, and what it found."""
    statements = []

    def note(_connection, _cursor, statement, parameters, _context, _many):
        statements.append((statement, parameters))

    with store.database.read() as connection:
        sa.event.listen(connection, "before_cursor_execute", note)
        found = sql_search.found_runs(
            connection, experiments=[], where=where, order_by=order_by, limit=50, offset=offset, since=None, deleted=False
        )
        sa.event.remove(connection, "before_cursor_execute", note)
        plans = [
            " | ".join(row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters))
            for statement, parameters in statements
            if statement.startswith("SELECT runs.id \n")
        ]
    return plans, found


def test_many_matches_are_walked_in_order(many):
    plans, found = searched(many, "metrics.acc > 0.5", "metrics.loss")
    assert len(found) == 50
    assert len(plans) == 1
    assert plans[0].startswith("SEARCH walked USING COVERING INDEX metrics_by_name (name=? AND last>?")
    assert "USE TEMP B-TREE FOR ORDER BY" not in plans[0]


def test_few_matches_are_driven_from_their_condition(many):
    plans, found = searched(many, "metrics.acc > 0.995", "metrics.loss")
    assert len(found) == 19
    assert plans[0].startswith("SEARCH driver USING COVERING INDEX metrics_by_name (name=? AND last>?)")


def test_no_match_asks_for_no_page(many):
    assert searched(many, "metrics.acc > 2 and params.depth = '1'", "metrics.loss") == ([], [])


def test_an_unlucky_walk_ends_early(many):
    """The runs that fit have the greatest values of what is sorted by: a walk from the least one meets none of them."""
    plans, found = searched(many, "metrics.acc > 0.7 and params.depth != '3'", "metrics.acc")
    assert len(found) == 50
    plans, found = searched(many, "started_at >= 3000", "metrics.acc")
    assert [row.started_at for row in found] == list(range(3001 - 1, 3050))
    assert len(plans) == 2
    assert plans[0].startswith("SEARCH walked")


@pytest.mark.parametrize(
    "where", ["metrics.acc > 0.5", "params.depth = '1'", "params.depth in ('1', '2') and metrics.rare < 0.1", ""]
)
@pytest.mark.parametrize("order", ["metrics.loss", "metrics.loss desc", "", "params.depth", "min(metrics.loss)"])
def test_no_table_of_metrics_is_read_whole(many, where, order):
    plans, _ = searched(many, where, order, offset=150)
    assert not any(f"SCAN {name}" in plan for plan in plans for name in ("walked", "driver", "metrics", "run_params"))
