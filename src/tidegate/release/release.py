"""Approvals, promotion and rollback of the models in one bucket. Nothing here needs the database."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tidegate import digest as digests
from tidegate.clock import Clock, format_time, parse_duration
from tidegate.errors import RefusedError, TidegateError, UsageError
from tidegate.gate import read_receipt
from tidegate.records.ledger import (
    Approved,
    Event,
    Frozen,
    Judged,
    LedgerEntry,
    Pointer,
    Promoted,
    Registered,
    Released,
    RolledBack,
    Unfrozen,
)
from tidegate.records.model import ModelVersion
from tidegate.records.policy import ReleasePolicy
from tidegate.records.receipt import Receipt
from tidegate.records.verdict import Verdict
from tidegate.release.ledger import append, read_entries, read_pointer, read_state, verify_ledger
from tidegate.release.rules import RULES, Request
from tidegate.release.state import LedgerState
from tidegate.store.ports import Bucket


@dataclass(frozen=True)
class PromotionPlan:
    """What a promotion would do: each rule with its refusal (None: it holds), then the event that would be written.

    ``answers`` ends at the first refusal: the rules after it were not asked.
    """

    request: Request
    answers: list[tuple[str, TidegateError | None]]
    event: Promoted | None

    @property
    def refusal(self) -> TidegateError | None:
        """The first rule's refusal, or None when the promotion may happen."""
        return next((refusal for _, refusal in self.answers if refusal is not None), None)

    def explain(self) -> list[str]:
        """One line per rule, and what would happen."""
        lines = [f"{'no ' if refusal else 'yes'} {sentence}" for sentence, refusal in self.answers]
        if self.event is None:
            return [*lines, f"nothing moves: {self.refusal.what if self.refusal else ''}"]
        previous = f"{self.request.model}@{self.event.previous.version}" if self.event.previous.version else "nothing"
        return [*lines, f"the pointer moves from {previous} to {self.request.ref}"]


