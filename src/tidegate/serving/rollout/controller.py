"""Moves rollouts on: look, plan, explain, apply. Needs the bucket alone, keeps nothing between two calls.

The ledger is the truth. A controller that dies anywhere leaves either the entry or none; whoever comes next looks again. Of several
controllers one writes, the others are told that the rollout moved meanwhile.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import msgspec

from tidegate.clock import Clock, parse_duration
from tidegate.errors import ConflictError, RefusedError
from tidegate.models import read_version
from tidegate.records.ledger import LedgerEntry, Outcome, Rollout, RolloutMoved, RolloutStopped
from tidegate.records.model import ModelVersion
from tidegate.records.policy import ModelPolicy
from tidegate.records.receipt import Baseline
from tidegate.records.rollout import Look, RolloutPolicy, check_rollout
from tidegate.release import Release
from tidegate.serving.rollout.decide import decide, interval
from tidegate.serving.rollout.evidence import Evidence, read_evidence
from tidegate.serving.rollout.live import plan_of
from tidegate.serving.rollout.looks import write_look
from tidegate.serving.rollout.router import check_answers, check_inputs
from tidegate.store.ports import Bucket

_FINISHED: Outcome = "completed"
_MOST_ROWS = 4_000_000
"""How many rows may be looked at for a picture, each part counted as all."""


@dataclass(frozen=True)
class RolloutPlan:
    """What a look found and what follows from it: one ledger event, or nothing."""

    rollout: Rollout
    look: Look
    event: RolloutMoved | RolloutStopped | None

    def explain(self) -> list[str]:
        """One line for each condition, then what would happen."""
        look = self.look
        lines = [
            f"{condition.answer:<5} {condition.name}: {interval(condition)}, at most {condition.bound:g}, {condition.rows:,} rows"
            for condition in look.conditions
        ]
        ref = f"{look.model}@{look.version}"
        if isinstance(self.event, RolloutMoved):
            return [*lines, f"{ref} moves to step {self.event.step}, {100 * self.event.share:g} % of keys: {self.event.reason}"]
        if isinstance(self.event, RolloutStopped):
            return [*lines, f"{ref} is stopped, as {self.event.outcome}: {self.event.reason}"]
        return [*lines, f"nothing moves: {look.sentence}"]


class Controller:
    """The rollouts of the models in one bucket. Any number of controllers may run at once."""

    def __init__(self, bucket: Bucket, release: Release, clock: Clock) -> None:
        self._bucket = bucket
        self._release = release
        self._clock = clock

    def start(self, model: str, version: int, *, policy: ModelPolicy) -> Rollout:
        """Begins a rollout by the model's plan: from now on the version may get live requests.

        Raises:
            UsageError: the plan cannot be followed, or the version takes other inputs than the champion, or gives other outputs.
            RefusedError: a rule of promotion forbids it.
            ApprovalMissing: all holds but the approvals.
            ConflictError: another rollout runs, or the version serves already.
            NotFoundError: there is no such version, or no champion.
        """
        check_rollout(policy.rollout, policy.task, f"models.{model}.rollout")
        state = self._release.state(model)
        champion = state.champion
        if champion.version and champion.version != version and version in state.digests:
            ours, theirs = (
                read_version(self._bucket, model, number, state.digests[number]) for number in (version, champion.version)
            )
            check_inputs(theirs.manifest.signature, ours.manifest.signature, ours.ref)
            if policy.rollout.mode != "shadow":
                check_answers(theirs.manifest.signature, ours.manifest.signature, ours.ref)
        plan = msgspec.structs.replace(policy.rollout, steps=policy.rollout.shares)
        self._release.rollouts.start(model, version, policy=policy, plan=msgspec.to_builtins(plan))
        if plan.steps[0]:
            self._release.rollouts.move(model, version, policy=policy, step=0, share=plan.steps[0], reason="the first step")
        return self._running(model)

    def plan(self, model: str) -> RolloutPlan | None:
        """One look at the running rollout, and what follows; None if none runs. Changes nothing.

        Raises:
            IntegrityError: evidence or a package was changed.
        """
        rollout = self._release.rollouts.running(model)
        if rollout is None:
            return None
        plan = plan_of(rollout)
        champion = self._champion(model)
        now = self._clock.now()
        evidence = self._evidence(model, rollout, plan, champion, now)
        look = decide(model, rollout, plan, evidence, task=champion.manifest.task, now=now)
        return RolloutPlan(rollout, look, _event(rollout, plan, look))

    def apply(self, plan: RolloutPlan, *, policy: ModelPolicy) -> LedgerEntry | None:
        """Writes down the look, and moves or stops the rollout as it says. None if nothing moves.

        Raises:
            RefusedError: the share would grow, and a rule of promotion forbids it by now.
            ConflictError: somebody else moved or ended the rollout meanwhile.
        """
        rollout, event, model = plan.rollout, plan.event, plan.look.model
        write_look(self._bucket, plan.look)
        if isinstance(event, RolloutStopped):
            stop = partial(self._release.rollouts.stop, model, rollout.version, seen=rollout)
            return stop(outcome=event.outcome, reason=event.reason)
        if isinstance(event, RolloutMoved):
            move = partial(self._release.rollouts.move, model, rollout.version, policy=policy, seen=rollout)
            return move(step=event.step, share=event.share, reason=event.reason)
        return None

    def tick(self, model: str, *, policy: ModelPolicy) -> Look | None:
        """Looks and applies, once; None if no rollout runs. Safe to repeat. Errors: those of ``plan``.

        Where somebody else was faster there is nothing left to do, and where a rule forbids to grow it stays as it is, watched.
        """
        plan = self.plan(model)
        if plan is None:
            return None
        try:
            self.apply(plan, policy=policy)
        except ConflictError as error:
            if error.code not in {"rollout-moved", "no-rollout"}:
                raise
        except RefusedError as error:
            look = msgspec.structs.replace(plan.look, action="continue", sentence=f"it may not grow: {error.what}")
            write_look(self._bucket, look)  # whoever shifts traffic by it must not grow either
            return look
        return plan.look

    def stop(self, model: str, *, reason: str) -> LedgerEntry:
        """Ends the running rollout: the champion answers everything again, within the time in which servers poll.

        Raises:
            NotFoundError: none runs.
            UsageError: no reason was given.
        """
        rollout = self._running(model)
        through = rollout.step >= len(plan_of(rollout).shares)
        outcome: Outcome = _FINISHED if through else "cancelled"
        return self._release.rollouts.stop(model, rollout.version, outcome=outcome, reason=reason, seen=rollout)

    def course(self, model: str, points: int) -> list[Look]:
        """How the running rollout would have looked after each ``points``-th part of what is known now: for pictures.

        Raises:
            NotFoundError: none runs.
        """
        champion = self._release.state(model).champion
        return self.course_of(model, self._running(model), champion, points=points, until=self._clock.now())

    def course_of(self, model: str, rollout: Rollout, champion: Baseline, *, points: int, until: int) -> list[Look]:
        """The same of any rollout, which stood beside ``champion``, by what was known at ``until`` (microseconds UTC).

        Of very much evidence fewer parts are looked at: whoever waits for a picture should not wait long.

        Raises:
            IntegrityError: evidence or a package was changed.
            NotFoundError: the champion's package is gone.
        """
        plan, beside = plan_of(rollout), read_version(self._bucket, model, champion.version, champion.digest)
        evidence = self._evidence(model, rollout, plan, beside, until)
        points = max(1, min(points, _MOST_ROWS // max(evidence.rows, 1)))
        parts = [evidence.first_rows(round(evidence.rows * part / points)) for part in range(1, points + 1)]
        return [decide(model, rollout, plan, part, task=beside.manifest.task, now=until) for part in parts]

    def _running(self, model: str) -> Rollout:
        rollout = self._release.rollouts.running(model)
        if rollout is None:
            raise ConflictError(
                "no-rollout",
                f"no version of {model} is being rolled out",
                why="a promotion, a rollback or a stop ends a rollout",
                fix=f"tidegate rollout start {model}@VERSION; tidegate release log {model} shows what was",
            )
        return rollout

    def _champion(self, model: str) -> ModelVersion:
        champion: Baseline = self._release.state(model).champion
        return read_version(self._bucket, model, champion.version, champion.digest)

    def _evidence(self, model: str, rollout: Rollout, plan: RolloutPolicy, champion: ModelVersion, now: int) -> Evidence:
        return read_evidence(
            self._bucket,
            model,
            rollout,
            maturity=parse_duration(plan.label_maturity),
            classes=champion.manifest.classes,
            now=now,
        )


def _event(rollout: Rollout, plan: RolloutPolicy, look: Look) -> RolloutMoved | RolloutStopped | None:
    last = len(plan.shares) - 1
    due = plan.shares[min(rollout.step, last)]
    if look.action == "stop":
        return RolloutStopped(version=rollout.version, outcome=_outcome(look), reason=look.sentence)
    if rollout.share != due:  # whoever started it died before the first step
        return RolloutMoved(version=rollout.version, step=rollout.step, share=due, reason="the share that the plan says")
    if look.action == "advance":
        share = plan.shares[rollout.step + 1]
        return RolloutMoved(version=rollout.version, step=rollout.step + 1, share=share, reason=look.sentence)
    if look.action == "done" and rollout.step == last:
        return RolloutMoved(version=rollout.version, step=last + 1, share=due, reason=look.sentence)
    return None


def _outcome(look: Look) -> Outcome:
    outcomes: dict[str, Outcome] = {"harmful": "harmful", "invalid": "invalid", "undecided": "undecided"}
    return outcomes[look.outcome]
