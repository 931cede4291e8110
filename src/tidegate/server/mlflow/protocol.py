"""How MLflow's REST API asks and answers: JSON both ways, its own error shape, paging by opaque tokens.

Source: the protocol buffers and the REST store of MLflow 3.18 (``mlflow/protos``, ``mlflow/store/tracking/rest_store.py``).
"""

from __future__ import annotations

import base64
import binascii
import json
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple, TypeVar

import anyio
import msgspec
from anyio.lowlevel import RunVar
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from tidegate.errors import ConflictError, NotFoundError, TidegateError, UnavailableError, UsageError
from tidegate.workspace import Workspace

T = TypeVar("T")

# Statuses are MLflow's where a client reads them. INVALID_STATE is 500 there, and clients repeat a 500 for four minutes.
_STATUS = {
    "INVALID_PARAMETER_VALUE": 400,
    "RESOURCE_ALREADY_EXISTS": 400,
    "BAD_REQUEST": 400,
    "INVALID_STATE": 400,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "RESOURCE_DOES_NOT_EXIST": 404,
    "ENDPOINT_NOT_FOUND": 404,
    "NOT_FOUND": 404,
    "RESOURCE_CONFLICT": 409,
    "REQUEST_LIMIT_EXCEEDED": 429,
    "INTERNAL_ERROR": 501,
    "NOT_IMPLEMENTED": 501,
    "RESOURCE_EXHAUSTED": 507,
}
MAX_BODY = 64 * 1024 * 1024
_log = logging.getLogger("tidegate.server.mlflow")
_HINT = " See the API docs for more information about request parameters."
THREADS = 12
"""Fewer than the database has connections: one more would wait for a connection, and fail."""
_limiter: RunVar[anyio.CapacityLimiter] = RunVar("tidegate.server.mlflow.threads")


class MlflowError(Exception):
    """An answer that refuses: one of MLflow's error codes and a sentence. ``status`` overrides the code's usual one."""

    def __init__(self, error_code: str, message: str, *, status: int | None = None) -> None:
        super().__init__(message)
        self.error_code = error_code
        self.message = message
        self.status = status or _STATUS[error_code]


class Call(NamedTuple):
    """One request: the workspace that it concerns, and its fields out of body, query and path."""

    workspace: Workspace
    fields: dict[str, Any]
    request: Request

    def text(self, *names: str, default: str | None = None) -> str:
        """The first field of these names as text; without a default it is required.

        Raises:
            MlflowError: it is missing, or no text.
        """
        for name in names:
            value = self.fields.get(name)
            if isinstance(value, str) and value:
                return value
            if isinstance(value, int | float) and not isinstance(value, bool):
                return str(value)
            if value is not None and value != "":
                raise wrong(name, value)
        if default is None:
            raise absent(names[0])
        return default

    def integer(self, name: str, *, default: int | None = None) -> int:
        """A field as a whole number; without a default it is required.

        Raises:
            MlflowError: it is missing, or no whole number.
        """
        value = self.fields.get(name)
        if value is None or value == "":
            if default is None:
                raise absent(name)
            return default
        number = whole(value, name)
        if not -(2**63) <= number < 2**63:
            raise wrong(name, value)
        return number

    def items(self, name: str) -> list[Any]:
        """A repeated field as a list; absent means empty.

        Raises:
            MlflowError: it is no list.
        """
        value = self.fields.get(name)
        if value is None:
            return []
        if isinstance(value, list):
            return value  # pyright: ignore[reportUnknownVariableType] - JSON
        if self.request.method == "GET":
            return [value]
        raise wrong(name, value)

    def texts(self, name: str) -> list[str]:
        """A repeated field of texts.

        Raises:
            MlflowError: it is no list, or one of them is no text.
        """
        found = self.items(name)
        if not all(isinstance(item, str) for item in found):
            raise wrong(name, found)
        return found

    def records(self, name: str) -> list[dict[str, Any]]:
        """A repeated field of objects, such as tags with ``key`` and ``value``.

        Raises:
            MlflowError: it is no list, or one of them is no object.
        """
        found = self.items(name)
        if not all(isinstance(item, dict) for item in found):
            raise wrong(name, found)
        return found


