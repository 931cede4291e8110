"""A proxy before a real registry that breaks, lies and leads astray, as it is told."""

from __future__ import annotations

import contextlib
import http.client
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple


class Reply(NamedTuple):
    """What is answered. ``length`` is the Content-Length that is claimed, if another than the body's."""

    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    length: int | None = None


class LyingRegistry:
    """Forwards to ``host``. ``rules`` are asked in order, with the request's line and the true answer; the first Reply counts."""

    def __init__(self, host: str) -> None:
        self.upstream = host
        self.rules: list[Callable[[str, str, Reply], Reply | None]] = []
        self.seen: list[tuple[str, str, dict[str, str], int]] = []
        """Method, path, headers, and how long the body was."""
        self._losing: list[tuple[str, Reply]] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self.host = f"127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def once(self, method: str, part: str, lie: Callable[[Reply], Reply], times: int = 1) -> None:
        """Answers the next requests with this method, whose path has this part, with a lie."""
        left = [times]

        def rule(asked: str, path: str, true: Reply) -> Reply | None:
            if asked == method and part in path and left[0]:
                left[0] -= 1
                return lie(true)
            return None

        self.rules.append(rule)

    def lose(self, method: str, reply: Reply) -> None:
        """Answers the next request with this method without passing it on."""
        self._losing.append((method, reply))

    def take_loss(self, method: str) -> Reply | None:
        """The answer of a request that is to be lost, once; not as long as other rules are before it."""
        if self._losing and self._losing[0][0] == method and any(seen[0] == method for seen in self.seen[:-1]):
            return self._losing.pop(0)[1]
        return None

    def always(self, method: str, part: str, lie: Callable[[Reply], Reply]) -> None:
        self.once(method, part, lie, times=1_000_000)


def _handler(registry: LyingRegistry) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def forward(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            registry.seen.append((self.command, self.path, dict(self.headers.items()), len(body)))
            lost = registry.take_loss(self.command)
            if lost is not None:
                self._tell(lost)
                return
            upstream = http.client.HTTPConnection(registry.upstream, timeout=60)
            headers = {**dict(self.headers.items()), "Host": registry.host}
            upstream.request(self.command, self.path, body, headers)
            answer = upstream.getresponse()
            kept = tuple(
                pair
                for pair in answer.getheaders()
                if pair[0].lower() not in {"transfer-encoding", "content-length", "connection", "date"}
            )
            claimed = answer.getheader("Content-Length") if self.command == "HEAD" else None
            true = Reply(answer.status, kept, answer.read(), int(claimed) if claimed else None)
            upstream.close()
            self._tell(next((reply for rule in registry.rules if (reply := rule(self.command, self.path, true))), true))

        def _tell(self, told: Reply) -> None:
            if told.status == 0:  # not a word
                self.close_connection = True
                return
            self.send_response_only(told.status)
            for name, value in told.headers:
                self.send_header(name, value)
            length = len(told.body) if told.length is None else told.length
            if length >= 0:
                self.send_header("Content-Length", str(length))
            else:
                self.send_header("Connection", "close")
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(told.body)
            self.close_connection = length != len(told.body)

        def handle_one_request(self) -> None:
            with contextlib.suppress(ConnectionError):  # the client went away in the middle
                super().handle_one_request()

        do_GET = do_HEAD = do_PUT = do_POST = do_PATCH = forward

        def log_message(self, *_: object) -> None:
            pass

    return Handler
