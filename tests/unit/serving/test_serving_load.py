"""Under load: an end in order, a bucket that is away, and many swaps. No request fails."""

from __future__ import annotations

import asyncio
import http.client
import json
import threading
import time

import pytest
from serving_shop import NOW, SETTLED, call, tensors

from tidegate import frames
from tidegate.clock import Clock
from tidegate.errors import UnavailableError
from tidegate.monitoring import PredictionLog
from tidegate.records.policy import ServingPolicy
from tidegate.serving.app import App
from tidegate.serving.follow import POLL_SECONDS, Follower
from tidegate.serving.log import LogQueue

BODY = json.dumps({"inputs": tensors()})
HEADERS = {"content-type": "application/json"}


def test_a_server_under_load_ends_without_a_request_lost(shop, server):
    """Eight clients keep asking until they are told to go; whatever was sent is answered, logged, and the process ends with 0."""
    running = server()
    answered, failed, lock = [0], [], threading.Lock()

    def ask():
        connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=SETTLED)
        closing = False
        while not closing:
            connection.request("POST", "/v2/models/delay/infer", BODY, HEADERS)
            try:
                answer = connection.getresponse()
                body = answer.read()
            except (OSError, http.client.HTTPException) as error:
                failed.append(repr(error))
                return
            with lock:
                if answer.status == 200:
                    answered[0] += 1
                else:
                    failed.append(body)
            closing = answer.getheader("connection") == "close"
        connection.close()

    clients = [threading.Thread(target=ask) for _ in range(8)]
    for client in clients:
        client.start()
    running.wait(lambda: answered[0] >= 50)
    running.process.terminate()
    ready, _ = running.get("/v2/health/ready")  # it still answers, and says that it goes
    assert ready == 503
    for client in clients:
        client.join(SETTLED)
    code, errors = running.stop()
    assert (failed, code, errors) == ([], 0, "")
    with frames.connect() as con:
        rows = (
            PredictionLog(shop.bucket, "delay").read(con, 0, 2**53).project("count(*), count(DISTINCT prediction_id)").fetchall()
        )
    assert rows == [(answered[0], answered[0])]


def test_a_bucket_that_is_away_for_ten_minutes_changes_nothing(shop):
    """Every look at the pointer of ten minutes fails, and so does every write of the log; every request is answered."""
    away = [False]

    class Sometimes:
        def __getattr__(self, name):
            if away[0]:
                raise UnavailableError("bucket-unavailable", "the bucket cannot be reached")
            return getattr(shop.bucket, name)

    bucket = Sometimes()
    follower = Follower(bucket, "delay")
    log = LogQueue(PredictionLog(bucket, "delay").append_columns)
    app = App({"delay": follower}, log, clock=Clock.replay(NOW), policies={"delay": ServingPolicy()})
    away[0] = True
    looks = int(600 / POLL_SECONDS)
    for look in range(looks):
        follower.look()
        if look % 100 == 0:
            assert call(app, "/v2/models/delay/infer", {"inputs": tensors()})[0] == 200
            log.flush()
    assert "bucket-unavailable" in follower.problem
    assert (log.written, log.dropped) == (0, 0)
    away[0] = False
    log.flush()
    assert (log.written, log.dropped) == (looks // 100, 0)
    shop.promote(shop.versions[1])
    follower.look()
    assert (follower.handle.version, follower.problem) == (shop.versions[1], "")
    assert call(app, "/v2/models/delay/infer", {"inputs": tensors()})[0] == 200
    log.flush()
    assert (log.written, log.problem) == (looks // 100 + 1, "")


@pytest.mark.parametrize("swaps", [20, pytest.param(1_000, marks=pytest.mark.slow)])
def test_no_request_fails_in_a_swap(shop, swaps):
    """The pointer moves as fast as it can; sixteen clients ask all the time, together and alone."""
    app, follower, log = shop.app(max_wait_ms=60_000.0)  # a busy machine is no reason to turn anybody away
    app.predictions.begun = lambda: 16
    failed, answered, by, moved = [], [0], set(), threading.Event()

    def move():
        for each in range(swaps):
            before = answered[0]
            shop.promote(shop.versions[(each + 1) % 2])
            follower.look()
            while answered[0] < before + 16 and not failed:  # every version has something to answer
                time.sleep(0.0005)
        moved.set()

    async def client():
        while not moved.is_set():
            waiting = [{"type": "http.request", "body": BODY.encode(), "more_body": False}]
            sent = []

            async def receive(waiting=waiting):
                return waiting.pop()

            async def send(message, sent=sent):
                sent.append(message)

            scope = {"type": "http", "method": "POST", "path": "/v2/models/delay/infer", "headers": []}
            await app(scope, receive, send)
            if sent[0]["status"] != 200:
                failed.append(sent)
            else:
                by.add(json.loads(sent[1]["body"])["model_version"])
            answered[0] += 1
            await asyncio.sleep(0.001)

    async def run():
        mover = threading.Thread(target=move)
        mover.start()
        await asyncio.gather(*[client() for _ in range(16)])
        mover.join()

    asyncio.run(run())
    assert failed == []
    assert follower.swaps == swaps
    assert answered[0] >= 16 * swaps
    assert by == {"1", "2"}
    log.flush()
    assert log.written + log.dropped == answered[0]
    assert len(app.predictions._lines) <= 2  # what no longer serves is not kept
