"""The store's ports over HTTP, below ``/api/v1/store``: what a client with the setting ``server`` uses.

A call carries a key; the same call with the key of one that was done, or is being done, gets the same answer and does nothing.
What is written once is neither replaced nor removed through here, whatever a client asks.
"""

from __future__ import annotations

import errno
import logging
import os
import re
import shutil
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Generator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from tempfile import NamedTemporaryFile, TemporaryDirectory

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

from tidegate import digest as digests
from tidegate.errors import ConflictError, NotFoundError, RefusedError, TidegateError, UnavailableError, UsageError
from tidegate.release import audit_write
from tidegate.store import Store
from tidegate.store.bucket.keys import no_such_key
from tidegate.store.ports import Bucket
from tidegate.store.remote.bucket import FILE, KEYS, MODIFIED, VALUE
from tidegate.store.remote.calls import PORTS, methods, packed_error
from tidegate.store.remote.connection import KEY
from tidegate.store.remote.ports import PATH

_MAX_CALL = 256 * 1024 * 1024
_MAX_CALLS = 1024 * 1024 * 1024
_REMEMBERED = 10_000
_MEMORY = 64 * 1024 * 1024
_PATIENCE_SECONDS = 20.0
"""How long a repetition waits for the first one: it must not hold a thread for as long as that one hangs."""
_STALE_SECONDS = 86_400
_SMALL = 1 << 20
_WRITTEN_ONCE = re.compile(
    r"(?:objects|datasets|monitoring)(?:/.*)?|models(?:/(?![^/]+/current\.json$).*)?|[a-z]+\.json", re.DOTALL
)
"""Keys that no client may replace. ``format.json`` and its like, at the top, are the server's own."""
_REMOVABLE = re.compile(r"objects/.*", re.DOTALL)
"""A step whose stored result is damaged removes that object and writes it again."""
_log = logging.getLogger("tidegate.server")
_Audit = Callable[[Bucket, str, bytes], list[str]]


class Replies:
    """The newest answers by the key of their call, so that a repetition is answered and not done."""

    def __init__(self) -> None:
        self._replies: OrderedDict[str, Future[Response]] = OrderedDict()
        self._lock = threading.Lock()
        self._bytes = 0

    def once(self, key: str, work: Callable[[], Response]) -> Response:
        """What ``work`` returns, or returned when this key came before. An error is not remembered: it may pass."""
        if not key:
            return work()
        mine: Future[Response] = Future()
        with self._lock:
            known = self._replies.setdefault(key, mine)
        if known is not mine:
            try:
                return known.result(_PATIENCE_SECONDS)
            except TimeoutError:
                raise UnavailableError(
                    "call-in-progress", "this call is still being done", why="it was sent before", fix="try again in a moment"
                ) from None
        try:
            reply = work()
        except BaseException as error:
            with self._lock:
                self._replies.pop(key, None)
            mine.set_exception(error)
            raise
        mine.set_result(reply)
        self._forget(len(reply.body))
        return reply

    def _forget(self, size: int) -> None:
        with self._lock:
            self._bytes += size
            while len(self._replies) > _REMEMBERED or self._bytes > _MEMORY:
                oldest = next((key for key, reply in self._replies.items() if reply.done()), None)
                if oldest is None:  # what is being done is not forgotten: its repetition would do it twice
                    return
                self._bytes -= len(self._replies.pop(oldest).result().body)


