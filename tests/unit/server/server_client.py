"""A client that asks an ASGI application directly, without a network."""

from __future__ import annotations

import asyncio
import json
from typing import Any, NamedTuple
from urllib.parse import unquote


class Answer(NamedTuple):
    """What came back: status, headers (names in lower case) and the body as text."""

    status: int
    headers: dict[str, str]
    text: str

    @property
    def json(self) -> Any:
        return json.loads(self.text)


class Client:
    """Asks an ASGI application without a network. ``path`` goes out as it is given, still encoded."""

    def __init__(self, app: Any) -> None:
        self._app = app

    def get(self, path: str, *, host: str = "127.0.0.1:7070", method: str = "GET") -> Answer:
        headers = [(b"host", host.encode("latin-1")), (b"accept", b"text/html,*/*;q=0.8")]
        return asyncio.run(self._ask(path, headers, method))

    def get_with(self, path: str, headers: list[tuple[bytes, bytes]]) -> Answer:
        return asyncio.run(self._ask(path, headers, "GET"))

    def send(self, method: str, path: str, body: bytes = b"", **headers: str) -> Answer:
        """Any request; ``content_type="..."`` is the header content-type. The host is this machine unless it is given."""
        given = {"host": "127.0.0.1:7070"} | {name.replace("_", "-"): value for name, value in headers.items()}
        pairs = [(name.encode(), value.encode("latin-1")) for name, value in given.items()]
        return asyncio.run(self._ask(path, pairs, method, body))

    async def _ask(self, path: str, headers: list[tuple[bytes, bytes]], method: str, body: bytes = b"") -> Answer:
        raw, _, query = path.partition("?")
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": unquote(raw),
            "raw_path": raw.encode(),
            "query_string": query.encode(),
            "headers": headers,
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 7070),
            "root_path": "",
        }
        sent: list[dict[str, Any]] = []
        asked = asyncio.Event()

        async def receive() -> dict[str, Any]:
            if asked.is_set():
                await asyncio.Event().wait()  # the client stays until it is answered
            asked.set()
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Any) -> None:
            sent.append(message)

        await self._app(scope, receive, send)
        answered = b"".join(message.get("body", b"") for message in sent if message["type"] == "http.response.body")
        found = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
        return Answer(sent[0]["status"], found, answered.decode("utf-8", "replace"))
