"""Point-in-time joins against a brute-force oracle in plain Python."""

from __future__ import annotations

import itertools
import math
import random
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidegate import frames
from tidegate.clock import SECOND
from tidegate.errors import BadInputError, UsageError
from tidegate.features import FeatureView, Window, latest, point_in_time, window

MODULE = sys.modules["tidegate.features.point_in_time"]
START = datetime(2013, 6, 1, tzinfo=UTC).replace(tzinfo=None)
SPINE = {"row": pl.Int64, "key": pl.String, "part": pl.Int64, "t": pl.Datetime("us")}
SOURCE = {
    "key": pl.String,
    "part": pl.Int64,
    "event": pl.Datetime("us"),
    "created": pl.Datetime("us"),
    "x": pl.Int64,
    "y": pl.Float64,
}


class Row(NamedTuple):
    key: str | None
    part: int | None
    event: int | None
    created: int | None
    x: int | None
    y: float | None


class Question(NamedTuple):
    key: str | None
    part: int | None
    t: int | None


def moment(us: int | None) -> datetime | None:
    return None if us is None else START + timedelta(microseconds=us)


# Times fall on whole seconds and just beside them, so that equal times and the edges of windows are hit often.
TIMES = st.one_of(
    st.none(), st.builds(lambda second, beside: second * SECOND + beside, st.integers(0, 5), st.sampled_from([-1, 0, 0, 0, 0, 1]))
)
KEYS = st.sampled_from(["a", "a", "a", "b", "b", None])
PARTS = st.sampled_from([1, 1, 2, None])
ROWS = st.lists(
    st.builds(
        Row,
        KEYS,
        PARTS,
        TIMES,
        TIMES,
        st.one_of(st.none(), st.integers(-5, 5)),
        st.sampled_from([None, float("nan"), -1.5, 0.0, 2.25]),
    ),
    max_size=14,
)
QUESTIONS = st.lists(st.builds(Question, KEYS, PARTS, TIMES), max_size=8)
EDGES = [second * SECOND + beside for second in (-7, -3, -2, -1, 0, 1) for beside in (-1, 0, 1)]
EVERY_TIMING: list[dict[str, str]] = [{}, {"source_delay": "1s"}, {"created": "created"}]
TIMING = st.sampled_from(EVERY_TIMING)
AGGREGATES = ("avg", "sum", "count", "min", "max")


@pytest.fixture(scope="module")
def con() -> Iterator[frames.Connection]:
    with frames.connect() as connection:
        yield connection


def spine_frame(questions: list[Question]) -> pl.DataFrame:
    rows = [(i, q.key, q.part, moment(q.t)) for i, q in enumerate(questions)]
    return pl.DataFrame(rows, schema=SPINE, orient="row")


def source_frame(rows: list[Row]) -> pl.DataFrame:
    return pl.DataFrame(
        [(r.key, r.part, moment(r.event), moment(r.created), r.x, r.y) for r in rows], schema=SOURCE, orient="row"
    )


def number(value: float | None) -> float | None:
    return None if value is None or math.isnan(value) else value


def known(view: FeatureView, rows: list[Row], question: Question) -> list[Row]:
    """The rows of the question's entity that were available at its time."""
    found: list[Row] = []
    for row in rows:
        if any(getattr(row, key) is None or getattr(row, key) != getattr(question, key) for key in view.keys):
            continue
        if question.t is None or row.event is None or (view.created and row.created is None):
            continue
        available = max(row.event, row.created or 0) if view.created else row.event + view.delay_us
        if available <= question.t:
            found.append(row)
    return found


def oracle(view: FeatureView, rows: list[Row], question: Question) -> dict[str, Any]:
    answers: dict[str, Any] = dict.fromkeys(view.names)
    if question.t is None or any(getattr(question, key) is None for key in view.keys):
        return answers
    found = known(view, rows, question)

    def standing(row: Row) -> tuple[Any, ...]:
        values = [number(getattr(row, feature.column)) for feature in view.latest_features]
        recorded = row.created if view.created else row.event
        return (row.event, recorded, *((value is not None, value or 0) for value in values))

    best = max(found, key=standing, default=None)
    for feature in view.features:
        name = view.name_of(feature)
        if isinstance(feature, Window):
            inside = [
                number(getattr(row, feature.column)) for row in found if question.t - feature.width_us < row.event <= question.t
            ]
            answers[name] = aggregated(feature.aggregate, [value for value in inside if value is not None])
        elif best is not None and (view.max_age_us is None or question.t - best.event <= view.max_age_us):
            answers[name] = number(getattr(best, feature.column))
    return answers


