"""Where Tidegate answers otherwise than MLflow on purpose: script, step, and why. A step may be declared with ``*`` at its end.

A difference that no longer occurs fails the test: it is to be struck from this list then.
"""

from __future__ import annotations

from typing import NamedTuple


class Difference(NamedTuple):
    """``clients`` are the versions of the client for which it occurs."""

    script: str
    step: str
    why: str
    clients: str = "23"


_RICHER = "our filter language knows more: OR, NOT, parentheses, RLIKE, IN and IS NULL everywhere; MLflow refuses them"
_UNREADABLE = "MLflow ignores what it cannot read and answers as if it were not there; we refuse it, so that a mistake is seen"
_NO_500 = "MLflow breaks with 500, which clients repeat for minutes; we refuse the request with 400"

DIFFERENCES: list[Difference] = []


def declared(client: str, script: str) -> dict[str, str]:
    """The steps of a script that differ for this client, and why."""
    return {one.step: one.why for one in DIFFERENCES if one.script == script and client in one.clients}
