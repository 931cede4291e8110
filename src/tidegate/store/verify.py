"""Looking for what is missing or changed among the objects of a bucket."""

from __future__ import annotations

from collections.abc import Callable

from tidegate import digest
from tidegate.errors import NotFoundError
from tidegate.store.objects import OBJECTS, object_digest, object_key
from tidegate.store.ports import Bucket


def object_digests(bucket: Bucket) -> list[str]:
    """The digests that the bucket's objects claim to have by their names; what is named otherwise is no object."""
    return [found for key in bucket.keys(OBJECTS) if (found := object_digest(key))]


def changed_objects(bucket: Bucket, digests: list[str], *, advance: Callable[[], None] = lambda: None) -> list[str]:
    """Re-hashes objects and names those whose bytes are not what their name says or cannot be read. ``advance`` is called after each."""
    changed: list[str] = []
    for name in digests:
        try:
            found = digest.of_file(bucket.local(object_key(name)))
        except (NotFoundError, OSError):  # a link to nothing, or no permission: it is not what it was
            found = ""
        if found != name:
            changed.append(name)
        advance()
    return changed
