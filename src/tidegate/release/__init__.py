"""Approvals, ledger, pointer, promotion and rollback. Needs the bucket alone.

Loaded on demand: a serving process follows the pointer and needs none of the rules.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tidegate.lazy import exports

if TYPE_CHECKING:
    from tidegate.release.anchor import find_anchor
    from tidegate.release.audit import audit_ledger, audit_write
    from tidegate.release.checkpoints import Checkpoints, Standing, checkpoint_places
    from tidegate.release.followup import FollowUp, follow_up
    from tidegate.release.judged import find_judged, is_judged, judged_rows
    from tidegate.release.ledger import read_entries, read_pointer, verify_ledger
    from tidegate.release.planning import PromotionPlan
    from tidegate.release.release import Release
    from tidegate.release.rollout_history import RolloutHistory, rollout_histories
    from tidegate.release.rollouts import Rollouts
    from tidegate.release.rules import may_break_glass, quorum
    from tidegate.release.served import Served, served_at
    from tidegate.release.state import LedgerState, Rollout
    from tidegate.release.telling import Told, tell

__all__ = [
    "Checkpoints",
    "FollowUp",
    "LedgerState",
    "PromotionPlan",
    "Release",
    "Rollout",
    "RolloutHistory",
    "Rollouts",
    "Served",
    "Standing",
    "Told",
    "audit_ledger",
    "audit_write",
    "checkpoint_places",
    "find_anchor",
    "find_judged",
    "follow_up",
    "is_judged",
    "judged_rows",
    "may_break_glass",
    "quorum",
    "read_entries",
    "read_pointer",
    "rollout_histories",
    "served_at",
    "tell",
    "verify_ledger",
]

__getattr__, __dir__ = exports(
    __name__,
    {
        "anchor": ["find_anchor"],
        "audit": ["audit_ledger", "audit_write"],
        "checkpoints": ["Checkpoints", "Standing", "checkpoint_places"],
        "followup": ["FollowUp", "follow_up"],
        "judged": ["find_judged", "is_judged", "judged_rows"],
        "ledger": ["read_entries", "read_pointer", "verify_ledger"],
        "planning": ["PromotionPlan"],
        "release": ["Release"],
        "rollout_history": ["RolloutHistory", "rollout_histories"],
        "rollouts": ["Rollouts"],
        "rules": ["may_break_glass", "quorum"],
        "served": ["Served", "served_at"],
        "state": ["LedgerState", "Rollout"],
        "telling": ["Told", "tell"],
    },
)
