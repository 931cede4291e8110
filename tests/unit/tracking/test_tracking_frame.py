import math

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from tidegate.errors import UsageError
from tidegate.records.run import MetricSummary, Run, RunState
from tidegate.store.filter import parse_order
from tidegate.tracking.frame import frame_of, title_of, value_of


def summary(name, last, low=0.0):
    return MetricSummary(name=name, count=3, last=last, last_step=2, last_at=0, min=low, max=9.0, lower_is_better=True)


RUNS = [
    Run(
        id="a",
        experiment="e",
        name="first",
        state=RunState.FINISHED,
        started_at=1_500_000,
        ended_at=2_000_000,
        params={"depth": "6", "odd 'key\"": "x"},
        metrics={"loss": summary("loss", 0.5), "acc": summary("acc", math.nan)},
        tags={"team": "ops"},
    ),
    Run(id="b", experiment="e", name="second", state=RunState.RUNNING, started_at=2, metrics={"loss": summary("loss", 0.25, -1)}),
]
COLUMNS = ["id", "experiment", "name", "state", "author", "started_at", "ended_at"]


def test_a_row_per_run_and_a_column_per_key():
    frame = pl.DataFrame(frame_of(RUNS))
    assert frame.columns == [*COLUMNS, "params.depth", "params.odd 'key\"", "metrics.acc", "metrics.loss", "tags.team"]
    assert frame["id"].to_list() == ["a", "b"]
    assert frame["state"].to_list() == ["FINISHED", "RUNNING"]
    assert frame["params.depth"].to_list() == ["6", None]
    assert frame["metrics.loss"].to_list() == [0.5, 0.25]
    assert math.isnan(frame["metrics.acc"][0])
    assert frame["metrics.acc"][1] is None
    assert frame["started_at"].dt.epoch("us").to_list() == [1_500_000, 2]
    assert frame["ended_at"][1] is None


def test_pyarrow_takes_it_as_well():
    table = pa.table(frame_of(RUNS, aggregate="min"))
    assert table["metrics.loss"].to_pylist() == [0.0, -1.0]


def test_sql_can_be_asked_of_it():
    assert frame_of(RUNS).filter('"metrics.loss" < 0.3').fetchall()[0][0] == "b"
    assert np.array_equal(frame_of(RUNS, aggregate="count").fetchnumpy()["metrics.loss"], [3.0, 3.0])


def test_no_runs_are_a_frame_without_rows():
    frame = pl.DataFrame(frame_of([]))
    assert frame.columns == COLUMNS
    assert len(frame) == 0
    assert frame.schema["id"] == pl.String


def test_an_unknown_aggregate_is_refused():
    with pytest.raises(UsageError):
        frame_of(RUNS, aggregate="median")


def test_fields_are_named_as_they_are_written():
    fields = parse_order("name, max(metrics.loss), params.depth, tags.team, lifecycle_stage")
    assert [title_of(field) for field in fields] == ["name", "max(metrics.loss)", "params.depth", "tags.team", "lifecycle_stage"]
    assert [value_of(RUNS[0], field) for field in fields] == ["first", 9.0, "6", "ops", "active"]
    assert value_of(RUNS[1], fields[2]) is None
