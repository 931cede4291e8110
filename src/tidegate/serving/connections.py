"""The server's connections: when a request began to arrive, headers that are too long, and clients that take too long.

uvicorn's parser keeps whatever comes until a header or a trailer ends, and leaves a connection alone once somebody asked to leave HTTP/1.1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from time import monotonic, perf_counter
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from tidegate.serving.body import MAX_DROPPED_BYTES

HEADER_SECONDS = 30.0
"""How long a client may take from connecting, or from a request's first byte, to the end of the request's header; and to read an answer."""

MAX_HEADER_BYTES = 64 * 1024
"""Of a request's header, or of what a body has beside its bytes (trailers), behind the portion in which it begins."""


class Connection(HttpToolsProtocol):
    """uvicorn's connection, with bounds, and the time at which a request's first byte was read: with much to do, its turn may come much later."""

    _loose = 0  # bytes that have come since the last that was worth something
    _left = False  # nothing more is read: what came is no HTTP

    def on_message_begin(self) -> None:
        """Called by the parser at a request's first byte."""
        super().on_message_begin()
        self.scope["began"] = perf_counter()  # pyright: ignore[reportGeneralTypeIssues]  (a key of ours)

    def data_received(self, data: bytes) -> None:
        """Called with every portion that arrives."""
        self._unset_keepalive_if_required()
        if self._left:
            return
        scope = self.scope
        before: Any = self.cycle  # None until the first header is whole
        had = len(before.body) if before is not None else 0
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._stay(data[upgrade.args[0] :])
            return
        except httptools.HttpParserError:
            self._refuse("400 Bad Request", "Invalid HTTP request received.")
            return
        cycle: Any = self.cycle
        asked: Any = cycle if cycle is not None and cycle.scope is self.scope else None  # None while a header is not whole
        if asked is not None and not asked.more_body:
            self._loose = 0  # a whole request, as nearly always
        elif scope is self.scope and cycle is before and (not cycle or len(cycle.body) == had):
            self._loose += len(data)
            if asked is not None and asked.response_complete:
                if self._loose > MAX_DROPPED_BYTES:
                    self.transport.close()
            elif self._loose > MAX_HEADER_BYTES:
                self._refuse("431 Request Header Fields Too Large", f"The header has more than {MAX_HEADER_BYTES} bytes.")
        else:
            self._loose = 0

    def _should_upgrade(self) -> bool:
        return True  # of those who ask for it: uvicorn leaves the request alone then, and the parser stops behind its header

    def _stay(self, rest: bytes) -> None:
        """Reads a request again that would like to leave HTTP/1.1 (Java's client asks every server for h2c), without that wish."""
        headers = [(name, value) for name, value in self.headers if name != b"upgrade"]
        if len(headers) == len(self.headers):
            self._refuse("400 Bad Request", "Invalid HTTP request received.")  # CONNECT: the parser would stop again
            return
        self.parser = httptools.HttpRequestParser(self)
        line = b"%s %s HTTP/%s\r\n" % (self.scope["method"].encode(), self.url, self.scope["http_version"].encode())
        self.data_received(b"".join((line, *(b"%s: %s\r\n" % header for header in headers), b"\r\n", rest)))

    def _refuse(self, status: str, why: str) -> None:
        """Says why, where it is this request's turn, and closes. The answers to the requests before it are given first."""
        self._left = True
        cycle: Any = self.cycle
        if cycle is not None and not cycle.response_complete and not cycle.more_body:
            cycle.keep_alive = False
            return
        if cycle is None or cycle.response_complete or not (self.pipeline or cycle.response_started):
            head = f"HTTP/1.1 {status}\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: {len(why)}\r\nconnection: close\r\n\r\n"
            self.transport.write((head + why).encode())
        self.transport.close()


class SlowClients:
    """Closes connections that send nothing, or a header a byte at a time, or do not read their answer. It looks at all of them now and then, so that a request pays nothing for it.

    A connection that is kept open between two requests is not its business: that has a time of its own.
    """

    def __init__(self, *, seconds: float = HEADER_SECONDS, now: Callable[[], float] = monotonic) -> None:
        self.closed = 0
        self._seconds = seconds
        self._now = now
        self._since: dict[Any, tuple[Any, float]] = {}

    def look(self, connections: Iterable[Any]) -> None:
        """One look at the server's connections: protocols of uvicorn, on its event loop."""
        now = self._now()
        before, self._since = self._since, {}
        for connection in list(connections):
            cycle = connection.cycle  # the request that is being answered, or the last one that was
            unread = connection.flow.write_paused or connection.transport.is_closing()
            busy = connection.timeout_keep_alive_task is not None or not (cycle is None or cycle.response_complete)
            if busy and not unread:
                continue
            last, since = before.get(connection, (cycle, now))
            if last is not cycle:
                since = now
            if now - since > self._seconds:
                connection.transport.abort() if unread else connection.transport.close()
                self.closed += 1
            else:
                self._since[connection] = (cycle, since)
