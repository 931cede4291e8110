"""The HTTP connection to a server: retries, and keys that make a repeated call harmless."""

from __future__ import annotations

import os
import secrets
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlencode, urlsplit

import msgspec
import urllib3
from urllib3.exceptions import HTTPError
from urllib3.response import BaseHTTPResponse

from tidegate.errors import TidegateError, UnavailableError, UsageError, without_passwords
from tidegate.store.remote.calls import rebuilt_error

KEY = "idempotency-key"
_TIMEOUT = urllib3.Timeout(connect=5, read=60)
# 0, 0.4, 0.8, 1.6, 3.2 seconds: a server that restarts is back by then; who wants to wait longer has a journal.
_RETRY = urllib3.Retry(
    total=5, backoff_factor=0.2, status_forcelist=[429, 502, 503, 504], allowed_methods=None, raise_on_status=False
)


class Connection:
    """A server and the right to use it. Safe to share between threads; after a fork every process opens its own."""

    def __init__(self, url: str, token: str = "") -> None:
        """Remembers where the server is; nothing is sent yet.

        Raises:
            UsageError: the address is no http or https URL.
        """
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment or "@" in parts.netloc:
            raise UsageError(
                "bad-server-address",
                f"{without_passwords(url)!r} is no address of a server",
                why="an address is http:// or https://, a host and a port; the secret is the setting token",
                fix="write it like http://127.0.0.1:7070",
            )
        self.url = url.rstrip("/")
        self._headers = {"authorization": f"Bearer {token}"} if token else {}
        self._open()

    @contextmanager
    def ask(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> Generator[BaseHTTPResponse]:
        """Sends a request, again after a failure that may pass; the answer, unread, is for the block to read.

        Every attempt carries the same key, by which the server knows a repetition. ``body`` is bytes or an open file.

        Raises:
            UnavailableError: the server cannot be reached, stays overloaded, or ends before its answer does.
        """
        sent = {**self._headers, KEY: secrets.token_hex(16), **(headers or {})}
        if self._process != os.getpid():
            self._open()  # a forked child must not write into its parent's connections
        url = f"{self.url}{path}?{urlencode(query)}" if query else self.url + path
        try:
            with self._pool.request(method, url, body=body, headers=sent, preload_content=False) as answer:
                yield answer
        except HTTPError as error:
            raise UnavailableError(
                "server-unreachable",
                f"the server {self.url} cannot be reached",
                why=str(getattr(error, "reason", error)),
                fix="check the address and that it runs: tidegate server",
            ) from None

    def _open(self) -> None:
        self._pool = urllib3.PoolManager(timeout=_TIMEOUT, retries=_RETRY, maxsize=8)
        self._process = os.getpid()

    def close(self) -> None:
        """Closes all connections."""
        self._pool.clear()


def refused(answer: BaseHTTPResponse) -> TidegateError:
    """The error that an answer with a status of 400 or more tells."""
    data = answer.read()
    try:
        return rebuilt_error(msgspec.json.decode(data, type=dict[str, dict[str, str]])["error"])
    except (msgspec.MsgspecError, KeyError):
        return UnavailableError(
            "server-unreachable",
            f"the server answered {answer.status} and said nothing that can be read",
            why=data[:200].decode("utf-8", "replace"),
            fix="check that the address is that of a Tidegate server, of this version or newer",
        )
