"""What stands before every request: who may ask, what may be asked, and the headers that every answer carries."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tidegate.errors import TidegateError, UsageError

LOCAL = re.compile(r"(127\.0\.0\.1|localhost|\[::1\])(:[0-9]{1,5})?", re.IGNORECASE)
"""The only names that a browser on this machine has for it. Another name in ``Host`` is DNS rebinding or a mistake."""

SECURITY_HEADERS = {
    # No inline script, no inline style, nothing from elsewhere: a text that slips through as markup can do nothing.
    # The hash is that of the empty text: plotly empties style attributes.
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; "
        "style-src 'self' 'unsafe-hashes' 'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='; "
        "img-src 'self' data:; connect-src 'self'; frame-src 'self'; "
        "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "x-frame-options": "DENY",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}


class Guard:
    """ASGI middleware: refuses foreign hosts and every method that could write, and adds the security headers.

    Args:
        app: What answers the requests that are let through.
        refuse: Makes an answer of an error, for the path that was asked, with a status.
    """

    def __init__(self, app: ASGIApp, refuse: Callable[[str, TidegateError, int], Response]) -> None:
        self._app = app
        self._refuse = refuse

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            refused = self._refusal(scope)
            await (refused or self._app)(scope, receive, _with_headers(send))
        else:  # there are no websockets
            await send({"type": "websocket.close", "code": 1008})

    def _refusal(self, scope: Scope) -> Response | None:
        hosts = [value.decode("latin-1") for name, value in scope["headers"] if name == b"host"]
        if len(hosts) != 1 or not LOCAL.fullmatch(hosts[0]):
            error = UsageError(
                "bad-host",
                "this server does not answer to that name",
                why="until sign-in exists it answers on this machine only, under 127.0.0.1, localhost or [::1]",
                fix="open it as http://127.0.0.1 with its port",
            )
            return self._refuse(scope["path"], error, error.http_status)
        if scope["method"] not in {"GET", "HEAD"}:
            error = UsageError(
                "read-only",
                "the web pages and this API change nothing",
                why="approvals and promotions by web come with sign-in",
                fix="use the command line, such as: tidegate approve MODEL@VERSION",
            )
            return self._refuse(scope["path"], error, 405)
        return None


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            given: list[Any] = list(message.get("headers", []))
            present = {name.lower() for name, _ in given}
            given += [(name.encode(), value.encode()) for name, value in SECURITY_HEADERS.items() if name.encode() not in present]
            message = {**message, "headers": given}
        await send(message)

    return sending
