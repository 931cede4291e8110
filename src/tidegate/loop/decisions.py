"""Decisions as documents: one after the other per model, each state reached once, whoever moves it."""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from tidegate.errors import ConflictError, NotFoundError, RefusedError
from tidegate.records.decision import Decision, DecisionState, Step
from tidegate.store.ports import Document, Documents

KIND = "decision"

_FOLLOWING: dict[DecisionState, frozenset[DecisionState]] = {
    DecisionState.OPEN: frozenset({DecisionState.TRAINED, DecisionState.REJECTED, DecisionState.DECLINED}),
    DecisionState.TRAINED: frozenset(
        {DecisionState.TRAINED, DecisionState.WAITING, DecisionState.REJECTED, DecisionState.DECLINED}
    ),
    DecisionState.WAITING: frozenset(
        {DecisionState.TRAINED, DecisionState.PROMOTED, DecisionState.DECLINED, DecisionState.EXPIRED}
    ),
}
"""TRAINED follows itself when an evaluation snapshot was frozen, and WAITING when the champion it was compared with is gone."""


class Kept(NamedTuple):
    """A decision and the revision that a change of it must name."""

    decision: Decision
    revision: int


class Decisions:
    """The decisions of all models. Safe from any number of threads and processes: of two who move one, one succeeds."""

    def __init__(self, documents: Documents, actor: str) -> None:
        self._documents = documents
        self._actor = actor

    def list(self, model: str = "", *, limit: int = 100) -> list[Decision]:
        """Decisions of one model or of all, newest first."""
        return [_decision(found) for found in self._documents.list(KIND, subject=model, limit=limit)]

    def get(self, decision_id: str) -> Kept:
        """One decision.

        Raises:
            NotFoundError: there is none.
        """
        found = self._documents.find(KIND, decision_id)
        if found is None:
            raise NotFoundError("no-such-decision", f"there is no decision {decision_id!r}", fix="tidegate decision list")
        return Kept(_decision(found), found.revision)

    def find_open(self, model: str) -> Kept | None:
        """The model's decision that is not final, if there is one."""
        newest = self._documents.list(KIND, subject=model, limit=1)
        found = Kept(_decision(newest[0]), newest[0].revision) if newest else None
        return found if found and not found.decision.state.is_final else None

    def open(self, model: str, *, trigger: str, reason: str, now: int, alerts: list[str] | None = None) -> Decision:
        """Opens the model's next decision.

        Decisions are numbered, and a number is taken once: of two who open one at the same time, one succeeds.

        Raises:
            ConflictError: one is open already.
        """
        newest = self.list(model, limit=1)
        if newest and not newest[0].state.is_final:
            raise _already_open(newest[0])
        number = int(newest[0].id.rsplit("-", 1)[-1]) + 1 if newest else 1
        decision = Decision(
            id=f"{model}-{number:04d}",
            model=model,
            trigger=trigger,
            reason=reason,
            opened_at=now,
            state=DecisionState.OPEN,
            alerts=alerts or [],
            steps=[Step(state=DecisionState.OPEN, at=now, actor=self._actor, note=reason)],
        )
        if not self._documents.add(_document(Kept(decision, 0))):
            raise _already_open(self.get(decision.id).decision)
        return decision

    def move(self, kept: Kept, state: DecisionState, *, note: str, now: int, **changes: Any) -> Kept:
        """Moves a decision to a state that may follow, with the fields that changed.

        Raises:
            RefusedError: the state cannot follow.
            ConflictError: somebody else moved it meanwhile.
        """
        decision = kept.decision
        if state not in _FOLLOWING.get(decision.state, frozenset()):
            raise RefusedError(
                "decision-final" if decision.state.is_final else "decision-state",
                f"decision {decision.id} is {decision.state} and cannot become {state}",
                why=decision.steps[-1].note if decision.steps else "",
                fix=f"tidegate decision show {decision.id}",
            )
        step = Step(state=state, at=now, actor=self._actor, note=note)
        moved = msgspec.structs.replace(decision, state=state, steps=[*decision.steps, step], **changes)
        return Kept(moved, self._documents.update(_document(Kept(moved, kept.revision))).revision)

    def decline(self, decision_id: str, *, reason: str, now: int) -> Decision:
        """A person says no; the champion stays.

        Raises:
            NotFoundError: there is no such decision.
            RefusedError: it is final already.
            ConflictError: it was moved meanwhile.
        """
        return self.move(self.get(decision_id), DecisionState.DECLINED, note=reason, now=now).decision


def _already_open(decision: Decision) -> ConflictError:
    return ConflictError(
        "decision-open",
        f"decision {decision.id} about {decision.model} is {decision.state}",
        why="there is one retraining decision at a time",
        fix=f"tidegate tick moves it on; tidegate decision decline {decision.id} --reason TEXT ends it",
    )


def _decision(document: Document) -> Decision:
    return msgspec.convert(document.body, Decision)


def _document(kept: Kept) -> Document:
    decision = kept.decision
    body: dict[str, Any] = msgspec.to_builtins(decision)
    return Document(KIND, decision.id, decision.model, decision.state, decision.opened_at, body, kept.revision)
