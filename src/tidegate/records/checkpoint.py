"""A checkpoint of a ledger: what stood at its end at a moment, for a second place to remember."""

from __future__ import annotations

import msgspec


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True):
    """The ledger of ``model`` had at least ``seq`` entries at ``at`` (microseconds UTC), and the last of them has the digest ``head``.

    Each entry holds the digest of the one before, so this one speaks for all of them.
    """

    model: str
    seq: int
    head: str
    at: int
