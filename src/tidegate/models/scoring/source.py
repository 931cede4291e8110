"""What is to be scored: a file, a folder or a pattern of files, a snapshot, or the same in a bucket elsewhere."""

from __future__ import annotations

import re
from collections.abc import Iterable
from fnmatch import fnmatchcase
from glob import iglob
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from tidegate.data import Datasets
from tidegate.data.table import is_table
from tidegate.errors import NotFoundError, UsageError
from tidegate.store.bucket.cloud import CloudBucket

_PATTERN = re.compile(r"[*?\[]")


class SourceFile(NamedTuple):
    """A local file, and what its user calls it."""

    name: str
    path: Path


def find_files(source: str, datasets: Datasets, scratch: Path) -> list[SourceFile]:
    """The files of ``source``, sorted by name. What is elsewhere is copied into ``scratch``.

    Raises:
        NotFoundError: nothing is there.
        UsageError: the address of a bucket cannot be understood.
    """
    if is_address(source):
        return _elsewhere(source, scratch)
    path = Path(source)
    if path.is_file():
        return [SourceFile(source, path)]
    if path.is_dir():
        found: Iterable[Path] = (each for each in path.rglob("*") if each.is_file() and is_table(each))
    elif "@" in path.name and not _PATTERN.search(source):
        snapshot = datasets.get(source)
        return [SourceFile(snapshot.ref, datasets.path(snapshot))]
    else:
        found = (Path(each) for each in iglob(source, recursive=True) if Path(each).is_file())  # noqa: PTH207 - a pattern may be absolute
    files = [SourceFile(str(each), each) for each in sorted(found)]
    if not files:
        raise NotFoundError("input-not-found", f"no file {source}", fix="check the path; a snapshot is written like flights@3")
    return files


def is_address(place: str) -> bool:
    """Whether a place is in a bucket elsewhere, such as ``s3://name/scores.parquet``."""
    return re.match(r"[a-z0-9]+://", place) is not None


def bucket_of(address: str, cache: Path) -> tuple[CloudBucket, str]:
    """The bucket of an address, and the key in it.

    Raises:
        UsageError: the address names no key.
    """
    found = re.fullmatch(r"([a-z0-9]+://[^/]+)/(.+[^/])", address)
    if not found:
        raise UsageError(
            "bad-bucket", f"{address!r} names nothing in a bucket", fix="write it like s3://name/folder/file.parquet"
        )
    return CloudBucket(found[1], cache), found[2]


def _elsewhere(source: str, scratch: Path) -> list[SourceFile]:
    bucket, key = bucket_of(source, scratch / "bucket")
    keys = [key]
    if pattern := _PATTERN.search(key):
        folder = key[: pattern.start()].rpartition("/")[0]
        keys = sorted(each for each in bucket.keys(f"{folder}/" if folder else "") if fnmatchcase(each, key))
    files: list[SourceFile] = []
    for number, each in enumerate(keys):
        link = scratch / f"{number:04}-{PurePosixPath(each).name}"  # the copy's own name does not say what it is
        link.symlink_to(bucket.local(each).resolve())
        files.append(SourceFile(f"{bucket.url}/{each}", link))
    if not files:
        raise NotFoundError("input-not-found", f"nothing in the bucket fits {source}", fix="check the address")
    return files
