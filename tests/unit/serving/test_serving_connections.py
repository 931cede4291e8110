"""Slow and greedy clients: closed or turned away, while the others are answered."""

from __future__ import annotations

import asyncio
import json
import socket

import pytest
from serving_shop import call, tensors
from uvicorn.config import Config
from uvicorn.server import ServerState

from tidegate.errors import TidegateError
from tidegate.serving.admission import OverloadedError
from tidegate.serving.body import Arriving, read_body
from tidegate.serving.connections import Connection, SlowClients

GOOD = json.dumps({"inputs": tensors()}).encode()
HEAD = b"POST /v2/models/delay/infer HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"


def ask():
    return HEAD + b"content-length: %d\r\n\r\n" % len(GOOD) + GOOD


class Watched:
    """uvicorn's protocol over the application, on a socket of its own, with a watch that the test sets."""

    def __init__(self, app):
        self.time = 0.0
        self.slow = SlowClients(seconds=30.0, now=lambda: self.time)
        self.state = ServerState()
        self.config = Config(app, lifespan="off", log_config=None, access_log=False)

    async def __aenter__(self):
        self.config.load()
        loop = asyncio.get_running_loop()
        self.server = await loop.create_server(lambda: Connection(self.config, self.state, {}), "127.0.0.1", 0)
        self.port = self.server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_):
        self.server.close()
        await self.server.wait_closed()

    async def look(self, later):
        await asyncio.sleep(0.02)  # what was sent arrives
        self.slow.look(self.state.connections)
        self.time += later
        self.slow.look(self.state.connections)
        await asyncio.sleep(0.02)


async def answer(reader):
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
    return int(head.split()[1]), await reader.readexactly(length)


@pytest.mark.parametrize("sent", [b"", b"POST /v2", HEAD, b"GE"])
def test_a_client_that_never_says_what_it_wants_is_closed(shop, sent):
    async def run():
        async with Watched(shop.app()[0]) as watched:
            reader, writer = await asyncio.open_connection("127.0.0.1", watched.port)
            if sent == b"GE":  # the beginning of a second request
                writer.write(ask())
                assert (await answer(reader))[0] == 200
            writer.write(sent)
            await watched.look(29.0)
            assert watched.slow.closed == 0
            await watched.look(2.0)
            assert watched.slow.closed == 1
            assert await reader.read() == b""
            writer.close()

    asyncio.run(run())


def test_a_client_that_does_not_read_its_answers_is_closed(shop):
    rows = 10_000
    body = json.dumps({"inputs": tensors([1.0] * rows, [100] * rows, ["UA"] * rows)}).encode()
    asked = HEAD + b"content-length: %d\r\n\r\n" % len(body) + body

    async def run():
        loop = asyncio.get_running_loop()
        async with Watched(shop.app()[0]) as watched:
            client = socket.socket()
            client.setblocking(False)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            await loop.sock_connect(client, ("127.0.0.1", watched.port))
            while not watched.state.connections:  # noqa: ASYNC110 - the server has no event for it
                await asyncio.sleep(0.01)
            (connection,) = watched.state.connections
            connection.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
            await loop.sock_sendall(client, asked)
            while not connection.flow.write_paused:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            await watched.look(29.0)
            assert watched.slow.closed == 0
            await watched.look(2.0)
            assert watched.slow.closed == 1
            assert not watched.state.connections
            client.close()

    asyncio.run(run())


def test_a_client_that_keeps_its_connection_between_requests_is_not(shop):
    async def run():
        async with Watched(shop.app()[0]) as watched:
            reader, writer = await asyncio.open_connection("127.0.0.1", watched.port)
            for _ in range(3):
                writer.write(ask())
                assert (await answer(reader))[0] == 200
                await watched.look(31.0)
            assert watched.slow.closed == 0
            writer.close()

    asyncio.run(run())


def test_a_client_that_says_a_little_all_the_time_is_closed_all_the_same(shop):
    async def run():
        async with Watched(shop.app()[0]) as watched:
            reader, writer = await asyncio.open_connection("127.0.0.1", watched.port)
            for letter in HEAD[:8]:
                writer.write(bytes([letter]))
                await watched.look(5.0)
            assert watched.slow.closed == 1
            assert await reader.read() == b""
            writer.close()

    asyncio.run(run())


