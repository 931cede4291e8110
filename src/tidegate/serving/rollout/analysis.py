"""What others ask before they shift traffic, such as Argo Rollouts' ``web`` metric: a verdict that is never success by default.

    {"verdict": "success" | "failure" | "inconclusive", "value": 1.0 | 0.0 | null, "sentence": ..., "conditions": {...}}

Success is proven: every condition holds. No look, an old look, a look without rows, a number that is not there: inconclusive.
"""

from __future__ import annotations

from typing import Any

from tidegate.clock import MINUTE, format_time
from tidegate.records.ledger import Rollout
from tidegate.records.rollout import Answer, Look

OLDEST = 10 * MINUTE
"""A look older than this says nothing about now."""


def analysis(model: str, rollout: Rollout | None, look: Look | None, *, now: int) -> dict[str, Any]:
    """The document for a running rollout and its newest look, as plain values fit for JSON."""
    if rollout is None:
        return _document(model, 0, "inconclusive", "no rollout runs", None)
    if look is None or look.rollout != rollout.seq:
        return _document(model, rollout.version, "inconclusive", "nobody has looked yet: tidegate tick", None)
    if now - look.at > OLDEST:
        return _document(
            model, rollout.version, "inconclusive", f"the newest look is of {format_time(look.at)}: tidegate tick", look
        )
    return _document(model, rollout.version, verdict(look), look.sentence, look)


def verdict(look: Look) -> str:
    """``success`` where the step is over because everything held, ``failure`` where it was stopped, else ``inconclusive``."""
    if look.action == "stop":
        return "failure" if look.outcome == "harmful" else "inconclusive"
    known = all(condition.rows > 0 and None not in (condition.value, condition.high) for condition in look.conditions)
    held = all(condition.answer is Answer.HELD for condition in look.conditions)
    return "success" if look.action in {"advance", "done"} and look.rows > 0 and known and held else "inconclusive"


def _document(model: str, version: int, found: str, sentence: str, look: Look | None) -> dict[str, Any]:
    conditions = {
        condition.name: {
            "answer": str(condition.answer),
            "value": condition.value,
            "low": condition.low,
            "high": condition.high,
            "bound": condition.bound,
            "rows": condition.rows,
        }
        for condition in (look.conditions if look else [])
    }
    return {
        "model": model,
        "version": version,
        "verdict": found,
        "value": {"success": 1.0, "failure": 0.0}.get(found),
        "sentence": sentence,
        "step": look.step if look else None,
        "share": look.share if look else None,
        "rows": look.rows if look else 0,
        "at": look.at if look else None,
        "conditions": conditions,
    }