def aggregated(aggregate: str, values: list[Any]) -> Any:
    if aggregate == "count":
        return len(values)
    if not values:
        return None
    return {"sum": sum, "min": min, "max": max, "avg": lambda them: sum(them) / len(them)}[aggregate](values)


def answers_of(con: frames.Connection, view: FeatureView, rows: list[Row], questions: list[Question]) -> list[dict[str, Any]]:
    joined = point_in_time(con, spine_frame(questions), [view], {"source": source_frame(rows)}, time="t")
    found = [dict(zip(joined.columns, values, strict=True)) for values in joined.fetchall()]
    joined.query("joined", "SELECT 1")
    con.execute(f"DROP TABLE {joined.alias}")
    assert [row["row"] for row in found] == list(range(len(questions)))
    assert [row["key"] for row in found] == [question.key for question in questions]
    return [{name: row[name] for name in view.names} for row in found]


@settings(max_examples=80)
@given(rows=ROWS, questions=QUESTIONS, timing=TIMING, max_age=st.sampled_from([None, "1s", "3s"]))
def test_latest_values_are_those_of_the_oracle(
    con: frames.Connection, rows: list[Row], questions: list[Question], timing: dict[str, str], max_age: str | None
) -> None:
    view = FeatureView(
        "v",
        entity=["key"],
        source="source",
        event_time="event",
        max_age=max_age,
        features=[latest("x"), latest("y", name="why")],
        **timing,
    )
    assert answers_of(con, view, rows, questions) == [oracle(view, rows, question) for question in questions]


@settings(max_examples=40)
@given(rows=ROWS, questions=QUESTIONS, timing=TIMING)
def test_keys_of_two_columns_match_as_a_whole(
    con: frames.Connection, rows: list[Row], questions: list[Question], timing: dict[str, str]
) -> None:
    view = FeatureView(
        "v",
        entity=["key", "part"],
        source="source",
        event_time="event",
        features=[latest("x"), window("x", "sum", "4s")],
        **timing,
    )
    assert answers_of(con, view, rows, questions) == [oracle(view, rows, question) for question in questions]


@pytest.mark.parametrize("most_pairs", [-1, 10**9], ids=["frame", "join"])
@settings(max_examples=80)
@given(
    rows=ROWS, questions=QUESTIONS, timing=TIMING, width=st.sampled_from(["2s", "3s", "7s"]), column=st.sampled_from(["x", "y"])
)
def test_windows_are_those_of_the_oracle(
    con: frames.Connection,
    most_pairs: int,
    rows: list[Row],
    questions: list[Question],
    timing: dict[str, str],
    width: str,
    column: str,
) -> None:
    features = [window(column, aggregate, width) for aggregate in AGGREGATES]
    view = FeatureView(
        "v", entity=["key"], source="source", event_time="event", features=[*features, window("x", "count", "5s")], **timing
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MODULE, "MOST_PAIRS", most_pairs)
        found = answers_of(con, view, rows, questions)
    for answer, question in zip(found, questions, strict=True):
        assert answer == pytest.approx(oracle(view, rows, question), abs=1e-12)


@given(rows=ROWS, questions=QUESTIONS, order=st.randoms(use_true_random=False))
@settings(max_examples=30)
def test_the_order_of_the_source_does_not_matter(
    con: frames.Connection, rows: list[Row], questions: list[Question], order: Any
) -> None:
    view = FeatureView(
        "v", entity=["key"], source="source", event_time="event", created="created", features=[latest("x"), latest("y")]
    )
    shuffled = order.sample(rows, len(rows))
    assert answers_of(con, view, rows, questions) == answers_of(con, view, shuffled, questions)


