"""Content-addressed bytes: ``objects/sha256/ab/cdef...``. Equal bytes are stored once."""

from __future__ import annotations

import re
from pathlib import Path

from tidegate import digest as digests
from tidegate.errors import IntegrityError, NotFoundError
from tidegate.store.ports import Bucket, Copying, Progress

OBJECTS = "objects/"
"""The folder of a bucket that holds objects and nothing else."""
_OBJECT = re.compile(r"objects/sha256/([0-9a-f]{2})/([0-9a-f]{62})")


def object_key(digest: str) -> str:
    """The key of the object with this SHA-256."""
    return f"{OBJECTS}sha256/{digest[:2]}/{digest[2:]}"


def object_digest(key: str) -> str:
    """The digest that a key claims for its object; empty for what is no object."""
    match = _OBJECT.fullmatch(key)
    return match[1] + match[2] if match else ""


def put_object(bucket: Bucket, source: bytes | Path, *, progress: Progress | None = None) -> str:
    """Stores bytes, or a copy of a file, and returns their SHA-256.

    Raises:
        IntegrityError: the file changed while it was being read; nothing was stored.
    """
    digest = digests.of_bytes(source) if isinstance(source, bytes) else digests.of_file(source)
    bucket.put_if_absent(object_key(digest), source, sha256=digest, progress=progress)
    return digest


def fetch_object(bucket: Bucket, digest: str, *, progress: Progress | None = None) -> Path:
    """A local file with the object's bytes, checked against its digest.

    Raises:
        NotFoundError: no such object.
        IntegrityError: the stored bytes are not the ones that were recorded.
    """
    key = object_key(digest)
    try:
        path = bucket.local(key, progress=progress)
    except NotFoundError:
        raise NotFoundError(
            "object-missing",
            f"object {digests.short(digest)} is missing from the bucket",
            why=f"nothing is stored under {key}",
            fix="restore it from a backup; tidegate store verify lists everything that is missing",
        ) from None
    found = digests.of_file(path)
    if found != digest and isinstance(bucket, Copying):  # the copy is damaged, or what it was made of is
        bucket.forget(path)
        path = bucket.local(key, progress=progress)
        found = digests.of_file(path)
    if found != digest:
        raise IntegrityError(
            "object-changed",
            f"object {digests.short(digest)} was changed on disk",
            why=f"its bytes now hash to {digests.short(found)}",
            fix="restore it from a backup; tidegate store verify lists everything that was changed",
        )
    return path
