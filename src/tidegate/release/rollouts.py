"""Rollouts in the ledger: a version that answers live requests beside the champion needs what a promotion needs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from tidegate.errors import ConflictError, NotFoundError, RefusedError, UsageError
from tidegate.records.ledger import Event, LedgerEntry, Outcome, RolloutMoved, RolloutStarted, RolloutStopped
from tidegate.records.policy import ModelPolicy
from tidegate.release.ledger import Ledger
from tidegate.release.planning import PromotionPlan, plan_promotion
from tidegate.release.rules import require_reason
from tidegate.release.state import LedgerState, Rollout


class Rollouts:
    """Begins, moves and ends rollouts of the models in one bucket; at most one of a model at a time.

    A promotion of the version completes its rollout; a promotion of another one, or a rollback, ends it.
    """

    def __init__(self, ledger: Ledger, folder: Path = Path()) -> None:
        """``folder`` is where the paths in a policy begin."""
        self._ledger = ledger
        self._folder = folder

    def running(self, model: str) -> Rollout | None:
        """The rollout that runs now, with its step and share."""
        return self._ledger.state(model).rollout

    def start(self, model: str, version: int, *, policy: ModelPolicy, plan: dict[str, Any]) -> LedgerEntry:
        """Lets the version answer live requests as its plan says, if it could be promoted now.

        Receipt and approvals are held to this moment for as long as the rollout runs; a revoked approval, a freeze, a quarantine or
        a newer verdict are not waited out: they stop it from growing and from being promoted.

        Raises:
            RefusedError: a rule of promotion forbids it.
            ConflictError: another rollout runs, or the version serves already.
            NotFoundError: there is no champion to roll out beside.
        """

        def decide(state: LedgerState) -> Event:
            if state.rollout is not None:
                raise ConflictError(
                    "rollout-running",
                    f"{model}@{state.rollout.version} is being rolled out already",
                    why="two candidates at once would hide each other's harm",
                    fix=f"wait, or stop it: tidegate rollout stop {model} --reason TEXT",
                )
            if not state.champion.version:
                raise NotFoundError(
                    "no-champion",
                    f"{model} has no champion",
                    why="a rollout stands beside what serves",
                    fix=f"tidegate promote {model}@{version}",
                )
            if state.champion.version == version:
                raise ConflictError("pointer-moved", f"{model}@{version} serves already", fix="nothing is to be done")
            found = self._plan(state, model, version, policy)
            if found.event is None:
                raise found.refusal or RefusedError("nothing-to-do", f"{found.request.ref} cannot be rolled out")
            return RolloutStarted(version=version, digest=found.event.digest, receipt=found.event.receipt, plan=plan)

        return self._ledger.append(model, decide)

    def move(
        self,
        model: str,
        version: int,
        *,
        policy: ModelPolicy,
        step: int,
        share: float,
        reason: str,
        seen: Rollout | None = None,
    ) -> LedgerEntry | None:
        """Puts the running rollout at a step: the version answers ``share`` (0 to 1) of requests. None if it does already.

        With ``seen`` it must still be as it was seen then: whoever decided on old evidence moves nothing.

        Raises:
            UsageError: no reason was given, or the share is none.
            ConflictError: this version is not being rolled out.
            RefusedError: the share grows, and a rule of promotion forbids it by now.
        """
        require_reason(reason)
        if not 0 <= share <= 1:
            raise UsageError("bad-share", f"{share} is no share of requests", fix="a number from 0 to 1")

        def decide(state: LedgerState) -> Event | None:
            rollout = _running(state, model, version)
            if (rollout.step, rollout.share) == (step, share):
                return None
            _require_same(rollout, seen, model)
            if share > rollout.share:
                refusal = self._plan(state, model, version, policy).refusal
                if refusal is not None:
                    raise refusal
            return RolloutMoved(version=version, step=step, share=share, reason=reason)

        return self._ledger.append_if(model, decide)

    def stop(self, model: str, version: int, *, outcome: Outcome, reason: str, seen: Rollout | None = None) -> LedgerEntry:
        """Ends the running rollout at once; a ``harmful`` version is quarantined like one that was rolled back.

        With ``seen`` it must be the same rollout still, at whatever step.

        Raises:
            UsageError: no reason was given.
            ConflictError: this version is not being rolled out.
        """
        require_reason(reason)

        def decide(state: LedgerState) -> Event:
            rollout = _running(state, model, version)
            _require_same(rollout, seen and msgspec.structs.replace(rollout, seq=seen.seq), model)
            return RolloutStopped(version=version, outcome=outcome, reason=reason)

        return self._ledger.append(model, decide)

    def _plan(self, state: LedgerState, model: str, version: int, policy: ModelPolicy) -> PromotionPlan:
        return plan_promotion(self._ledger.bucket, state, model, version, policy, self._ledger.clock.now(), self._folder)


def _require_same(rollout: Rollout, seen: Rollout | None, model: str) -> None:
    if seen is not None and rollout != seen:
        raise ConflictError(
            "rollout-moved",
            f"the rollout of {model}@{rollout.version} has moved to step {rollout.step} meanwhile",
            why="the decision was made about an earlier step",
            fix="nothing is to be done: the next look decides anew",
        )


def _running(state: LedgerState, model: str, version: int) -> Rollout:
    if state.rollout is not None and state.rollout.version == version:
        return state.rollout
    now = f"{model}@{state.rollout.version} is" if state.rollout else "nothing is"
    raise ConflictError(
        "no-rollout",
        f"{model}@{version} is not being rolled out",
        why=f"{now} being rolled out; a promotion or a rollback ends a rollout",
        fix=f"tidegate release log {model}",
    )
