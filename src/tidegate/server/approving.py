"""Approvals through the web: what waits for whom, and consent to what somebody read on a page.

Nobody signs in yet. On a server with a token, who approves is the name that the browser sent beside it. On one without, it is the name
that is typed, and unless that is the server's own actor the ledger keeps it as typed: neither is worth more than the name in ``--as``.
"""

from __future__ import annotations

import base64
import binascii
import unicodedata
from typing import NamedTuple

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tidegate.digest import parsed
from tidegate.errors import ApprovalMissing, TidegateError, UsageError
from tidegate.records.ledger import LedgerEntry
from tidegate.records.verdict import Verdict
from tidegate.release import Release, quorum
from tidegate.server.address import token_of
from tidegate.server.answers import Answers, path_name, path_number
from tidegate.workspace import Workspace

PATH = "/api/v1/models/{model}/versions/{version}/approvals"
_MOST = 16 * 1024
_LONGEST_NAME = 100


class Approval(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a page sends: ``receipt`` is the digest of the one that it showed."""

    receipt: str
    approver: str = ""
    comment: str = ""


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """A version that passed the gate and does not serve: who consented, how many it takes, who is missing and who may."""

    model: str
    version: int
    receipt: str
    given: list[str]
    needed: int
    missing: list[str]
    """Roles that lack somebody, once for each person."""
    entitled: list[str]
    """Who may consent; empty: anybody who has a name."""
    authors: list[str]
    """Whose consent does not count."""
    expires_at: int
    """When the verdict counts no longer, in microseconds UTC."""
    refusal: str
    """Which other rule keeps it from being promoted, in a sentence."""

    @property
    def is_reached(self) -> bool:
        """Whether enough consented, and of each role enough."""
        return len(self.given) >= self.needed and not self.missing


class Visitor(NamedTuple):
    """Who asks: the name beside the token, empty where there is none, and the server's own actor."""

    name: str
    server: str


def approval_route(answers: Answers) -> Route:
    """The address that takes approvals."""

    async def answer(request: Request) -> Response:
        body = b""
        async for part in request.stream():
            body += part
            if len(body) > _MOST:
                break
        return await run_in_threadpool(answers.endpoint(lambda workspace, asked: approve(workspace, asked, body)), request)

    return Route(PATH, answer, methods=["POST"])


def approve(workspace: Workspace, request: Request, body: bytes) -> LedgerEntry:
    """Enters the approval into the ledger.

    Raises:
        UsageError: the body is no approval, or a name is none.
        ConflictError: the gate has judged the version anew since the page was shown.
        RefusedError: the person may not approve it.
    """
    model, version = path_name(request, "model", "model"), path_number(request, "version", "version")
    try:
        approval = parsed(body[:_MOST], Approval)
    except msgspec.MsgspecError as error:
        raise _bad(str(error)) from None
    visitor = visitor_of(workspace, request)
    name = _checked(visitor.name or approval.approver.strip())
    typed = "" if visitor.name or name == visitor.server else name
    actor = visitor.server if typed else name
    release = Release(workspace.store.bucket, workspace.clock, actor, after=workspace.follow_up.after)
    policy, comment, receipt = workspace.policy(model), approval.comment, approval.receipt
    return release.approve(model, version, policy=policy, comment=comment, via="ui", typed=typed, receipt=receipt)


def visitor_of(workspace: Workspace, request: Request) -> Visitor:
    """Who asks. A name that comes with a request counts only where a token came with it, and was right."""
    name = _beside(request.headers.get("authorization", "")) if token_of(workspace.project) else ""
    return Visitor(name, workspace.actor)


def find_asked(workspace: Workspace, model: str, version: int) -> Asked | None:
    """What consent a version needs; None if it has no PASS, serves already, or no policy says who may.

    Raises:
        NotFoundError: the receipt that the ledger names is gone, or its report or policy.
        IntegrityError: one of them was changed.
    """
    policy, state = workspace.policies.get(model), workspace.release.state(model)
    judgement = state.newest_judgement(version)
    serves = state.champion.digest == state.digests.get(version)
    if policy is None or judgement is None or judgement.verdict is not Verdict.PASS or serves:
        return None
    plan = workspace.release.plan(model, version, policy=policy)
    found, receipt = quorum(state, plan.request), plan.request.receipt
    refusal = plan.refusal
    return Asked(
        model=model,
        version=version,
        receipt=judgement.receipt,
        given=found.given,
        needed=found.needed,
        missing=found.missing,
        entitled=found.entitled,
        authors=found.authors,
        expires_at=receipt.expires_at if receipt else 0,
        refusal="" if refusal is None or isinstance(refusal, ApprovalMissing) else refusal.what,
    )


def list_asked(workspace: Workspace, models: list[str]) -> list[Asked]:
    """Every version of these models for whose promotion nothing lacks but consent. What cannot be read waits for nobody."""
    found: list[Asked] = []
    for model in models:
        judged = {item.version for item in workspace.release.state(model).judgements}
        for version in sorted(judged, reverse=True):
            try:
                asked = find_asked(workspace, model, version)
            except TidegateError:
                continue  # its own page and doctor say what is wrong
            if asked is not None and not asked.refusal and not asked.is_reached:
                found.append(asked)
    return found


def _checked(name: str) -> str:
    odd = any(unicodedata.category(letter).startswith("C") for letter in name)
    if odd or len(name) > _LONGEST_NAME:
        raise _bad("the name is longer than 100 characters, or holds some that cannot be seen")
    return name


def _bad(why: str) -> UsageError:
    return UsageError(
        "bad-approval",
        "the body is no approval",
        why=why,
        fix='send {"receipt": "DIGEST", "approver": "NAME", "comment": "..."}',
    )


def _beside(authorization: str) -> str:
    """The name beside the token, where a browser asked for both."""
    scheme, _, rest = authorization.partition(" ")
    if scheme.lower() != "basic":
        return ""
    try:
        return base64.b64decode(rest.strip(), validate=True).decode().partition(":")[0].strip()
    except (binascii.Error, UnicodeDecodeError):
        return ""
