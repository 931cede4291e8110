"""The store's ports over HTTP, below ``/api/v1/store``: what a client with the setting ``server`` uses.

A call carries a key; a call with the key of one that was done, or is being done, gets the same answer and does nothing.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from tempfile import NamedTemporaryFile, TemporaryDirectory

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

from tidegate.errors import ConflictError, NotFoundError, TidegateError, UsageError
from tidegate.store import Store
from tidegate.store.ports import Bucket
from tidegate.store.remote.bucket import FILE, KEYS, MODIFIED, VALUE
from tidegate.store.remote.calls import PORTS, methods, packed_error
from tidegate.store.remote.connection import KEY
from tidegate.store.remote.ports import PATH

_MAX_CALL = 256 * 1024 * 1024
_REMEMBERED = 10_000
_MEMORY = 64 * 1024 * 1024


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
            return known.result()
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
                _, oldest = self._replies.popitem(last=False)
                self._bytes -= len(oldest.result().body) if oldest.done() and not oldest.exception() else 0


def native_routes(store: Store) -> list[Route]:
    """The routes of every port of a store."""
    replies = Replies()
    bucket = store.bucket

    async def call(request: Request) -> Response:
        port, name = request.path_params["port"], request.path_params["method"]
        method = methods(port).get(name) if port in PORTS else None
        if method is None:
            return _refusal(
                NotFoundError("no-such-call", f"there is no call {port}.{name}", fix="use the same version on both sides")
            )
        if request.headers.get("content-type") != "application/msgpack":
            return _refusal(UsageError("bad-call", "a call is application/msgpack", fix="use Tidegate's own client"))
        try:
            packed = await _body(request)
        except TidegateError as error:
            return _refusal(error)
        key = request.headers.get(KEY, "") if method.changes else ""
        target = getattr(store, port)
        return await run_in_threadpool(_answered, lambda: replies.once(key, lambda: _packed(method.call(target, packed))))

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
            except ClientDisconnect:
                return Response(status_code=400)
            once = request.headers.get(KEY, "")
            return await run_in_threadpool(_answered, lambda: replies.once(once, lambda: _put(bucket, key, source, request)))

    async def file(request: Request) -> Response:
        return await run_in_threadpool(_answered, lambda: _file(bucket, request.query_params.get("key", "")))

    return [
        Route(KEYS, keys, methods=["GET"]),
        Route(VALUE, value, methods=["GET", "PUT", "DELETE"]),
        Route(FILE, file, methods=["GET"]),
        Route(PATH + "/{port}/{method}", call, methods=["POST"]),
    ]


def _incoming(store: Store) -> Path:
    folder = store.root / "incoming"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


async def _body(request: Request) -> bytes:
    body = bytearray()
    async for part in request.stream():
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


def _refusal(error: TidegateError) -> Response:
    return Response(msgspec.json.encode({"error": packed_error(error)}), error.http_status, media_type="application/json")


def _packed(data: bytes) -> Response:
    return Response(data, media_type="application/msgpack")


def _found(bucket: Bucket, key: str) -> Response:
    blob = bucket.find(key)
    if blob is None:
        raise NotFoundError("no-such-key", f"nothing is stored under {key}")
    return Response(blob.data, headers={"etag": blob.etag}, media_type="application/octet-stream")


def _deleted(bucket: Bucket, key: str) -> Response:
    bucket.delete(key)
    return Response(status_code=204)


def _put(bucket: Bucket, key: str, source: Path, request: Request) -> Response:
    expected = request.headers.get("if-match")
    if expected is None and request.headers.get("if-none-match") != "*":
        raise UsageError(
            "bad-call", "a write has a condition", why="there is no blind overwrite", fix="send If-Match or If-None-Match: *"
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


def _file(bucket: Bucket, key: str) -> Response:
    path = bucket.local(key)
    found = path.stat()
    headers = {MODIFIED: str(found.st_mtime_ns // 1000), "etag": f"{found.st_size:x}-{found.st_mtime_ns:x}-{found.st_ino:x}"}
    return FileResponse(path, headers=headers, media_type="application/octet-stream", stat_result=os.stat_result(found))
