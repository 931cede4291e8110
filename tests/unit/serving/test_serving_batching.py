"""Requests that wait together are predicted together, and nobody's answer depends on who they were."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from serving_shop import NOW, NoCatalog

from tidegate.clock import Clock
from tidegate.errors import BadInputError, TidegateError
from tidegate.models import Candidate, Models, load_version
from tidegate.models.signature import conform
from tidegate.records.model import Manifest, ModelVersion, Signature, Tensor
from tidegate.records.policy import ServingPolicy
from tidegate.serving.admission import OverloadedError, Room
from tidegate.serving.batching import Asking, Fit, Line, predict_together
from tidegate.serving.handle import Handle
from tidegate.serving.log import LogQueue
from tidegate.serving.metrics import Metrics
from tidegate.serving.predicting import Predictions
from tidegate.serving.protocols.request import Request

SIGNATURE = Signature(
    inputs=[Tensor(name="x", dtype="float64", shape=[-1, 1]), Tensor(name="k", dtype="int64", shape=[-1, 1])],
    outputs=[Tensor(name="y", dtype="float64", shape=[-1])],
)


class Doubling:
    """Doubles x, refuses negative ones, and can be told to take its time."""

    signature = SIGNATURE

    def __init__(self, seconds=0.0, per_row=0.0, largest=10**9):
        self.seconds, self.per_row, self.largest = seconds, per_row, largest
        self.sizes, self.at_once, self.most = [], 0, 0
        self.lock = threading.Lock()

    def predict(self, columns):
        ready = conform(self.signature, columns)
        with self.lock:
            self.at_once += 1
            self.most = max(self.most, self.at_once)
        try:
            x = ready["x"]
            self.sizes.append(len(x))
            time.sleep(self.seconds + self.per_row * len(x))
            if len(x) > self.largest:
                raise RuntimeError("this graph takes one row")
            if (x < 0).any():
                raise BadInputError("negative", f"{int((x < 0).sum())} rows are negative")
            return {"y": 2 * x}
        finally:
            with self.lock:
                self.at_once -= 1


def handle_of(predictor, seconds=1e-4, name="m"):
    manifest = Manifest(
        name=name, version=1, task="regression", format="test", loads_code=False, signature=predictor.signature, files=[],
        lineage={}, created_at=0,
    )  # fmt: skip
    return Handle(ModelVersion(digest="0" * 64, manifest=manifest), predictor, slow=False, seconds=seconds)


class Desk:
    """Predictions over fake models, as the application uses them."""

    def __init__(self, **policy):
        self.logged = []
        self.log = LogQueue(self.logged.append)
        self.metrics = Metrics({}, self.log)
        self.predictions = Predictions(self.log, self.metrics, Clock.replay(NOW), {"m": ServingPolicy(**policy)})

    def ask(self, handle, values, **more):
        x = np.array(values, dtype=np.float64)
        columns = {"x": x, "k": np.arange(len(x))}
        return self.predictions.answer(handle, Request("", columns, len(x), 0, []), time.perf_counter(), **more)

    def all(self, handle, *requests, begun=None):
        self.predictions.begun = lambda: len(requests) if begun is None else begun

        async def run():
            return await asyncio.gather(*[self.ask(handle, each) for each in requests], return_exceptions=True)

        return asyncio.run(run())


def test_what_arrives_together_is_predicted_together():
    model = Doubling()
    desk = Desk()
    answers = desk.all(handle_of(model), [1.0], [2.0, 3.0], [4.0])
    assert model.sizes == [4]
    assert [answer.outputs["y"].tolist() for answer in answers] == [[2.0], [4.0, 6.0], [8.0]]
    ids = [answer.ids for answer in answers]
    assert [len(each) for each in ids] == [1, 2, 1]
    assert ids[1] == [f"{ids[1][0][:-2]}-{row}" for row in range(2)]
    assert len({each[0][:24] for each in ids}) == 3
    desk.log.flush()
    assert [part.ids for part in desk.logged] == [[*ids[0], *ids[1], *ids[2]]]
    assert desk.logged[0].inputs["x"].tolist() == [1.0, 2.0, 3.0, 4.0]
    assert 'model_predictions_total{model="m",status="ok",version="1"} 3.0' in desk.metrics.text().decode()


def test_a_lone_request_does_not_wait_for_company():
    model = Doubling()
    desk = Desk()
    handle = handle_of(model)
    (answer,) = desk.all(handle, [1.0], begun=1)
    assert answer.outputs["y"].tolist() == [2.0]
    assert desk.predictions._lines[handle].calls == 0  # it was answered where it stood


def test_while_a_slow_call_runs_the_others_gather():
    model = Doubling(seconds=0.05)
    desk = Desk()
    handle = handle_of(model, seconds=0.05)

    async def run():
        first = asyncio.ensure_future(desk.ask(handle, [1.0]))
        await asyncio.sleep(0.01)
        return await asyncio.gather(first, *[desk.ask(handle, [float(each)]) for each in range(2, 9)])

    answers = asyncio.run(run())
    assert model.sizes == [1, 7]
    assert model.most == 1
    assert [answer.outputs["y"].tolist() for answer in answers] == [[2.0 * each] for each in range(1, 9)]


@given(st.lists(st.lists(st.floats(-2, 10), min_size=1, max_size=4), min_size=1, max_size=8))
def test_a_bad_row_hurts_only_its_own_request(requests):
    desk = Desk()
    answers = desk.all(handle_of(Doubling()), *requests, begun=99)
    for given_rows, answer in zip(requests, answers, strict=True):
        if min(given_rows) < 0:
            assert isinstance(answer, BadInputError)
            assert answer.what == f"{sum(value < 0 for value in given_rows)} rows are negative"
        else:
            assert answer.outputs["y"].tolist() == [2 * value for value in given_rows]
    desk.log.flush()
    assert sum(len(part.ids) for part in desk.logged) == sum(len(rows) for rows in requests if min(rows) >= 0)


def test_a_model_that_takes_one_row_is_asked_one_by_one_from_then_on(caplog):
    model = Doubling(largest=1)
    desk = Desk()
    handle = handle_of(model)
    for _ in range(2):
        answers = desk.all(handle, [1.0], [2.0], [3.0])
        assert [answer.outputs["y"].tolist() for answer in answers] == [[2.0], [4.0], [6.0]]
    assert model.sizes == [3, 1, 2, 1, 1, 1, 1, 1]
    assert "one by one" in caplog.text


def test_without_batching_every_request_has_its_own_call():
    model = Doubling()
    desk = Desk(batching=False)
    answers = desk.all(handle_of(model), [1.0], [2.0], [3.0])
    assert model.sizes == [1, 1, 1]
    assert [answer.outputs["y"].tolist() for answer in answers] == [[2.0], [4.0], [6.0]]


def together(model, *columns):
    handle = handle_of(model)
    calls, _ = predict_together([Asking(handle, each, len(next(iter(each.values())))) for each in columns])
    return [(call, asking) for call in calls for asking in call.askings]


def test_requests_of_other_types_are_joined_as_the_signature_says():
    model = Doubling()
    one = {"x": np.array([1.0]), "k": np.array([1])}
    two = {"x": np.array([2], dtype=np.int64), "k": np.array([[2]], dtype=np.int32)}
    ((call, _), _) = together(model, one, two)
    assert call.outputs["y"].tolist() == [2.0, 4.0]
    assert model.sizes == [2]


def test_two_requests_that_are_wrong_in_opposite_ways_are_not_mixed_up():
    one = {"x": np.array([1.0, 2.0]), "k": np.array([1])}
    two = {"x": np.array([3.0]), "k": np.array([1, 2])}
    good = {"x": np.array([5.0]), "k": np.array([1])}
    found = together(Doubling(), one, two, good)
    assert [getattr(call.error, "code", "") for call, _ in found] == ["wrong-shape", "wrong-shape", ""]
    assert found[2][0].outputs["y"].tolist() == [10.0]


def test_a_model_that_does_not_answer_row_by_row_is_asked_alone():
    class Mean(Doubling):
        def predict(self, columns):
            return {"y": np.array([columns["x"].mean()])}

    found = together(Mean(), {"x": np.array([1.0]), "k": np.array([1])}, {"x": np.array([3.0]), "k": np.array([1])})
    assert [call.outputs["y"].tolist() for call, _ in found] == [[1.0], [3.0]]


def test_a_client_that_left_costs_nobody_anything():
    model = Doubling(seconds=0.03)
    desk = Desk()
    handle = handle_of(model, seconds=0.03)

    async def run():
        asked = [asyncio.ensure_future(desk.ask(handle, [float(each)])) for each in range(4)]
        await asyncio.sleep(0.01)
        later = [asyncio.ensure_future(desk.ask(handle, [float(each)])) for each in range(4, 7)]
        await asyncio.sleep(0)
        later[1].cancel()
        asked[0].cancel()
        return await asyncio.gather(*asked, *later, return_exceptions=True)

    answers = asyncio.run(run())
    assert [isinstance(answer, asyncio.CancelledError) for answer in answers] == [True, False, False, False, False, True, False]
    assert model.sizes == [4, 2]
    assert desk.predictions._rooms["m"].requests == 0
    assert desk.predictions._rooms["m"].rows == 0


@given(st.floats(1e-6, 1e-2), st.floats(0, 1e-1), st.integers(0, 1_000))
def test_the_fit_finds_the_line(a, b, seed):
    fit = Fit(a + b)
    for rows in np.random.default_rng(seed).integers(1, 100, 300):
        fit.observe(int(rows), a * rows + b)
    assert fit.seconds(50) == pytest.approx(50 * a + b, rel=1e-3, abs=1e-6)
    assert fit.a == pytest.approx(a, rel=1e-2)


def test_the_fit_forgets_and_is_not_thrown_by_one_pause():
    fit = Fit(1e-3)
    for rows in [1, 10] * 100:
        fit.observe(rows, 1e-3 + 1e-4 * rows)
    fit.observe(1, 5.0)
    assert fit.seconds(1) < 2e-3
    for rows in [1, 10] * 400:
        fit.observe(rows, 5e-3 + 1e-3 * rows)
    assert fit.seconds(10) == pytest.approx(15e-3, rel=0.05)


def test_the_fit_expects_the_worst_of_what_it_has_not_seen():
    fit = Fit(1e-3)
    for _ in range(50):
        fit.observe(1, 1e-3)
    assert fit.seconds(10) == pytest.approx(1e-2, rel=0.01)
    assert fit.enough == math.inf  # and yet it tries whether more rows in a call pay


def test_a_batch_stops_where_more_rows_gain_nothing():
    model = Doubling(per_row=0.008)
    handle = handle_of(model, seconds=0.008)
    line = line_of(handle)
    for rows in [1, 2] * 50:
        line.fit.observe(rows, 0.008 * rows)
    asyncio.run(flood(line, handle, [math.inf] * 6))
    assert max(model.sizes) <= 2  # not all six; a busy machine makes a call look dearer than it is


def test_a_short_call_is_not_cut_even_if_more_rows_seem_to_gain_nothing():
    """Where all calls of late were small, nobody knows their fixed cost: to stay with small ones would cost half of what a model can do."""
    model = Doubling(per_row=0.0001)
    handle = handle_of(model, seconds=0.0001)
    line = line_of(handle)
    for rows in [1, 2] * 50:
        line.fit.observe(rows, 0.0001 * rows)
    asyncio.run(flood(line, handle, [math.inf] * 60))
    assert model.sizes == [60]


def line_of(handle, **room):
    room = {"max_rows": 10_000, "max_seconds": 1.0} | room
    return Line(lambda _call: None, room=Room("m", **room), beside=ThreadPoolExecutor(1), seconds=handle.seconds)


async def flood(line, handle, deadlines):
    start = time.perf_counter()
    columns = {"x": np.ones(1), "k": np.ones(1, dtype=np.int64)}
    asked = [line.ask(Asking(handle, columns, 1, start=start, due=start + within)) for within in deadlines]
    return await asyncio.gather(*asked, return_exceptions=True)


def test_a_batch_is_small_enough_for_the_most_pressed_in_it():
    model = Doubling(per_row=0.01)
    handle = handle_of(model, seconds=0.01)
    line = line_of(handle)
    for rows in [1, 9] * 50:
        line.fit.observe(rows, 0.05 + 0.01 * rows)  # it believes that rows in one call are cheap
    answers = asyncio.run(flood(line, handle, [0.085, math.inf, math.inf, math.inf, math.inf, math.inf, math.inf]))
    assert not any(isinstance(answer, Exception) for answer in answers)
    assert model.sizes[0] <= 3


def test_a_wait_is_foreseen_from_the_pace_of_the_answers():
    room = Room("m", max_rows=1_000, max_seconds=0.5)
    easy = {"wait": 0.0, "own": 0.0, "left": math.inf}
    now = 0.0
    for _ in range(20):
        room.enter(1, now, **easy)
    for _ in range(300):  # one leaves each tenth of a second, and another comes: whatever the model's calls take
        now += 0.1
        room.leave(1, 1, now)
        room.requests += 1
        room.rows += 1
    assert room.pace == pytest.approx(0.1, rel=0.05)
    assert room.wait == pytest.approx(2.0, rel=0.05)
    with pytest.raises(OverloadedError, match="overloaded"):
        room.refuse_late(wait=0.0, left=math.inf)
    assert room.is_late(wait=0.0, left=math.inf) == 0.5
    with pytest.raises(OverloadedError):
        room.enter(1, now, **easy)
    assert room.turned_away == 2
    for _ in range(18):
        room.leave(1, 1, now)
    room.refuse_late(wait=0.0, left=math.inf)
    with pytest.raises(OverloadedError):
        room.refuse_late(wait=0.0, left=0.01)
    with pytest.raises(OverloadedError):
        room.refuse_late(wait=0.0, left=0.25)  # in time, if nothing goes slower than it was foreseen
    with pytest.raises(OverloadedError):
        room.refuse_late(wait=0.6, left=math.inf)  # so the model's calls say


def test_a_full_room_is_seen_before_a_request_is_decoded():
    """32 rows each: the next one would not find room either, and to decode it would be for nothing."""
    room = Room("m", max_rows=320, max_seconds=9.0)
    for _ in range(10):
        assert room.is_late(wait=0.0, left=math.inf) == 0.0
        room.enter(32, 0.0, wait=0.0, own=0.0, left=math.inf)
    assert room.is_late(wait=0.0, left=math.inf) > 0.0


def test_a_burst_that_was_never_seen_before_is_left_to_the_fit():
    room = Room("m", max_rows=1_000, max_seconds=0.5)
    for now in range(50):
        room.enter(1, float(now), wait=0.0, own=0.0, left=math.inf)
        room.leave(1, 1, now + 0.3)
    for _ in range(30):
        room.enter(1, 60.0, wait=0.1, own=0.0, left=math.inf)
    assert room.requests == 30


def test_too_much_is_turned_away_at_once_with_a_hint():
    model = Doubling(seconds=0.05)
    handle = handle_of(model, seconds=0.05)
    line = line_of(handle, max_requests=3)
    answers = asyncio.run(flood(line, handle, [math.inf] * 5))
    away = [answer for answer in answers if isinstance(answer, OverloadedError)]
    assert len(away) == 2
    assert (away[0].code, away[0].http_status, away[0].retry_after) == ("overloaded", 503, 1)
    assert model.sizes == [3]


def test_an_answer_that_would_come_too_late_is_not_begun():
    model = Doubling(seconds=0.05)
    handle = handle_of(model, seconds=0.05)
    answers = asyncio.run(flood(line_of(handle), handle, [0.01, 1.0]))
    assert isinstance(answers[0], OverloadedError)
    assert "would take 50 ms" in answers[0].why
    assert answers[1]["y"].tolist() == [2.0]


@pytest.mark.parametrize("load", [1, 3])
def test_three_times_too_much_is_no_reason_to_do_less(load):
    """An open loop: requests come at their times whatever becomes of them. The model works for nobody who is turned away or gets his answer
    too late, and hardly ever waits itself.
    """
    wanted, seconds = 0.25, 0.8
    model = Doubling(seconds=0.002, per_row=0.002)
    handle = handle_of(model, seconds=0.004)
    desk = Desk(max_wait_ms=150.0)
    desk.predictions.begun = lambda: 9
    outcomes, most = {"good": 0, "late": 0, "away": 0}, [0]

    async def one():
        start = time.perf_counter()
        try:
            await desk.ask(handle, [1.0], within=wanted)
        except OverloadedError:
            outcomes["away"] += 1
        else:
            outcomes["good" if time.perf_counter() - start <= wanted else "late"] += 1

    async def run():
        start = time.perf_counter()
        asked = []
        while (now := time.perf_counter() - start) < seconds:
            while len(asked) < now * load * 450.0:
                asked.append(asyncio.ensure_future(one()))
            await asyncio.sleep(0.002)
            most[0] = max(most[0], *[room.requests for room in desk.predictions._rooms.values()])
        await asyncio.gather(*asked)

    asyncio.run(run())
    assert sum(model.sizes) == outcomes["good"] + outcomes["late"]
    assert outcomes["late"] <= 0.1 * outcomes["good"]
    if load > 1:
        assert outcomes["away"] > 0.3 * outcomes["good"]
        assert most[0] <= 450 * wanted  # what waits can be answered in time


FORMATS = ["onnx", "skops", "xgboost", "lightgbm"]


@pytest.fixture(scope="module", params=FORMATS)
def packed(request, tmp_path_factory):
    """A model of each format, as it is loaded by a server."""
    from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestClassifier

    from tidegate.store.bucket import open_bucket

    rng = np.random.default_rng(1)
    rows = rng.normal(size=(200, 3))
    target = rows[:, 0] - rows[:, 1] ** 2
    task = "regression"
    if request.param == "onnx":
        model, task = RandomForestClassifier(20, random_state=0).fit(rows, target > 0), "binary"
    elif request.param == "skops":
        model = HistGradientBoostingRegressor(max_iter=20).fit(rows, target)
    elif request.param == "xgboost":
        model = pytest.importorskip("xgboost").XGBRegressor(n_estimators=20).fit(rows, target)
    else:
        model = pytest.importorskip("lightgbm").LGBMRegressor(n_estimators=20, verbose=-1).fit(rows, target)
    bucket = open_bucket(tmp_path_factory.mktemp("formats"))
    version = Models(bucket, NoCatalog(), Clock.replay(NOW)).register(Candidate("m", model, rows, task))
    return Handle(version, load_version(bucket, version), slow=False)


@settings(max_examples=15)
@given(st.lists(st.integers(1, 5), min_size=2, max_size=9), st.integers(0, 2**32 - 1))
def test_every_format_answers_together_as_alone(packed, sizes, seed):
    rng = np.random.default_rng(seed)
    requests = [rng.normal(size=(rows, 3)) for rows in sizes]
    (call,), _ = predict_together([Asking(packed, {"X": each}, len(each)) for each in requests])
    assert call.error is None
    first = 0
    for each in requests:
        alone = packed.predictor.predict({"X": each})
        for name, values in alone.items():
            np.testing.assert_allclose(call.outputs[name][first : first + len(each)], values, rtol=1e-6, atol=1e-7)
        first += len(each)


def test_a_bug_of_the_model_is_told_to_everybody_who_asked():
    class Broken(Doubling):
        def predict(self, columns):
            raise ZeroDivisionError

    answers = Desk().all(handle_of(Broken()), [1.0], [2.0])
    assert [type(answer) for answer in answers] == [ZeroDivisionError, ZeroDivisionError]
    assert not any(isinstance(answer, TidegateError) for answer in answers)


@pytest.mark.parametrize("seconds", [0.0, 0.05])
def test_nobody_waits_for_ever_whatever_goes_wrong_afterwards(seconds):
    def broken(_call):
        raise KeyError("a bug beside the model")

    handle = handle_of(Doubling(seconds=seconds), seconds=max(seconds, 1e-4))
    line = Line(broken, room=Room("m", max_rows=10, max_seconds=1.0), beside=ThreadPoolExecutor(1), seconds=handle.seconds)
    for _ in range(2):
        answers = asyncio.run(asyncio.wait_for(flood(line, handle, [math.inf] * 3), 10))
        assert [type(answer) for answer in answers] == [KeyError] * 3


def test_a_pool_that_cannot_run_the_call_is_told():
    class Full(ThreadPoolExecutor):
        def submit(self, *_arguments, **_more):
            future = super().submit(int)
            future.result()
            broken = type(future)()
            broken.set_exception(MemoryError("no thread"))
            return broken

    handle = handle_of(Doubling(), seconds=0.05)
    line = Line(lambda _call: None, room=Room("m", max_rows=10, max_seconds=1.0), beside=Full(1), seconds=0.05)
    answers = asyncio.run(asyncio.wait_for(flood(line, handle, [math.inf] * 2), 10))
    assert [type(answer) for answer in answers] == [MemoryError] * 2
    assert line._room.requests == 0
