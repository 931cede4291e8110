"""Approvals, ledger, pointer, promotion and rollback. Needs the bucket alone.

Loaded on demand: a serving process follows the pointer and needs none of the rules.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tidegate.lazy import exports

if TYPE_CHECKING:
    from tidegate.release.anchor import find_anchor
    from tidegate.release.audit import audit_ledger, audit_write
    from tidegate.release.ledger import read_entries, read_pointer, verify_ledger
    from tidegate.release.release import PromotionPlan, Release, served_at
    from tidegate.release.state import LedgerState
    from tidegate.release.telling import Told, tell

__all__ = [
    "LedgerState",
    "PromotionPlan",
    "Release",
    "Told",
    "audit_ledger",
    "audit_write",
    "find_anchor",
    "read_entries",
    "read_pointer",
    "served_at",
    "tell",
    "verify_ledger",
]

__getattr__, __dir__ = exports(
    __name__,
    {
        "anchor": ["find_anchor"],
        "audit": ["audit_ledger", "audit_write"],
        "ledger": ["read_entries", "read_pointer", "verify_ledger"],
        "release": ["PromotionPlan", "Release", "served_at"],
        "state": ["LedgerState"],
        "telling": ["Told", "tell"],
    },
)
