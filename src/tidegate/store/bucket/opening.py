"""Opening the bucket of a store alone: what serving, promoting and rolling back need."""

from __future__ import annotations

from pathlib import Path

import msgspec

from tidegate.errors import IntegrityError, UnavailableError
from tidegate.store.bucket.folder import FolderBucket
from tidegate.store.ports import Bucket

FORMAT = 1
_FORMAT_KEY = "format.json"


class _Format(msgspec.Struct):
    format: int


def open_bucket(root: Path) -> Bucket:
    """The bucket of the store in the folder ``root``, marked with the format that it is written in.

    Raises:
        UnavailableError: a newer Tidegate wrote it, or the folder cannot be written.
        IntegrityError: the mark cannot be read.
    """
    bucket = FolderBucket(root / "bucket")
    mark = bucket.find(_FORMAT_KEY)
    if mark is None:
        bucket.put_if_absent(_FORMAT_KEY, msgspec.json.encode(_Format(FORMAT)))
        return bucket
    try:
        found = msgspec.json.decode(mark.data, type=_Format).format
    except msgspec.DecodeError:
        raise IntegrityError(
            "store-damaged",
            f"{root} has a damaged {_FORMAT_KEY}",
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
    return bucket
