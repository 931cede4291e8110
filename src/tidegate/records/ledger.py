"""The ledger of a model: the append-only, hash-chained log of its decisions, and the state that it folds to."""

from __future__ import annotations

import msgspec

from tidegate.records.receipt import Baseline
from tidegate.records.verdict import Verdict


class Registered(msgspec.Struct, frozen=True, kw_only=True, tag="registered"):
    """A version entered the model's history."""

    version: int
    digest: str


class Judged(msgspec.Struct, frozen=True, kw_only=True, tag="judged", omit_defaults=True):
    """The gate reached a verdict; ``receipt`` is the receipt's digest."""

    version: int
    receipt: str
    verdict: Verdict
    loosened: list[str] = []
    """In which ways its policy asked for less than the one before: see ``Receipt.loosened``."""


class Approved(msgspec.Struct, frozen=True, kw_only=True, tag="approved"):
    """The entry's actor consents to what one receipt says, until ``expires_at``."""

    version: int
    receipt: str
    expires_at: int
    comment: str = ""


class Promoted(msgspec.Struct, frozen=True, kw_only=True, tag="promoted", omit_defaults=True):
    """The pointer moved forward, on the strength of one receipt; or ungated, where the project allows that: then ``receipt`` is empty."""

    version: int
    digest: str
    receipt: str
    previous: Baseline
    ungated: bool = False


class RolledBack(msgspec.Struct, frozen=True, kw_only=True, tag="rolled_back"):
    """The pointer moved back and the digest that it left is quarantined."""

    version: int
    digest: str
    previous: Baseline
    reason: str


class Released(msgspec.Struct, frozen=True, kw_only=True, tag="released"):
    """A quarantined digest may be promoted again."""

    version: int
    digest: str
    reason: str


class Frozen(msgspec.Struct, frozen=True, kw_only=True, tag="frozen"):
    """No promotion until it is lifted; rolling back stays possible."""

    reason: str


class Unfrozen(msgspec.Struct, frozen=True, kw_only=True, tag="unfrozen"):
    """Promotions are possible again."""

    reason: str


class Aliased(msgspec.Struct, frozen=True, kw_only=True, tag="aliased"):
    """A name for a version was set or moved; ``previous`` is the version that had it, 0 if none. Never ``champion``: that is the pointer."""

    alias: str
    version: int
    previous: int


class Unaliased(msgspec.Struct, frozen=True, kw_only=True, tag="unaliased"):
    """A name was taken away from the version that had it."""

    alias: str
    version: int


class Staged(msgspec.Struct, frozen=True, kw_only=True, tag="staged"):
    """A version was put into a stage (None, Staging or Archived), and those it replaces into Archived. Production is the pointer."""

    version: int
    stage: str
    archived: list[int] = []


Event = Registered | Judged | Approved | Promoted | RolledBack | Released | Frozen | Unfrozen | Aliased | Unaliased | Staged


class LedgerEntry(msgspec.Struct, frozen=True, kw_only=True):
    """``models/<name>/ledger/00000042.json``; ``before`` is the SHA-256 of the bytes of the entry before, or empty."""

    seq: int
    at: int
    clock: str
    """``system``, or ``replay`` when the time was injected."""
    actor: str
    event: Event
    before: str


class Pointer(msgspec.Struct, frozen=True, kw_only=True):
    """``models/<name>/current.json``: which version serves. A cache of the ledger up to ``head``."""

    model: str
    champion: Baseline
    """Version 0 when nothing was promoted yet."""
    head: int
    """Sequence number of the newest ledger entry that it has seen."""
    head_digest: str
