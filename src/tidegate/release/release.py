"""Approvals, promotion and rollback of the models in one bucket. Nothing here needs the database."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from dataclasses import dataclass

from tidegate import digest as digests
from tidegate.clock import Clock, format_time, parse_duration
from tidegate.errors import NotFoundError, RefusedError, TidegateError, UsageError
from tidegate.gate import read_receipt
from tidegate.records.ledger import (
    Aliased,
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
    Staged,
    Unaliased,
    Unfrozen,
)
from tidegate.records.model import ModelVersion
from tidegate.records.policy import ReleasePolicy
from tidegate.records.receipt import Receipt
from tidegate.records.verdict import Verdict
from tidegate.release.ledger import append, entry_key, read_entries, read_pointer, verify_ledger
from tidegate.release.rules import ALWAYS, RULES, Request, is_author
from tidegate.release.state import ARCHIVED, CHAMPION, PRODUCTION, STAGES, LedgerState, fold
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

    def __init__(self, bucket: Bucket, clock: Clock, actor: str, *, allow_ungated: bool = False) -> None:
        self._bucket = bucket
        self._clock = clock
        self._actor = actor
        self._allow_ungated = allow_ungated
        self._seen: dict[str, LedgerState] = {}

    def pointer(self, model: str) -> Pointer:
        """Which version serves; version 0 when none does."""
        return read_pointer(self._bucket, model)

    def state(self, model: str) -> LedgerState:
        """What the ledger adds up to now. Entries that were read before are not read again, as long as the newest of them stands."""
        seen = self._seen.get(model)
        newest = self._bucket.find(entry_key(model, seen.head)) if seen else None
        if seen is None or newest is None or digests.of_bytes(newest.data) != seen.head_digest:
            seen = None
        state = fold(read_entries(self._bucket, model, after=seen.head if seen else 0), seen)
        if state.head:
            self._seen[model] = state
        return state

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
        event = Judged(
            version=receipt.candidate, receipt=digests.of_json(receipt), verdict=receipt.verdict, loosened=receipt.loosened
        )
        return self._append(receipt.model, lambda _: event)

    def receipt(self, model: str, receipt_digest: str) -> Receipt:
        """A stored receipt, checked against its digest. Errors: see ``tidegate.gate.read_receipt``."""
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

    def name_champion(self, model: str, version: int, *, policy: ReleasePolicy | None) -> LedgerEntry | None:
        """Makes the version the champion, as somebody asks who knows no gate; None if it is the champion already.

        It is promoted like any other. Where the rules refuse and the project allows ungated promotions, the pointer moves all the
        same and the entry says so; a freeze and a quarantine hold even then. Without a policy nothing can have passed the gate.

        Raises:
            NotFoundError: the version is not registered.
            RefusedError: a rule forbids it.
            ConflictError: the pointer moved since the gate judged.
        """

        def decide(state: LedgerState) -> Event | None:
            _require_version(state, model, version)
            if state.champion.version == version:
                return None
            plan = self._plan(state, model, version, policy or ReleasePolicy())
            if plan.event is not None and policy is not None:
                return plan.event
            refusal = plan.refusal if policy is not None else _no_policy(model, version)
            held = next((refused for rule in ALWAYS if (refused := rule.refusal(state, plan.request)) is not None), None)
            if held is not None or not self._allow_ungated:
                raise held or refusal or RefusedError("nothing-to-do", f"{plan.request.ref} cannot be promoted")
            return Promoted(version=version, digest=state.digests[version], receipt="", previous=state.champion, ungated=True)

        return self._append_if(model, decide)

    def set_alias(self, model: str, alias: str, version: int) -> LedgerEntry | None:
        """Lets a name stand for a version; None if it does already.

        Raises:
            UsageError: the name is ``champion``, which is the pointer (see ``name_champion``).
            NotFoundError: the version is not registered.
        """
        _refuse_pointer(alias, model)

        def decide(state: LedgerState) -> Event | None:
            _require_version(state, model, version)
            previous = state.aliases.get(alias, 0)
            return Aliased(alias=alias, version=version, previous=previous) if previous != version else None

        return self._append_if(model, decide)

    def drop_alias(self, model: str, alias: str) -> LedgerEntry | None:
        """Takes a name away; None if no version has it.

        Raises:
            UsageError: the name is ``champion``: the pointer moves by promotion and rollback alone.
        """
        _refuse_pointer(alias, model)

        def decide(state: LedgerState) -> Event | None:
            version = state.aliases.get(alias, 0)
            return Unaliased(alias=alias, version=version) if version else None

        return self._append_if(model, decide)

    def stage(self, model: str, version: int, stage: str, *, archive_others: bool = False) -> LedgerEntry | None:
        """Puts a version into the stage None, Staging or Archived; None if it is there already and nothing else changes.

        Raises:
            UsageError: there is no such stage, or it is Production, which is the pointer (see ``name_champion``).
            NotFoundError: the version is not registered.
            RefusedError: the version is the champion.
        """
        if stage not in STAGES or stage == PRODUCTION:
            raise UsageError("bad-stage", f"no version can be put into {stage!r}", fix="choose one of None, Staging, Archived")

        def decide(state: LedgerState) -> Event | None:
            _require_version(state, model, version)
            if state.champion.version == version:
                raise RefusedError(
                    "champion-stays",
                    f"{model}@{version} is the champion and stays in Production",
                    why="something must serve: the pointer moves to another version, never to nothing",
                    fix=f"promote another version, or: tidegate rollback {model} --reason TEXT",
                )
            others = [number for number in state.digests if number != version and archive_others]
            archived = sorted(number for number in others if stage != ARCHIVED and state.stage(number) == stage)
            if state.stage(version) == stage and not archived:
                return None
            return Staged(version=version, stage=stage, archived=archived)

        return self._append_if(model, decide)

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

    def _append_if(self, model: str, decide: Callable[[LedgerState], Event | None]) -> LedgerEntry | None:
        """Appends what ``decide`` makes of the newest state, unless that is nothing: asking twice adds one entry."""

        def decided(state: LedgerState) -> Event:
            event = decide(state)
            if event is None:
                raise _AsItIs
            return event

        try:
            return self._append(model, decided)
        except _AsItIs:
            return None

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
        receipt = self.receipt(model, judgement.receipt)
        if is_author(self._actor, state, version, receipt):
            changed = receipt.loosened and self._actor != state.authors.get(version)
            raise RefusedError(
                "author-cannot-approve",
                f"{self._actor} {'loosened the policy for' if changed else 'is the author of'} {ref}",
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


class _AsItIs(Exception):  # noqa: N818 - it ends an append that would change nothing; nobody outside sees it
    pass


def _require_version(state: LedgerState, model: str, version: int) -> None:
    if version not in state.digests:
        raise NotFoundError(
            "no-such-version",
            f"there is no {model}@{version}",
            why="its ledger names no version of that number",
            fix=f"tidegate model list {model}",
        )


def _refuse_pointer(alias: str, model: str) -> None:
    if unicodedata.normalize("NFKC", alias).casefold() == CHAMPION:  # wide and mathematical letters are the same name
        raise UsageError(
            "alias-is-pointer",
            f"the alias {alias!r} of {model} is the pointer to what serves",
            why="it moves by promotion and rollback alone, and is never taken away",
            fix=f"tidegate promote {model}@VERSION, or tidegate rollback {model} --reason TEXT",
        )


def _no_policy(model: str, version: int) -> RefusedError:
    return RefusedError(
        "gate-not-declared",
        f"no gate is declared for {model}, so nothing can show that {model}@{version} is better than what serves",
        why="a champion is promoted on a receipt, and only a declared gate writes one",
        fix=f"add [models.{model}] and [models.{model}.gate] to tidegate.toml, then: tidegate gate {model}@{version}",
    )


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
            how = "promoted without the gate" if entry.event.ungated else "promoted"
            version, why = entry.event.version, f"{how} by {entry.actor} at {format_time(entry.at)}"
        elif isinstance(entry.event, RolledBack):
            version, why = (
                entry.event.version,
                f"rolled back to by {entry.actor} at {format_time(entry.at)}: {entry.event.reason}",
            )
    return version, why
