"""Rollouts as the pages and the API tell of them: from the ledger, the plan in it, and the evidence."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from tidegate.errors import NotFoundError, TidegateError
from tidegate.records.rollout import Look, RolloutPolicy
from tidegate.release import RolloutHistory, read_entries, rollout_histories, tell
from tidegate.serving.rollout.live import plan_of
from tidegate.serving.rollout.looks import find_look
from tidegate.workspace import Workspace

POINTS = 24
"""Into how many parts the evidence is cut for a picture, at most."""


class ToldRollout(msgspec.Struct, frozen=True, kw_only=True):
    """One rollout in short. Times are microseconds UTC."""

    model: str
    number: int
    """Of the ledger entry that began it: its identity."""
    version: int
    champion: int
    """The version that it stood beside."""
    outcome: str
    """See ``RolloutHistory.outcome``."""
    mode: str
    steps: list[float]
    step: int
    share: float
    """Of keys that the version answered, at last."""
    receipt: str
    started_at: int
    ended_at: int | None
    sentence: str
    """Why it ended, or what the newest look found."""


@dataclass(frozen=True)
class FoundRollout:
    """One rollout with everything that is known of it."""

    told: ToldRollout
    history: RolloutHistory
    plan: RolloutPolicy
    look: Look | None
    """While it runs what is found now, afterwards what the last look found."""
    course: list[Look]
    """What would have been found after each part of the evidence."""
    began: dict[int, int]
    """When each step began that was reached."""
    problem: str
    """Why something of it is not known."""


def list_told(workspace: Workspace, models: list[str]) -> list[ToldRollout]:
    """The rollouts of these models: those that run first, then the newest."""
    told = [_told(workspace, name, history) for name in models for history in _histories(workspace, name)]
    return sorted(told, key=lambda item: (item.ended_at is not None, -item.started_at))


def find_rollout(workspace: Workspace, model: str, number: int) -> FoundRollout:
    """The rollout that a ledger entry began.

    Raises:
        NotFoundError: it began none.
    """
    history = next((item for item in _histories(workspace, model) if item.rollout.seq == number), None)
    if history is None:
        raise NotFoundError(
            "no-such-rollout",
            f"no rollout of {model} began with ledger entry {number}",
            why="a rollout is named by the entry that began it",
            fix=f"tidegate release log {model}",
        )
    plan, problem = _plan(history)
    look, course = None, list[Look]()
    until = history.end.at if history.end else workspace.clock.now()
    try:
        course = workspace.rollouts.course_of(model, history.rollout, history.champion, points=POINTS, until=until)
        look = find_look(workspace.store.bucket, model, number) if history.end else None
    except TidegateError as error:
        problem = problem or f"{error.what}: {error.why}"
    return FoundRollout(
        told=_told(workspace, model, history),
        history=history,
        plan=plan,
        look=look or (course[-1] if course else None),
        course=course,
        began=_began(history),
        problem=problem,
    )


def _histories(workspace: Workspace, model: str) -> list[RolloutHistory]:
    return rollout_histories(read_entries(workspace.store.bucket, model))


def _told(workspace: Workspace, model: str, history: RolloutHistory) -> ToldRollout:
    rollout = history.rollout
    plan, problem = _plan(history)
    return ToldRollout(
        model=model,
        number=rollout.seq,
        version=rollout.version,
        champion=history.champion.version,
        outcome=history.outcome,
        mode=plan.mode,
        steps=plan.shares,
        step=rollout.step,
        share=rollout.share,
        receipt=rollout.receipt,
        started_at=rollout.started_at,
        ended_at=history.end.at if history.end else None,
        sentence=problem or _sentence(workspace, model, history),
    )


def _sentence(workspace: Workspace, model: str, history: RolloutHistory) -> str:
    if history.end is not None:
        told = tell(history.end.event)
        return told.why or told.sentence
    try:
        look = find_look(workspace.store.bucket, model, history.rollout.seq)
    except TidegateError as error:
        return error.what
    return look.sentence if look else "nobody has looked yet: tidegate tick does"


def _plan(history: RolloutHistory) -> tuple[RolloutPolicy, str]:
    """The plan in the ledger, which does not read it: another tool may have written anything there."""
    try:
        return plan_of(history.rollout), ""
    except msgspec.ValidationError as error:
        return RolloutPolicy(), f"the plan in the ledger cannot be read: {error}"


def _began(history: RolloutHistory) -> dict[int, int]:
    began = {0: history.rollout.started_at}
    for _, entry in history.entries:
        step = getattr(entry.event, "step", None)
        if isinstance(step, int):
            began.setdefault(step, entry.at)
    return began