def test_a_flood_of_large_bodies_is_bounded_and_leaves_nothing_behind():
    arriving = Arriving(1_000)
    done = []

    async def send(name, pieces):
        waiting = [*pieces]

        async def receive():
            await asyncio.sleep(0)
            return {"type": "http.request", "body": waiting.pop(0), "more_body": bool(waiting)}

        try:
            with arriving.hold() as held:
                done.append((name, len(await read_body(receive, {}, 10_000, held))))
        except TidegateError as error:
            done.append((name, error.code))
            assert isinstance(error, OverloadedError)  # noqa: PT017
        assert arriving.bytes <= 1_000

    async def run():
        pieces = [b"x" * 100] * 8
        await asyncio.gather(send("one", pieces), send("two", pieces), send("small", [b"y" * 50]))

    asyncio.run(run())
    assert ("small", 50) in done  # a body that is there at once waits for nobody
    assert sorted(str(outcome) for name, outcome in done if name != "small") == ["800", "overloaded"]
    assert arriving.bytes == 0


def test_a_large_body_counts_while_it_waits_to_be_read(shop):
    app, _, _ = shop.app()
    app.arriving.max_bytes = 250_000
    parquet = b"application/vnd.apache.parquet"  # files are read beside the event loop
    seen = []

    async def ask(kind, data):
        async def receive():
            return {"type": "http.request", "body": data, "more_body": False}

        async def send(message):
            if "status" in message:
                seen.append(message["status"])

        headers = [(b"content-type", kind)]
        scope = {"type": "http", "method": "POST", "path": "/invocations", "headers": headers, "query_string": b""}
        await app(scope, receive, send)

    async def run():
        small = b"wind,seats,carrier\n1,2,UA\n"
        await asyncio.gather(*[ask(parquet, b"PAR1" * 25_000) for _ in range(3)], ask(b"text/csv", small))

    asyncio.run(run())
    assert sorted(seen) == [200, 422, 422, 503]
    assert app.arriving.bytes == 0


def test_what_is_turned_away_says_when_to_come_back(shop):
    app = shop.app(max_wait_ms=0.0)[0]
    handle = next(iter(app.models.followers.values())).handle

    class Slow:
        signature = handle.signature

        def predict(self, columns):
            import time

            time.sleep(0.05)
            return {"probability": columns["wind"] * 0, "label": columns["seats"] * 0}

    object.__setattr__(handle, "predictor", Slow())
    object.__setattr__(handle, "seconds", 0.05)
    sent = []

    async def one(place):
        waiting = [{"type": "http.request", "body": GOOD, "more_body": False}]

        async def receive():
            return waiting.pop()

        async def send(message):
            sent.append((place, message))

        scope = {"type": "http", "method": "POST", "path": "/v2/models/delay/infer", "headers": []}
        await app(scope, receive, send)

    async def run():
        first = asyncio.ensure_future(one(0))
        await asyncio.sleep(0.01)
        await asyncio.gather(first, one(1))

    asyncio.run(run())
    starts = {place: message for place, message in sent if message["type"] == "http.response.start"}
    assert {place: message["status"] for place, message in starts.items()} == {0: 200, 1: 503}
    assert dict(starts[1]["headers"])[b"retry-after"] == b"1"
    metrics = call(app, "/metrics")[2].decode()
    assert 'model_turned_away_total{model="delay"} 1.0' in metrics
    assert 'model_waiting_requests{model="delay"} 0.0' in metrics


@pytest.mark.parametrize(
    ("parameters", "headers", "status"),
    [
        ({"timeout": 5_000_000}, [], 200),
        ({"timeout": 0}, [], 200),
        ({"timeout": "1000000"}, [], 200),
        ({"timeout": "soon"}, [], 400),
        ({"timeout": -1}, [], 400),
        ({}, [(b"x-envoy-expected-rq-timeout-ms", b"15000")], 200),
        ({}, [(b"x-envoy-expected-rq-timeout-ms", b"nan")], 400),
        ({}, [(b"x-envoy-expected-rq-timeout-ms", b"\xff")], 400),
    ],
)
def test_a_request_may_say_when_it_wants_its_answer(shop, parameters, headers, status):
    body = {"inputs": tensors(), "parameters": parameters}
    found, _, told = call(shop.app()[0], "/v2/models/delay/infer", body, headers=headers)
    assert found == status
    assert (b"bad-timeout" in told) == (status == 400)
