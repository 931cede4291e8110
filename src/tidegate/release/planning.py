"""What a promotion would do, rule by rule, before anybody does it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tidegate.errors import ApprovalMissing, IntegrityError, NotFoundError, RefusedError, TidegateError
from tidegate.gate import loosened, policy_digest, read_policy, read_receipt, read_report
from tidegate.models import read_version
from tidegate.models.signing import find_signatures, read_trusted_keys, require_signature
from tidegate.records.ledger import Promoted
from tidegate.records.policy import ModelPolicy
from tidegate.records.receipt import Receipt
from tidegate.release.approving import consent_of_policy
from tidegate.release.rules import RULES, Request, standing_approvers
from tidegate.release.state import POLICY, LedgerState
from tidegate.store.ports import Bucket


@dataclass(frozen=True)
class PromotionPlan:
    """What a promotion would do: each rule with its refusal (None: it holds), then the event that would be written.

    ``answers`` ends at the first refusal: the rules after it were not asked.
    """

    request: Request
    answers: list[tuple[str, TidegateError | None]]
    event: Promoted | None
    not_by_policy: list[str] = field(default_factory=list[str])
    """Where approvals are missing: why the policy's own, if it declares one, is none of them, in sentences."""

    @property
    def refusal(self) -> TidegateError | None:
        """The first rule's refusal, or None when the promotion may happen."""
        return next((refusal for _, refusal in self.answers if refusal is not None), None)

    @property
    def follows(self) -> str:
        """What brings it further: a command, or what somebody has to do first."""
        if self.refusal is None:
            return f"tidegate promote {self.request.ref}"
        return f"tidegate approve {self.request.ref}" if isinstance(self.refusal, ApprovalMissing) else self.refusal.fix

    def explain(self) -> list[str]:
        """One line per rule, and what would happen."""
        lines = [f"{'no ' if refusal else 'yes'} {sentence}" for sentence, refusal in self.answers]
        if self.event is None:
            told = [f"nothing moves: {self.refusal.what if self.refusal else ''}"]
            told += [f"why: {self.refusal.why}"] if self.refusal and self.refusal.why else []
            return [*lines, *told, *(f"the policy does not approve it by itself: {why}" for why in self.not_by_policy)]
        previous = f"{self.request.model}@{self.event.previous.version}" if self.event.previous.version else "nothing"
        return [*lines, f"the pointer moves from {previous} to {self.request.ref}"]


def plan_promotion(
    bucket: Bucket, state: LedgerState, model: str, version: int, policy: ModelPolicy, now: int, folder: Path
) -> PromotionPlan:
    """Asks the rules in their order. While a version is rolled out, its receipt and approvals are held to when that began.

    ``folder`` is where the paths in the policy begin.

    Raises:
        NotFoundError: the receipt that the ledger names is gone, or its report or policy.
        IntegrityError: one of them was changed.
        BadInputError: a key that the policy names cannot be read.
    """
    judgement = state.newest_judgement(version)
    found = judgement.receipt if judgement else ""
    receipt = read_receipt(bucket, model, found) if found else None
    changed = _changed(bucket, receipt, found, policy) if receipt else []
    if receipt:
        read_report(bucket, model, found)  # what people approved must still be there to be read
    if state.rollout and (state.rollout.version, state.rollout.receipt) == (version, found):
        now = state.rollout.started_at
    unsigned = find_unsigned(bucket, state, model, version, policy.release.signed_by, folder)
    request = Request(model, version, receipt, found, policy.release, now, changed, unsigned)
    answers: list[tuple[str, TidegateError | None]] = []
    for rule in RULES:
        refusal = rule.refusal(state, request)
        answers.append((rule.sentence, refusal))
        if refusal is not None:
            asked = isinstance(refusal, ApprovalMissing)
            return PromotionPlan(request, answers, None, _not_by_policy(bucket, state, request) if asked else [])
    event = Promoted(version=version, digest=state.digests[version], receipt=found, previous=state.champion)
    return PromotionPlan(request, answers, event)


def _not_by_policy(bucket: Bucket, state: LedgerState, request: Request) -> list[str]:
    """Why the policy itself has not approved the version; nothing if it has, or declares that it never does."""
    if request.policy.auto is None or POLICY in standing_approvers(state, request):
        return []
    found = consent_of_policy(bucket, state, request.model, request.version, request.policy, request.now)
    return found if isinstance(found, list) else [f"it is asked when the gate judges: tidegate gate {request.ref}"]


def find_unsigned(
    bucket: Bucket, state: LedgerState, model: str, version: int, signed_by: Sequence[str], folder: Path
) -> TidegateError | None:
    """Why none of these public keys (PEM files, from the folder) has signed a version as it is registered; None if one has.

    Raises:
        BadInputError: a key cannot be read.
        UnavailableError: the extra ``sign`` is not installed.
    """
    if not signed_by:
        return None
    trusted = read_trusted_keys(signed_by, folder)
    try:
        found = read_version(bucket, model, version, state.digests.get(version, ""))
        require_signature(find_signatures(bucket, found), found, trusted)
    except (NotFoundError, IntegrityError, RefusedError) as error:
        return error
    return None


def _changed(bucket: Bucket, receipt: Receipt, digest: str, policy: ModelPolicy) -> list[str]:
    """What the verdict does not answer for, in sentences: all that is asked now and was not then, and consents that were taken away since.

    A rule that asks for less now is no harm: the candidate passed the stricter one.
    """
    judged_by = read_policy(bucket, receipt.model, digest)
    if judged_by is None:
        same = receipt.policy_digest == policy_digest(policy)
        return [] if same else ["the policy that it was judged by was not kept, and this one is another"]
    then, now = (ModelPolicy(task=policy.task, release=each.release) for each in (judged_by, policy))
    lowered = loosened(then, now)
    less = loosened(policy, judged_by)
    told = (
        [f"it was judged by a policy that asks for less than the present one: from this to that, {'; '.join(less)}"]
        if less
        else []
    )
    return told + ([f"less consent is asked for than when it was judged: {'; '.join(lowered)}"] if lowered else [])
