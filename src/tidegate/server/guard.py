"""What stands before every request: who may ask, what may be asked, and the headers that every answer carries."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hmac
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tidegate.errors import RefusedError, TidegateError, UnavailableError, UsageError

LOCAL = re.compile(r"(127\.0\.0\.1|localhost|\[::1\])(:[0-9]{1,5})?", re.IGNORECASE)
"""The only names that a browser on this machine has for it. Another name in ``Host`` is DNS rebinding or a mistake."""

WRITABLE = (
    "/api/2.0/mlflow/",
    "/api/2.0/mlflow-artifacts/",
    "/api/3.0/mlflow/",
    "/ajax-api/",
    "/v1/traces",
    "/api/v1/store",
)
"""Below these paths something may be changed. The pages and the API of the pages only show, but for approvals."""
_APPROVALS = re.compile(r"/api/v1/models/[^/]+/versions/[^/]+/approvals")

_OPEN = {"/health"}
"""What is answered without a token, unless a page of it is asked for."""
_READING = {"GET", "HEAD"}
_SIMPLE = {b"", b"text/plain", b"application/x-www-form-urlencoded", b"multipart/form-data"}
"""What a page of another site may send without asking first (Fetch Standard, "CORS-safelisted request-header")."""
_ACTIVE = 1000
_PATIENCE_SECONDS = 60.0

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
_HEADERS = [(name.encode(), value.encode()) for name, value in SECURITY_HEADERS.items()]

Refuse = Callable[[str, TidegateError, int], Response]


class Guard:
    """ASGI middleware: refuses foreign hosts, foreign pages, who has no token, and writing where nothing may be written.

    Args:
        app: What answers the requests that are let through.
        refuse: Makes an answer of an error, for the path that was asked, with a status.
        token: The shared secret that every request must bring; empty: none, and only this machine may ask.
    """

    def __init__(self, app: ASGIApp, refuse: Refuse, *, token: str = "") -> None:
        self._app = app
        self._refuse = refuse
        self._token = token.encode()
        self._active = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":  # there are no websockets
            await send({"type": "websocket.close", "code": 1008})
            return
        refused = self._refusal(scope)
        self._active += 1
        try:
            await (refused or self._app)(scope, _impatient(receive), _with_headers(send))
        finally:
            self._active -= 1

    def _refusal(self, scope: Scope) -> Response | None:
        headers: dict[bytes, bytes] = {}
        hosts = 0
        for name, value in scope["headers"]:
            hosts += name == b"host"
            headers[name] = value
        error, status = (
            _foreign_host(headers.get(b"host", b""), hosts, anywhere=bool(self._token))
            or self._without_token(scope["path"], headers)
            or self._too_many()
            or (_forbidden_write(scope, headers) if scope["method"] not in _READING else None)
            or (None, 0)
        )
        if error is None:
            return None
        answer = self._refuse(scope["path"], error, status)
        if status == 401:
            answer.headers["www-authenticate"] = 'Basic realm="Tidegate", charset="UTF-8"'
        return answer

    def _without_token(self, path: str, headers: dict[bytes, bytes]) -> tuple[TidegateError, int] | None:
        if not self._token or hmac.compare_digest(_given(headers.get(b"authorization", b"")), self._token):
            return None
        if path in _OPEN and b"text/html" not in headers.get(b"accept", b""):
            return None
        error = RefusedError(
            "token-needed",
            "this server answers only to who has its token",
            why="the request brought none, or another one",
            fix="set TIDEGATE_TOKEN; MLflow clients: MLFLOW_TRACKING_TOKEN; browsers: any name, and the token as the password",
        )
        return error, 401

    def _too_many(self) -> tuple[TidegateError, int] | None:
        if self._active < _ACTIVE:
            return None
        error = UnavailableError("too-many-requests", "too many requests at once", fix="try again in a moment")
        return error, 429


def _foreign_host(host: bytes, count: int, *, anywhere: bool) -> tuple[TidegateError, int] | None:
    if count == 1 and (anywhere or LOCAL.fullmatch(host.decode("latin-1"))):
        return None
    error = UsageError(
        "bad-host",
        "this server does not answer to that name",
        why="without a token it answers on this machine only, under 127.0.0.1, localhost or [::1]",
        fix="open it as http://127.0.0.1 with its port",
    )
    return error, error.http_status


def _forbidden_write(scope: Scope, headers: dict[bytes, bytes]) -> tuple[TidegateError, int] | None:
    """What a write must not be: to a page, by a page of another site, or of a kind that such a page could send."""
    approval = scope["method"] == "POST" and _APPROVALS.fullmatch(scope["path"]) is not None
    if not approval and (scope["method"] not in {"POST", "PUT", "PATCH", "DELETE"} or not scope["path"].startswith(WRITABLE)):
        error = UsageError(
            "read-only",
            "the web pages and this API change nothing",
            why="approvals alone are taken here; promotions by web come with sign-in",
            fix="use the command line, such as: tidegate promote MODEL@VERSION",
        )
        return error, 405
    origin = headers.get(b"origin")
    foreign = origin is not None and _place(origin) != headers[b"host"].decode("latin-1").lower()
    if foreign or headers.get(b"sec-fetch-site", b"none") not in {b"none", b"same-origin"}:
        error = RefusedError(
            "foreign-page",
            "a page of another site may not change anything here",
            why="the browser says that the request comes from elsewhere",
            fix="use a client, or the pages of this server",
        )
        return error, 403
    kind = headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
    if scope["method"] == "POST" and kind in _SIMPLE:
        error = UsageError(
            "bad-content-type",
            "Bad Request. Content-Type must be one of ['application/json']",
            why="pages of other sites can send everything else",
            fix="send JSON with the header Content-Type: application/json",
        )
        return error, 400
    return None


def _place(origin: bytes) -> str:
    try:
        return urlsplit(origin.decode("latin-1")).netloc.lower()
    except ValueError:
        return ""


def _given(authorization: bytes) -> bytes:
    """The secret in an Authorization header: a bearer token, or the password of whoever."""
    scheme, _, rest = authorization.partition(b" ")
    if scheme.lower() == b"bearer":
        return rest.strip()
    if scheme.lower() == b"basic":
        try:
            return base64.b64decode(rest.strip(), validate=True).partition(b":")[2]
        except binascii.Error:
            return b""
    return b""


def _impatient(receive: Receive) -> Receive:
    """Gives up a client that stops in the middle of its request: it would hold a place for ever."""
    done = False

    async def receiving() -> Message:
        nonlocal done
        if done:
            return await receive()
        async with asyncio.timeout(_PATIENCE_SECONDS):
            message = await receive()
        done = not message.get("more_body", False)
        return message

    return receiving


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            given: list[Any] = list(message.get("headers", []))
            present = {name.lower() for name, _ in given}
            given += [header for header in _HEADERS if header[0] not in present]
            message = {**message, "headers": given}
        await send(message)

    return sending
