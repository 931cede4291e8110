"""What a promotion would do, rule by rule, before anybody does it."""

from __future__ import annotations

from dataclasses import dataclass

from tidegate.errors import TidegateError
from tidegate.gate import loosened, policy_digest, read_policy, read_receipt, read_report
from tidegate.records.ledger import Promoted
from tidegate.records.policy import ModelPolicy
from tidegate.records.receipt import Receipt
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


def plan_promotion(bucket: Bucket, state: LedgerState, model: str, version: int, policy: ModelPolicy, now: int) -> PromotionPlan:
    """Asks the rules in their order. While a version is rolled out, its receipt and approvals are held to when that began.

    Raises:
        NotFoundError: the receipt that the ledger names is gone, or its report or policy.
        IntegrityError: one of them was changed.
    """
    judgement = state.newest_judgement(version)
    found = judgement.receipt if judgement else ""
    receipt = read_receipt(bucket, model, found) if found else None
    changed = _changed(bucket, receipt, found, policy) if receipt else []
    if receipt:
        read_report(bucket, model, found)  # what people approved must still be there to be read
    if state.rollout and (state.rollout.version, state.rollout.receipt) == (version, found):
        now = state.rollout.started_at
    request = Request(model, version, receipt, found, policy.release, now, changed)
    answers: list[tuple[str, TidegateError | None]] = []
    for rule in RULES:
        refusal = rule.refusal(state, request)
        answers.append((rule.sentence, refusal))
        if refusal is not None:
            return PromotionPlan(request, answers, None)
    event = Promoted(version=version, digest=state.digests[version], receipt=found, previous=state.champion)
    return PromotionPlan(request, answers, event)


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
