"""Looking for what is missing or changed among the objects of a bucket."""

from __future__ import annotations

from collections.abc import Callable

from tidegate import digest
from tidegate.store.objects import object_key
from tidegate.store.ports import Bucket

_PREFIX = "objects/sha256/"


def object_digests(bucket: Bucket) -> list[str]:
    """The digests that the bucket's objects claim to have by their names."""
    return ["".join(key.removeprefix(_PREFIX).split("/")) for key in bucket.keys(_PREFIX)]


def changed_objects(bucket: Bucket, digests: list[str], *, advance: Callable[[], None] = lambda: None) -> list[str]:
    """Re-hashes objects and names those whose bytes are not what their name says. ``advance`` is called after each."""
    changed: list[str] = []
    for name in digests:
        if digest.of_file(bucket.local(object_key(name))) != name:
            changed.append(name)
        advance()
    return changed
