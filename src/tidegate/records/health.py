"""What doctor found: checks, each with its evidence, and the level they add up to."""

from __future__ import annotations

from enum import StrEnum

import msgspec


class CheckState(StrEnum):
    """UNKNOWN is not a pass."""

    OK = "ok"
    FAIL = "fail"
    UNKNOWN = "unknown"


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One question asked of the store. ``level`` is the maturity level that cannot be had without it (0: none needs it)."""

    name: str
    section: str
    """``store``, ``data``, ``model``, ``infrastructure`` or ``monitoring``."""
    level: int
    state: CheckState
    evidence: str
    fix: str = ""


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """The maturity level (0 to 4), the check that blocks the next one, red flags, and every check."""

    level: int
    blocked_by: str
    red_flags: list[str]
    checks: list[Check]
