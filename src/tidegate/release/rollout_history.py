"""Every rollout that a ledger tells of, the one that runs as well: what it stood beside, what was decided about it, how it ended."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from tidegate.records.ledger import LedgerEntry, Promoted, Rollout, RolloutMoved, RolloutStarted, RolloutStopped
from tidegate.records.receipt import Baseline
from tidegate.release.state import LedgerState, fold


@dataclass(frozen=True)
class RolloutHistory:
    """One rollout: as it stood last, the champion it stood beside, and the entries about it (digest and entry), oldest first."""

    rollout: Rollout
    champion: Baseline
    entries: tuple[tuple[str, LedgerEntry], ...]
    end: LedgerEntry | None
    """The entry that ended it; None while it runs."""

    @property
    def outcome(self) -> str:
        """``running``, an ``Outcome``, ``promoted``, or ``overtaken`` where the pointer moved elsewhere."""
        event = self.end.event if self.end else None
        if event is None:
            return "running"
        if isinstance(event, RolloutStopped):
            return event.outcome
        return "promoted" if isinstance(event, Promoted) and event.version == self.rollout.version else "overtaken"


def rollout_histories(entries: Iterable[tuple[str, LedgerEntry]]) -> list[RolloutHistory]:
    """The rollouts in a ledger (digest and entry, in order), oldest first."""
    found: list[RolloutHistory] = []
    state, own = LedgerState(), list[tuple[str, LedgerEntry]]()
    for pair in entries:
        before, state = state, fold([pair], state)
        entry = pair[1]
        ended = before.rollout is not None and (state.rollout is None or state.rollout.seq != before.rollout.seq)
        if ended or isinstance(entry.event, RolloutStarted | RolloutMoved):
            own.append(pair)
        if before.rollout is not None and ended:
            found.append(RolloutHistory(before.rollout, before.champion, tuple(own), entry))
            own = [pair] if state.rollout is not None else []
    if state.rollout is not None:
        found.append(RolloutHistory(state.rollout, state.champion, tuple(own), None))
    return found
