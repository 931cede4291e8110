"""Approvals, promotion and rollback of the models in one bucket. Nothing here needs the database."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tidegate import digest as digests
from tidegate.clock import Clock
from tidegate.errors import ConflictError, NotFoundError, RefusedError, TidegateError
from tidegate.gate import read_receipt
from tidegate.records.ledger import (
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
    Via,
    Workflow,
)
from tidegate.records.model import ModelVersion
from tidegate.records.policy import ModelPolicy, ReleasePolicy
from tidegate.records.receipt import Receipt
from tidegate.release.approving import consent, consent_of_policy, person, revocation
from tidegate.release.judged import is_judged
from tidegate.release.ledger import Ledger, read_entries, read_pointer, verify_ledger
from tidegate.release.names import Names
from tidegate.release.planning import PromotionPlan, find_unsigned, plan_promotion
from tidegate.release.rollouts import Rollouts
from tidegate.release.rules import ALWAYS, Request, may_break_glass, require_reason
from tidegate.release.state import LedgerState, require_version
from tidegate.store.ports import Bucket


class Release:
    """Every move of a model's pointer, and what has to be true before it."""

    def __init__(
        self,
        bucket: Bucket,
        clock: Clock,
        actor: str,
        *,
        allow_ungated: bool = False,
        after: Callable[[str, LedgerEntry], None] = lambda _model, _entry: None,
        folder: Path = Path(),
    ) -> None:
        """``after`` is called with every entry that is durable; it returns at once and never raises.

        ``folder`` is the project's: the paths in a policy begin there.
        """
        self._ledger = Ledger(bucket, clock, actor, after)
        self._bucket = bucket
        self._allow_ungated = allow_ungated
        self._folder = folder
        self.names = Names(self._ledger)
        self.rollouts = Rollouts(self._ledger, folder)

    def pointer(self, model: str) -> Pointer:
        """Which version serves; version 0 when none does."""
        return read_pointer(self._bucket, model)

    def state(self, model: str) -> LedgerState:
        """What the ledger adds up to now; only entries that are new are read."""
        return self._ledger.state(model)

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
        return self._ledger.append(version.name, lambda _: Registered(version=version.version, digest=version.digest))

    def judged(self, receipt: Receipt) -> LedgerEntry:
        """Enters a verdict into the ledger, whatever it is."""
        event = Judged(
            version=receipt.candidate,
            receipt=digests.of_json(receipt),
            verdict=receipt.verdict,
            loosened=receipt.loosened,
            snapshot=receipt.snapshot_digest,
        )
        return self._ledger.append(receipt.model, lambda _: event)

    def receipt(self, model: str, receipt_digest: str) -> Receipt:
        """A receipt that the ledger names, checked against its digest. Errors: see ``tidegate.gate.read_receipt``."""
        if not is_judged(self.state(model), receipt_digest):
            raise NotFoundError(
                "no-such-receipt",
                f"no receipt {digests.short(receipt_digest)} in the ledger of {model}",
                why="only what the ledger names was reached by the gate",
                fix=f"tidegate release log {model}",
            )
        return read_receipt(self._bucket, model, receipt_digest)

    def newest_receipt(self, model: str, version: int) -> str:
        """The digest of the newest receipt of a version in the ledger, or an empty text."""
        judgement = self.state(model).newest_judgement(version)
        return judgement.receipt if judgement else ""

    def champion_receipt(self, model: str) -> str:
        """The digest of the receipt that the champion was promoted on last; empty without a champion, or if it passed no gate."""
        champion = self.pointer(model).champion.version
        moves = (entry.event for entry in reversed(self.history(model)) if isinstance(entry.event, Promoted))
        return next((event.receipt for event in moves if event.version == champion), "")

    def approve(
        self,
        model: str,
        version: int,
        *,
        policy: ModelPolicy,
        comment: str = "",
        via: Via = "api",
        ci: Workflow | None = None,
        typed: str = "",
        receipt: str = "",
    ) -> LedgerEntry:
        """The actor consents to what the version's newest receipt says; in a CI job, whoever started that.

        Args:
            model: the model's name.
            version: which version of it.
            policy: what is declared about it now.
            comment: what the approver looked at.
            via: how the approval came about.
            ci: the CI job that it comes from.
            typed: who approves instead of the actor, whose page it was typed on: see ``Approved.typed``.
            receipt: the digest of what was read; empty: whatever is newest.

        Raises:
            RefusedError: there is no receipt or no PASS, the actor is the version's author, or not among the approvers.
            ConflictError: the newest receipt is another one than ``receipt``.
        """
        given = person(policy.release, self._ledger.clock.now(), comment, via, ci, typed, receipt)
        actor = self._ledger.actor
        return self._ledger.append(
            model, lambda state: consent(self._bucket, state, model, version, policy.release, given, actor)
        )

    def approve_by_policy(self, model: str, version: int, *, policy: ModelPolicy) -> LedgerEntry | list[str]:
        """Enters the approval that the policy itself gives to a small, clean PASS; or tells why it gives none, in sentences.

        Raises:
            RefusedError: there is no PASS.
        """
        why: list[str] = []

        def decide(state: LedgerState) -> Event | None:
            found = consent_of_policy(self._bucket, state, model, version, policy.release, self._ledger.clock.now())
            why[:] = found if isinstance(found, list) else []
            return None if isinstance(found, list) else found

        return self._ledger.append_if(model, decide) or why

    def revoke(self, model: str, version: int, *, reason: str, approver: str = "") -> LedgerEntry:
        """Takes an approval of the version's newest receipt back: the actor's own, or that of ``approver``.

        What serves stays; a rollout that rests on it grows no further.

        Raises:
            UsageError: no reason was given.
            NotFoundError: there is no such approval.
        """
        require_reason(reason)
        whose = approver or self._ledger.actor
        return self._ledger.append(model, lambda state: revocation(state, model, version, whose, reason))

    def plan(self, model: str, version: int, *, policy: ModelPolicy) -> PromotionPlan:
        """What promoting the version would do now, and which rule forbids it."""
        return self._plan(self.state(model), model, version, policy)

    def promote(self, model: str, version: int, *, policy: ModelPolicy) -> LedgerEntry:
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

        return self._ledger.append(model, decide)

    def break_glass(self, model: str, version: int, *, policy: ModelPolicy, reason: str) -> LedgerEntry:
        """Moves the pointer in an emergency, past verdict and approvals, if the policy lets the actor. A red flag until the gate passes it.

        A freeze and a quarantine hold even then: lifting one is a decision of its own, with its own reason. So does a signature that
        the policy asks for.

        Raises:
            UsageError: no reason was given.
            NotFoundError: the version is not registered.
            RefusedError: the actor may not, the model is frozen, or the version quarantined or not signed.
            ConflictError: the version serves already.
        """
        require_reason(reason)
        actor = self._ledger.actor
        if not may_break_glass(actor, policy.release):
            raise RefusedError(
                "break-glass-forbidden",
                f"{actor} may not break the glass of {model}",
                why=f"those who may: {', '.join(policy.release.break_glass) or 'nobody'}",
                fix=f"let the gate judge, or declare break_glass under [models.{model}.release]",
            )

        def decide(state: LedgerState) -> Event:
            require_version(state, model, version)
            if state.champion.version == version:
                raise ConflictError("pointer-moved", f"{model}@{version} serves already", fix="nothing is to be done")
            self._require_always(state, model, version, policy.release)
            return Promoted(
                version=version,
                digest=state.digests[version],
                receipt="",
                previous=state.champion,
                break_glass=True,
                reason=reason,
            )

        return self._ledger.append(model, decide)

    def name_champion(self, model: str, version: int, *, policy: ModelPolicy | None) -> LedgerEntry | None:
        """Makes the version the champion, as somebody asks who knows no gate; None if it is the champion already.

        It is promoted like any other. Where the rules refuse and the project allows ungated promotions, the pointer moves all the
        same and the entry says so; a freeze, a quarantine and the signature that is asked for hold even then. Without a policy nothing
        can have passed the gate.

        Raises:
            NotFoundError: the version is not registered.
            RefusedError: a rule forbids it.
            ConflictError: the pointer moved since the gate judged.
        """

        def decide(state: LedgerState) -> Event | None:
            require_version(state, model, version)
            if state.champion.version == version:
                return None
            refusal: TidegateError | None = _no_policy(model, version)
            if policy is not None:
                plan = self._plan(state, model, version, policy)
                if plan.event is not None:
                    return plan.event
                refusal = plan.refusal
            self._require_always(state, model, version, policy.release if policy else ReleasePolicy())
            if not self._allow_ungated:
                raise refusal or RefusedError("nothing-to-do", f"{model}@{version} cannot be promoted")
            return Promoted(version=version, digest=state.digests[version], receipt="", previous=state.champion, ungated=True)

        return self._ledger.append_if(model, decide)

    def rollback(self, model: str, *, reason: str, to: int | None = None) -> LedgerEntry:
        """Moves the pointer back, to the champion before or to an earlier one, and quarantines the one it leaves.

        Raises:
            UsageError: no reason was given.
            RefusedError: there is nothing to roll back to.
        """
        require_reason(reason)

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

        return self._ledger.append(model, decide)

    def lift(self, model: str, version: int, *, reason: str) -> LedgerEntry:
        """Ends the quarantine of a version that was rolled back; it still has to pass the gate again.

        Raises:
            RefusedError: it is not quarantined.
        """
        require_reason(reason)

        def decide(state: LedgerState) -> Event:
            digest = state.digests.get(version, "")
            if digest not in state.quarantined:
                raise RefusedError(
                    "not-quarantined", f"{model}@{version} is not quarantined", fix=f"tidegate release log {model}"
                )
            return Released(version=version, digest=digest, reason=reason)

        return self._ledger.append(model, decide)

    def freeze(self, model: str, *, reason: str) -> LedgerEntry:
        """Forbids promotions until it is lifted; rolling back stays possible."""
        require_reason(reason)
        return self._ledger.append(model, lambda _: Frozen(reason=reason))

    def unfreeze(self, model: str, *, reason: str) -> LedgerEntry:
        """Allows promotions again."""
        require_reason(reason)
        return self._ledger.append(model, lambda _: Unfrozen(reason=reason))

    def _plan(self, state: LedgerState, model: str, version: int, policy: ModelPolicy) -> PromotionPlan:
        return plan_promotion(self._bucket, state, model, version, policy, self._ledger.clock.now(), self._folder)

    def _require_always(self, state: LedgerState, model: str, version: int, policy: ReleasePolicy) -> None:
        """Raises what even a promotion without a receipt must obey."""
        unsigned = find_unsigned(self._bucket, state, model, version, policy.signed_by, self._folder)
        request = Request(model, version, None, "", policy, self._ledger.clock.now(), unsigned=unsigned)
        held = next((refused for rule in ALWAYS if (refused := rule.refusal(state, request)) is not None), None)
        if held is not None:
            raise held


def _no_policy(model: str, version: int) -> RefusedError:
    return RefusedError(
        "gate-not-declared",
        f"no gate is declared for {model}, so nothing can show that {model}@{version} is better than what serves",
        why="a champion is promoted on a receipt, and only a declared gate writes one",
        fix=f"add [models.{model}] and [models.{model}.gate] to tidegate.toml, then: tidegate gate {model}@{version}",
    )
