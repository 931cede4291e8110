"""Who may consent to a receipt: a person, from wherever they act, or the policy itself within its limits."""

from __future__ import annotations

from tidegate.clock import DAY, parse_duration
from tidegate.errors import ConflictError, IntegrityError, NotFoundError, RefusedError
from tidegate.gate import read_receipt, read_report
from tidegate.models import read_version
from tidegate.records.ledger import Approved, Revoked, Via, Workflow
from tidegate.records.model import Manifest
from tidegate.records.policy import AutoApproval, ReleasePolicy
from tidegate.records.receipt import Receipt
from tidegate.records.report import Report
from tidegate.records.verdict import Verdict
from tidegate.release.people import is_same_person
from tidegate.release.rules import is_author, may_approve
from tidegate.release.state import POLICY, LedgerState
from tidegate.store.ports import Bucket

_COMPARING = {"superior", "not_worse"}


def passed_receipt(state: LedgerState, model: str, version: int) -> str:
    """The digest of the version's newest receipt, if its verdict is PASS.

    Raises:
        RefusedError: it is not, or there is none.
    """
    judgement = state.newest_judgement(version)
    if judgement is not None and judgement.verdict is Verdict.PASS:
        return judgement.receipt
    raise RefusedError(
        "nothing-to-approve",
        f"{model}@{version} has no PASS to consent to (it is {judgement.verdict if judgement else 'not judged'})",
        why="a consent is bound to the receipt of a PASS",
        fix=f"tidegate gate {model}@{version}",
    )


def consent(
    bucket: Bucket, state: LedgerState, model: str, version: int, policy: ReleasePolicy, approved: Approved, actor: str
) -> Approved:
    """The approval of a person, bound to the newest receipt, which is the one that ``approved`` names if it names one.

    In a CI job it is that of who started it, on a page without sign-in that of the name that was typed; nor may who ran these be an author.

    Raises:
        RefusedError: there is no PASS, one of them is an author, or who approves is not among the approvers.
        ConflictError: ``approved`` names another receipt than the newest.
        NotFoundError: the receipt or its report is gone.
        IntegrityError: one of them was changed.
    """
    digest = passed_receipt(state, model, version)
    receipt = read_receipt(bucket, model, digest)
    read_report(bucket, model, digest)  # what is consented to must still be there to be read
    if approved.receipt not in {"", digest}:
        raise ConflictError(
            "receipt-replaced",
            f"the gate has judged {model}@{version} anew since this was read",
            why="an approval is of what somebody read",
            fix="load the page again",
        )
    approver = approved.ci.actor if approved.ci else approved.typed or actor
    author = next((name for name in (approver, actor) if is_author(name, state, version, receipt)), None)
    if author is not None:
        changed = receipt.loosened and author != state.authors.get(version)
        raise RefusedError(
            "author-cannot-approve",
            f"{author} {'loosened the policy for' if changed else 'is the author of'} {model}@{version}",
            why=f"{'' if author == approver else f'it came through {author}, and '}nobody approves their own work",
            fix="ask somebody else",
        )
    if is_same_person(approver, "") or approved.via == "policy" or not may_approve(approver, policy):
        raise RefusedError(
            "not-an-approver",
            f"{approver.strip() or 'nobody'} may not approve {model}{' as the policy' if approved.via == 'policy' else ''}",
            why=f"its approvers are: {', '.join([*policy.approvers, *policy.quorum]) or 'anybody who has a name'}",
            fix="ask one of them",
        )
    return Approved(
        version=version,
        receipt=digest,
        expires_at=approved.expires_at,
        comment=approved.comment,
        via=approved.via,
        ci=approved.ci,
        typed=approved.typed,
    )


def revocation(state: LedgerState, model: str, version: int, approver: str, reason: str) -> Revoked:
    """Takes back what somebody consented to about the version's newest receipt.

    Raises:
        NotFoundError: they did not.
    """
    judgement = state.newest_judgement(version)
    receipt = judgement.receipt if judgement else ""
    standing = sorted({item.approver for item in state.consents if item.receipt == receipt})
    if not any(is_same_person(approver, name) for name in standing):
        raise NotFoundError(
            "no-such-approval",
            f"{approver} has not approved {model}@{version}",
            why=f"its newest receipt was approved by: {', '.join(standing) or 'nobody'}",
            fix=f"tidegate release log {model}",
        )
    return Revoked(version=version, receipt=receipt, approver=approver, reason=reason)