@pytest.mark.parametrize("most_pairs", [-1, 10**9], ids=["frame", "join"])
@pytest.mark.parametrize("timing", EVERY_TIMING, ids=["at once", "delayed", "recorded"])
def test_every_edge_of_age_window_and_availability(con: frames.Connection, timing: dict[str, str], most_pairs: int) -> None:
    """One row and one question per key, for every way in which their times can just meet or just miss."""
    t = 20 * SECOND
    rows = [Row(f"{i}", 1, t + event, t + created, i, 1.0) for i, (event, created) in enumerate(itertools.product(EDGES, EDGES))]
    features = [latest("x"), *(window("y", "count", width) for width in ("2s", "3s", "7s"))]
    view = FeatureView("v", entity=["key"], source="source", event_time="event", max_age="3s", features=features, **timing)
    questions = [Question(row.key, 1, t) for row in rows]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MODULE, "MOST_PAIRS", most_pairs)
        assert answers_of(con, view, rows, questions) == [oracle(view, rows, question) for question in questions]


@pytest.mark.parametrize("timing", EVERY_TIMING, ids=["at once", "delayed", "recorded"])
def test_every_tie_of_three_rows_is_settled_the_same_way(con: frames.Connection, timing: dict[str, str]) -> None:
    kinds = list(itertools.product([1, 2], [1, 3], [None, 4, 5]))
    cases = list(itertools.combinations_with_replacement(kinds, 3))
    rows = [Row(f"{i}", 1, e * SECOND, c * SECOND, x, 0.5) for i, case in enumerate(cases) for e, c, x in case]
    view = FeatureView("v", entity=["key"], source="source", event_time="event", features=[latest("x"), latest("y")], **timing)
    questions = [Question(f"{i}", 1, t * SECOND) for i in range(len(cases)) for t in (1, 2, 3)]
    assert answers_of(con, view, rows, questions) == [oracle(view, rows, question) for question in questions]


@pytest.mark.parametrize("most_pairs", [-1, 10**9], ids=["frame", "join"])
def test_sums_of_floats_do_not_depend_on_the_order_of_rows(con: frames.Connection, most_pairs: int) -> None:
    generator = random.Random(7)
    rows = [Row("a", 1, i * SECOND, 0, i, generator.uniform(-1, 1) * 10.0 ** generator.randint(-9, 9)) for i in range(200)]
    view = FeatureView(
        "v", entity=["key"], source="source", event_time="event", features=[window("y", "sum", "90s"), window("y", "avg", "90s")]
    )
    questions = [Question("a", 1, t * SECOND) for t in range(0, 220, 7)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MODULE, "MOST_PAIRS", most_pairs)
        first = answers_of(con, view, rows, questions)
        assert answers_of(con, view, generator.sample(rows, len(rows)), questions) == first
    for answer, t in zip(first, (question.t or 0 for question in questions), strict=True):
        inside = [row.y for row in rows if row.y is not None and t - 90 * SECOND < (row.event or 0) <= t]
        assert answer["v_y_sum_90s"] == pytest.approx(math.fsum(inside), rel=1e-15)


def test_infinities_stay_what_they_are(con: frames.Connection) -> None:
    rows = [Row("a", 1, 0, 0, 1, math.inf), Row("a", 1, 9 * SECOND, 0, 1, 2.0)]
    view = FeatureView("v", entity=["key"], source="source", event_time="event", features=[window("y", "sum", "5s")])
    assert answers_of(con, view, rows, [Question("a", 1, SECOND), Question("a", 1, 9 * SECOND)]) == [
        {"v_y_sum_5s": math.inf},
        {"v_y_sum_5s": 2.0},
    ]


def test_a_value_recorded_after_the_question_is_not_seen(con: frames.Connection) -> None:
    rows = [Row("a", 1, 1 * SECOND, 1 * SECOND, 10, None), Row("a", 1, 2 * SECOND, 9 * SECOND, 20, None)]
    view = FeatureView("v", entity=["key"], source="source", event_time="event", created="created", features=[latest("x")])
    questions = [Question("a", 1, 5 * SECOND), Question("a", 1, 9 * SECOND)]
    assert [answer["v_x"] for answer in answers_of(con, view, rows, questions)] == [10, 20]


def test_types_survive_nulls_and_the_spine_comes_back_unchanged(con: frames.Connection) -> None:
    view = FeatureView(
        "v",
        entity=["key"],
        source="source",
        event_time="event",
        features=[latest("x"), window("x", "sum", "2s"), window("x", "count", "2s")],
    )
    spine = spine_frame([Question("b", 2, None), Question("a", 1, SECOND), Question("a", 1, SECOND), Question(None, 1, 5)])
    joined = point_in_time(con, spine, [view], {"source": source_frame([Row("a", 1, 0, 0, 7, None)])}, time="t")
    assert joined.columns == [*SPINE, "v_x", "v_x_sum_2s", "v_x_count_2s"]
    assert [str(kind) for kind in joined.types[-3:]] == ["BIGINT", "BIGINT", "BIGINT"]
    assert joined.project("row, key, part, t").fetchall() == spine.rows()
    assert joined.project("v_x, v_x_sum_2s, v_x_count_2s").fetchall() == [
        (None, None, None),
        (7, 7, 1),
        (7, 7, 1),
        (None, None, None),
    ]


