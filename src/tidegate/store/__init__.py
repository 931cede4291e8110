"""The one metadata store: a bucket, and a database beside it.

Loaded on demand: a serving process uses the bucket and never the database.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tidegate.lazy import exports

if TYPE_CHECKING:
    from tidegate.store.bucket import open_bucket
    from tidegate.store.objects import fetch_object, object_key, put_object
    from tidegate.store.opening import open_store
    from tidegate.store.place import Store
    from tidegate.store.remote.opening import open_remote

__all__ = ["Store", "fetch_object", "object_key", "open_bucket", "open_remote", "open_store", "put_object"]

__getattr__, __dir__ = exports(
    __name__,
    {
        "bucket": ["open_bucket"],
        "objects": ["fetch_object", "object_key", "put_object"],
        "opening": ["open_store"],
        "place": ["Store"],
        "remote.opening": ["open_remote"],
    },
)