Handler = Callable[[Call], Any]


def invalid(message: str) -> MlflowError:
    """INVALID_PARAMETER_VALUE, 400."""
    return MlflowError("INVALID_PARAMETER_VALUE", message)


def missing(message: str) -> MlflowError:
    """RESOURCE_DOES_NOT_EXIST, 404."""
    return MlflowError("RESOURCE_DOES_NOT_EXIST", message)


def absent(name: str) -> MlflowError:
    """The refusal for a required field that was not sent."""
    return invalid(f"Missing value for required parameter '{name}'.{_HINT}")


def wrong(name: str, value: Any) -> MlflowError:
    """The refusal for a field whose value has the wrong type."""
    return invalid(
        f"Invalid value {shown(value)} for parameter '{name}' supplied:  Hint: Value was of type '{type(value).__name__}'.{_HINT}"
    )


def whole(value: Any, name: str) -> int:
    """A field's value as a whole number, also from a text or a float such as 3.0.

    Raises:
        MlflowError: it is none.
    """
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise wrong(name, value)
    try:
        number = int(value)
    except (ValueError, OverflowError):
        raise wrong(name, value) from None
    if number != value and not isinstance(value, str):
        raise wrong(name, value)
    return number


def shown(value: Any) -> str:
    """A value that was sent, as JSON and not too long, for a message."""
    try:
        text = msgspec.json.encode(value).decode()
    except (TypeError, ValueError, OverflowError, RecursionError, msgspec.MsgspecError):
        text = "?"
    return text if len(text) <= 300 else f"{text[:300]}..."


def both(path: str, version: str = "2.0") -> list[str]:
    """The two prefixes under which clients ask for the same thing."""
    return [f"/api/{version}/mlflow/{path}", f"/ajax-api/{version}/mlflow/{path}"]


def route(method: str, path: str, handler: Handler, workspace: Workspace) -> Route:
    """A route whose handler runs in a thread, takes a ``Call`` and returns what is sent as JSON (or a Response)."""

    async def endpoint(request: Request) -> Response:
        return await answered(workspace, request, lambda call: in_thread(handler, call))

    return Route(path, endpoint, methods=[method])


async def in_thread(work: Callable[..., T], *arguments: Any) -> T:
    """Runs blocking work in a thread, of which there are fewer than connections to the database."""
    try:
        limiter = _limiter.get()
    except LookupError:
        limiter = anyio.CapacityLimiter(THREADS)
        _limiter.set(limiter)
    return await anyio.to_thread.run_sync(work, *arguments, limiter=limiter)


async def answered(
    workspace: Workspace, request: Request, handle: Callable[[Call], Awaitable[Any]], *, reads_body: bool = True
) -> Response:
    """The answer to a request, or its refusal in MLflow's shape. ``reads_body`` False leaves the body to the handler."""
    try:
        fields = await fields_of(request) if reads_body else query_of(request) | request.path_params
        value = await handle(Call(workspace, fields, request))
    except Exception as error:  # noqa: BLE001 - the last seam: every error is answered in MLflow's shape
        return refused(request.url.path, error)
    return value if isinstance(value, Response) else Response(encode(value), media_type="application/json")


def refused(path: str, error: Exception) -> Response:
    """The answer for an error; a bug is told to who runs the server, never to who asks."""
    match error:
        case MlflowError():
            return refusal(error)
        case TidegateError():
            return refusal(translated(error))
        case TimeoutError():
            return refusal(MlflowError("BAD_REQUEST", "The request took too long to arrive.", status=408))
        case ClientDisconnect():  # nobody is left to read it
            return refusal(MlflowError("BAD_REQUEST", "The request ended before it was complete."))
        case _:
            _log.error("%s", path, exc_info=error)
            return refusal(MlflowError("INTERNAL_ERROR", "This is a bug in Tidegate; the server's terminal shows what happened."))


