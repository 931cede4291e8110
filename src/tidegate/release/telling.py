"""A ledger event as people read it, the same in the terminal and on the pages."""

from __future__ import annotations

from typing import NamedTuple, assert_never

from tidegate.clock import format_time
from tidegate.digest import short
from tidegate.records.ledger import (
    Aliased,
    Approved,
    Event,
    Frozen,
    Judged,
    Promoted,
    Registered,
    Released,
    Revoked,
    RolledBack,
    RolloutMoved,
    RolloutStarted,
    RolloutStopped,
    Staged,
    Unaliased,
    Unfrozen,
)
from tidegate.records.verdict import Verdict


class Told(NamedTuple):
    """What an event says: ``what`` was done to which ``version`` (0: to none), ``how``, and ``why`` its actor did it."""

    kind: str
    """One word, such as ``promoted``; ``ungated`` or ``break-glass`` where a promotion passed no gate."""
    what: str
    version: int = 0
    how: str = ""
    why: str = ""
    receipt: str = ""
    """Digest of the receipt that it names, or empty."""
    verdict: Verdict | None = None

    @property
    def sentence(self) -> str:
        """All of it in one line: ``rolled back to version 1, from 2: too many false alarms``."""
        version = f" version {self.version}" if self.version else ""
        return f"{self.what}{version}{self.how}{f': {self.why}' if self.why else ''}"


def tell(event: Event) -> Told:
    """What an event says."""
    match event:
        case Registered():
            return Told("registered", "registered", event.version, f" ({short(event.digest)})")
        case Judged():
            return _tell_judged(event)
        case Approved() | Revoked():
            return _tell_consent(event)
        case Promoted():
            return _tell_promoted(event)
        case RolledBack():
            return Told("rolled-back", "rolled back to", event.version, f", from {event.previous.version}", event.reason)
        case Released():
            return Told("released", "lifted the quarantine of", event.version, "", event.reason)
        case Frozen():
            return Told("frozen", "froze promotions", why=event.reason)
        case Unfrozen():
            return Told("unfrozen", "allowed promotions again", why=event.reason)
        case Aliased() | Unaliased() | Staged():
            return _tell_mark(event)
        case RolloutStarted() | RolloutMoved() | RolloutStopped():
            return _tell_rollout(event)
        case _:
            assert_never(event)


def _tell_judged(event: Judged) -> Told:
    how = f": {event.verdict} (receipt {short(event.receipt)})"
    how += f", by a policy that asks for less than before ({'; '.join(event.loosened)})" if event.loosened else ""
    return Told("judged", "judged", event.version, how, "", event.receipt, event.verdict)


def _tell_promoted(event: Promoted) -> Told:
    previous = f", from {event.previous.version or 'nothing'}"
    if event.break_glass:
        return Told("break-glass", "broke the glass and promoted", event.version, previous, event.reason)
    if event.ungated:
        return Told("ungated", "promoted ungated", event.version, f"{previous}: no receipt stands behind it")
    return Told("promoted", "promoted", event.version, previous, "", event.receipt)


def _tell_consent(event: Approved | Revoked) -> Told:
    if isinstance(event, Revoked):
        return Told("revoked", f"revoked the approval of {event.approver} for", event.version, "", event.reason, event.receipt)
    until = f" until {format_time(event.expires_at)}"
    if event.via == "policy":
        return Told("approved", "approved by policy", event.version, until, event.comment, event.receipt)
    job = f" ({event.ci.actor} in {event.ci.run or event.ci.system})" if event.ci else ""
    typed = f" (as {event.typed}, a name that was typed on a web page)" if event.typed else ""
    return Told("approved", "approved", event.version, until + job + typed, event.comment, event.receipt)


def _tell_rollout(event: RolloutStarted | RolloutMoved | RolloutStopped) -> Told:
    match event:
        case RolloutStarted():
            return Told("rollout-started", "began to roll out", event.version, "", "", event.receipt)
        case RolloutMoved():
            how = f" to {100 * event.share:g} % of requests"
            return Told("rollout-moved", "moved the rollout of", event.version, how, event.reason)
        case RolloutStopped():
            what = {"harmful": "stopped, as harmful,", "invalid": "stopped, as invalid,", "undecided": "stopped, undecided,"}.get(
                event.outcome, event.outcome
            )
            return Told("rollout-stopped", f"{what} the rollout of", event.version, "", event.reason)


def _tell_mark(event: Aliased | Unaliased | Staged) -> Told:
    """What a name or a stage was given to: neither moves the pointer."""
    match event:
        case Aliased():
            previous = f", from {event.previous}" if event.previous else ""
            return Told("aliased", f"set the alias {event.alias} on", event.version, previous)
        case Unaliased():
            return Told("unaliased", f"removed the alias {event.alias} from", event.version)
        case Staged():
            others = f", archiving {', '.join(map(str, event.archived))}" if event.archived else ""
            return Told("staged", f"moved to the stage {event.stage}:", event.version, others)
