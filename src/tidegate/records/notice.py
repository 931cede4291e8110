"""Something that people outside want to hear of at once."""

from __future__ import annotations

from typing import Any

import msgspec


class Notice(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that happened. Who is told twice sees the same ``id``."""

    id: str
    type: str
    """Such as ``release.promoted``: the room, a dot, what happened."""
    at: int
    """us UTC"""
    title: str
    """One line for people."""
    text: str = ""
    urgent: bool = False
    data: dict[str, Any] = {}
    """The same for programs."""


class Waiting(msgspec.Struct, frozen=True, kw_only=True):
    """``notices/waiting/<target>/<id>.json``: a notice that one target has not taken yet; below ``failed/``, one that it never took."""

    notice: Notice
    attempts: int = 0
    next_at: int = 0
    """us UTC; until then nobody tries. Whoever tries moves it first, so that two who try at once do not both send."""
    error: str = ""
    """What came of the last attempt."""
