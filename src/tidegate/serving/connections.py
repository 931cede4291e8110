"""The server's connections: when a request began to arrive, and clients that take too long to say what they want."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from time import monotonic, perf_counter
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEADER_SECONDS = 30.0
"""How long a client may take from connecting, or from a request's first byte, to the end of the request's header."""


class Connection(HttpToolsProtocol):
    """uvicorn's connection, which notes when a request's first byte was read: with much to do, its turn may come much later."""

    def on_message_begin(self) -> None:
        """Called by the parser at a request's first byte."""
        super().on_message_begin()
        self.scope["began"] = perf_counter()  # pyright: ignore[reportGeneralTypeIssues]  (a key of ours)


class SlowClients:
    """Closes connections that send nothing, or a header a byte at a time. It looks at all of them now and then, so that a request pays nothing for it.

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
            if connection.timeout_keep_alive_task is not None or not (cycle is None or cycle.response_complete):
                continue
            last, since = before.get(connection, (cycle, now))
            if last is not cycle:
                since = now
            if now - since > self._seconds:
                connection.transport.close()
                self.closed += 1
            else:
                self._since[connection] = (cycle, since)
