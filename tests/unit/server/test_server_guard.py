"""Who may ask, who may write, and that a page of another site may do neither."""

from __future__ import annotations

import asyncio
import base64
from pathlib import Path
from typing import Any

import pytest
from mlflow_rest import API, FILES
from server_client import Answer, Client

from tidegate.server import create_app
from tidegate.server.guard import Guard
from tidegate.workspace import Workspace

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


RUN = API + "runs/create"
TOKEN = "s3cret \u00fc".encode().decode("latin-1")


@pytest.fixture
def guarded(tmp_path: Path) -> Any:
    workspace = Workspace.open(tmp_path, token="s3cret \u00fc")
    yield Client(create_app(workspace))
    workspace.store.close()


def create(client: Client, **headers: str) -> Answer:
    return client.send("POST", RUN, b'{"experiment_id": "0"}', **{"content_type": "application/json", **headers})


def test_clients_may_write_below_the_protocol(empty: Client) -> None:
    assert create(empty).status == 200
    assert create(empty, content_type="application/json; charset=utf-8", origin="http://127.0.0.1:7070").status == 200
    assert create(empty, sec_fetch_site="same-origin", origin="http://127.0.0.1:7070").status == 200
    assert empty.send("PUT", f"{FILES}/0/r/artifacts/a", b"x").status == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:8888"},
        {"origin": "http://localhost:7070"},
        {"origin": "http://[bad"},
        {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "same-site"},
        {"host": "evil.example"},
        {"content_type": "text/plain"},
        {"content_type": "Application/X-WWW-Form-Urlencoded; charset=utf-8"},
        {"content_type": "multipart/form-data; boundary=x"},
        {"content_type": ""},
    ],
)
def test_pages_of_other_sites_may_not(empty: Client, headers: dict[str, str]) -> None:
    answer = create(empty, **headers)
    assert answer.status in {400, 403}
    assert set(answer.json) == {"error_code", "message"}
    assert empty.send("POST", API + "runs/search", b'{"experiment_ids": ["0"]}', content_type="application/json").json == {}
    if "content_type" not in headers:
        assert empty.send("PUT", f"{FILES}/0/r/artifacts/a", b"x", **headers).status in {400, 403}
        assert empty.send("DELETE", f"{FILES}/0/r/artifacts/a", **headers).status in {400, 403}


def test_no_site_is_told_that_it_may_ask(empty: Client) -> None:
    answer = empty.send("OPTIONS", RUN, origin="http://evil.example", access_control_request_method="POST")
    assert answer.status == 405
    assert not [name for name in answer.headers if name.startswith("access-control")]


def test_without_the_token_nothing_is_shown(guarded: Client) -> None:
    for path in ("/", "/health", "/runs", "/static/tidegate.css", "/api/v1/models", "/version", "/nothing"):
        answer = guarded.get(path)
        assert answer.status == 401, path
        assert answer.headers["www-authenticate"].startswith("Basic")
        assert "tidegate.toml" not in answer.text
    answer = create(guarded)
    assert (answer.status, answer.json["error_code"]) == (401, "UNAUTHENTICATED")
    assert guarded.send("GET", "/health").text == "OK"


@pytest.mark.parametrize(
    "given",
    [
        "",
        "Bearer",
        "Bearer ",
        "Bearer s3cre",
        "Bearer s3cret",
        "Basic",
        "Basic !!!",
        "Basic czNjcmV0",
        "Digest s3cret",
        "s3cret",
        TOKEN,
    ],
)
def test_another_token_is_none(guarded: Client, given: str) -> None:
    assert create(guarded, authorization=given).status == 401


def test_the_token_opens_everything_from_anywhere(guarded: Client) -> None:
    basic = base64.b64encode("whoever:s3cret \u00fc".encode()).decode()
    for given in (f"Bearer {TOKEN}", f"bearer {TOKEN}", f"Basic {basic}"):
        assert create(guarded, authorization=given, host="tidegate.example:80").status == 200
    page = guarded.send("GET", "/health", authorization=f"Basic {basic}", accept="text/html", host="tidegate.example")
    assert "<html" in page.text
    crossed = create(guarded, authorization=f"Basic {basic}", origin="http://evil.example")
    assert crossed.status == 403, "a browser sends the password by itself, so a token alone proves nothing"


def test_too_many_at_once_are_asked_to_come_again() -> None:
    async def endless(_scope, _receive, _send) -> None:
        await asyncio.Event().wait()

    answers = []

    def refuse(path: str, error: Any, status: int) -> Any:
        answers.append((path, error.code, status))

        async def nothing(*_arguments) -> None:
            return

        nothing.headers = {}  # type: ignore[attr-defined]
        return nothing

    async def crowd() -> None:
        guard = Guard(endless, refuse)
        scope = {"type": "http", "method": "GET", "path": "/", "headers": [(b"host", b"localhost")]}
        waiting = [asyncio.create_task(guard(scope, None, None)) for _ in range(1000)]  # type: ignore[arg-type]
        await asyncio.sleep(0)
        await guard(scope, None, None)  # type: ignore[arg-type]
        for task in waiting:
            task.cancel()

    asyncio.run(crowd())
    assert answers == [("/", "too-many-requests", 429)]
