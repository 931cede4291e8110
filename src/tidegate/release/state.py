"""What a ledger adds up to: a pure fold over its entries."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import assert_never

import msgspec

from tidegate.errors import NotFoundError
from tidegate.records.ledger import (
    Aliased,
    Approved,
    Frozen,
    Judged,
    LedgerEntry,
    Promoted,
    Registered,
    Released,
    Revoked,
    RolledBack,
    Rollout,
    RolloutMoved,
    RolloutStarted,
    RolloutStopped,
    Staged,
    Unaliased,
    Unfrozen,
    Via,
)
from tidegate.records.receipt import Baseline
from tidegate.records.verdict import Verdict
from tidegate.release.people import is_same_person

CHAMPION = "champion"
"""The alias that is the pointer."""

POLICY = "policy"
"""Who approves where a declared rule does."""

UNSTAGED, STAGING, PRODUCTION, ARCHIVED = STAGES = ("None", "Staging", "Production", "Archived")


@dataclass(frozen=True)
class Judgement:
    """One verdict in the ledger."""

    version: int
    receipt: str
    verdict: Verdict
    seq: int
    snapshot: str = ""
    """Digest of the rows; empty in older entries."""


@dataclass(frozen=True)
class Consent:
    """One approval in the ledger that nobody revoked."""

    approver: str
    """Who counts: whoever started the CI job that it came from, else the entry's actor."""
    actor: str
    version: int
    receipt: str
    at: int
    expires_at: int
    via: Via = ""
    comment: str = ""
    run: str = ""
    """The page of the CI job that it came from."""

    @property
    def by_policy(self) -> bool:
        """A declared rule consents, no person."""
        return self.via == "policy"


@dataclass(frozen=True)
class LedgerState:
    """The state of a model after its newest entry. ``before`` holds the champions that can be rolled back to, oldest first."""

    champion: Baseline = field(default_factory=Baseline)
    before: tuple[Baseline, ...] = ()
    authors: dict[int, str] = field(default_factory=dict[int, str])
    digests: dict[int, str] = field(default_factory=dict[int, str])
    judgements: tuple[Judgement, ...] = ()
    consents: tuple[Consent, ...] = ()
    revoked: frozenset[tuple[str, str]] = frozenset()
    """Receipt and approver, wherever a consent was ever taken back."""
    by_policy: tuple[int, ...] = ()
    """When the policy approved by itself (microseconds UTC)."""
    quarantined: dict[str, str] = field(default_factory=dict[str, str])
    """Digest to reason."""
    unproven: dict[str, str] = field(default_factory=dict[str, str])
    """Digests that were promoted by breaking the glass, and why, until the gate passes them."""
    frozen: str = ""
    rollout: Rollout | None = None
    """The one that runs."""
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


def require_version(state: LedgerState, model: str, version: int) -> None:
    """Makes sure that the ledger knows a version.

    Raises:
        NotFoundError: it does not.
    """
    if version not in state.digests:
        raise NotFoundError(
            "no-such-version",
            f"there is no {model}@{version}",
            why="its ledger names no version of that number",
            fix=f"tidegate model list {model}",
        )


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
            judgement = Judgement(event.version, event.receipt, event.verdict, entry.seq, event.snapshot)
            proven = state.digests.get(event.version) if event.verdict is Verdict.PASS else None
            return replace(state, judgements=(*state.judgements, judgement), unproven=_without(state.unproven, proven))
        case Approved() | Revoked():
            return _after_consent(state, event, entry)
        case Promoted():
            before = (*state.before, state.champion) if state.champion.version else state.before
            unproven = {**state.unproven, event.digest: event.reason} if event.break_glass else state.unproven
            return replace(_after_move(state, event, entry), before=before, unproven=unproven)
        case RolledBack():
            return replace(
                _after_move(state, event, entry),
                before=tuple(champion for champion in state.before if champion.move < _origin(state, event.version)),
                quarantined={**state.quarantined, event.previous.digest: event.reason},
            )
        case Released():
            return replace(state, quarantined=_without(state.quarantined, event.digest))
        case Frozen():
            return replace(state, frozen=event.reason)
        case Unfrozen():
            return replace(state, frozen="")
        case Aliased() | Unaliased() | Staged():
            return _after_mark(state, event)
        case RolloutStarted() | RolloutMoved() | RolloutStopped():
            return _after_rollout(state, event, entry)
        case _:
            assert_never(event)


def _after_consent(state: LedgerState, event: Approved | Revoked, entry: LedgerEntry) -> LedgerState:
    if isinstance(event, Approved):
        approver = event.ci.actor if event.ci else event.typed or entry.actor
        consent = Consent(
            POLICY if event.via == "policy" else approver,
            entry.actor,
            event.version,
            event.receipt,
            entry.at,
            event.expires_at,
            event.via,
            event.comment,
            event.ci.run if event.ci else "",
        )
        by_policy = (*state.by_policy, entry.at) if consent.by_policy else state.by_policy
        return replace(state, consents=(*state.consents, consent), by_policy=by_policy)
    kept = tuple(
        consent
        for consent in state.consents
        if consent.receipt != event.receipt or not is_same_person(consent.approver, event.approver)
    )
    return replace(state, consents=kept, revoked=state.revoked | {(event.receipt, event.approver)})


def _after_mark(state: LedgerState, event: Aliased | Unaliased | Staged) -> LedgerState:
    match event:
        case Aliased():
            return replace(state, aliases={**state.aliases, event.alias: event.version})
        case Unaliased():
            return replace(state, aliases={alias: version for alias, version in state.aliases.items() if alias != event.alias})
        case Staged():
            archived = dict.fromkeys(event.archived, ARCHIVED)
            return replace(state, staged={**state.staged, **archived, event.version: event.stage})


def _after_rollout(state: LedgerState, event: RolloutStarted | RolloutMoved | RolloutStopped, entry: LedgerEntry) -> LedgerState:
    match event:
        case RolloutStarted():
            rollout = Rollout(
                seq=entry.seq,
                version=event.version,
                digest=event.digest,
                receipt=event.receipt,
                plan=event.plan,
                started_at=entry.at,
                moved_at=entry.at,
            )
            return replace(state, rollout=rollout)
        case RolloutMoved():
            if state.rollout is None:
                return state
            moved = msgspec.structs.replace(state.rollout, step=event.step, share=event.share, moved_at=entry.at)
            return replace(state, rollout=moved)
        case RolloutStopped():
            digest = state.digests.get(event.version, "")
            bad = {digest: event.reason} if digest and event.outcome == "harmful" else {}
            return replace(state, rollout=None, quarantined={**state.quarantined, **bad})


def _after_move(state: LedgerState, event: Promoted | RolledBack, entry: LedgerEntry) -> LedgerState:
    """Whoever stops being the champion leaves the stage Production for Archived; a rollout was a comparison with it, and ends."""
    left = {state.champion.version: ARCHIVED} if state.champion.version not in {0, event.version} else {}
    champion = Baseline(version=event.version, digest=event.digest, move=entry.seq)
    return replace(state, champion=champion, staged={**state.staged, **left}, rollout=None)


def _without(reasons: dict[str, str], digest: str | None) -> dict[str, str]:
    return {key: why for key, why in reasons.items() if key != digest}


def _origin(state: LedgerState, version: int) -> int:
    """The move that first put ``version`` on the stack that is rolled back along."""
    return max((champion.move for champion in state.before if champion.version == version), default=0)
