"""Only this machine may ask, and nobody may change anything."""

from __future__ import annotations

import asyncio

import pytest

from tidegate.server.guard import Guard

LOCAL = ["127.0.0.1", "127.0.0.1:7070", "localhost", "LOCALHOST:80", "[::1]", "[::1]:7070"]
FOREIGN = [
    "", "evil.example", "evil.example:7070", "127.0.0.1.evil.example", "localhost.", "localhost:", "127.0.0.1:70x", "127.0.0.1:7070@evil",
    "::1", "[::1", "[::1]x", "0.0.0.0", "2130706433", "127.1", "user@127.0.0.1", "127.0.0.1 ", "\u00b2",
]  # fmt: skip


@pytest.mark.parametrize("host", LOCAL)
def test_local_names_are_answered(client, host: str) -> None:
    assert client.get("/api/v1", host=host).status == 200


@pytest.mark.parametrize("host", FOREIGN)
def test_other_names_are_refused_on_every_kind_of_path(client, host: str) -> None:
    for path in ("/", "/api/v1/runs", "/static/tidegate.css", "/nothing"):
        answer = client.get(path, host=host.encode("utf-8").decode("latin-1"))
        assert answer.status == 400, path
        assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert answer.text.count("Traceback") == 0
    assert client.get("/api/v1/runs", host="evil.example").json["error"]["code"] == "bad-host"


def test_no_host_and_two_hosts_are_refused(client) -> None:
    assert client.get_with("/", []).status == 400
    assert client.get_with("/", [(b"host", b"localhost"), (b"host", b"localhost")]).status == 400


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "PROPFIND"])
def test_nothing_but_reading(client, method: str) -> None:
    for path in ("/", "/runs", "/api/v1/models", "/static/tidegate.css"):
        assert client.get(path, method=method).status == 405
    assert client.get("/api/v1/models", method=method).json["error"]["code"] == "read-only"


def test_head_is_answered_without_a_body(client) -> None:
    answer = client.get("/runs", method="HEAD")
    assert answer.status == 200


def test_websockets_are_closed() -> None:
    sent = []

    async def send(message) -> None:
        sent.append(message)

    async def nothing(*_arguments) -> None:
        raise AssertionError("a websocket got through")

    asyncio.run(Guard(nothing, lambda *_: None)({"type": "websocket"}, nothing, send))
    assert sent == [{"type": "websocket.close", "code": 1008}]
