"""The rules of promotion, in the order in which they are asked. Each has a name that is a sentence."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from tidegate.clock import format_time
from tidegate.errors import ApprovalMissing, ConflictError, RefusedError, TidegateError, UsageError
from tidegate.records.policy import ReleasePolicy
from tidegate.records.receipt import Receipt
from tidegate.records.verdict import Verdict
from tidegate.release.people import is_same_person
from tidegate.release.state import POLICY, Consent, LedgerState


@dataclass(frozen=True)
class Request:
    """Somebody wants a version promoted on the strength of a receipt, now."""

    model: str
    version: int
    receipt: Receipt | None
    receipt_digest: str
    policy: ReleasePolicy
    now: int
    changed: Sequence[str] = ()
    """Why the verdict does not answer for the present policy, in sentences."""
    unsigned: TidegateError | None = None
    """Why no key that the policy trusts has signed the version; None also where it asks for no signature."""

    @property
    def ref(self) -> str:
        """``delay@3``."""
        return f"{self.model}@{self.version}"

    @property
    def approvals(self) -> int:
        """How many must consent: one more than declared where the policy was loosened."""
        declared = max(self.policy.approvals, sum(self.policy.quorum.values()))
        return declared + (self.receipt is not None and bool(self.receipt.loosened))


@dataclass(frozen=True)
class Quorum:
    """How far the consent to a receipt is: who gave it, how many it takes, who is missing and who may."""

    given: list[str]
    needed: int
    missing: list[str]
    """Roles that lack somebody, once for each person."""
    entitled: list[str]
    """Empty: anybody but the authors."""
    authors: list[str]
    """Whose consent does not count."""


@dataclass(frozen=True)
class Rule:
    """A rule: its sentence, and a function that returns the refusal or None."""

    sentence: str
    refusal: Callable[[LedgerState, Request], TidegateError | None]


def standing_approvers(state: LedgerState, request: Request) -> list[str]:
    """Who consents to this receipt now: not expired, entitled to, never an author, each once; ``policy`` for a declared rule.

    Authors are the version's and, where the policy was loosened, whoever changed it and whoever ran the gate by it.
    """
    standing: list[str] = []
    for consent in state.consents:
        known = any(is_same_person(consent.approver, name) for name in standing)
        stands = consent.receipt == request.receipt_digest and consent.expires_at > request.now
        if stands and not known and _counts(consent, state, request):
            standing.append(consent.approver)
    return sorted(standing)


def _counts(consent: Consent, state: LedgerState, request: Request) -> bool:
    if consent.by_policy:
        return request.policy.auto is not None and not (request.receipt and request.receipt.loosened)
    people = {consent.approver, consent.actor}
    author = any(is_author(name, state, request.version, request.receipt) for name in people)
    return not author and may_approve(consent.approver, request.policy)


def may_approve(name: str, policy: ReleasePolicy) -> bool:
    """Whether a person's consent can count at all."""
    return not policy.approvers or name in people_of([*policy.approvers, *policy.quorum], policy)


def may_break_glass(name: str, policy: ReleasePolicy) -> bool:
    """Whether a person may promote past verdict and approvals in an emergency."""
    return name in people_of(policy.break_glass, policy)


def people_of(names: Iterable[str], policy: ReleasePolicy) -> set[str]:
    """The people whom names and roles stand for; what is declared as a role is one."""
    return {person for name in names for person in policy.roles.get(name, [name])}


def lacking(people: list[str], policy: ReleasePolicy) -> list[str]:
    """The roles of the quorum that still lack somebody, once for each person who is missing. Nobody stands for two roles.

    Method: maximum bipartite matching by augmenting paths (Kuhn 1955); a quorum has a handful of places.
    """
    places = [role for role, count in policy.quorum.items() for _ in range(count)]
    taken: dict[str, int] = {}

    def seated(place: int, tried: set[str]) -> bool:
        for person in people:
            if person in tried or person not in policy.roles.get(places[place], []):
                continue
            tried.add(person)
            if person not in taken or seated(taken[person], tried):
                taken[person] = place
                return True
        return False

    return [role for place, role in enumerate(places) if not seated(place, set())]


