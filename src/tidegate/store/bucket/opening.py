"""Opening a bucket alone: what serving, promoting and rolling back need."""

from __future__ import annotations

from pathlib import Path

import msgspec

from tidegate import digest as digests
from tidegate.errors import IntegrityError, UnavailableError, UsageError
from tidegate.store.bucket.cloud import CloudBucket
from tidegate.store.bucket.folder import FolderBucket
from tidegate.store.bucket.selftest import check_conditional_writes
from tidegate.store.ports import Bucket

FORMAT = 1
_FORMAT_KEY = "format.json"
_TESTED_KEY = "selftest.json"


class _Format(msgspec.Struct):
    format: int


def open_bucket(location: Path | str, cache: Path | None = None) -> Bucket:
    """The bucket of the store in the folder ``location``, or the one at an address like ``s3://name/prefix``.

    ``cache`` is the folder for local copies of what is at an address (``~/.cache/tidegate`` by default). A bucket at an
    address is tested once: a store that ignores conditions would let two promotions win.

    Raises:
        UsageError: the address cannot be understood.
        UnavailableError: a newer Tidegate wrote it, it cannot be reached or written, or it ignores conditions.
        IntegrityError: the mark of its format cannot be read.
    """
    if isinstance(location, Path):
        bucket: Bucket = FolderBucket(location / "bucket")
    else:
        if "://" not in location:
            raise UsageError(
                "bad-bucket", f"{location!r} is no address of a bucket", fix="write it like s3://name/prefix, gs:// or az://"
            )
        bucket = CloudBucket(location, cache or Path.home() / ".cache" / "tidegate")
        _check_trust(bucket, location)
    _check_format(bucket, str(location))
    return bucket


def _check_trust(bucket: Bucket, place: str) -> None:
    if bucket.find(_TESTED_KEY) is not None:
        return
    problems = check_conditional_writes(bucket)
    if problems:
        raise UnavailableError(
            "bucket-unsafe",
            f"{place} cannot hold a store: its conditional writes do not hold",
            why="; ".join(problems),
            fix="use a store with conditional writes, and no proxy before it that drops If-Match or If-None-Match",
        )
    bucket.put_if_absent(_TESTED_KEY, msgspec.json.encode(_Format(FORMAT)))


def _check_format(bucket: Bucket, place: str) -> None:
    mark = bucket.find(_FORMAT_KEY)
    if mark is None:
        bucket.put_if_absent(_FORMAT_KEY, msgspec.json.encode(_Format(FORMAT)))
        return
    try:
        found = digests.parsed(mark.data, _Format).format
    except msgspec.DecodeError:
        raise IntegrityError(
            "store-damaged",
            f"{place} has a damaged {_FORMAT_KEY}",
            why="it should say which format the store has",
            fix="restore it from a backup",
        ) from None
    if found > FORMAT:
        raise UnavailableError(
            "store-newer",
            f"this store was written by a newer Tidegate (format {found})",
            why=f"this version knows formats up to {FORMAT}",
            fix="upgrade: pip install --upgrade tidegate",
        )
