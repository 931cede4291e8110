"""The rules of promotion, in the order in which they are asked. Each has a name that is a sentence."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from dataclasses import dataclass

from tidegate.clock import format_time
from tidegate.errors import ApprovalMissing, ConflictError, RefusedError, TidegateError
from tidegate.records.policy import ReleasePolicy
from tidegate.records.receipt import Receipt
from tidegate.records.verdict import Verdict
from tidegate.release.state import LedgerState


@dataclass(frozen=True)
class Request:
    """Somebody wants a version promoted on the strength of a receipt, now."""

    model: str
    version: int
    receipt: Receipt | None
    receipt_digest: str
    policy: ReleasePolicy
    now: int

    @property
    def ref(self) -> str:
        """``delay@3``."""
        return f"{self.model}@{self.version}"

    @property
    def approvals(self) -> int:
        """How many people must consent: one more than declared where the policy was loosened."""
        return self.policy.approvals + (self.receipt is not None and bool(self.receipt.loosened))


@dataclass(frozen=True)
class Rule:
    """A rule: its sentence, and a function that returns the refusal or None."""

    sentence: str
    refusal: Callable[[LedgerState, Request], TidegateError | None]


def standing_approvers(state: LedgerState, request: Request) -> list[str]:
    """Who consents to this receipt now: not expired, on the list if there is one, never an author, each once.

    Authors are the version's and, where the policy was loosened, whoever changed it and whoever ran the gate by it.
    """
    return sorted(
        {
            consent.actor
            for consent in state.consents
            if consent.receipt == request.receipt_digest
            and consent.expires_at > request.now
            and not is_author(consent.actor, state, request.version, request.receipt)
            and (not request.policy.approvers or consent.actor in request.policy.approvers)
        }
    )


def authors_of(state: LedgerState, version: int, receipt: Receipt | None) -> list[str]:
    """Whose consent to a version does not count. An address stands for its first part as well: ``ana@example.org`` is ``ana``."""
    authors = [state.authors[version]] if version in state.authors else []
    if receipt is not None and receipt.loosened:
        authors += [receipt.author, *receipt.loosened_by, *(name.partition("@")[0] for name in receipt.loosened_by)]
    return authors


def is_author(actor: str, state: LedgerState, version: int, receipt: Receipt | None) -> bool:
    """Whether somebody is among ``authors_of``, however the name is spelled."""
    return _same_person(actor) in {_same_person(name) for name in authors_of(state, version, receipt)}


def _same_person(name: str) -> str:
    return unicodedata.normalize("NFKC", name).casefold().strip()


def _not_frozen(state: LedgerState, request: Request) -> TidegateError | None:
    if not state.frozen:
        return None
    return RefusedError(
        "model-frozen",
        f"{request.model} is frozen",
        why=state.frozen,
        fix=f"tidegate release unfreeze {request.model} --reason TEXT",
    )


def _judged(state: LedgerState, request: Request) -> TidegateError | None:
    if request.receipt is not None and any(judgement.receipt == request.receipt_digest for judgement in state.judgements):
        return None
    return RefusedError(
        "receipt-missing",
        f"the gate has not judged {request.ref}",
        why="only a receipt in the ledger can promote",
        fix=f"tidegate gate {request.ref}",
    )


def _passed(_state: LedgerState, request: Request) -> TidegateError | None:
    assert request.receipt is not None
    if request.receipt.verdict is Verdict.PASS:
        return None
    return RefusedError(
        "verdict-not-pass",
        f"the gate's verdict on {request.ref} is {request.receipt.verdict}",
        why="only PASS can be promoted",
        fix=f"read why: tidegate gate report {request.receipt_digest[:12]}",
    )


def _names_the_candidate(state: LedgerState, request: Request) -> TidegateError | None:
    assert request.receipt is not None
    receipt = request.receipt
    if (receipt.model, receipt.candidate, receipt.candidate_digest) == (
        request.model,
        request.version,
        state.digests.get(request.version),
    ):
        return None
    return RefusedError(
        "receipt-mismatch",
        f"the receipt does not name {request.ref} as it is registered",
        why=f"it names {receipt.model}@{receipt.candidate}",
        fix=f"tidegate gate {request.ref}",
    )


def _pointer_stands(state: LedgerState, request: Request) -> TidegateError | None:
    assert request.receipt is not None
    if request.receipt.baseline == state.champion:
        return None
    now = f"{request.model}@{state.champion.version}" if state.champion.version else "nothing"
    then = f"{request.model}@{request.receipt.baseline.version}" if request.receipt.baseline.version else "nothing"
    if state.champion.version == request.version:
        return ConflictError(
            "pointer-moved",
            f"{request.ref} serves already, since ledger entry {state.champion.move}",
            why="what the gate found about it was used for that move",
            fix=f"nothing is to be done: tidegate release log {request.model}",
        )
    return ConflictError(
        "pointer-moved",
        f"the champion moved since the gate judged {request.ref}: {now} serves since ledger entry {state.champion.move}",
        why=f"the comparison was with {then} (entry {request.receipt.baseline.move}) and says nothing about {now}",
        fix=f"tidegate gate {request.ref}",
    )


def _not_expired(_state: LedgerState, request: Request) -> TidegateError | None:
    assert request.receipt is not None
    if request.now < request.receipt.expires_at:
        return None
    return RefusedError(
        "receipt-expired",
        f"the receipt of {request.ref} expired at {format_time(request.receipt.expires_at)}",
        why="old evidence says little about today",
        fix=f"tidegate gate {request.ref}",
    )


def _not_quarantined(state: LedgerState, request: Request) -> TidegateError | None:
    reason = state.quarantined.get(state.digests.get(request.version, ""))
    if reason is None:
        return None
    return RefusedError(
        "version-quarantined",
        f"{request.ref} is quarantined",
        why=f"it was rolled back: {reason}",
        fix=f"tidegate release lift {request.ref} --reason TEXT",
    )


def _approved(state: LedgerState, request: Request) -> TidegateError | None:
    standing = standing_approvers(state, request)
    if len(standing) >= request.approvals:
        return None
    loosened = request.receipt.loosened if request.receipt else []
    who = f"one of {', '.join(request.policy.approvers)}" if request.policy.approvers else "somebody who is not its author"
    return ApprovalMissing(
        "approval-missing",
        f"{request.ref} has {len(standing)} of {request.approvals} approvals",
        why=f"one more is needed, of nobody who changed the policy, because it asks for less than before: {'; '.join(loosened)}"
        if loosened
        else "approvals are bound to the receipt, expire, and are never the author's",
        fix=f"ask {who} to run: tidegate approve {request.ref}",
    )


RULES = [
    Rule("the model is not frozen", _not_frozen),
    Rule("the gate has judged the version", _judged),
    Rule("the verdict is PASS", _passed),
    Rule("the receipt names the version as it is registered", _names_the_candidate),
    Rule("the champion is still the one it was compared with", _pointer_stands),
    Rule("the receipt has not expired", _not_expired),
    Rule("the version is not quarantined", _not_quarantined),
    Rule("the declared approvals stand", _approved),
]

ALWAYS = [rule for rule in RULES if rule.refusal in {_not_frozen, _not_quarantined}]
"""What even an ungated promotion must obey."""
