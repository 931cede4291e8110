"""Online answers are the offline ones: same rules, same nulls, plus the reason."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidegate import frames
from tidegate.clock import HOUR, MINUTE, SECOND, Clock, from_us, parse_time
from tidegate.data import Datasets
from tidegate.errors import BadInputError, NotFoundError, UsageError
from tidegate.features import Features, FeatureView, latest, window
from tidegate.store import Store, open_store

NUMBERS = itertools.count()
T0 = parse_time("2013-06-01T12:00:00")
SCHEMA = {"key": pl.String, "event": pl.Datetime("us"), "created": pl.Datetime("us"), "x": pl.Int64, "y": pl.Float64}
EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["a", "b", None]), st.integers(-6, 6), st.integers(0, 4), st.one_of(st.none(), st.integers(-3, 3)),
        st.sampled_from([None, float("nan"), 0.5, 2.0]),
    ),
    min_size=1, max_size=12,
)  # fmt: skip


def frame(events: list[tuple[Any, ...]]) -> pl.DataFrame:
    """Events as (key, minute of the event, minutes until it was recorded, x, y)."""
    start = from_us(T0).replace(tzinfo=None)
    rows = [(k, start + timedelta(minutes=m), start + timedelta(minutes=m + later), x, y) for k, m, later, x, y in events]
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


def view(**changes: Any) -> FeatureView:
    given: dict[str, Any] = {
        "name": "v", "entity": ["key"], "source": "events", "event_time": "event",
        "features": [latest("x"), latest("y", name="why"), window("x", "sum", "4m"), window("y", "avg", "3m"), window("x", "count", "4m")],
        **changes,
    }  # fmt: skip
    return FeatureView(given.pop("name"), **given)


@pytest.fixture
def features(store: Store, clock: Clock) -> Features:
    return Features(Datasets(store.bucket, store.catalog, clock), store.online, clock)


@pytest.fixture
def datasets(store: Store, clock: Clock) -> Datasets:
    return Datasets(store.bucket, store.catalog, clock)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    opened = open_store(tmp_path_factory.mktemp("store"))
    yield opened
    opened.close()


@settings(max_examples=40)
@given(
    events=EVENTS, timing=st.sampled_from([{}, {"source_delay": "1m"}, {"created": "created"}]),
    max_age=st.sampled_from([None, "2m", "5m"]),
)  # fmt: skip
def test_answers_equal_the_point_in_time_join(
    shared: Store, clock: Clock, events: list[tuple[Any, ...]], timing: dict[str, str], max_age: str | None
) -> None:
    datasets = Datasets(shared.bucket, shared.catalog, clock)
    features = Features(datasets, shared.online, clock)
    name = f"events-{next(NUMBERS)}"  # a new one each time: the store is shared
    datasets.snapshot(frame(events), name)
    one = view(source=name, max_age=max_age, **timing)
    features.materialize(one, at=T0)
    spine = pl.DataFrame({"key": ["a", "b", "nobody", None], "t": [from_us(T0).replace(tzinfo=None)] * 4})
    with frames.connect() as con:
        offline = features.training_set(con, spine, [one], time="t").project(", ".join(map(frames.quote, one.names))).fetchall()
    online = features.online(one, ["a", "b", "nobody", {"key": None}], at=T0)
    for answer, expected in zip(online[:3], offline[:3], strict=True):
        assert [answer[name] for name in one.names] == [pytest.approx(value) for value in expected]
    assert online[2]["reason"] == online[3]["reason"] == "missing"
    assert all((answer["reason"] == "missing") == (answer["event_at"] is None) for answer in online)


def test_max_age_holds_to_the_microsecond_and_says_so(datasets: Datasets, features: Features) -> None:
    datasets.snapshot(frame([("a", 0, 0, 7, 1.5)]), "events")
    young = view(max_age="5m", features=[latest("x")])
    assert features.materialize(young, at=T0) == 1
    (edge,) = features.online(young, ["a"], at=T0 + 5 * MINUTE)
    (over,) = features.online(young, ["a"], at=T0 + 5 * MINUTE + 1)
    assert (edge["v_x"], edge["reason"]) == (7, None)
    assert (over["v_x"], over["reason"], over["event_at"]) == (None, "too_old", T0)


def test_windows_slide_on_after_writing_and_are_null_where_nothing_is_known(datasets: Datasets, features: Features) -> None:
    datasets.snapshot(frame([("a", -2, 0, 1, None), ("a", 0, 0, 2, None)]), "events")
    sums = view(features=[window("x", "sum", "4m"), window("x", "count", "4m")])
    features.materialize(sums, at=T0)

    def at(minutes: float) -> tuple[Any, ...]:
        (answer,) = features.online(sums, ["a"], at=T0 + int(minutes * MINUTE))
        return answer["v_x_sum_4m"], answer["v_x_count_4m"], answer["reason"]

    assert at(0) == (3, 2, None)
    assert at(2) == (2, 1, None)  # the older event has left the window
    assert at(4) == (None, None, "too_old")  # the window lies wholly after what is known
    assert at(-1) == (None, None, "too_new")


def test_rows_that_are_not_available_yet_are_not_written(datasets: Datasets, features: Features) -> None:
    datasets.snapshot(frame([("a", -9, 0, 1, 0.0), ("a", -1, 3, 2, 0.0)]), "events")
    late = view(created="created", features=[latest("x")])
    features.materialize(late, at=T0)
    assert features.online(late, ["a"], at=T0)[0]["v_x"] == 1
    features.materialize(late, at=T0 + 2 * MINUTE)
    assert features.online(late, ["a"], at=T0 + 2 * MINUTE)[0]["v_x"] == 2
    (past,) = features.online(late, ["a"], at=T0)
    assert (past["v_x"], past["reason"]) == (None, "too_new")


def test_another_definition_has_rows_of_its_own(datasets: Datasets, features: Features) -> None:
    datasets.snapshot(frame([("a", 0, 0, 7, 1.5)]), "events")
    features.materialize(view(features=[latest("x")]), at=T0)
    assert features.online(view(features=[latest("x")], max_age="1h"), ["a"], at=T0)[0]["reason"] == "missing"


def test_materializing_twice_changes_nothing(datasets: Datasets, features: Features) -> None:
    datasets.snapshot(frame([("a", 0, 0, 7, 1.5), ("b", 0, 0, 8, 1.5), (None, 0, 0, 9, 1.5)]), "events")
    assert [features.materialize(view(), at=T0) for _ in range(2)] == [2, 2]
    assert features.online(view(), ["b", "a"], at=T0)[0]["v_x"] == 8


def test_training_sets_name_their_snapshots(datasets: Datasets, features: Features) -> None:
    datasets.snapshot(frame([("a", 0, 0, 1, None)]), "events")
    datasets.snapshot(frame([("a", 0, 0, 2, None)]), "events")
    spine = {"key": np.array(["a"]), "t": np.array([T0 + HOUR], dtype="datetime64[us]")}
    one = view(features=[latest("x")])
    with frames.connect() as con:
        newest = features.training_set(con, spine, [one], time="t").project("v_x").fetchall()
        older = features.training_set(con, spine, [one], time="t", snapshots={"events": "events@1"}).project("v_x").fetchall()
        assert (newest, older) == ([(2,)], [(1,)])
        with pytest.raises(NotFoundError):
            features.training_set(con, spine, [view(source="nothing")], time="t")
    assert {name: snapshot.ref for name, snapshot in features.sources([one]).items()} == {"events": "events@2"}
    with pytest.raises(UsageError, match="no view reads"):
        features.sources([one], {"other": "other@1"})


def test_entities_are_given_by_name_by_value_or_as_numbers(datasets: Datasets, features: Features, tmp_path: Path) -> None:
    source = pl.DataFrame(
        {"key": [5, 6], "part": ["x", "y"], "event": [from_us(T0 - SECOND).replace(tzinfo=None)] * 2, "v": [1.0, 2.0]}
    )
    source.write_parquet(tmp_path / "pairs.parquet")
    datasets.snapshot(tmp_path / "pairs.parquet", "pairs")
    pairs = FeatureView("p", entity=["key", "part"], source="pairs", event_time="event", features=[latest("v")])
    features.materialize(pairs, at=T0)
    answers = features.online(pairs, [{"part": "y", "key": 6}, (np.int64(5), "x"), (5.0, "x"), ("5", "x"), (5, "y")], at=T0)
    assert [answer["p_v"] for answer in answers] == [2.0, 1.0, 1.0, 1.0, None]
    for wrong in (5, (5,), {"key": 5}, {"key": 5, "part": "x", "more": 1}):
        with pytest.raises(UsageError, match="names no entity"):
            features.online(pairs, [wrong], at=T0)


@pytest.mark.parametrize(("column", "code"), [("at", "online-type"), ("x", "online-not-finite")])
def test_what_cannot_be_kept_online_is_refused(datasets: Datasets, features: Features, column: str, code: str) -> None:
    at = [from_us(T0).replace(tzinfo=None)]
    datasets.snapshot(pl.DataFrame({"key": ["a"], "event": at, "at": at, "x": [float("inf")]}), "events")
    with pytest.raises(BadInputError) as caught:
        features.materialize(view(features=[latest(column)]), at=T0)
    assert caught.value.code == code