async def body_of(request: Request, limit: int = MAX_BODY) -> bytes:
    """The body of a request.

    Raises:
        MlflowError: it is larger than ``limit`` bytes.
    """
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > limit:
            raise MlflowError("BAD_REQUEST", f"The request is larger than {limit} bytes.", status=413)
    return bytes(body)


async def fields_of(request: Request) -> dict[str, Any]:
    """The fields of a request: the JSON body over the query, and the path over both. Who reads ignores unknown ones.

    Raises:
        MlflowError: the body is no JSON object, or too large.
    """
    body = await body_of(request)
    return query_of(request) | (decoded(body) if body.strip() else {}) | request.path_params


def query_of(request: Request) -> dict[str, Any]:
    """The fields of the query; one that is there twice is a list."""
    fields: dict[str, Any] = {}
    for name in request.query_params:
        values = request.query_params.getlist(name)
        fields[name] = values if len(values) > 1 else values[0]
    return fields


def decoded(body: bytes) -> dict[str, Any]:
    """A JSON object, as clients send it: numbers may be NaN or Infinity, and old clients encode it twice.

    Raises:
        MlflowError: it is none.
    """
    try:
        try:
            value: Any = msgspec.json.decode(body)
        except msgspec.DecodeError:
            value = json.loads(body)
            json.dumps(value, ensure_ascii=False).encode()  # half a surrogate pair can be stored nowhere
        if isinstance(value, str):
            value = msgspec.json.decode(value)
    except (ValueError, RecursionError) as error:
        raise MlflowError("BAD_REQUEST", f"Malformed JSON in the request: {str(error)[:200]}") from None
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise MlflowError("BAD_REQUEST", "The request is no JSON object.")
    return value  # pyright: ignore[reportUnknownVariableType] - JSON


def encode(value: Any) -> bytes:
    """JSON as MLflow sends it: absent and empty fields are left out by who builds them; NaN never appears bare."""
    return msgspec.json.encode(value)


def refusal(error: MlflowError) -> Response:
    """MLflow's error shape."""
    headers = {"retry-after": "1"} if error.status == 429 else None
    body = msgspec.json.encode({"error_code": error.error_code, "message": error.message})
    return Response(body, status_code=error.status, media_type="application/json", headers=headers)


def translated(error: TidegateError) -> MlflowError:
    """Our errors as MLflow's. Only what passes by itself is 429, which clients repeat; nothing is a status that freezes them."""
    sentence = ". ".join(part for part in (error.what, error.why, error.fix) if part)
    if isinstance(error, NotFoundError):
        return missing(sentence)
    if isinstance(error, UnavailableError):
        return MlflowError("REQUEST_LIMIT_EXCEEDED" if error.code == "store-locked" else "RESOURCE_EXHAUSTED", sentence)
    if isinstance(error, UsageError | ConflictError):
        return invalid(sentence)
    return MlflowError("BAD_REQUEST", sentence)


class _Offset(msgspec.Struct, frozen=True):
    offset: int = 0


def offset_of(token: str) -> int:
    """Where a page starts, of what is paged by an offset.

    Raises:
        MlflowError: the token is none of ours.
    """
    found = page_start(token, _Offset).offset
    if not 0 <= found < 2**53:
        raise invalid("Invalid page token, its offset is out of range")
    return found


def page_start(token: str, kind: type[T]) -> T:
    """What a page token tells; of the first page, which has none, what ``kind()`` is.

    Raises:
        MlflowError: the token is none of ours.
    """
    if not token:
        return kind()
    try:
        return msgspec.json.decode(base64.b64decode(token, validate=True), type=kind)
    except (binascii.Error, msgspec.MsgspecError, ValueError):
        raise invalid("Invalid page token, could not base64-decode") from None


def page_token(place: Any) -> str:
    """The token from which ``page_start`` reads ``place`` again."""
    return base64.b64encode(msgspec.json.encode(place)).decode()


def paged(items: Sequence[T], limit: int, offset: int) -> tuple[list[T], str]:
    """The first ``limit`` of ``items``, which start at ``offset`` of all, and the token of the next page (empty: no more)."""
    if len(items) <= limit:
        return list(items), ""
    return list(items[:limit]), page_token(_Offset(offset + limit))
