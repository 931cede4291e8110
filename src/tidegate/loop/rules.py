"""The rules by which a decision moves, in the order in which they are asked. Each has a name that is a sentence.

A rule does at most one thing in the world and then says which state follows. Where a crash comes between the two, the next
pass asks the same rule again, and the thing gives the same result.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from tidegate.clock import from_us, parse_duration
from tidegate.errors import ApprovalMissing, ConflictError, RefusedError, UnavailableError
from tidegate.loop.machinery import Machinery
from tidegate.records.decision import Decision, DecisionState
from tidegate.records.policy import RetrainPolicy
from tidegate.records.verdict import Verdict
from tidegate.release import Release


class Move(NamedTuple):
    """Where a decision goes, why, and which of its fields change."""

    state: DecisionState
    note: str
    changes: dict[str, Any]


class Hold(NamedTuple):
    """The decision stays where it is until somebody does something."""

    note: str


Answer = Move | Hold | None


@dataclass(frozen=True)
class Rule:
    """A rule: its sentence, the state that it is about, and what it answers (None: it does not apply)."""

    sentence: str
    state: DecisionState
    answer: Callable[[Decision, RetrainPolicy, Machinery, int], Answer]


def _train(decision: Decision, policy: RetrainPolicy, machinery: Machinery, _now: int) -> Answer:
    try:
        outcome = machinery.train(policy.pipeline, filled_params(policy, decision))
    except UnavailableError:
        raise  # a full disk or a locked store says nothing about the candidate: the next pass tries again
    except Exception as error:  # noqa: BLE001 - the pipeline is the user's code: whatever it raises is the reason for this no
        return Move(DecisionState.REJECTED, f"training failed: {_told(error)}", {})
    changes = {"run": outcome.run_id, "candidate": outcome.version}
    return Move(DecisionState.TRAINED, f"run {outcome.run_id} gave {decision.model}@{outcome.version}", changes)


def _not_the_champion_itself(decision: Decision, _policy: RetrainPolicy, machinery: Machinery, _now: int) -> Answer:
    if machinery.release.pointer(decision.model).champion.version != decision.candidate:
        return None
    return Move(DecisionState.REJECTED, "training gave the very version that serves already", {})


def _freeze_evaluation(decision: Decision, policy: RetrainPolicy, machinery: Machinery, _now: int) -> Answer:
    if not policy.evaluation or decision.evaluation:
        return None
    try:
        snapshot = machinery.freeze_evaluation(policy.evaluation, decision.opened_at)
    except UnavailableError:
        raise
    except Exception as error:  # noqa: BLE001 - as in training
        return Move(DecisionState.REJECTED, f"no evaluation snapshot could be taken: {_told(error)}", {})
    return Move(DecisionState.TRAINED, f"evaluated on {snapshot}", {"evaluation": snapshot})


def _judge(decision: Decision, _policy: RetrainPolicy, machinery: Machinery, now: int) -> Answer:
    found = _judged_before(decision, machinery.release, now)
    if found is None:
        fresh = machinery.judge(f"{decision.model}@{decision.candidate}", decision.evaluation)
        found = fresh.verdict, fresh.receipt_digest, fresh.report.sentence
    verdict, receipt, sentence = found
    state = DecisionState.WAITING if verdict is Verdict.PASS else DecisionState.REJECTED
    return Move(state, f"{verdict}: {sentence}", {"receipt": receipt})


def _judged_before(decision: Decision, release: Release, now: int) -> tuple[Verdict, str, str] | None:
    """The answer that the gate gave this very decision before a crash: its receipt still says what would be asked now."""
    newest = release.newest_receipt(decision.model, decision.candidate)
    receipt = release.receipt(decision.model, newest) if newest else None
    if (
        receipt is None
        or receipt.judged_at < decision.opened_at
        or receipt.expires_at <= now
        or receipt.baseline != release.pointer(decision.model).champion
        or decision.evaluation not in {"", receipt.snapshot}
    ):
        return None
    return receipt.verdict, newest, f"as receipt {newest[:12]} has it"


def _promoted_already(decision: Decision, _policy: RetrainPolicy, machinery: Machinery, _now: int) -> Answer:
    if machinery.release.pointer(decision.model).champion.version != decision.candidate:
        return None
    return Move(DecisionState.PROMOTED, f"{decision.model}@{decision.candidate} serves", {})


def _expire(decision: Decision, policy: RetrainPolicy, _machinery: Machinery, now: int) -> Answer:
    waiting_since = next(step.at for step in reversed(decision.steps) if step.state is DecisionState.WAITING)
    if now < waiting_since + parse_duration(policy.expires):
        return None
    return Move(DecisionState.EXPIRED, f"nobody consented within {policy.expires}; the champion stays", {})


def _promote(decision: Decision, _policy: RetrainPolicy, machinery: Machinery, _now: int) -> Answer:
    ref = f"{decision.model}@{decision.candidate}"
    try:
        machinery.release.promote(decision.model, decision.candidate, policy=machinery.policies[decision.model])
    except ApprovalMissing as missing:
        return Hold(f"{missing.what}: {missing.fix}")
    except ConflictError as moved:
        return Move(DecisionState.TRAINED, f"to be judged again: {moved.what}", {})
    except RefusedError as refused:
        return Hold(f"{refused.what}: {refused.fix}")
    return Move(DecisionState.PROMOTED, f"{ref} was promoted", {})


RULES = [
    Rule("an open decision is answered by training a candidate", DecisionState.OPEN, _train),
    Rule("a candidate that is the champion itself is no answer", DecisionState.TRAINED, _not_the_champion_itself),
    Rule("a fresh evaluation snapshot is frozen before the gate looks", DecisionState.TRAINED, _freeze_evaluation),
    Rule("the gate decides whether the candidate may wait for approval", DecisionState.TRAINED, _judge),
    Rule("a candidate that serves was promoted", DecisionState.WAITING, _promoted_already),
    Rule("a decision that nobody approves in time expires", DecisionState.WAITING, _expire),
    Rule("a candidate is promoted as soon as the release allows it", DecisionState.WAITING, _promote),
]


def answer(decision: Decision, policy: RetrainPolicy, machinery: Machinery, now: int) -> Answer:
    """What the first rule that applies says."""
    for rule in RULES:
        if rule.state is decision.state:
            found = rule.answer(decision, policy, machinery, now)
            if found is not None:
                return found
    return None


def filled_params(policy: RetrainPolicy, decision: Decision) -> dict[str, str | int | float | bool]:
    """The policy's parameters with ``{now}`` as the time of the decision: a repeated training is the same training."""
    now = from_us(decision.opened_at).isoformat()
    return {name: value.replace("{now}", now) if isinstance(value, str) else value for name, value in policy.params.items()}


def _told(error: Exception) -> str:
    what = getattr(error, "what", "") or str(error)
    return f"{type(error).__name__}: {what}"[:500]
