"""A bucket behind a server: values as HTTP bodies, conditions as HTTP's own ``If-Match`` and ``If-None-Match``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import msgspec

from tidegate.errors import UnavailableError
from tidegate.store.bucket.cache import LocalCache
from tidegate.store.bucket.keys import changed_meanwhile, no_such_key
from tidegate.store.ports import Blob, Bucket, Progress
from tidegate.store.remote.connection import Connection, refused
from tidegate.store.remote.ports import PATH

MODIFIED = "x-modified-us"
VALUE = f"{PATH}/bucket/value"
FILE = f"{PATH}/bucket/file"
KEYS = f"{PATH}/bucket/keys"
_BLOCK = 1 << 20
_OCTETS = {"content-type": "application/octet-stream"}


class RemoteBucket:
    """See ``Bucket``. ``cache`` holds local copies of what ``local`` was asked for."""

    def __init__(self, connection: Connection, cache: Path) -> None:
        self._connection = connection
        self._cache = LocalCache(cache)

    def find(self, key: str) -> Blob | None:
        with self._connection.ask("GET", VALUE, query={"key": key}) as answer:
            if answer.status == 404:
                return None
            if answer.status >= 400:
                raise refused(answer)
            return Blob(answer.read(), answer.headers["etag"])

    def put_if_absent(self, key: str, source: bytes | Path, *, sha256: str = "", progress: Progress | None = None) -> bool:
        query = {"key": key, "sha256": sha256}
        if isinstance(source, bytes):
            return self._put(query, source, {"if-none-match": "*"}) is not None
        try:
            with source.open("rb") as file:
                return self._put(query, _Told(file, progress or _nobody), {"if-none-match": "*"}) is not None
        except OSError as error:
            raise UnavailableError("file-unreadable", f"cannot read {source}", why=str(error), fix="check the file") from None

    def compare_and_swap(self, key: str, data: bytes, expected: str | None) -> str:
        etag = self._put({"key": key}, data, {"if-none-match": "*"} if expected is None else {"if-match": expected})
        if etag is None:
            raise changed_meanwhile(key, expected)
        return etag

    def keys(self, prefix: str) -> Iterator[str]:
        with self._connection.ask("GET", KEYS, query={"prefix": prefix}) as answer:
            if answer.status >= 400:
                raise refused(answer)
            yield from msgspec.msgpack.decode(answer.read(), type=list[str])

    def local(self, key: str, *, progress: Progress | None = None) -> Path:
        with self._connection.ask("HEAD", FILE, query={"key": key}) as head:
            if head.status == 404:
                raise no_such_key(key)
            if head.status >= 400:
                raise refused(head)
            state = (key, head.headers["etag"], int(head.headers["content-length"]), int(head.headers[MODIFIED]))
        kept = self._cache.find(*state)
        if kept is not None:
            return kept
        with self._connection.ask("GET", FILE, query={"key": key}) as answer:
            if answer.status >= 400:
                raise refused(answer)
            return self._cache.keep(*state, answer.stream(_BLOCK), progress=progress)

    def forget(self, copy: Path) -> None:
        copy.unlink(missing_ok=True)

    def delete(self, key: str) -> None:
        with self._connection.ask("DELETE", VALUE, query={"key": key}) as answer:
            if answer.status >= 400:
                raise refused(answer)

    def sweep(self, before_us: int) -> int:
        """Sweeps the local copies; the server's owner sweeps the bucket itself."""
        return self._cache.sweep(before_us)

    def _put(self, query: dict[str, str], body: bytes | _Told, condition: dict[str, str]) -> str | None:
        """The new etag; None if the condition did not hold."""
        with self._connection.ask("PUT", VALUE, query=query, body=body, headers={**_OCTETS, **condition}) as answer:
            if answer.status < 400:
                return answer.headers["etag"]
            if answer.status != 412:
                raise refused(answer)
            repeated = bool(answer.retries and answer.retries.history)
        # A server that began after the first attempt, or another one, has no memory of it: then the value tells whose it is.
        found = self.find(query["key"]) if repeated and isinstance(body, bytes) else None
        return found.etag if found and found.data == body else None


class _Told:
    """A file to be sent that tells its progress; it can be sent again from the start."""

    def __init__(self, file: BinaryIO, progress: Progress) -> None:
        self._file = file
        self._progress = progress

    def read(self, size: int = -1) -> bytes:
        block = self._file.read(size)
        self._progress(len(block))
        return block

    def tell(self) -> int:
        return self._file.tell()

    def seek(self, position: int) -> int:
        return self._file.seek(position)


def _nobody(_count: int) -> None:
    """Who is told when nobody asked."""


_conforms: Callable[[Connection, Path], Bucket] = RemoteBucket
