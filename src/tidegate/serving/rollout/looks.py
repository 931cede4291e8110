"""The newest look at a rollout, beside its evidence: ``monitoring/<model>/rollouts/<number>/look.json``. A cache for whoever only asks."""

from __future__ import annotations

import msgspec

from tidegate import digest
from tidegate import digest as digests
from tidegate.errors import ConflictError, IntegrityError
from tidegate.records.rollout import Look
from tidegate.serving.rollout.pairs import folder
from tidegate.store.ports import Bucket


def look_key(model: str, rollout: int) -> str:
    """Where the newest look at a rollout is kept."""
    return f"{folder(model, rollout)}look.json"


def write_look(bucket: Bucket, look: Look) -> None:
    """Keeps a look, unless a newer one is kept already."""
    key = look_key(look.model, look.rollout)
    while True:
        kept = bucket.find(key)
        if kept is not None and _is_newer(kept.data, look):
            return
        try:
            bucket.compare_and_swap(key, digest.canonical(look), kept.etag if kept else None)
        except ConflictError:
            continue
        return


def find_look(bucket: Bucket, model: str, rollout: int) -> Look | None:
    """The newest look at a rollout, or None.

    Raises:
        IntegrityError: it cannot be read.
    """
    key = look_key(model, rollout)
    kept = bucket.find(key)
    if kept is None:
        return None
    try:
        return digests.parsed(kept.data, Look)
    except msgspec.MsgspecError as error:
        raise IntegrityError(
            "look-damaged", f"{key} is no look", why=str(error)[:200], fix="tidegate tick writes it again"
        ) from None


def _is_newer(data: bytes, look: Look) -> bool:
    try:
        return digests.parsed(data, Look).at > look.at
    except msgspec.MsgspecError:
        return False
