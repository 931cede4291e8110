"""Metrics of MLflow's REST API: nothing lost, nothing twice, the last value by step, extremes kept."""

from __future__ import annotations

import asyncio
import json
import math

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mlflow_rest import API, Refused, Rest

from tidegate.errors import ConflictError, UnavailableError
from tidegate.records.run import Series
from tidegate.server.mlflow.metrics import kept
from tidegate.server.mlflow.writer import MetricWriter
from tidegate.store.ports import Batch
from tidegate.workspace import Workspace


def refusal(ask, *arguments, **fields) -> Refused:
    with pytest.raises(Refused) as found:
        ask(*arguments, **fields)
    return found.value


def history(rest: Rest, run: str, key: str = "m", **query) -> list[tuple]:
    points = rest.get("metrics/get-history", run_id=run, metric_key=key, **query).get("metrics", [])
    return [(point["step"], point["timestamp"], point["value"]) for point in points]


def log(rest: Rest, run: str, value, *, step=0, timestamp=1, key="m") -> None:
    rest.post("runs/log-metric", run_id=run, key=key, value=value, timestamp=timestamp, step=step)


def test_points_come_back_in_the_order_of_time(rest: Rest) -> None:
    run = rest.run()
    log(rest, run, 0.25, step=-3, timestamp=9)
    log(rest, run, "NaN", step="7", timestamp="8")
    log(rest, run, "Infinity", step=1, timestamp=7)
    log(rest, run, 1, step=None, timestamp=6)
    rest.raw("runs/log-metric", b'{"run_uuid":"%s","key":"m","value":-Infinity,"timestamp":5.0,"step":2}' % run.encode())
    assert history(rest, run) == [
        (2, 5, -1.7976931348623157e308),
        (0, 6, 1.0),
        (1, 7, 1.7976931348623157e308),
        (7, 8, "NaN"),
        (-3, 9, 0.25),
    ]
    assert rest.get("metrics/get-history", run_id=run, metric_key="other") == {}
    assert rest.get("metrics/get-history", run_id="nobody", metric_key="other") == {}


def test_the_last_value_is_that_of_the_greatest_step_then_time_then_value(rest: Rest) -> None:
    run = rest.run()
    for value, step, timestamp in [(1.0, 5, 10), (2.0, 4, 99), (3.0, 5, 9), (0.5, 5, 10)]:
        log(rest, run, value, step=step, timestamp=timestamp)
    assert rest.data(run)["metrics"] == [{"key": "m", "value": 1.0, "timestamp": 10, "step": 5}]


def test_the_same_point_twice_is_one_point(rest: Rest) -> None:
    run = rest.run()
    points = [{"key": "m", "value": 1.5, "timestamp": 4, "step": 2}] * 3
    for _ in range(2):
        rest.post("runs/log-batch", run_id=run, metrics=points)
        log(rest, run, 1.5, step=2, timestamp=4)
    assert history(rest, run) == [(2, 4, 1.5)]


def test_times_of_clients_are_kept_to_the_millisecond(rest: Rest, workspace: Workspace) -> None:
    run = rest.run()
    log(rest, run, 1.0, timestamp=1_700_000_000_123)
    assert workspace.store.series.points(run, "m").times.tolist() == [1_700_000_000_123_000]
    log(rest, run, 1.0, timestamp=9_223_372_036_854_774)
    assert history(rest, run)[-1][1] == 9_223_372_036_854_774
    too_late = refusal(log, rest, run, 1.0, timestamp=1_700_000_000_123_000_000)
    assert "of milliseconds" in too_late.message


def test_a_batch_of_many_metrics(rest: Rest) -> None:
    run = rest.run()
    rest.post(
        "runs/log-batch",
        run_id=run,
        metrics=[{"key": f"k{i % 7}", "value": i, "timestamp": i, "step": i} for i in range(798)],
        params=[{"key": f"p{i}", "value": str(i)} for i in range(100)],
        tags=[{"key": f"t{i}", "value": str(i)} for i in range(100)] + [{"key": "mlflow.runName", "value": "named"}][:0],
    )
    data = rest.data(run)
    assert (len(data["metrics"]), len(data["params"]), len(data["tags"])) == (7, 100, 101)
    assert history(rest, run, "k3") == [(i, i, float(i)) for i in range(3, 798, 7)]
    many = [{"key": f"u{i}", "value": i, "timestamp": 1} for i in range(1000)]
    rest.post("runs/log-batch", run_id=run, metrics=many)
    assert len(rest.data(run)["metrics"]) == 1007


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        ((1001, 0, 0), "at most 1000 metrics. Got 1001 metrics"),
        ((0, 101, 0), "at most 100 params. Got 101"),
        ((0, 0, 101), "at most 100 tags. Got 101"),
        ((900, 100, 1), "at most 1000 metrics, params, and tags. Got 1001"),
    ],
)
def test_a_batch_has_bounds(rest: Rest, counts: tuple[int, int, int], words: str) -> None:
    run = rest.run()
    metrics, params, tags = (
        [{"key": f"k{i}", "value": 1, "timestamp": 1} for i in range(counts[0])],
        [{"key": f"k{i}", "value": "1"} for i in range(counts[1])],
        [{"key": f"k{i}", "value": "1"} for i in range(counts[2])],
    )
    assert words in refusal(rest.post, "runs/log-batch", run_id=run, metrics=metrics, params=params, tags=tags).message
    assert "metrics" not in rest.data(run)


