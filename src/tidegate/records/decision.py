"""A retraining decision: the recorded answer to a trigger, also when the answer is no."""

from __future__ import annotations

from enum import StrEnum

import msgspec


class DecisionState(StrEnum):
    """OPEN, then TRAINED, then WAITING for approval or REJECTED, then PROMOTED, DECLINED or EXPIRED."""

    OPEN = "OPEN"
    TRAINED = "TRAINED"
    WAITING = "WAITING"
    PROMOTED = "PROMOTED"
    REJECTED = "REJECTED"
    """The gate did not pass the candidate, or training failed."""
    DECLINED = "DECLINED"
    """A person said no."""
    EXPIRED = "EXPIRED"

    @property
    def is_final(self) -> bool:
        """Whether nothing can follow."""
        return self in {DecisionState.PROMOTED, DecisionState.REJECTED, DecisionState.DECLINED, DecisionState.EXPIRED}


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One transition: to which state, when, by whom, and why."""

    state: DecisionState
    at: int
    actor: str
    note: str


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """A retraining decision with everything that led to it."""

    id: str
    model: str
    trigger: str
    """``alert``, ``schedule`` or ``manual``."""
    reason: str
    opened_at: int
    state: DecisionState
    alerts: list[str] = []
    run: str = ""
    candidate: int = 0
    evaluation: str = ""
    """Reference of the evaluation snapshot that was frozen for it; empty: the policy's."""
    receipt: str = ""
    steps: list[Step] = []
