"""Does a bucket keep what the ledger relies on? Some servers that speak S3 ignore conditions without a word."""

from __future__ import annotations

import secrets
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from tidegate.errors import ConflictError, UnavailableError
from tidegate.store.ports import Bucket

_WRITERS = 8


def check_conditional_writes(bucket: Bucket) -> list[str]:
    """What is wrong with the bucket's conditional writes, in sentences; nothing if they hold. Removes what it wrote.

    Raises:
        UnavailableError: the bucket cannot be reached, read or written.
    """
    folder = f"selftest/{secrets.token_hex(8)}/"
    try:
        return [*_created_once(bucket, f"{folder}created"), *_swapped_once(bucket, f"{folder}swapped"), *_listed(bucket, folder)]
    finally:
        with suppress(UnavailableError):  # what stays behind is for sweep; the first failure is the one to tell
            for name in ("created", "swapped"):
                bucket.delete(folder + name)


def _created_once(bucket: Bucket, key: str) -> list[str]:
    problems: list[str] = []
    if not bucket.put_if_absent(key, b"first"):
        problems.append("a key that nobody had written was said to exist")
    if bucket.put_if_absent(key, b"second"):
        problems.append("a key was created twice: If-None-Match is ignored")
    found = bucket.find(key)
    if found is None or found.data != b"first":
        problems.append("a value that was just written was not read back")
    return problems


def _swapped_once(bucket: Bucket, key: str) -> list[str]:
    stale = bucket.compare_and_swap(key, b"first", None)
    present = bucket.compare_and_swap(key, b"second", stale)
    problems: list[str] = []
    if _swaps(bucket, key, b"third", stale):
        problems.append("a value was replaced under a stale etag: If-Match is ignored")
        present = bucket.compare_and_swap(key, b"fourth", _etag(bucket, key))
    with ThreadPoolExecutor(_WRITERS) as threads:
        tries = [threads.submit(_swaps, bucket, key, b"writer %d" % number, present) for number in range(_WRITERS)]
        won = sum(each.result() for each in tries)
    if won != 1:
        problems.append(f"{won} of {_WRITERS} writers at once were told that they replaced the same value")
    return problems


def _listed(bucket: Bucket, folder: str) -> list[str]:
    listed = list(bucket.keys(folder))
    wanted = [f"{folder}created", f"{folder}swapped"]
    return [] if listed == wanted else [f"of 2 keys just written the list names {len(listed)}"]


def _swaps(bucket: Bucket, key: str, data: bytes, expected: str | None) -> bool:
    try:
        bucket.compare_and_swap(key, data, expected)
    except ConflictError:
        return False
    return True


def _etag(bucket: Bucket, key: str) -> str | None:
    found = bucket.find(key)
    return found.etag if found else None