def test_a_batch_is_taken_whole_or_not_at_all(rest: Rest) -> None:
    run = rest.run()
    rest.post("runs/log-batch", run_id=run, params=[{"key": "p", "value": "1"}])
    good = {"metrics": [{"key": "m", "value": 1, "timestamp": 1}], "tags": [{"key": "t", "value": "1"}]}
    for wrong in (
        {"params": [{"key": "q", "value": "1"}, {"key": "p", "value": "2"}]},
        {"params": [{"key": "q", "value": "1"}, {"key": "q", "value": "1"}]},
        {"params": [{"key": "q", "value": 1}]},
        {"params": [{"value": "1"}]},
        {"metrics": [*good["metrics"], {"key": "a//b", "value": 1, "timestamp": 1}]},
        {"metrics": [*good["metrics"], {"key": "n", "value": "much", "timestamp": 1}]},
        {"metrics": [*good["metrics"], {"key": "n", "value": 1}]},
        {"metrics": [*good["metrics"], {"key": "n", "value": 1, "timestamp": 1, "step": 2**63}]},
        {"metrics": [*good["metrics"], {"key": "n", "value": 1, "timestamp": -1}]},
        {"metrics": [*good["metrics"], {"key": "n", "value": None, "timestamp": 1}]},
        {"metrics": [*good["metrics"], {"key": "n", "value": True, "timestamp": 1}]},
        {"tags": [{"key": "../t", "value": "1"}]},
        {"tags": "t"},
    ):
        found = refusal(rest.post, "runs/log-batch", run_id=run, **(good | wrong))
        assert (found.status, found.code) == (400, "INVALID_PARAMETER_VALUE"), wrong
    data = rest.data(run)
    assert "metrics" not in data
    assert data["params"] == [{"key": "p", "value": "1"}]
    assert [item["key"] for item in data["tags"]] == ["mlflow.runName"]


def test_a_history_is_paged(rest: Rest) -> None:
    run = rest.run()
    rest.post("runs/log-batch", run_id=run, metrics=[{"key": "m", "value": i, "timestamp": i, "step": i} for i in range(25)])
    found, token = [], ""
    while True:
        page = rest.get("metrics/get-history", run_id=run, metric_key="m", max_results=10, page_token=token)
        found += [point["step"] for point in page["metrics"]]
        token = page.get("next_page_token", "")
        if not token:
            break
    assert found == list(range(25))
    assert refusal(rest.get, "metrics/get-history", run_id=run, metric_key="m", max_results=0).status == 400


def test_many_histories_at_once(rest: Rest) -> None:
    runs = [rest.run() for _ in range(3)]
    for number, run in enumerate(runs):
        rest.post(
            "runs/log-batch", run_id=run, metrics=[{"key": "m", "value": number, "timestamp": i, "step": i} for i in range(4)]
        )
    found = rest.get("metrics/get-history-bulk", run_id=runs, metric_key="m")["metrics"]
    assert [point["run_id"] for point in found] == [run for run in sorted(runs) for _ in range(4)]
    assert len(rest.get("metrics/get-history-bulk", run_id=runs, metric_key="m", max_results=5)["metrics"]) == 5
    assert refusal(rest.get, "metrics/get-history-bulk", metric_key="m").status == 400
    assert refusal(rest.get, "metrics/get-history-bulk", run_id=["r"] * 101, metric_key="m").status == 400
    assert refusal(rest.get, "metrics/get-history-bulk-interval", run_ids=runs, metric_key="m", start_step=1).status == 400
    assert refusal(rest.get, "metrics/get-history-bulk-interval", run_ids=runs, metric_key="m", max_results=2501).status == 400
    part = rest.get("metrics/get-history-bulk-interval", run_ids=runs, metric_key="m", start_step=1, end_step=2)["metrics"]
    assert [(point["run_id"], point["step"]) for point in part] == [(run, step) for run in runs for step in (1, 2)]


