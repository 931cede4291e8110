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
    RolledBack,
    Staged,
    Unaliased,
    Unfrozen,
)
from tidegate.records.verdict import Verdict


class Told(NamedTuple):
    """What an event says: ``what`` was done to which ``version`` (0: to none), ``how``, and ``why`` its actor did it."""

    kind: str
    """One word, such as ``promoted``; ``ungated`` where a promotion passed no gate."""
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
            how = f": {event.verdict} (receipt {short(event.receipt)})"
            how += f", by a policy that asks for less than before ({'; '.join(event.loosened)})" if event.loosened else ""
            return Told("judged", "judged", event.version, how, "", event.receipt, event.verdict)
        case Approved():
            until = f" until {format_time(event.expires_at)}"
            return Told("approved", "approved", event.version, until, event.comment, event.receipt)
        case Promoted():
            previous = f", from {event.previous.version or 'nothing'}"
            if event.ungated:
                return Told("ungated", "promoted ungated", event.version, f"{previous}: no receipt stands behind it")
            return Told("promoted", "promoted", event.version, previous, "", event.receipt)
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
        case _:
            assert_never(event)


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