def native_routes(
    store: Store, *, allow_ungated: bool = False, may_break_glass: Callable[[str, str], bool] = lambda _model, _actor: False
) -> list[Route]:
    """The routes of every port of a store. What is written to a ledger or a pointer must be what the ledger allows."""
    audit = partial(audit_write, allow_ungated=allow_ungated, may_break_glass=may_break_glass)
    replies, room = Replies(), Room(_MAX_CALLS)
    bucket = store.bucket
    _forget_stale(_incoming(store))

    async def call(request: Request) -> Response:
        port, name = request.path_params["port"], request.path_params["method"]
        method = methods(port).get(name) if port in PORTS else None
        if method is None:
            return _refusal(
                NotFoundError("no-such-call", f"there is no call {port}.{name}", fix="use the same version on both sides")
            )
        if request.headers.get("content-type") != "application/msgpack":
            return _refusal(UsageError("bad-call", "a call is application/msgpack", fix="use Tidegate's own client"))
        with room.taken() as take:
            try:
                packed = await _body(request, take)
            except (TidegateError, TimeoutError, ClientDisconnect) as error:
                return _refusal(_unread(error))
            key = request.headers.get(KEY, "") if method.changes else ""
            target = getattr(store, port)

            def answer() -> Response:
                return replies.once(_bound(key, f"{port}/{name}", packed), lambda: _packed(method.call(target, packed)))

            return await run_in_threadpool(_answered, answer)

    async def keys(request: Request) -> Response:
        prefix = request.query_params.get("prefix", "")
        return await run_in_threadpool(_answered, lambda: _packed(msgspec.msgpack.encode(list(bucket.keys(prefix)))))

    async def value(request: Request) -> Response:
        key = request.query_params.get("key", "")
        if request.method in {"GET", "HEAD"}:
            return await run_in_threadpool(_answered, lambda: _found(bucket, key))
        if request.method == "DELETE":
            return await run_in_threadpool(_answered, lambda: _deleted(bucket, key))
        with TemporaryDirectory(prefix="incoming-", dir=_incoming(store)) as folder:
            try:
                source = await _received(request, Path(folder))
            except (OSError, ClientDisconnect) as error:  # a TimeoutError is an OSError
                return _refusal(_unread(error))

            return await run_in_threadpool(_answered, lambda: _put_once(replies, bucket, key, source, request, audit))

    async def file(request: Request) -> Response:
        return await run_in_threadpool(_answered, lambda: _file(bucket, request.query_params.get("key", "")))

    return [
        Route(KEYS, keys, methods=["GET"]),
        Route(VALUE, value, methods=["GET", "PUT", "DELETE"]),
        Route(FILE, file, methods=["GET"]),
        Route(PATH + "/{port}/{method}", call, methods=["POST"]),
    ]


class Room:
    """How many bytes of calls may be in memory at once. Used by the event loop alone."""

    def __init__(self, most: int) -> None:
        self._free = most

    @contextmanager
    def taken(self) -> Generator[Callable[[int], None]]:
        """A function that takes a number of bytes; all are given back at the end of the block.

        The function raises UnavailableError where so many are not free.
        """
        mine = 0

        def take(size: int) -> None:
            nonlocal mine
            if size > self._free:
                raise UnavailableError("too-many-requests", "too many large calls at once", fix="try again in a moment")
            self._free -= size
            mine += size

        try:
            yield take
        finally:
            self._free += mine


def _bound(key: str, call: str, body: bytes) -> str:
    """A key that is that of this very call: another one that comes with the same key is another one."""
    return digests.of_bytes(b"\0".join((key.encode(), call.encode(), body))) if key else ""


def _forget_stale(folder: Path) -> None:
    """Removes what a server that was killed had received."""
    for path in folder.glob("incoming-*"):
        with suppress(FileNotFoundError):  # another server of this store was faster
            if path.stat().st_mtime < time.time() - _STALE_SECONDS:
                shutil.rmtree(path, ignore_errors=True)


def _unread(error: Exception) -> TidegateError:
    """What is told of a request whose body did not come, or could not be kept."""
    if isinstance(error, TidegateError):
        return error
    if isinstance(error, TimeoutError | ClientDisconnect):
        return UsageError("bad-call", "the request did not come to its end", fix="send it again")
    if isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return UnavailableError("disk-full", "the server's disk is full", why="nothing was stored", fix="free some space there")
    _log.error("what was sent cannot be kept", exc_info=error)
    return UnavailableError("bucket-unavailable", "the server cannot keep what was sent", fix="its terminal shows why")


def _incoming(store: Store) -> Path:
    folder = store.root / "incoming"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


async def _body(request: Request, take: Callable[[int], None]) -> bytes:
    body = bytearray()
    async for part in request.stream():
        take(len(part))
        body += part
        if len(body) > _MAX_CALL:
            raise UsageError("call-too-large", f"a call is at most {_MAX_CALL} bytes", fix="send less at once")
    return bytes(body)