def consent_of_policy(
    bucket: Bucket, state: LedgerState, model: str, version: int, policy: ReleasePolicy, now: int
) -> Approved | list[str]:
    """The approval that the policy itself gives, with its reason as the comment; or why it gives none, in sentences.

    Raises:
        RefusedError: there is no PASS.
        IntegrityError: receipt or report were changed.
    """
    digest = passed_receipt(state, model, version)
    receipt, report = read_receipt(bucket, model, digest), read_report(bucket, model, digest)
    if policy.auto is None:
        return ["the policy declares no [release.auto]"]
    champion = receipt.baseline
    try:
        before = read_version(bucket, model, champion.version, champion.digest).manifest if champion.version else None
        after = read_version(bucket, model, version, receipt.candidate_digest).manifest
    except (NotFoundError, IntegrityError) as error:
        return [error.what]
    problems = _unclean(receipt, report) + _too_large(policy.auto, report, before, after)
    if (digest, POLICY) in state.revoked:
        problems.append("its approval of this receipt was revoked")
    recent = sum(at > now - 7 * DAY for at in state.by_policy)
    if recent >= policy.auto.per_week:
        problems.append(f"it approved {recent} within seven days already, and may approve {policy.auto.per_week}")
    if problems:
        return problems
    flipped, rows = _flipped(report) or 0, report.units or report.rows
    reason = (
        f"PASS without warnings; {flipped} of {rows} rows changed sides (at most {100 * policy.auto.max_flips:g} %); "
        f"{after.size / before.size if before and before.size else 1:.2f} times the size (at most {policy.auto.max_size:g}); "
        f"{recent + 1} of {policy.auto.per_week} within seven days"
    )
    lasts = parse_duration(policy.approval_lifetime)
    return Approved(version=version, receipt=digest, expires_at=now + lasts, comment=reason, via="policy")


def person(policy: ReleasePolicy, now: int, comment: str, via: Via, ci: Workflow | None, typed: str, receipt: str) -> Approved:
    """An approval before it is bound to a version and its receipt."""
    expires_at = now + parse_duration(policy.approval_lifetime)
    return Approved(version=0, receipt=receipt, expires_at=expires_at, comment=comment, via=via, ci=ci, typed=typed)


def _unclean(receipt: Receipt, report: Report) -> list[str]:
    problems = [f"the report warns: {item.what}" for item in report.warnings + report.problems]
    problems += ["the policy asks for less than before"] if receipt.loosened else []
    compared = [rule for rule in report.rules if rule.test in _COMPARING and rule.difference is not None and not rule.against]
    if not compared:
        problems.append("no rule compared a metric with the champion's")
    return problems


def _too_large(auto: AutoApproval, report: Report, before: Manifest | None, after: Manifest) -> list[str]:
    """What changed more than the policy lets pass without a person."""
    if before is None:
        return ["there was no champion to compare with"]
    problems: list[str] = []
    flipped, rows = _flipped(report), report.units or report.rows
    if flipped is None or not rows:
        problems.append("how many rows changed sides is not known")
    elif flipped > auto.max_flips * rows:
        problems.append(f"{flipped} of {rows} rows changed sides, more than {100 * auto.max_flips:g} %")
    if after.size > auto.max_size * before.size:
        problems.append(f"the package has {after.size} bytes, more than {auto.max_size:g} times the champion's {before.size}")
    if after.loads_code:
        problems.append("the package runs code when it is loaded")
    problems += [
        f"its {what} is another than the champion's"
        for what, same in (("format", after.format == before.format), ("signature", after.signature == before.signature))
        if not same
    ]
    return problems


def _flipped(report: Report) -> int | None:
    return report.flips.gained + report.flips.lost if report.flips else None
