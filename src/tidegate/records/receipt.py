"""The receipt: what binds a verdict to exactly the things that it was reached on."""

from __future__ import annotations

import msgspec

from tidegate.records.verdict import Verdict


class Baseline(msgspec.Struct, frozen=True, kw_only=True):
    """The champion as the pointer stood when the gate ran; version 0 and move 0 mean that there was none."""

    version: int = 0
    digest: str = ""
    move: int = 0
    """Sequence number of the ledger entry that put it there; it changes with every move of the pointer."""


class Receipt(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """``models/<name>/receipts/<digest>.json``. Its digest is the SHA-256 of its canonical JSON (without what is empty)."""

    model: str
    candidate: int
    candidate_digest: str
    baseline: Baseline
    snapshot: str
    snapshot_digest: str
    policy_digest: str
    report_digest: str
    verdict: Verdict
    code: str
    """Tidegate's version and the project's git commit, like ``tidegate 0.1.0, git 1a2b3c (dirty)``."""
    seed: int
    author: str
    judged_at: int
    expires_at: int
    policy_document: str = ""
    """Digest of the whole policy as it is kept beside the receipt; empty in receipts from before it was kept."""
    loosened: list[str] = []
    """In which ways the policy asks for less than before, in sentences: each promotion on it needs one approver more."""
    loosened_by: list[str] = []
    """Who made the policy so, by name and address, as far as git tells: their approval does not count."""
