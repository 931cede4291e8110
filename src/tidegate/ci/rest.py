"""One REST API over HTTP with a token: JSON in, JSON out, patience with limits, and refusals as they were told."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import urllib3

from tidegate.errors import UnavailableError

_TRIES = 4
_LONGEST_WAIT = 60.0
_PAGES = 50
_NEXT = re.compile(r'<([^>]+)>;[^,]*rel="?next"?')
_LOOPBACK = {"127.0.0.1", "localhost", "::1"}


class Answer(NamedTuple):
    """What an API said. ``told`` is its message where it refused."""

    status: int
    body: Any
    told: str
    next_page: str

    @property
    def ok(self) -> bool:
        """Whether it did what was asked."""
        return 200 <= self.status < 300


class RestApi:
    """Calls one API. Not for several threads."""

    def __init__(self, address: str, headers: dict[str, str], *, wait: Callable[[float], None] = time.sleep) -> None:
        """``wait`` sleeps for so many seconds.

        Raises:
            UnavailableError: the token would travel in the open, or no header can hold it.
        """
        if not _is_private(address):
            raise UnavailableError(
                "api-not-https",
                f"{address or 'the address of the API'} is no https address",
                why="the token would travel where anybody can read it",
                fix="run the job where the CI system gives the address of its API",
            )
        if not all(text.isascii() and text.isprintable() for text in headers.values()):
            raise UnavailableError(  # HTTP refuses it too, with the token in its message
                "bad-token",
                "the token cannot be sent",
                why="it holds a line break, or letters that no token has",
                fix="set the variable to the bare token, without quotes or a line break",
            )
        self._address = address.rstrip("/")
        self._headers = {"Accept": "application/json", "User-Agent": "tidegate", **headers}
        self._wait = wait
        self._pool = urllib3.PoolManager(timeout=urllib3.Timeout(connect=10, read=30), retries=False)

    def call(self, method: str, path: str, body: Any = None) -> Answer:
        """Asks once, and again where the API asks for patience (429, 403 at a limit) or fails by itself (5xx, no connection).

        Whatever is created is asked for once more only when the API said that it did not do it.

        Raises:
            UnavailableError: it cannot be reached.
        """
        for attempt in range(_TRIES):
            last = attempt == _TRIES - 1
            try:
                answer, wait = self._ask(method, path, body, attempt)
            except urllib3.exceptions.HTTPError as error:
                if last or method == "POST":  # it may have been done
                    raise UnavailableError(
                        "api-unreachable", f"{self._address} cannot be reached", why=str(error), fix="run the job again"
                    ) from None
                wait = 2.0**attempt
            else:
                if wait is None or wait > _LONGEST_WAIT or last:
                    return answer
            self._wait(wait)
        raise AssertionError("unreachable")

    def pages(self, path: str) -> Iterator[Any]:
        """The items of a list, page by page as the Link headers lead, within this API only.

        Raises:
            UnavailableError: a page is refused.
        """
        for _page in range(_PAGES):
            answer = self.call("GET", path)
            if not answer.ok:
                raise refused(f"listing {path.partition('?')[0]}", answer)
            yield from answer.body
            if not answer.next_page.startswith(f"{self._address}/"):
                return
            path = answer.next_page.removeprefix(self._address)

    def _ask(self, method: str, path: str, body: Any, attempt: int) -> tuple[Answer, float | None]:
        """The answer, and how long to wait before asking again; None: not at all."""
        data = None if body is None else json.dumps(body).encode()
        headers = self._headers | ({"Content-Type": "application/json"} if data else {})
        response = self._pool.request(method, self._address + path, body=data, headers=headers, redirect=False)
        found = _parsed(response.data)
        told = found.get("message", "") if isinstance(found, dict) else ""
        match = _NEXT.search(response.headers.get("Link", ""))
        answer = Answer(response.status, found, told if isinstance(told, str) else json.dumps(told), match[1] if match else "")
        limited = response.status == 429 or (
            response.status == 403 and ("Retry-After" in response.headers or response.headers.get("X-RateLimit-Remaining") == "0")
        )
        failed = response.status in {500, 502, 503, 504} and method != "POST"
        if not limited and not failed:
            return answer, None
        asked = response.headers.get("Retry-After", "")
        return answer, float(asked) if asked.isdecimal() else 2.0**attempt


def refused(what: str, answer: Answer) -> UnavailableError:
    """An answer that is a refusal, as an error."""
    hints = {
        401: "check that the token is still valid",
        403: "give the token the right to write to this change: pull-requests: write and statuses: write on GitHub; on GitLab a "
        "project access token with the scope api and the role Reporter, as CI_JOB_TOKEN cannot write notes",
        404: "check that the token may see this project",
    }
    return UnavailableError(
        "api-refused",
        f"{what} was refused with {answer.status}",
        why=answer.told[:300],
        fix=hints.get(answer.status, "run the job again"),
    )


def _is_private(address: str) -> bool:
    """Whether nobody on the way can read what is sent to an address."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return False
    return parts.scheme == "https" or parts.hostname in _LOOPBACK


def _parsed(data: bytes) -> Any:
    try:
        return json.loads(data) if data else None
    except ValueError:
        return None
