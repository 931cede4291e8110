"""Approvals through the web: what somebody read on a page, they can consent to there.

There is no sign-in yet: who approves is the name that the browser was asked for beside the token, or else the one that is typed. It is
worth what the name in ``--as`` is worth, and the ledger says that it came through the web.
"""

from __future__ import annotations

import base64
import binascii

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tidegate.digest import parsed
from tidegate.errors import ConflictError, UsageError
from tidegate.records.ledger import LedgerEntry
from tidegate.release import Release
from tidegate.server.answers import Answers, path_name, path_number
from tidegate.workspace import Workspace

PATH = "/api/v1/models/{model}/versions/{version}/approvals"
_MOST = 16 * 1024


class Approval(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a page sends: ``receipt`` is the digest of the one that it showed."""

    receipt: str
    approver: str = ""
    comment: str = ""


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
        UsageError: the body is no approval.
        ConflictError: the gate has judged the version anew since the page was shown.
        RefusedError: the person may not approve it.
    """
    model, version = path_name(request, "model", "model"), path_number(request, "version", "version")
    try:
        approval = parsed(body[:_MOST], Approval)
    except msgspec.MsgspecError as error:
        fix = 'send {"receipt": "DIGEST", "approver": "NAME", "comment": "..."}'
        raise UsageError("bad-approval", "the body is no approval", why=str(error), fix=fix) from None
    policy = workspace.policy(model)
    if workspace.release.newest_receipt(model, version) != approval.receipt:
        raise ConflictError(
            "receipt-replaced",
            f"the gate has judged {model}@{version} anew since this page was shown",
            why="an approval is of what somebody read",
            fix="load the page again",
        )
    approver = _signed_in(request.headers.get("authorization", "")) or approval.approver.strip()
    release = Release(workspace.store.bucket, workspace.clock, approver, after=workspace.follow_up.after)
    return release.approve(model, version, policy=policy, comment=approval.comment, via="ui")


def _signed_in(authorization: str) -> str:
    """The name beside the token, where a browser asked for both."""
    scheme, _, rest = authorization.partition(" ")
    if scheme.lower() != "basic":
        return ""
    try:
        return base64.b64decode(rest.strip(), validate=True).decode().partition(":")[0].strip()
    except (binascii.Error, UnicodeDecodeError):
        return ""