class Release:
    """Every move of a model's pointer, and what has to be true before it."""

    def __init__(self, bucket: Bucket, clock: Clock, actor: str) -> None:
        self._bucket = bucket
        self._clock = clock
        self._actor = actor

    def pointer(self, model: str) -> Pointer:
        """Which version serves; version 0 when none does."""
        return read_pointer(self._bucket, model)

    def state(self, model: str) -> LedgerState:
        """What the ledger adds up to now."""
        return read_state(self._bucket, model)

    def history(self, model: str) -> list[LedgerEntry]:
        """Every entry of the ledger, oldest first."""
        return [entry for _, entry in read_entries(self._bucket, model)]

    def verify(self, model: str) -> list[str]:
        """What is wrong with the chain or the pointer, in sentences."""
        return verify_ledger(self._bucket, model)

    def register(self, version: ModelVersion) -> LedgerEntry | None:
        """Enters a version into the ledger, once; None if it is there already."""
        if self.state(version.name).digests.get(version.version) == version.digest:
            return None
        return self._append(version.name, lambda _: Registered(version=version.version, digest=version.digest))

    def judged(self, receipt: Receipt) -> LedgerEntry:
        """Enters a verdict into the ledger, whatever it is."""
        event = Judged(version=receipt.candidate, receipt=digests.of_json(receipt), verdict=receipt.verdict)
        return self._append(receipt.model, lambda _: event)

    def receipt(self, model: str, receipt_digest: str) -> Receipt:
        """A stored receipt, checked against its digest. Errors: see ``tidegate.gate.read_receipt``."""
        return read_receipt(self._bucket, model, receipt_digest)

    def newest_receipt(self, model: str, version: int) -> str:
        """The digest of the newest receipt of a version in the ledger, or an empty text."""
        judgement = self.state(model).newest_judgement(version)
        return judgement.receipt if judgement else ""

    def approve(self, model: str, version: int, *, policy: ReleasePolicy, comment: str = "") -> LedgerEntry:
        """The actor consents to what the version's newest receipt says.

        Raises:
            RefusedError: there is no receipt or no PASS, the actor is the version's author, or not among the approvers.
        """
        return self._append(model, lambda state: self._consent(state, model, version, policy, comment))

    def plan(self, model: str, version: int, *, policy: ReleasePolicy) -> PromotionPlan:
        """What promoting the version would do now, and which rule forbids it."""
        return self._plan(self.state(model), model, version, policy)

    def promote(self, model: str, version: int, *, policy: ReleasePolicy) -> LedgerEntry:
        """Moves the pointer to the version if every rule holds, at the moment of the move.

        Raises:
            RefusedError: a rule forbids it.
            ApprovalMissing: all holds but the approvals.
            ConflictError: the pointer moved since the gate judged; the error names who serves now.
        """

        def decide(state: LedgerState) -> Event:
            plan = self._plan(state, model, version, policy)
            if plan.event is None:
                raise plan.refusal or RefusedError("nothing-to-do", f"{plan.request.ref} cannot be promoted")
            return plan.event

        return self._append(model, decide)

    def rollback(self, model: str, *, reason: str, to: int | None = None) -> LedgerEntry:
        """Moves the pointer back, to the champion before or to an earlier one, and quarantines the one it leaves.

        Raises:
            UsageError: no reason was given.
            RefusedError: there is nothing to roll back to.
        """
        _require_reason(reason)

        def decide(state: LedgerState) -> Event:
            choices = [
                item for item in state.before if item.digest not in state.quarantined and item.digest != state.champion.digest
            ]
            chosen = [item for item in choices if to is None or item.version == to]
            if not chosen:
                raise RefusedError(
                    "nothing-to-roll-back-to",
                    f"{model} cannot be rolled back{f' to version {to}' if to else ''}",
                    why=f"earlier champions that are not quarantined: {', '.join(str(item.version) for item in choices) or 'none'}",
                    fix="promote another version",
                )
            target = chosen[-1]
            return RolledBack(version=target.version, digest=target.digest, previous=state.champion, reason=reason)

        return self._append(model, decide)

    def lift(self, model: str, version: int, *, reason: str) -> LedgerEntry:
        """Ends the quarantine of a version that was rolled back; it still has to pass the gate again.

        Raises:
            RefusedError: it is not quarantined.
        """
        _require_reason(reason)

        def decide(state: LedgerState) -> Event:
            digest = state.digests.get(version, "")
            if digest not in state.quarantined:
                raise RefusedError(
                    "not-quarantined", f"{model}@{version} is not quarantined", fix=f"tidegate release log {model}"
                )
            return Released(version=version, digest=digest, reason=reason)

        return self._append(model, decide)

    def freeze(self, model: str, *, reason: str) -> LedgerEntry:
        """Forbids promotions until it is lifted; rolling back stays possible."""
        _require_reason(reason)
        return self._append(model, lambda _: Frozen(reason=reason))

    def unfreeze(self, model: str, *, reason: str) -> LedgerEntry:
        """Allows promotions again."""
        _require_reason(reason)
        return self._append(model, lambda _: Unfrozen(reason=reason))

    def _append(self, model: str, decide: Callable[[LedgerState], Event]) -> LedgerEntry:
        return append(self._bucket, model, decide, clock=self._clock, actor=self._actor)[1]

    def _plan(self, state: LedgerState, model: str, version: int, policy: ReleasePolicy) -> PromotionPlan:
        judgement = state.newest_judgement(version)
        found = judgement.receipt if judgement else ""
        receipt = self.receipt(model, found) if found else None
        request = Request(model, version, receipt, found, policy, self._clock.now())
        answers: list[tuple[str, TidegateError | None]] = []
        for rule in RULES:
            refusal = rule.refusal(state, request)
            answers.append((rule.sentence, refusal))
            if refusal is not None:
                return PromotionPlan(request, answers, None)
        event = Promoted(version=version, digest=state.digests[version], receipt=found, previous=state.champion)
        return PromotionPlan(request, answers, event)

    def _consent(self, state: LedgerState, model: str, version: int, policy: ReleasePolicy, comment: str) -> Approved:
        ref = f"{model}@{version}"
        judgement = state.newest_judgement(version)
        if judgement is None or judgement.verdict is not Verdict.PASS:
            verdict = judgement.verdict if judgement else "not judged"
            raise RefusedError(
                "nothing-to-approve",
                f"{ref} has no PASS to consent to (it is {verdict})",
                why="a consent is bound to the receipt of a PASS",
                fix=f"tidegate gate {ref}",
            )
        if self._actor == state.authors.get(version):
            raise RefusedError(
                "author-cannot-approve",
                f"{self._actor} is the author of {ref}",
                why="nobody approves their own work",
                fix="ask somebody else, or declare approvals = 0 under [models.NAME.release]",
            )
        if policy.approvers and self._actor not in policy.approvers:
            raise RefusedError(
                "not-an-approver",
                f"{self._actor} may not approve {model}",
                why=f"its approvers are: {', '.join(policy.approvers)}",
                fix="ask one of them",
            )
        expires = self._clock.now() + parse_duration(policy.approval_lifetime)
        return Approved(version=version, receipt=judgement.receipt, expires_at=expires, comment=comment)


def _require_reason(reason: str) -> None:
    if not reason.strip():
        raise UsageError(
            "reason-missing", "a reason is needed", why="it is kept in the ledger for good", fix='--reason "what was seen"'
        )


def served_at(entries: list[LedgerEntry], at: int) -> tuple[int, str]:
    """Which version served at a time (microseconds UTC; 0: none), and the sentence that says why."""
    version, why = 0, "nothing had been promoted"
    for entry in entries:
        if entry.at > at:
            break
        if isinstance(entry.event, Promoted):
            version, why = entry.event.version, f"promoted by {entry.actor} at {format_time(entry.at)}"
        elif isinstance(entry.event, RolledBack):
            version, why = (
                entry.event.version,
                f"rolled back to by {entry.actor} at {format_time(entry.at)}: {entry.event.reason}",
            )
    return version, why
