"""A bucket on S3, Google Cloud Storage, Azure, or a server that speaks like one of them, through obstore.

- A small value is written by one conditional request (``If-None-Match: *`` or ``If-Match: etag``), which the store judges.
  Every such write carries a mark of its own. When the answer is lost or says no, the mark of what is stored tells whether it
  was this write that had arrived: a time-out after the fact is no conflict, and two writers of equal bytes are told apart.
- A large file is sent in parts. Stores disagree about conditions on those, so only content-addressed files go that way: the
  parts are hashed while they are read and the upload is completed only if the digest is right, so whoever completes last has
  written the bytes that were there. Each of several who race may be told that it wrote.
- Large files without a known digest are read into memory and written by one conditional request.

SOURCE: obstore's PutMode; Amazon S3 user guide, "How to prevent object overwrites with conditional requests".
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Callable, Generator, Iterator
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from tidegate import digest as digests
from tidegate.clock import DAY, Clock, to_us
from tidegate.errors import UnavailableError, UsageError, missing_extra
from tidegate.store.bucket.cache import LocalCache
from tidegate.store.bucket.failures import is_missing_bucket, may_pass, translate
from tidegate.store.bucket.keys import changed_meanwhile, changed_while_read, check_key, no_such_key
from tidegate.store.ports import Blob, Bucket, Collectable, Progress, Stored

if TYPE_CHECKING:
    from obstore import GetResult, ObjectMeta, PutMode, PutResult
    from obstore.store import ClientConfig, ObjectStore

_Result = TypeVar("_Result")

SELFTEST = "selftest/"
"""Prefix of what the self-test writes and removes."""

_MARK = "writer"
_PART = 8 << 20
_PARTS_AT_ONCE = 4
_TRIES = 8
_YOUNG = DAY  # what was written before that is written again by a put that finds it


class CloudBucket:
    """See ``Bucket``. ``cache`` holds local copies; ``patience_s`` is how long a request is tried again before it fails.

    Credentials, region and endpoint come from the environment as obstore reads it (``AWS_*``, ``GOOGLE_*``, ``AZURE_*``).
    An ``UnavailableError`` from a write means that no answer came: the write may still have arrived, and writing the same
    again is safe. Uploads in parts that a kill cut off stay invisible; the bucket's lifecycle rule removes them.
    """

    least_grace_us = 2 * DAY

    def __init__(self, url: str, cache: Path, *, patience_s: float = 60.0) -> None:
        try:
            from obstore import exceptions
            from obstore.store import from_url
        except ImportError:
            raise missing_extra("s3", "obstore", f"a bucket at {url}") from None
        self.url = url.rstrip("/")
        self._scheme = url.partition("://")[0]
        self._patience = patience_s
        self._failure = exceptions.BaseError
        self._refusals = (exceptions.AlreadyExistsError, exceptions.PreconditionError)
        self._cache = LocalCache(cache / digests.of_bytes(self.url.encode())[:16])
        self._bare = False
        # A request of 8 MiB at 1 Mbit/s takes a minute; http is allowed because only an endpoint that says so uses it.
        client: ClientConfig = {"timeout": timedelta(seconds=2 * patience_s), "connect_timeout": "5s", "allow_http": True}
        try:
            self._store: ObjectStore = from_url(
                self.url,
                client_options=client,
                retry_config={
                    "max_retries": 10,
                    "retry_timeout": timedelta(seconds=patience_s),
                    "backoff": {"init_backoff": timedelta(milliseconds=100), "max_backoff": timedelta(seconds=5), "base": 2},
                },
            )
        except (exceptions.BaseError, ValueError) as error:
            raise UsageError(
                "bad-bucket",
                f"{url!r} is no address of a bucket",
                why=str(error).partition("\n")[0],
                fix="write it like s3://name/prefix, gs://name/prefix or az://container/prefix",
            ) from None

    def find(self, key: str) -> Blob | None:
        def read() -> Blob:
            found = self._store.get(key)
            return Blob(bytes(found.bytes()), self._etag(found.meta))

        check_key(key)
        return self._patiently("read", key, read)

    def put_if_absent(self, key: str, source: bytes | Path, *, sha256: str = "", progress: Progress | None = None) -> bool:
        check_key(key)
        if isinstance(source, bytes) and not sha256:
            return self._write(key, source, None, sha256, progress) is not None
        head = self._get(key, head=True)
        if head is not None:
            if sha256 and to_us(head.meta["last_modified"]) < Clock().now() - _YOUNG:
                self._renew(key, source, self._etag(head.meta), sha256)
            return False
        if isinstance(source, bytes):
            return self._write(key, source, None, sha256, progress) is not None
        try:
            if sha256 and source.stat().st_size > _PART:
                self._upload(key, source, sha256, progress)
                return True
            data = source.read_bytes()
        except OSError as error:
            raise UnavailableError("file-unreadable", f"cannot read {source}", why=str(error), fix="check the file") from None
        return self._write(key, data, None, sha256, progress) is not None

    def compare_and_swap(self, key: str, data: bytes, expected: str | None) -> str:
        check_key(key)
        etag = self._write(key, data, expected)
        if etag is None:
            raise changed_meanwhile(key, expected)
        return etag

    def keys(self, prefix: str) -> Iterator[str]:
        yield from sorted(meta["path"] for meta in self._list(prefix))

    def local(self, key: str, *, progress: Progress | None = None) -> Path:
        def fetch() -> Path:
            found = self._store.get(key)
            return self._cache.keep(key, *self._state(found.meta), found.stream(_PART), progress=progress)

        head = self._get(key, head=True)
        path = (self._cache.find(key, *self._state(head.meta)) or self._patiently("read", key, fetch)) if head else None
        if path is None:
            raise no_such_key(key)
        return path

    def forget(self, copy: Path) -> None:
        copy.unlink(missing_ok=True)

    def delete(self, key: str) -> None:
        check_key(key)
        self._patiently("delete", key, lambda: self._store.delete(key))

    def sweep(self, before_us: int) -> int:
        freed = self._cache.sweep(before_us)
        for meta in self._list(SELFTEST):
            if to_us(meta["last_modified"]) < before_us:
                self.delete(meta["path"])
                freed += meta["size"]
        return freed

    def stored(self, prefix: str) -> Iterator[Stored]:
        for meta in self._list(prefix):
            yield Stored(meta["path"], meta["size"], to_us(meta["last_modified"]))

    def discard(self, key: str, *, before: int) -> bool:
        found = self._get(key, head=True)
        if found is None or to_us(found.meta["last_modified"]) >= before:
            return False
        self.delete(key)
        return True

    def _renew(self, key: str, source: bytes | Path, etag: str, sha256: str) -> None:
        """Writes the bytes that are there again: a store has no other way to tell garbage collection that they are wanted."""
        if isinstance(source, Path) and source.stat().st_size > _PART:
            self._upload(key, source, sha256, None)
        else:
            self._write(key, source if isinstance(source, bytes) else source.read_bytes(), etag, sha256)

    def _get(self, key: str, *, head: bool = False) -> GetResult | None:
        """What is stored under ``key``, with its body still to be read; with ``head`` without a body."""
        check_key(key)
        return self._patiently("read", key, lambda: self._store.get(key, options={"head": head}))

    def _patiently(self, verb: str, key: str, work: Callable[[], _Result]) -> _Result | None:
        """What ``work`` returns; None if there is no such key. obstore repeats requests, but not those whose body broke off."""
        deadline = time.monotonic() + self._patience
        attempt = 0
        while True:
            try:
                return work()
            except FileNotFoundError as error:
                if is_missing_bucket(error):
                    raise translate(error, verb, self.url) from None
                return None
            except self._failure as error:
                attempt += 1
                if attempt == _TRIES or time.monotonic() > deadline or not may_pass(error):
                    raise translate(error, verb, self._place(key)) from None
            except ValueError as error:
                raise _bad_key(key, error) from None
            _pause(attempt)

    def _write(
        self, key: str, data: bytes, expected: str | None, sha256: str = "", progress: Progress | None = None
    ) -> str | None:
        """Writes ``key`` if its etag is ``expected`` (None: absent). Returns the new etag, or None if it is another one."""
        if sha256 and digests.of_bytes(data) != sha256:
            raise changed_while_read(key)
        mark = secrets.token_hex(16)
        deadline = time.monotonic() + self._patience
        bare = self._bare
        for attempt in range(_TRIES):
            etag = self._try_write(key, data, self._mode(expected, bare), mark, last=time.monotonic() > deadline)
            if not etag:
                found = self._get(key)
                present = self._etag(found.meta) if found else None
                if found is not None and found.attributes.get(_MARK) == mark:
                    etag = present  # it had arrived: its answer was lost, or it was sent twice and refused the second time
                elif present != expected:
                    return None
            if etag:
                self._bare = bare
                if progress:
                    progress(len(data))
                return etag
            bare = not bare  # refused though the etag is right: Ceph up to 16 compares it without its quotes
            _pause(attempt)
        raise UnavailableError(
            "bucket-unsafe",
            f"{self.url} refuses a conditional write whose condition holds",
            why=f"{key} is in the expected state, and the store said {_TRIES} times that it is not",
            fix="use a store with conditional writes; tidegate doctor tests it",
        )

    def _try_write(self, key: str, data: bytes, mode: PutMode, mark: str, *, last: bool) -> str:
        """One conditional request: the new etag; empty if it was refused or nobody knows what became of it."""
        try:
            return self._etag(self._store.put(key, data, mode=mode, attributes={_MARK: mark}, use_multipart=False))
        except self._refusals:
            return ""
        except FileNotFoundError as error:  # S3's answer to If-Match where the key is gone
            if mode == "create" or is_missing_bucket(error):
                raise translate(error, "write", self._place(key)) from None
            return ""
        except self._failure as error:
            if last or not may_pass(error):
                raise translate(error, "write", self._place(key)) from None
            return ""
        except ValueError as error:
            raise _bad_key(key, error) from None

    def _upload(self, key: str, source: Path, sha256: str, progress: Progress | None) -> None:
        try:
            self._store.put(
                key, _hashed(source, key, sha256, progress), use_multipart=True, chunk_size=_PART, max_concurrency=_PARTS_AT_ONCE
            )
        except FileNotFoundError as error:
            raise translate(error, "write", self._place(key)) from None
        except self._failure as error:
            raise translate(error, "write", self._place(key)) from None

    def _list(self, prefix: str) -> list[ObjectMeta]:
        if prefix:
            check_key(prefix.rstrip("/"))
        folder = prefix.rstrip("/")
        pages = self._patiently("list", folder, lambda: list(self._store.list(folder or None, chunk_size=1000)))
        return [meta for page in pages or [] for meta in page]

    def _mode(self, expected: str | None, bare: bool) -> PutMode:
        if expected is None:
            return "create"
        if self._scheme == "gs":
            return {"version": expected}
        return {"e_tag": expected.strip('"') if bare else expected}

    def _state(self, meta: ObjectMeta) -> tuple[str, int, int]:
        """Etag, size in bytes, and modification time in microseconds UTC."""
        return self._etag(meta), meta["size"], to_us(meta["last_modified"])

    def _etag(self, state: ObjectMeta | PutResult) -> str:
        """What names this state in a condition: Google's generation, everybody else's etag."""
        return (state["version"] if self._scheme == "gs" else state["e_tag"]) or ""

    def _place(self, key: str) -> str:
        return f"{self.url}/{key}"


def _hashed(source: Path, key: str, sha256: str, progress: Progress | None) -> Generator[bytes]:
    """The file's blocks; raises instead of ending if they are not the bytes of ``sha256``, so nothing is completed."""
    running = hashlib.sha256()
    with source.open("rb") as file:
        while block := file.read(_PART):
            running.update(block)
            yield block
            if progress:
                progress(len(block))
    if running.hexdigest() != sha256:
        raise changed_while_read(key)


def _pause(attempt: int) -> None:
    time.sleep(min(0.05 * 2**attempt, 2.0))


def _bad_key(key: str, error: Exception) -> UsageError:
    return UsageError("bad-key", f"{key!r} is no key of a bucket", why=str(error).partition("\n")[0])


_conforms: Callable[[str, Path], Bucket] = CloudBucket
_collectable: Callable[[str, Path], Collectable] = CloudBucket