def authors_of(state: LedgerState, version: int, receipt: Receipt | None) -> list[str]:
    """Whose consent to a version does not count."""
    authors = [state.authors[version]] if version in state.authors else []
    if receipt is not None and receipt.loosened:
        authors += [receipt.author, *receipt.loosened_by]
    return authors


def is_author(actor: str, state: LedgerState, version: int, receipt: Receipt | None) -> bool:
    """Whether somebody is among ``authors_of``, however the name is spelled."""
    return any(is_same_person(actor, name) for name in authors_of(state, version, receipt))


def require_reason(reason: str) -> None:
    """Makes sure that a reason was given.

    Raises:
        UsageError: it is empty.
    """
    if not reason.strip():
        raise UsageError(
            "reason-missing", "a reason is needed", why="it is kept in the ledger for good", fix='--reason "what was seen"'
        )


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
        why=f"the comparison was with {then} as of entry {request.receipt.baseline.move}, and says nothing about what came since",
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


def _policy_stands(_state: LedgerState, request: Request) -> TidegateError | None:
    if not request.changed:
        return None
    return RefusedError(
        "policy-changed",
        f"the policy changed since the gate judged {request.ref}",
        why="; ".join(request.changed),
        fix=f"run the gate again: tidegate gate {request.ref}",
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


def _signed(_state: LedgerState, request: Request) -> TidegateError | None:
    return request.unsigned


def quorum(state: LedgerState, request: Request) -> Quorum:
    """How far the consent to a receipt is."""
    standing, policy = standing_approvers(state, request), request.policy
    return Quorum(
        given=standing,
        needed=request.approvals,
        missing=lacking([name for name in standing if name != POLICY], policy),
        entitled=sorted(people_of([*policy.approvers, *policy.quorum], policy)) if policy.approvers else [],
        authors=sorted(set(authors_of(state, request.version, request.receipt))),
    )


def _approved(state: LedgerState, request: Request) -> TidegateError | None:
    found, policy = quorum(state, request), request.policy
    standing, missing = found.given, found.missing
    if len(standing) >= found.needed and not missing:
        return None
    loosened = request.receipt.loosened if request.receipt else []
    why = "approvals are bound to the receipt, expire, can be revoked, and are never the author's"
    if loosened:
        why = "one more is needed, of nobody who changed the policy, because it asks for less than before: " + "; ".join(loosened)
    elif missing:
        why = f"still missing: {', '.join(f'{missing.count(role)} of {role}' for role in dict.fromkeys(missing))}"
    wanted = list(dict.fromkeys(missing)) or policy.approvers
    who = f"one of {', '.join(wanted)}" if wanted else "somebody who is not its author"
    return ApprovalMissing(
        "approval-missing",
        f"{request.ref} has {len(standing)} of {request.approvals} approvals",
        why=why,
        fix=f"ask {who} to run: tidegate approve {request.ref}",
    )


RULES = [
    Rule("the model is not frozen", _not_frozen),
    Rule("the gate has judged the version", _judged),
    Rule("the verdict is PASS", _passed),
    Rule("the receipt names the version as it is registered", _names_the_candidate),
    Rule("the champion is still the one it was compared with", _pointer_stands),
    Rule("the receipt has not expired", _not_expired),
    Rule("the policy asks for nothing that it was not judged by", _policy_stands),
    Rule("the version is not quarantined", _not_quarantined),
    Rule("a trusted key signed it, where the policy asks for that", _signed),
    Rule("the declared approvals stand", _approved),
]

ALWAYS = [rule for rule in RULES if rule.refusal in {_not_frozen, _not_quarantined, _signed}]
"""What even a promotion without a receipt must obey."""
