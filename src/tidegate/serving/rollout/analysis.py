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


def analysis(
    model: str, rollout: Rollout | None, look: Look | None, *, runs: bool, now: int, step: int | None = None
) -> dict[str, Any]:
    """The document about a rollout and its newest look, as plain values fit for JSON.

    Args:
        model: The model's name.
        rollout: The rollout that runs, or the last one that did; None: this process knows of none.
        look: The newest look at it.
        runs: Whether it runs still.
        now: Microseconds UTC.
        step: Whoever asks about one step gets success once the rollout has left it for the next; None: the present one.
    """
    if rollout is None:
        return _document(model, 0, "inconclusive", "no rollout runs", None)
    version = rollout.version
    if look is None or look.rollout != rollout.seq:
        return _document(model, version, "inconclusive", "nobody has looked yet: tidegate tick", None)
    if not runs:
        found = verdict(look) if look.action == "stop" else "inconclusive"
        return _document(model, version, found, f"the rollout is over: {look.sentence}", look)
    if now - look.at > OLDEST:
        return _document(model, version, "inconclusive", f"the newest look is of {format_time(look.at)}: tidegate tick", look)
    if step is not None and rollout.step > step and verdict(look) != "failure":
        return _document(model, version, "success", f"step {step} is over: every condition held", look)
    if look.step != rollout.step and verdict(look) != "failure":
        return _document(model, version, "inconclusive", "nobody has looked at this step yet: tidegate tick", look)
    return _document(model, version, verdict(look), look.sentence, look)


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
