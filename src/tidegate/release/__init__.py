"""Approvals, ledger, pointer, promotion and rollback. Needs the bucket alone."""

from tidegate.release.ledger import read_entries, read_pointer, verify_ledger
from tidegate.release.release import PromotionPlan, Release, served_at
from tidegate.release.state import LedgerState

__all__ = ["LedgerState", "PromotionPlan", "Release", "read_entries", "read_pointer", "served_at", "verify_ledger"]
