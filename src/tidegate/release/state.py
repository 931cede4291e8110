"""What a ledger adds up to: a pure fold over its entries."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import assert_never

from tidegate.records.ledger import (
    Aliased,
    Approved,
    Frozen,
    Judged,
    LedgerEntry,
    Promoted,
    Registered,
    Released,
    RolledBack,
    Staged,
    Unaliased,
    Unfrozen,
)
from tidegate.records.receipt import Baseline
from tidegate.records.verdict import Verdict

CHAMPION = "champion"
"""The alias that is the pointer."""

UNSTAGED, STAGING, PRODUCTION, ARCHIVED = STAGES = ("None", "Staging", "Production", "Archived")


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
    aliases: dict[str, int] = field(default_factory=dict[str, int])
    """Names that people gave to versions, without ``champion``."""
    staged: dict[int, str] = field(default_factory=dict[int, str])
    head: int = 0
    head_digest: str = ""

    def newest_judgement(self, version: int) -> Judgement | None:
        """The newest verdict on a version, or None."""
        return next((item for item in reversed(self.judgements) if item.version == version), None)

    def stage(self, version: int) -> str:
        """The stage of a version: Production is the champion and nothing else."""
        return PRODUCTION if version == self.champion.version else self.staged.get(version, UNSTAGED)

    def names(self) -> dict[str, int]:
        """Every name that stands for a version, ``champion`` included."""
        return self.aliases | ({CHAMPION: self.champion.version} if self.champion.version else {})


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
            return replace(state, champion=_moved(event, entry), before=before, staged=_after_move(state, event.version))
        case RolledBack():
            return replace(
                state,
                champion=_moved(event, entry),
                before=tuple(champion for champion in state.before if champion.move < _origin(state, event.version)),
                quarantined={**state.quarantined, event.previous.digest: event.reason},
                staged=_after_move(state, event.version),
            )
        case Released():
            return replace(state, quarantined={key: why for key, why in state.quarantined.items() if key != event.digest})
        case Frozen():
            return replace(state, frozen=event.reason)
        case Unfrozen():
            return replace(state, frozen="")
        case Aliased():
            return replace(state, aliases={**state.aliases, event.alias: event.version})
        case Unaliased():
            return replace(state, aliases={alias: version for alias, version in state.aliases.items() if alias != event.alias})
        case Staged():
            archived = dict.fromkeys(event.archived, ARCHIVED)
            return replace(state, staged={**state.staged, **archived, event.version: event.stage})
        case _:
            assert_never(event)


def _after_move(state: LedgerState, version: int) -> dict[int, str]:
    """Whoever stops being the champion leaves the stage Production for Archived."""
    left = {state.champion.version: ARCHIVED} if state.champion.version not in {0, version} else {}
    return {**state.staged, **left}


def _moved(event: Promoted | RolledBack, entry: LedgerEntry) -> Baseline:
    return Baseline(version=event.version, digest=event.digest, move=entry.seq)


def _origin(state: LedgerState, version: int) -> int:
    """The move that first put ``version`` on the stack that is rolled back along."""
    return max((champion.move for champion in state.before if champion.version == version), default=0)
