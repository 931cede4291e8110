"""Connections that cannot be held for nothing: bounds on their number, on headers, and on the time that headers take."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

CONNECTIONS = 2000
HEADER_BYTES = 64 * 1024
_PATIENCE_SECONDS = 30.0


def protocol_class() -> type[asyncio.Protocol]:
    """The protocol that uvicorn should speak with: httptools' parser where it is installed, else h11's."""
    try:
        from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
    except ImportError:
        return _few(H11Protocol)  # h11 bounds headers by itself
    return _patient(_few(HttpToolsProtocol))


def _few(protocol: Any) -> Any:
    class Few(protocol):
        def connection_made(self, transport: asyncio.Transport) -> None:
            """Closes the connection if there are too many."""
            super().connection_made(transport)
            if len(self.connections) > CONNECTIONS:
                transport.close()

    return Few


def _patient(protocol: Any) -> Any:
    """Gives up connections whose headers are too large or do not end: every half minute it looks whether it saw them before."""

    class Patient(protocol):
        _in_headers = True
        _header_bytes = 0
        _messages = 0
        _look: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:
            """Starts to look."""
            super().connection_made(transport)
            self._look = self.loop.call_later(_PATIENCE_SECONDS, self._give_up_if_at, 0)

        def connection_lost(self, exc: Exception | None) -> None:
            """Ends looking."""
            if self._look is not None:
                self._look.cancel()
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            """Counts what comes before the end of the headers."""
            super().data_received(data)
            if self._in_headers:
                self._header_bytes += len(data)
                if self._header_bytes > HEADER_BYTES:
                    self.send_400_response("The headers are too large.")

        def on_message_begin(self) -> None:
            """Headers begin."""
            super().on_message_begin()
            self._in_headers, self._header_bytes = True, 0
            self._messages += 1

        def on_headers_complete(self) -> None:
            """Headers are complete."""
            super().on_headers_complete()
            self._in_headers = False

        def _give_up_if_at(self, message: int) -> None:
            if self._in_headers and self._messages == message:
                self.transport.close()
                return
            self._look = self.loop.call_later(_PATIENCE_SECONDS, self._give_up_if_at, self._messages)

    return Patient