async def _received(request: Request, folder: Path) -> Path:
    """The body as a file; it is written by the event loop's threads, so that a large one does not hold up others."""
    with NamedTemporaryFile(dir=folder, delete=False) as target:
        async for part in request.stream():
            await run_in_threadpool(target.write, part)
    return Path(target.name)


def _answered(work: Callable[[], Response]) -> Response:
    try:
        return work()
    except TidegateError as error:
        return _refusal(error)
    except Exception:  # noqa: BLE001 - the last seam: a bug is told to who runs the server, never to who asks
        _log.exception("a call to the store")
        what = "the server could not do this"
        error = UnavailableError(
            "internal", what, why="this is a bug in Tidegate", fix="the server's terminal shows what happened"
        )
        return _refusal(error, 500)


def _refusal(error: TidegateError, status: int = 0) -> Response:
    data = msgspec.json.encode({"error": packed_error(error)})
    return Response(data, status or error.http_status, media_type="application/json")


def _packed(data: bytes) -> Response:
    return Response(data, media_type="application/msgpack")


def _found(bucket: Bucket, key: str) -> Response:
    blob = bucket.find(key)
    if blob is None:
        raise no_such_key(key)
    return Response(blob.data, headers={"etag": blob.etag}, media_type="application/octet-stream")


def _deleted(bucket: Bucket, key: str) -> Response:
    if _WRITTEN_ONCE.fullmatch(key) and not _REMOVABLE.fullmatch(key):
        raise _written_once(key, "removed")
    bucket.delete(key)
    return Response(status_code=204)


def _put_once(replies: Replies, bucket: Bucket, key: str, source: Path, request: Request, audit: _Audit) -> Response:
    conditions = [request.headers.get(name, "") for name in (KEY, "if-match", "if-none-match")]
    size = source.stat().st_size
    small = source.read_bytes() if size < _SMALL and conditions[0] else b""
    bound = _bound(conditions[0], f"{request.url.query} {conditions[1:]} {size}", small)
    return replies.once(bound, lambda: _put(bucket, key, source, request, audit))


def _put(bucket: Bucket, key: str, source: Path, request: Request, audit: _Audit) -> Response:
    expected = request.headers.get("if-match")
    if expected is None and request.headers.get("if-none-match") != "*":
        raise UsageError(
            "bad-call", "a write has a condition", why="there is no blind overwrite", fix="send If-Match or If-None-Match: *"
        )
    if _WRITTEN_ONCE.fullmatch(key) and (expected is not None or "/" not in key):
        raise _written_once(key, "written")
    small = source.read_bytes() if source.stat().st_size < _SMALL else b""
    problems = audit(bucket, key, small)
    if problems:
        raise RefusedError(
            "ledger-refused",
            problems[0],
            why="what is written to a ledger or a pointer must rest on what is there",
            fix="take the ways of the public API, such as promote: they write nothing else",
        )
    try:
        if expected is not None:
            etag = bucket.compare_and_swap(key, source.read_bytes(), expected)
        elif bucket.put_if_absent(key, source, sha256=request.query_params.get("sha256", "")):
            # An etag is asked of small values alone: pointers and the like.
            etag = found.etag if source.stat().st_size < 1 << 20 and (found := bucket.find(key)) else "written"
        else:
            return Response(status_code=412)
    except ConflictError:
        return Response(status_code=412)
    return Response(status_code=201, headers={"etag": etag})


def _written_once(key: str, verb: str) -> RefusedError:
    return RefusedError(
        "written-once",
        f"{key[:200]} cannot be {verb} through the server",
        why="entries of ledgers, manifests, receipts and objects are written once and stay",
        fix="only who has the store itself can",
    )


def _file(bucket: Bucket, key: str) -> Response:
    path = bucket.local(key)
    found = path.stat()
    headers = {MODIFIED: str(found.st_mtime_ns // 1000), "etag": f"{found.st_size:x}-{found.st_mtime_ns:x}-{found.st_ino:x}"}
    return FileResponse(path, headers=headers, media_type="application/octet-stream", stat_result=os.stat_result(found))
