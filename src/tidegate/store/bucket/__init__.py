"""Where immutable files and pointers live. One file per kind of bucket."""

from tidegate.store.bucket.folder import FolderBucket
from tidegate.store.bucket.opening import open_bucket

__all__ = ["FolderBucket", "open_bucket"]
