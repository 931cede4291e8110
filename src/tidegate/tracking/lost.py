"""Finds what runs refer to and the bucket has lost."""

from __future__ import annotations

from tidegate.store import object_key
from tidegate.store.ports import Bucket
from tidegate.tracking.runs import Runs

_AT_ONCE = 1000


def lost_of_runs(runs: Runs, bucket: Bucket, known: set[str]) -> list[str]:
    """Artifacts, code and lock files of runs that are not among the ``known`` objects, nor came since; in sentences."""
    lost: list[str] = []
    seen = 0
    while found := runs.search(limit=_AT_ONCE, offset=seen, deleted=None):
        seen += len(found)
        for run in found:
            wanted = {f"artifact {path}": digest for path, digest in run.artifacts.items()}
            if run.environment:
                wanted |= {f"lock file {path}": digest for path, digest in run.environment.lock_files.items()}
                wanted |= {"code": run.environment.patch_digest} if run.environment.patch_digest else {}
            lost += [
                f"run {run.id}: its {what} is missing: object {digest}"
                for what, digest in wanted.items()
                if digest not in known and bucket.find(object_key(digest)) is None
            ]
    return lost
