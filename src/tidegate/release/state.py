"""What a ledger adds up to: a pure fold over its entries."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import assert_never

from tidegate.records.ledger import (
    Approved,
    Frozen,
    Judged,
    LedgerEntry,
    Promoted,
    Registered,
    Released,
    RolledBack,
    Unfrozen,
)
from tidegate.records.receipt import Baseline
from tidegate.records.verdict import Verdict


@dataclass(frozen=True)
class Judgement:
    """One verdict in the ledger."""

    version: int
    receipt: str
    verdict: Verdict
    seq: int


@dataclass(frozen=True)
class Consent:
    """One approval in the ledger."""

    actor: str
    version: int
    receipt: str
    at: int
    expires_at: int


@dataclass(frozen=True)
class LedgerState:
    """The state of a model after its newest entry. ``before`` holds the champions that can be rolled back to, oldest first."""

    champion: Baseline = field(default_factory=Baseline)
    before: tuple[Baseline, ...] = ()
    authors: dict[int, str] = field(default_factory=dict[int, str])
    digests: dict[int, str] = field(default_factory=dict[int, str])
    judgements: tuple[Judgement, ...] = ()
    consents: tuple[Consent, ...] = ()
    quarantined: dict[str, str] = field(default_factory=dict[str, str])
    """Digest to reason."""
    frozen: str = ""
    head: int = 0
    head_digest: str = ""

    def newest_judgement(self, version: int) -> Judgement | None:
        """The newest verdict on a version, or None."""
        return next((item for item in reversed(self.judgements) if item.version == version), None)


def fold(entries: Iterable[tuple[str, LedgerEntry]], start: LedgerState | None = None) -> LedgerState:
    """The state after ``entries`` (digest and entry, in order)."""
    state = start or LedgerState()
    for digest, entry in entries:
        state = replace(_after(state, entry), head=entry.seq, head_digest=digest)
    return state


def _after(state: LedgerState, entry: LedgerEntry) -> LedgerState:
    event = entry.event
    match event:
        case Registered():
            return replace(
                state,
                authors={**state.authors, event.version: entry.actor},
                digests={**state.digests, event.version: event.digest},
            )
        case Judged():
            judgement = Judgement(event.version, event.receipt, event.verdict, entry.seq)
            return replace(state, judgements=(*state.judgements, judgement))
        case Approved():
            consent = Consent(entry.actor, event.version, event.receipt, entry.at, event.expires_at)
            return replace(state, consents=(*state.consents, consent))
        case Promoted():
            before = (*state.before, state.champion) if state.champion.version else state.before
            return replace(state, champion=_moved(event, entry), before=before)
        case RolledBack():
            return replace(
                state,
                champion=_moved(event, entry),
                before=tuple(champion for champion in state.before if champion.move < _origin(state, event.version)),
                quarantined={**state.quarantined, event.previous.digest: event.reason},
            )
        case Released():
            return replace(state, quarantined={key: why for key, why in state.quarantined.items() if key != event.digest})
        case Frozen():
            return replace(state, frozen=event.reason)
        case Unfrozen():
            return replace(state, frozen="")
        case _:
            assert_never(event)


def _moved(event: Promoted | RolledBack, entry: LedgerEntry) -> Baseline:
    return Baseline(version=event.version, digest=event.digest, move=entry.seq)


def _origin(state: LedgerState, version: int) -> int:
    """The move that first put ``version`` on the stack that is rolled back along."""
    return max((champion.move for champion in state.before if champion.version == version), default=0)
