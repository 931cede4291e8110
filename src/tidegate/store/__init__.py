"""The one metadata store. ``open_store`` is loaded on demand: a serving process uses the bucket and never the database."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from tidegate.store.bucket import open_bucket
from tidegate.store.objects import fetch_object, object_key, put_object

if TYPE_CHECKING:
    from tidegate.store.opening import Store, open_store

__all__ = ["Store", "fetch_object", "object_key", "open_bucket", "open_store", "put_object"]


def __getattr__(name: str) -> Any:
    if name in {"Store", "open_store"}:
        return getattr(importlib.import_module("tidegate.store.opening"), name)
    raise AttributeError(name)
