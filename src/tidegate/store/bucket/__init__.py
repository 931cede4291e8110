"""Where immutable files and pointers live. One file per kind of bucket."""

from tidegate.store.bucket.cloud import CloudBucket
from tidegate.store.bucket.folder import FolderBucket
from tidegate.store.bucket.opening import open_bucket
from tidegate.store.bucket.selftest import check_conditional_writes

__all__ = ["CloudBucket", "FolderBucket", "check_conditional_writes", "open_bucket"]
