"""The ledger of a model: the append-only, hash-chained log of its decisions, and the state that it folds to."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from tidegate.records.receipt import Baseline
from tidegate.records.verdict import Verdict

Via = Literal["", "api", "cli", "ui", "ci", "policy"]
"""How an approval came about; empty in entries from before it was kept."""
Outcome = Literal["completed", "harmful", "invalid", "undecided", "cancelled"]
"""How a rollout ended: every step held; it did harm, and the version is quarantined; requests were not assigned as declared; time ran out;
somebody ended it."""


class Workflow(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The job of a CI system in which somebody acted, as the system tells it."""

    system: str
    actor: str
    """Who started it."""
    repository: str = ""
    run: str = ""
    """The address of its page."""


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
    snapshot: str = ""
    """Digest of the rows that it was reached on: they are worn by it, even where the receipt is lost. Empty in older entries."""


class Approved(msgspec.Struct, frozen=True, kw_only=True, tag="approved", omit_defaults=True):
    """The entry's actor consents to what one receipt says, until ``expires_at``; or a declared rule does, and ``comment`` says why."""

    version: int
    receipt: str
    expires_at: int
    comment: str = ""
    via: Via = ""
    ci: Workflow | None = None
    """Where it came from a CI job: who started that counts as the approver."""
    typed: str = ""
    """The name that somebody typed on a web page where nobody signs in: it counts as the approver, the actor ran the page's server."""


class Revoked(msgspec.Struct, frozen=True, kw_only=True, tag="revoked"):
    """What ``approver`` consented to about one receipt holds no longer."""

    version: int
    receipt: str
    approver: str
    reason: str


class Promoted(msgspec.Struct, frozen=True, kw_only=True, tag="promoted", omit_defaults=True):
    """The pointer moved forward, on the strength of one receipt. Ungated or by breaking the glass, where that is allowed, ``receipt`` is empty."""

    version: int
    digest: str
    receipt: str
    previous: Baseline
    ungated: bool = False
    break_glass: bool = False
    """In an emergency, past verdict and approvals, by somebody whom the policy names; ``reason`` says why."""
    reason: str = ""


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


class RolloutStarted(msgspec.Struct, frozen=True, kw_only=True, tag="rollout_started"):
    """A version may answer live requests beside the champion, on the strength of one receipt, by a plan."""

    version: int
    digest: str
    receipt: str
    plan: dict[str, Any]
    """As it was declared; the ledger does not read it."""


class RolloutMoved(msgspec.Struct, frozen=True, kw_only=True, tag="rollout_moved"):
    """A running rollout is at a step of its plan: the version answers this ``share`` (0 to 1) of requests."""

    version: int
    step: int
    share: float
    reason: str


class RolloutStopped(msgspec.Struct, frozen=True, kw_only=True, tag="rollout_stopped"):
    """A rollout ended without moving the pointer; what was harmful is quarantined."""

    version: int
    outcome: Outcome
    reason: str


Event = (
    Registered
    | Judged
    | Approved
    | Revoked
    | Promoted
    | RolledBack
    | Released
    | Frozen
    | Unfrozen
    | Aliased
    | Unaliased
    | Staged
    | RolloutStarted
    | RolloutMoved
    | RolloutStopped
)


class LedgerEntry(msgspec.Struct, frozen=True, kw_only=True):
    """``models/<name>/ledger/00000042.json``; ``before`` is the SHA-256 of the bytes of the entry before, or empty."""

    seq: int
    at: int
    clock: str
    """``system``, or ``replay`` when the time was injected."""
    actor: str
    event: Event
    before: str


class Rollout(msgspec.Struct, frozen=True, kw_only=True):
    """A version that answers requests beside the champion, at a step of its plan."""

    seq: int
    """Sequence number of the ledger entry that started it: its identity."""
    version: int
    digest: str
    receipt: str
    plan: dict[str, Any]
    started_at: int
    moved_at: int
    """When it came to its present step."""
    step: int = 0
    share: float = 0.0


class Pointer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """``models/<name>/current.json``: which version serves, and which one beside it. A cache of the ledger up to ``head``."""

    model: str
    champion: Baseline
    """Version 0 when nothing was promoted yet."""
    head: int
    """Sequence number of the newest ledger entry that it has seen."""
    head_digest: str
    rollout: Rollout | None = None