def test_a_spike_is_in_the_curve(rest: Rest) -> None:
    run = rest.run()
    for start in range(0, 5000, 1000):
        points = [{"key": "m", "value": 99 if i == 3456 else 1, "timestamp": i, "step": i} for i in range(start, start + 1000)]
        rest.post("runs/log-batch", run_id=run, metrics=points)
    found = rest.get("metrics/get-history-bulk-interval", run_ids=[run], metric_key="m", max_results=100)["metrics"]
    assert len(found) <= 100
    assert (found[0]["step"], found[-1]["step"]) == (0, 4999)
    assert {"key": "m", "value": 99.0, "timestamp": 3456, "step": 3456, "run_id": run} in found


@given(st.lists(st.floats(), max_size=300), st.integers(1, 40))
def test_kept_points_are_few_and_hold_the_extremes(values: list[float], size: int) -> None:
    column = np.array(values, np.float64)
    rows = kept(column, size)
    assert rows == sorted(set(rows))
    assert len(rows) <= max(size, 0)
    if values:
        assert rows[-1] == len(values) - 1
    if len(values) > size >= 4 and not np.isnan(column).all():
        assert np.nanmax(column[rows]) == np.nanmax(column)
        assert np.nanmin(column[rows]) == np.nanmin(column)


point = st.tuples(
    st.sampled_from(["a", "b/c", "d e", "\u00e9"]),
    st.floats(width=64),
    st.integers(0, 2**40),
    st.integers(-(2**63), 2**63 - 1),
)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(point, min_size=1, max_size=40))
def test_what_was_logged_is_what_is_there(rest: Rest, points: list[tuple[str, float, int, int]]) -> None:
    run = rest.run()
    rest.post(
        "runs/log-batch",
        run_id=run,
        metrics=[{"key": k, "value": "NaN" if math.isnan(v) else v if math.isfinite(v) else str(v), "timestamp": t, "step": s} for k, v, t, s in points],
    )  # fmt: skip
    for key in {point[0] for point in points}:
        expected = {
            (s, t, "NaN" if math.isnan(v) else math.copysign(1.7976931348623157e308, v) if math.isinf(v) else v)
            for k, v, t, s in points
            if k == key
        }
        assert set(history(rest, run, key)) == expected


class Slow:
    """A store that counts how often it commits, and refuses what it is told to."""

    def __init__(self) -> None:
        self.commits: list[int] = []

    def ingest(self, batches) -> list:
        self.commits.append(len(batches))
        if any(batch.run_id == "poison" for batch in batches):
            raise OverflowError("too large")
        if any(batch.run_id == "locked" for batch in batches):
            raise UnavailableError("store-locked", "locked")
        return [ConflictError("run-deleted", "gone") if batch.run_id == "gone" else None for batch in batches]


def put_all(store: Slow, runs: list[str]) -> list:
    series = [Series("m", np.zeros(1, np.int64), np.zeros(1, np.int64), np.zeros(1))]

    async def all_at_once() -> list:
        writer = MetricWriter(store.ingest)
        return await asyncio.gather(*[writer.put(Batch(run, "", 0, series)) for run in runs], return_exceptions=True)

    return asyncio.run(all_at_once())


def test_who_comes_at_once_shares_a_commit() -> None:
    store = Slow()
    assert put_all(store, ["a"] * 100) == [None] * 100
    assert len(store.commits) <= 2
    assert sum(store.commits) == 100


def test_each_batch_gets_its_own_answer() -> None:
    store = Slow()
    answers = put_all(store, ["a", "gone", "a"])
    assert [type(answer) for answer in answers] == [type(None), ConflictError, type(None)]


def test_a_poisonous_batch_takes_no_other_with_it() -> None:
    answers = put_all(Slow(), ["a", "poison", "b"])
    assert [type(answer) for answer in answers] == [type(None), OverflowError, type(None)]


def test_a_locked_store_is_told_to_all_who_wait() -> None:
    assert {type(answer) for answer in put_all(Slow(), ["a", "locked"])} == {UnavailableError}


def test_a_locked_store_is_429_with_a_time_to_come_again(
    rest: Rest, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = rest.run()
    body = json.dumps({"run_id": run, "key": "p", "value": "1"}).encode()

    def failing(code: str):
        def annotate(*_arguments, **_more) -> None:
            raise UnavailableError(code, "it cannot be written")

        return annotate

    for code, status, word in (
        ("store-locked", 429, "REQUEST_LIMIT_EXCEEDED"),
        ("disk-full", 507, "RESOURCE_EXHAUSTED"),
        ("database-damaged", 507, "RESOURCE_EXHAUSTED"),
    ):
        monkeypatch.setattr(workspace.store.runs, "annotate", failing(code))
        answer = rest.client.send("POST", f"{API}runs/log-parameter", body, content_type="application/json")
        assert (answer.status, answer.json["error_code"]) == (status, word)
        assert answer.headers.get("retry-after") == ("1" if status == 429 else None)
