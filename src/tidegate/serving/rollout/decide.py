"""What follows from the evidence: continue, advance, stop or done, with a sentence. Pure: evidence and plan in, a look out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tidegate.clock import parse_duration
from tidegate.records.ledger import Rollout
from tidegate.records.rollout import Action, Answer, Condition, Look, RolloutPolicy
from tidegate.serving.rollout.conditions import LATENCY, allowed, examine, imbalance, labelled, split
from tidegate.serving.rollout.evidence import Evidence

_UNITS = {LATENCY: " ms"}
_SHARES = {"errors", "disagreement"}


class _Follows(NamedTuple):
    action: Action
    sentence: str
    outcome: str = ""


def decide(model: str, rollout: Rollout, plan: RolloutPolicy, evidence: Evidence, *, task: str, now: int) -> Look:
    """One look. It may be repeated at any time and as often as one likes: the bounds hold over all looks together.

    In this order: requests that were not assigned as declared make everything else void; proven harm stops; whoever is through goes
    on being watched; whoever takes too long is stopped; then a step ends when it has rows and time enough and no condition is open.
    A condition that needs labels is not waited for before the first label has matured, except at the last step.
    """
    conditions = examine(evidence, plan, task)
    at_step = evidence.step == rollout.step
    answered = at_step & np.isfinite(evidence.candidate_failed) & (evidence.assigned | (evidence.share == 0))
    rows = int(np.count_nonzero(answered))
    splits = split(evidence)
    uneven = imbalance(splits, allowed(plan, task))
    follows = _follows(rollout, plan, conditions, rows, uneven, now)
    return Look(
        model=model,
        version=rollout.version,
        rollout=rollout.seq,
        at=now,
        mode=plan.mode,
        step=rollout.step,
        share=rollout.share,
        action=follows.action,
        outcome=follows.outcome,
        sentence=follows.sentence,
        conditions=conditions,
        rows=rows,
        matured=labelled(evidence),
        dropped=evidence.dropped,
        splits=splits,
        imbalance=uneven,
    )


def tell(condition: Condition) -> str:
    """``brier is worse by 0.03 (0.012 to 0.048), at most 0.01 is allowed``."""
    name = condition.name
    what = f"{name} is" if name in _SHARES or name in _UNITS else f"{name} is worse by"
    return f"{what} {_number(name, condition.value)} ({interval(condition)}), at most {_number(name, condition.bound)} is allowed"


def interval(condition: Condition) -> str:
    """``0.012 to 0.048``; a question mark where an end is not known."""
    return f"{_number('', condition.low)} to {_number('', condition.high)}"


def _follows(
    rollout: Rollout,
    plan: RolloutPolicy,
    conditions: Sequence[Condition],
    rows: int,
    uneven: float,
    now: int,
) -> _Follows:
    if uneven >= 1:
        return _Follows(
            "stop",
            "keys did not come to the two models by the declared shares: whatever else is seen compares different people",
            "invalid",
        )
    harm = [condition for condition in conditions if condition.answer is Answer.HARM]
    if harm:
        return _Follows("stop", "; ".join(map(tell, harm)), "harmful")
    last = len(plan.shares) - 1
    if rollout.step > last:
        return _Follows("done", "every step held; it goes on being watched until it is promoted or stopped")
    if now - rollout.started_at > parse_duration(plan.maximum_duration):
        return _Follows("stop", f"not through after {plan.maximum_duration}: {_waits(plan, conditions, rows, True)}", "undecided")
    if now - rollout.moved_at < parse_duration(plan.minimum_duration):
        return _Follows("continue", f"a step lasts at least {plan.minimum_duration}")
    waits = _waits(plan, conditions, rows, rollout.step == last)
    if waits:
        return _Follows("continue", waits)
    if rollout.step == last:
        return _Follows("done", f"every step held, after {rows:,} rows at the last one")
    return _Follows("advance", f"{rows:,} rows and every condition held")


def _waits(plan: RolloutPolicy, conditions: Sequence[Condition], rows: int, is_last: bool) -> str:
    """What is waited for, or an empty text."""
    if rows < plan.minimum_samples:
        return f"{rows:,} of {plan.minimum_samples:,} rows at this step"
    still = [each for each in conditions if each.answer is Answer.OPEN and (is_last or each.rows or each.name not in plan.harm)]
    told = [
        f"{each.name}: {each.note or 'no rows yet'}" if not each.rows else f"{each.name} is not decided: {tell(each)}"
        for each in still
    ]
    return "; ".join(told)


def _number(name: str, value: float | None) -> str:
    if value is None:
        return "?"
    return f"{100 * value:.3g} %" if name in _SHARES else f"{value:.3g}{_UNITS.get(name, '')}"
