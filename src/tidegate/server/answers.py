"""How a question becomes an answer: a page or JSON, and an error in both."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from tidegate.errors import NotFoundError, TidegateError, UsageError
from tidegate.records.names import check_name
from tidegate.server.pages.rendering import Page, environment
from tidegate.workspace import Workspace

API = "/api/"
_log = logging.getLogger("tidegate.server")

Handler = Callable[[Workspace, Request], Any]
"""Answers a request with a ``Page``, a ``Response``, or (below ``/api/``) anything that JSON can hold."""


class Answers:
    """Turns what handlers return, and what they raise, into responses."""

    def __init__(self, workspace: Workspace, *, own_styles: list[str]) -> None:
        """``own_styles`` are the ids of style elements that plotly must find in the page, or it would write them itself."""
        self._workspace = workspace
        self._environment = environment(own_styles=own_styles)

    def endpoint(self, handler: Handler) -> Callable[[Request], Response]:
        """The handler as Starlette calls it, in a thread. It never raises."""

        def answer(request: Request) -> Response:
            path = request.url.path
            try:
                found = handler(self._workspace, request)
                if isinstance(found, Response):
                    return found
                return self._page(found, 200, path) if isinstance(found, Page) else as_json(found)
            except TidegateError as error:
                if error.http_status >= 500:
                    _log.error("%s: %s", path, error)
                return self.error(path, error, error.http_status)
            except Exception:  # noqa: BLE001 - the last seam: a bug is told to who runs the server, never to who asks
                _log.exception("%s", path)
                return self.error(path, _internal(), 500)

        return answer

    def error(self, path: str, error: TidegateError, status: int) -> Response:
        """An error as JSON below ``/api/``, else as a page."""
        if path.startswith(API):
            return as_json({"error": error.as_dict()}, status)
        try:
            return self._page(Page("error.html", error.what, "", {"error": error, "status": status}), status, path)
        except Exception:  # noqa: BLE001 - even the page of an error may fail, when the store does
            _log.exception("%s", path)
            return Response(f"{error.what}\n{error.why}\n{error.fix}\n", status, media_type="text/plain")

    def _page(self, page: Page, status: int, path: str) -> Response:
        text = self._environment.get_template(page.template).render(
            title=page.title,
            area=page.area,
            commands=page.commands,
            path=path,
            project=self._workspace.project.folder.name,
            now=self._workspace.clock.now(),
            **page.values,
        )
        return Response(text, status, media_type="text/html", headers={"cache-control": "no-store"})


def as_json(value: Any, status: int = 200) -> Response:
    """A record or plain value as JSON; NaN and infinities are null."""
    return Response(msgspec.json.encode(value), status, media_type="application/json", headers={"cache-control": "no-store"})


def _internal() -> TidegateError:
    return TidegateError(
        "internal", "this could not be answered", why="this is a bug in Tidegate", fix="the server's terminal shows what happened"
    )


def path_name(request: Request, part: str, noun: str) -> str:
    """A name in the path.

    Raises:
        NotFoundError: it cannot be one.
    """
    text: str = request.path_params[part]
    try:
        return check_name(text, noun)
    except UsageError as error:
        raise NotFoundError("no-such-page", f"no {noun} has that name", why=error.why, fix="start from the overview") from None


def path_number(request: Request, part: str, noun: str) -> int:
    """A positive number in the path.

    Raises:
        NotFoundError: it is none.
    """
    text: str = request.path_params[part]
    if not re.fullmatch(r"[1-9][0-9]{0,8}", text):
        raise NotFoundError(
            "no-such-page", f"no {noun} has that number", why="numbers count from 1", fix="start from the overview"
        )
    return int(text)


def path_digest(request: Request, part: str, noun: str) -> str:
    """A SHA-256 in the path.

    Raises:
        NotFoundError: it is none.
    """
    text: str = request.path_params[part]
    if not re.fullmatch(r"[0-9a-f]{64}", text):
        raise NotFoundError(
            "no-such-page", f"no {noun} has that digest", why="a digest has 64 hexadecimal digits", fix="start from the overview"
        )
    return text


def path_id(request: Request, part: str, noun: str) -> str:
    """An id in the path.

    Raises:
        NotFoundError: it cannot be one.
    """
    text: str = request.path_params[part]
    if not re.fullmatch(r"[0-9A-Za-z._-]{1,120}", text):
        raise NotFoundError(
            "no-such-page",
            f"no {noun} has that id",
            why="an id has letters, digits, dots and dashes only",
            fix="start from the overview",
        )
    return text


def query_offset(request: Request) -> int:
    """``offset`` of the query: how many rows to skip.

    Raises:
        UsageError: it is no number.
    """
    text = request.query_params.get("offset", "0")
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise UsageError("bad-offset", "offset is no number", why="it says how many rows to skip", fix="write offset=100")
    return int(text)


def query_limit(request: Request, default: int, most: int) -> int:
    """``limit`` of the query, at least 1 and at most ``most``.

    Raises:
        UsageError: it is no number.
    """
    text = request.query_params.get("limit", "")
    if not text:
        return default
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise UsageError("bad-limit", "limit is no number", why="it says how many rows to show", fix=f"write limit={default}")
    return min(max(int(text), 1), most)


def query_number(request: Request, name: str) -> int | None:
    """A whole number of the query, such as a step, or None if it is not asked for.

    Raises:
        UsageError: it is no whole number of 64 bits.
    """
    text = request.query_params.get(name, "")
    if not text:
        return None
    if not re.fullmatch(r"-?[0-9]{1,19}", text) or not -(2**63) <= int(text) < 2**63:
        raise UsageError("bad-number", f"{name} is no whole number", why="it is compared with steps", fix=f"write {name}=1000")
    return int(text)
