"""What served at a moment, and what that rested on."""

from __future__ import annotations

from bisect import bisect_right

import msgspec

from tidegate.clock import format_time
from tidegate.gate.receipt import receipt_key
from tidegate.records.ledger import LedgerEntry, Promoted, RolledBack, Via
from tidegate.release.state import LedgerState, fold


class Consented(msgspec.Struct, frozen=True, kw_only=True):
    """An approval that stood when the pointer moved. Times are microseconds UTC."""

    approver: str
    at: int
    via: Via
    comment: str
    run: str
    """The CI job's page, where it came from one."""


class Served(msgspec.Struct, frozen=True, kw_only=True):
    """Which version answered at a moment, since when, by whose doing, and on what evidence."""

    model: str
    at: int
    version: int
    """0: nothing served."""
    why: str
    digest: str = ""
    entry: int = 0
    """The ledger entry that moved the pointer there."""
    since: int = 0
    by: str = ""
    receipt: str = ""
    """Digest; empty where no gate passed it."""
    report: str = ""
    """Key of the gate's report in the bucket."""
    approvals: list[Consented] = []
    beside: int = 0
    """The version that was being rolled out, which answered a ``share`` of requests."""
    share: float = 0.0

    def lines(self) -> list[str]:
        """All of it, as people read it."""
        if not self.version:
            return [f"nothing served: {self.why}"]
        lines = [f"{self.model}@{self.version}: {self.why}", f"  entry     {self.entry}, package {self.digest}"]
        if self.receipt:
            lines += [f"  receipt   {self.receipt}", f"  report    {self.report}"]
        for consent in self.approvals:
            place = f" in {consent.run}" if consent.run else f" by {consent.via}" if consent.via else ""
            comment = f": {consent.comment}" if consent.comment else ""
            lines.append(f"  approved  {consent.approver} at {format_time(consent.at)}{place}{comment}")
        if self.beside:
            lines.append(f"  beside    {self.model}@{self.beside} was rolled out to {100 * self.share:g} % of requests")
        return lines


def served_at(model: str, entries: list[LedgerEntry], at: int) -> Served:
    """What the ledger says about a moment (microseconds UTC). An entry counts from its own time on.

    Where a clock was wrong, the order of the entries counts: one that is dated later than most that follow it was made before them.
    """
    past = entries[: bisect_right(_counted_from(entries), at)]
    move = next((entry for entry in reversed(past) if isinstance(entry.event, Promoted | RolledBack)), None)
    if move is None or not isinstance(move.event, Promoted | RolledBack):
        return Served(model=model, at=at, version=0, why="nothing had been promoted")
    event = move.event
    promotion = _promotion(past, move)
    receipt = promotion.event.receipt if promotion and isinstance(promotion.event, Promoted) else ""
    rollout = _state(past).rollout
    return Served(
        model=model,
        at=at,
        version=event.version,
        why=_why(move),
        digest=event.digest,
        entry=move.seq,
        since=move.at,
        by=move.actor,
        receipt=receipt,
        report=receipt_key(model, receipt, ".report.json") if receipt else "",
        approvals=_approvals(past, promotion, receipt),
        beside=rollout.version if rollout else 0,
        share=rollout.share if rollout else 0.0,
    )


def _counted_from(entries: list[LedgerEntry]) -> list[int]:
    """The entries' times, never falling: those outside the longest series that does not fall are that of the entry before.

    Method: patience sorting (Fredman 1975), "On computing the length of longest increasing subsequences".
    """
    ends: list[int] = []
    places: list[int] = []
    before: list[int] = []
    for place, entry in enumerate(entries):
        length = bisect_right(ends, entry.at)
        before.append(places[length - 1] if length else -1)
        ends[length : length + 1], places[length : length + 1] = [entry.at], [place]
    kept: set[int] = set()
    place = places[-1] if places else -1
    while place >= 0:
        kept.add(place)
        place = before[place]
    times: list[int] = []
    for place, entry in enumerate(entries):
        times.append(entry.at if place in kept else times[-1] if times else entries[min(kept)].at)
    return times


def _why(move: LedgerEntry) -> str:
    event, when = move.event, f"by {move.actor} at {format_time(move.at)}"
    if isinstance(event, RolledBack):
        return f"rolled back to {when}: {event.reason}"
    assert isinstance(event, Promoted)
    if event.break_glass:
        return f"promoted by breaking the glass {when}: {event.reason}"
    return f"{'promoted without the gate' if event.ungated else 'promoted'} {when}"


def _promotion(past: list[LedgerEntry], move: LedgerEntry) -> LedgerEntry | None:
    """The promotion that the move rests on: itself, or for a rollback the newest one of the version that it went back to."""
    assert isinstance(move.event, Promoted | RolledBack)
    digest = move.event.digest
    moves = (entry for entry in reversed(past) if entry.seq <= move.seq)
    return next((entry for entry in moves if isinstance(entry.event, Promoted) and entry.event.digest == digest), None)


def _approvals(past: list[LedgerEntry], promotion: LedgerEntry | None, receipt: str) -> list[Consented]:
    if promotion is None or not receipt:
        return []
    before = _state([entry for entry in past if entry.seq < promotion.seq])
    began = before.rollout.started_at if before.rollout and before.rollout.receipt == receipt else promotion.at
    return [
        Consented(approver=consent.approver, at=consent.at, via=consent.via, comment=consent.comment, run=consent.run)
        for consent in before.consents
        if consent.receipt == receipt and consent.expires_at > began
    ]


def _state(past: list[LedgerEntry]) -> LedgerState:
    return fold(("", entry) for entry in past)
