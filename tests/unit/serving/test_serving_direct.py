"""The short way of a plain request: the same answers as the long way, for less."""

from __future__ import annotations

import asyncio
import gzip
import json
import re
from contextlib import suppress

import pytest
from serving_shop import tensors
from uvicorn.config import Config
from uvicorn.server import ServerState

from tidegate.serving.admission import OverloadedError
from tidegate.serving.app import App
from tidegate.serving.direct import DirectConnection

PATH = "/v2/models/delay/infer"
MANY = [12.5 + row for row in range(200)]


def request(path=PATH, body=None, *, version="1.1", method="POST", **headers):
    body = json.dumps({"inputs": tensors()} if body is None else body).encode() if not isinstance(body, bytes) else body
    named = {"host": "x", "content-type": "application/json"} | {key.replace("_", "-"): value for key, value in headers.items()}
    lines = "".join(f"{key}: {value}\r\n" for key, value in named.items())
    return f"{method} {path} HTTP/{version}\r\n{lines}content-length: {len(body)}\r\n\r\n".encode() + body


class Line:
    """An application on a socket, and how many of its requests went the long way."""

    def __init__(self, shop, **policy):
        self.app, self.follower, self.log = shop.app(**policy)
        self.long = 0
        self.state = ServerState()
        self.config = Config(self.app, lifespan="off", log_config=None, access_log=False, proxy_headers=False)

    async def __aenter__(self):
        self.config.load()
        app = self.config.loaded_app

        async def counted(scope, receive, send):
            self.long += 1
            await app(scope, receive, send)

        self.config.loaded_app = counted
        make = lambda: DirectConnection(self.config, self.state, {})  # noqa: E731
        self.server = await asyncio.get_running_loop().create_server(make, "127.0.0.1", 0)
        self.port = self.server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_):
        self.server.close()
        await self.server.wait_closed()

    async def ask(self, *pieces, answers=1):
        """Status, headers and body of every answer to what is sent on one connection."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        for piece in pieces:
            writer.write(piece)
            await asyncio.sleep(0.02)
        found = [await answer(reader) for _ in range(answers)]
        writer.close()
        return found


async def answer(reader):
    head, *lines = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 30)).decode().strip().split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines)
    return int(head.split()[1]), headers, await reader.readexactly(int(headers["content-length"]))


def plain(found):
    """An answer without what differs from one request to the next."""
    status, headers, body = found
    body = gzip.decompress(body) if headers.get("content-encoding") == "gzip" else body
    if b"[bad-json]" not in body:  # where a body ends the parser says in its own words
        body = re.sub(rb'"prediction_ids":\[.*?\]', b"", body)
    kept = {key: value for key, value in headers.items() if key not in {"x-prediction-id", "content-length", "date"}}
    return status, kept, body


@pytest.mark.parametrize(
    ("sent", "long", "status"),
    [
        (request(), 0, 200),
        (request(x_request_id="mine"), 0, 200),
        (request(version="1.0"), 0, 200),
        (request(connection="close"), 0, 200),
        (request("/v1/models/delay:predict", {"instances": [{"wind": 1.5, "seats": 3, "carrier": "UA"}]}), 0, 200),
        (request("/invocations", {"dataframe_records": [{"wind": 1.5, "seats": 3, "carrier": "UA"}]}), 0, 200),
        (request(body={"inputs": tensors(MANY, [3] * 200, ["UA"] * 200)}, accept_encoding="gzip"), 0, 200),
        (request(body={"inputs": tensors(), "id": "seven", "parameters": {"timeout": 0}}), 0, 200),
        (request(body=gzip.compress(json.dumps({"inputs": tensors()}).encode()), content_encoding="gzip"), 1, 200),
        (request("/v2/models/delay%2Finfer"), 1, 200),
        (request("/v2/models/dely/infer"), 1, 404),
        (request(PATH + "?a=b"), 1, 200),
        (request(body=b"{"), 1, 400),
        (request(body={"inputs": tensors()[:2]}), 1, 422),
        (request(body={"inputs": tensors(), "parameters": {"timeout": "soon"}}), 1, 400),
        (request(expect="100-nothing", x_model="other"), 0, 200),
        (request("/v2/health/ready", b"", method="GET"), 1, 200),
    ],
)
def test_both_ways_give_the_same_answer(shop, sent, long, status):
    async def run():
        async with Line(shop) as line:
            (short,) = await line.ask(sent)
            taken = line.long
            (far,) = await line.ask(sent[:-1], sent[-1:])  # in two pieces it is not plain
            return short, taken, far

    short, taken, far = asyncio.run(run())
    assert (short[0], taken) == (status, long)
    assert plain(short) == plain(far)


def test_requests_in_one_portion_are_answered_in_their_order(shop):
    async def run():
        async with Line(shop) as line:
            sent = [request(body={"inputs": tensors(), "id": str(each)}) for each in range(4)]
            return await line.ask(b"".join(sent), answers=4)

    assert [json.loads(body)["id"] for _, _, body in asyncio.run(run())] == ["0", "1", "2", "3"]


def test_what_goes_wrong_in_the_model_is_told_and_counted_once(shop):
    async def run():
        async with Line(shop) as line:

            class Broken:
                signature = line.follower.handle.signature

                def predict(self, columns):
                    raise ZeroDivisionError

            object.__setattr__(line.follower.handle, "predictor", Broken())
            found = await line.ask(request(), request(), answers=2)
            return found, line.app.metrics.text().decode(), line.long

    found, metrics, long = asyncio.run(run())
    assert [(status, b"internal" in body) for status, _, body in found] == [(500, True)] * 2
    assert 'model_predictions_total{model="delay",status="failed",version="1"} 2.0' in metrics
    assert long == 0


def test_who_would_be_answered_too_late_is_turned_away_before_its_body_is_there(shop):
    """A request that waits already stands in the way; the connection is as good as before."""

    async def run():
        async with Line(shop) as line:
            await line.ask(request())
            (room,) = line.app.predictions._rooms.values()
            room.requests, room.rows, room.depth, room.pace = 100, 100, 100.0, 1.0
            head, _, body = request().partition(b"\r\n\r\n")
            reader, writer = await asyncio.open_connection("127.0.0.1", line.port)
            writer.write(head + b"\r\n\r\n")
            away = await answer(reader)
            writer.write(body)
            room.requests = room.rows = 0
            writer.write(request())
            after = await answer(reader)
            writer.close()
            return away, after, room.turned_away, line.app.metrics.text().decode(), line.long

    (status, headers, body), after, turned_away, metrics, long = asyncio.run(run())
    assert (status, headers["retry-after"], b"[overloaded]" in body) == (503, "1", True)
    assert headers["content-type"] == "application/json"
    assert (after[0], turned_away, long) == (200, 1, 0)
    assert 'model_predictions_total{model="delay",status="failed",version="1"} 1.0' in metrics


def test_who_left_is_not_answered_and_takes_no_room(shop):
    async def run():
        async with Line(shop) as line:
            await line.ask(request())
            (room,) = line.app.predictions._rooms.values()
            connection = DirectConnection(line.config, line.state, {})

            class Transport:
                written = b""

                def write(self, data):
                    self.written += data

                def is_closing(self):
                    return False

                def close(self):
                    pass

            connection.connection_made(Transport())
            line.app.read_before = 9  # others are there
            connection.data_received(request())
            waiting = room.requests
            transport = connection.transport
            connection.connection_lost(None)
            await asyncio.sleep(0.05)
            return waiting, room.requests, transport.written

    assert asyncio.run(run()) == (1, 0, b"")


def test_a_server_that_drains_closes_after_the_answer(shop):
    async def run():
        async with Line(shop) as line:
            line.app.draining = True
            return await line.ask(request())

    ((status, headers, _),) = asyncio.run(run())
    assert (status, headers["connection"]) == (200, "close")


SEEN = request(body={"inputs": tensors(), "id": "the one before"})
OTHER = request(body={"inputs": tensors(), "id": "x" * 300})


@pytest.mark.parametrize(
    ("sent", "again"),
    [
        ([OTHER], False),
        ([request(body=b"{")], True),
        ([request(body={"inputs": tensors()[:2]})], True),
        ([request(body={"inputs": tensors(), "id": "y" * 70_000})], True),
        ([OTHER.replace(b"content-length: ", b"content-length: 0")], False),
        ([OTHER.replace(b"content-length: ", b"content-length: +")], True),
        ([OTHER.replace(b"content-length: ", b"content-length:  ")], True),
        ([OTHER.replace(b"content-length: ", b"content-length: 9")[:-1]], True),
        ([request(content_encoding="none")], True),
        ([request(PATH.replace("infer", "Infer"))], True),
        ([request("/v2/health/ready", b"", method="GET")], True),
        ([OTHER.replace(b"\r\ncontent-type", b"\r\ntransfer-encoding: chunked\r\ncontent-type")], True),
        ([OTHER[:30], OTHER[30:]], True),
        ([OTHER[:-1], OTHER[-1:]], True),
        ([OTHER[:3], OTHER[3:-1] + OTHER[-1:] + OTHER[:9], OTHER[9:]], True),
    ],
)
def test_a_header_that_was_seen_before_is_answered_as_if_it_were_new(shop, monkeypatch, sent, again):
    """``again``: whether the parser reads it, as it does where a body is wrong. No answer at all is one, too: the body is not whole."""
    begun = []
    begin = DirectConnection.on_message_begin
    monkeypatch.setattr(DirectConnection, "on_message_begin", lambda self: (begun.append(self), begin(self)))

    async def talk(line, pieces):
        reader, writer = await asyncio.open_connection("127.0.0.1", line.port)
        found = []
        for piece in pieces:
            writer.write(piece)
            await asyncio.sleep(0.03)
        begun_by_then = len(begun)
        writer.write_eof()
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                found.append(plain(await answer(reader)))
        writer.close()
        return found, begun_by_then

    async def run():
        async with Line(shop) as line:
            alone, _ = await talk(line, sent)
            begun.clear()
            behind, parsed = await talk(line, [SEEN, *sent])
            return alone, behind, parsed

    alone, behind, parsed = asyncio.run(run())
    assert [behind[0][0], *behind[1:]] == [200, *alone]
    assert (parsed > 1) == again


def test_a_header_is_never_taken_for_that_of_another_request_in_its_portion(shop, monkeypatch):
    """The first of two in one portion is refused at once, so that the second takes the short way as well."""
    begin = App.begin

    def refusing(app, call, body, future):
        if b"x-full" in call.headers:
            raise OverloadedError("full", why="it is", retry_after=1)
        return begin(app, call, body, future)

    monkeypatch.setattr(App, "begin", refusing)

    async def run():
        async with Line(shop) as line:
            named = [request(x_full="yes", body={"inputs": tensors(), "id": each}) for each in ("a", "other")]
            return await line.ask(named[0] + request(), named[1], answers=3)

    assert [status for status, _, _ in asyncio.run(run())] == [503, 200, 503]


def test_who_keeps_asking_with_the_same_header_is_read_without_the_parser(shop, monkeypatch):
    fed = []
    begin = DirectConnection.on_message_begin
    monkeypatch.setattr(DirectConnection, "on_message_begin", lambda self: (fed.append(1), begin(self)))

    async def run():
        async with Line(shop) as line:
            sent = [request(body={"inputs": tensors(), "id": "a" * length}) for length in (1, 50, 900, 2)]
            found = await line.ask(*sent, answers=4)
            (room,) = line.app.predictions._rooms.values()
            room.requests, room.rows, room.depth, room.pace = 100, 100, 100.0, 1.0
            reader, writer = await asyncio.open_connection("127.0.0.1", line.port)
            room.requests = room.rows = 0
            writer.write(sent[0])
            first = await answer(reader)
            room.requests, room.rows, room.depth, room.pace = 100, 100, 100.0, 1.0
            writer.write(sent[1])
            away = await answer(reader)
            room.requests = room.rows = 0
            writer.write(sent[2])
            after = await answer(reader)
            writer.close()
            return found, [first[0], away[0], after[0]], line.long

    found, turned, long = asyncio.run(run())
    assert [len(json.loads(body)["id"]) for _, _, body in found] == [1, 50, 900, 2]
    assert (turned, long, len(fed)) == ([200, 503, 200], 0, 2)