def test_several_views_are_joined_and_no_temporary_table_stays(con: frames.Connection) -> None:
    before = {row[0] for row in con.execute("SELECT table_name FROM duckdb_tables()").fetchall()}
    views = [
        FeatureView("one", entity=["key"], source="source", event_time="event", features=[latest("x")]),
        FeatureView("two", entity=["part"], source="source", event_time="event", features=[latest("x")]),
    ]
    rows = [Row("a", 2, 0, 0, 1, None), Row("b", 1, 0, 0, 2, None)]
    joined = point_in_time(con, spine_frame([Question("a", 1, 5)]), views, {"source": source_frame(rows)}, time="t")
    assert joined.project("one_x, two_x").fetchall() == [(1, 2)]
    after = {row[0] for row in con.execute("SELECT table_name FROM duckdb_tables()").fetchall()}
    assert len(after - before) == 1


def test_a_source_may_be_a_file_and_the_spine_a_relation_of_the_same_connection(con: frames.Connection, tmp_path: Any) -> None:
    source_frame([Row("a", 1, 0, 0, 1, None)]).write_parquet(tmp_path / "source.parquet")
    spine = con.sql("SELECT 'a' AS key, TIMESTAMP '2013-06-01 00:00:00' AS t FROM range(3)")
    view = FeatureView("v", entity=["key"], source="source", event_time="event", features=[latest("x")])
    joined = point_in_time(con, spine, [view], {"source": tmp_path / "source.parquet"}, time="t")
    assert joined.project("v_x").fetchall() == [(1,)] * 3


def test_a_view_without_a_spine_row_gives_no_row(con: frames.Connection) -> None:
    view = FeatureView("v", entity=["key"], source="source", event_time="event", features=[latest("x")])
    assert answers_of(con, view, [Row("a", 1, 0, 0, 1, None)], []) == []


@pytest.mark.parametrize(
    ("changes", "time", "sources", "code"),
    [
        ({"name": "key_is_taken", "features": [latest("x", name="PART")]}, "t", {"source"}, "feature-name-taken"),
        ({"features": [latest("z")]}, "t", {"source"}, "feature-column-missing"),
        ({"entity": ["nothing"]}, "t", {"source"}, "feature-column-missing"),
        ({}, "time", {"source"}, "feature-column-missing"),
        ({}, "part", {"source"}, "feature-time-type"),
        ({"event_time": "x"}, "t", {"source"}, "feature-time-type"),
        ({}, "t", {"sauce"}, "feature-source-missing"),
        ({"features": [window("key", "avg", "3s")]}, "t", {"source"}, "feature-not-a-number"),
    ],
)
def test_what_cannot_be_joined_is_refused(
    con: frames.Connection, changes: dict[str, Any], time: str, sources: set[str], code: str
) -> None:
    given = {"name": "v", "entity": ["key"], "source": "source", "event_time": "event", "features": [latest("x")], **changes}
    view = FeatureView(given.pop("name"), **given)
    with pytest.raises((UsageError, BadInputError)) as caught:
        point_in_time(con, spine_frame([Question("a", 1, 5)]), [view], dict.fromkeys(sources, source_frame([])), time=time)
    assert caught.value.code == code


def test_keys_of_other_types_are_refused_and_other_widths_are_not(con: frames.Connection) -> None:
    view = FeatureView("v", entity=["part"], source="source", event_time="event", features=[latest("x")])
    source = source_frame([Row("a", 1, 0, 0, 7, None)])
    spine = spine_frame([Question("a", 1, 5)])
    narrow = point_in_time(con, spine.with_columns(pl.col("part").cast(pl.Int8)), [view], {"source": source}, time="t")
    assert narrow.project("v_x").fetchall() == [(7,)]
    with pytest.raises(BadInputError, match="VARCHAR in the spine and BIGINT in the source"):
        point_in_time(con, spine.with_columns(pl.col("part").cast(pl.String)), [view], {"source": source}, time="t")
