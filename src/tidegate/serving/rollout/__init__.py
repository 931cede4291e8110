"""Rollouts: a candidate gets live requests by a plan, evidence is gathered beside the answers, and decides.

``router.py`` and ``pairing.py`` work in a server; ``controller.py`` wherever the loop runs. They meet in the bucket alone.
Loaded on demand: a server needs none of the statistics.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tidegate.lazy import exports

if TYPE_CHECKING:
    from tidegate.serving.rollout.controller import Controller, RolloutPlan
    from tidegate.serving.rollout.evidence import Evidence, read_evidence
    from tidegate.serving.rollout.router import Router

__all__ = ["Controller", "Evidence", "RolloutPlan", "Router", "read_evidence"]

__getattr__, __dir__ = exports(
    __name__,
    {
        "controller": ["Controller", "RolloutPlan"],
        "evidence": ["Evidence", "read_evidence"],
        "router": ["Router"],
    },
)
