"""Webhooks are sent from here: signed, in the background, and to public addresses alone.

A name is resolved once, every address that it has must be public, and the connection goes to one of those addresses, so that
a name which changes its meaning between look-up and connection reaches nothing inside. Redirects are answers, not followed.

What is told: at most ``WAITING`` events wait, in memory; events beyond that, and those that wait when the server stops, are
dropped with a line in the server's log. A webhook tells that something happened; the ledger and the registry say what is.

Source: ``mlflow/webhooks/delivery.py`` and ``ssrf.py`` of MLflow 3.18; https://www.standardwebhooks.com.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import http.client
import ipaddress
import logging
import queue
import random
import socket
import ssl
import threading
import time
import uuid
from collections.abc import Callable
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import msgspec

from tidegate.clock import Clock, from_us

WAITING = 1000
WORKERS = 4
TRIES = 4
TIMEOUT = 10.0
LONGEST_WAIT = 60.0
MAX_ANSWER = 64 * 1024
_AGAIN = {429, 500, 502, 503, 504}
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_log = logging.getLogger("tidegate.server")

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class Target(NamedTuple):
    """Where a webhook goes, and the secret that it is signed with (empty: it is not signed)."""

    id: str
    url: str
    secret: str


class Outcome(NamedTuple):
    """What came of a delivery: the answer's status and text, or status 0 and the error."""

    status: int
    body: str


class RefusedAddressError(Exception):
    """A webhook's address may not be reached."""


def is_public(address: Address) -> bool:
    """Whether an address is one of the internet's, also if an IPv4 address is hidden in an IPv6 one."""
    if isinstance(address, ipaddress.IPv6Address):
        hidden = address.ipv4_mapped or address.sixtofour
        if hidden is None and address in _NAT64:
            hidden = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if hidden is not None:
            address = hidden
    return address.is_global and not address.is_multicast


class Line(NamedTuple):
    """How webhooks reach the world. Tests put another one in: the address of a test is never public."""

    schemes: tuple[str, ...] = ("https",)
    allowed: Callable[[Address], bool] = is_public
    context: Callable[[], ssl.SSLContext] = ssl.create_default_context
    sleep: Callable[[float], None] = time.sleep

    def check(self, url: str) -> tuple[str, int, str, list[str]]:
        """Host, port, path and addresses of a webhook's URL.

        Raises:
            RefusedAddressError: the URL cannot be used, or one of its addresses is not allowed; the text says which.
        """
        if any(letter <= " " or letter > "~" for letter in url):
            raise RefusedAddressError("Webhook URL must be printable ASCII without spaces")
        try:
            parts = urlsplit(url)
            host, port = parts.hostname or "", parts.port
        except ValueError as error:
            raise RefusedAddressError(f"Invalid webhook URL {url!r}: {error}") from None
        if parts.scheme not in self.schemes:
            allowed = ", ".join(self.schemes)
            raise RefusedAddressError(f"Invalid webhook URL scheme: {parts.scheme!r}. Allowed schemes are: {allowed}.")
        if not host:
            raise RefusedAddressError(f"Webhook URL must include a hostname: {url!r}")
        if parts.username is not None or parts.password is not None:
            raise RefusedAddressError("Webhook URL must not include a user or a password: answers would show them")
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        port = port or (443 if parts.scheme == "https" else 80)
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise RefusedAddressError(f"Cannot resolve Webhook URL hostname {host!r}: {error}") from None
        addresses = list(dict.fromkeys(str(item[4][0]).partition("%")[0] for item in found))
        for address in addresses:
            if not self.allowed(ipaddress.ip_address(address)):
                raise RefusedAddressError(
                    f"Webhook URL must not resolve to a non-public IP address. {host!r} resolves to {address}."
                )
        return host, port, path, addresses

    def post(self, url: str, body: bytes, headers: dict[str, str]) -> tuple[int, str, str]:
        """Sends one request; returns the answer's status, text, and header ``Retry-After``.

        Raises:
            RefusedAddressError: see ``check``.
            OSError: the address cannot be reached.
            http.client.HTTPException: the answer is no HTTP.
        """
        host, port, path, addresses = self.check(url)
        raw = socket.create_connection((addresses[0], port), timeout=TIMEOUT)
        connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT)
        # The timeout above is between two bytes; this one ends an answer that comes byte by byte.
        deadline = threading.Timer(TIMEOUT, _hang_up, [connection])
        deadline.daemon = True
        deadline.start()
        try:
            secure = url.startswith("https:")
            connection.sock = self.context().wrap_socket(raw, server_hostname=host) if secure else raw
            connection.request("POST", path, body, {"Host": _host(host, port, secure=secure), **headers})
            answer = connection.getresponse()
            text = answer.read(MAX_ANSWER).decode("utf-8", "replace")
            return answer.status, text, answer.headers.get("retry-after", "")
        finally:
            deadline.cancel()
            connection.close()
            raw.close()


def _hang_up(connection: http.client.HTTPConnection) -> None:
    with contextlib.suppress(OSError, AttributeError):  # it has just ended by itself
        connection.sock.shutdown(socket.SHUT_RDWR)


def _host(host: str, port: int, *, secure: bool) -> str:
    name = f"[{host}]" if ":" in host else host
    return name if port == (443 if secure else 80) else f"{name}:{port}"


def signature(secret: str, delivery: str, at: str, body: bytes) -> str:
    """The header ``X-MLflow-Signature``: HMAC-SHA256 of id, time and body, joined by dots."""
    signed = hmac.new(secret.encode(), f"{delivery}.{at}.".encode() + body, hashlib.sha256)
    return f"v1,{base64.b64encode(signed.digest()).decode()}"


def send(target: Target, event: str, data: dict[str, Any], *, clock: Clock, line: Line, tries: int = TRIES) -> Outcome:
    """Sends one event to one webhook; tries again, later and later, what may pass by itself."""
    entity, _, action = event.partition(".")
    now = clock.now()
    body = msgspec.json.encode({"entity": entity, "action": action, "timestamp": from_us(now).isoformat(), "data": data})
    delivery, at = str(uuid.uuid4()), str(now // 1_000_000)
    headers = {"Content-Type": "application/json", "X-MLflow-Delivery-Id": delivery, "X-MLflow-Timestamp": at}
    if target.secret:
        headers["X-MLflow-Signature"] = signature(target.secret, delivery, at, body)
    outcome = Outcome(0, "nothing was sent")
    for attempt in range(tries):
        again = ""
        try:
            status, text, again = line.post(target.url, body, headers)
            outcome = Outcome(status, text)
            if status not in _AGAIN:
                return outcome
        except RefusedAddressError as error:
            return Outcome(0, str(error))
        except (OSError, http.client.HTTPException, ValueError) as error:
            outcome = Outcome(0, f"{type(error).__name__}: {error}")
        if attempt + 1 < tries:
            line.sleep(_pause(attempt, again))
    return outcome


def _pause(attempt: int, retry_after: str) -> float:
    if retry_after.isascii() and retry_after.isdigit() and len(retry_after) < 6:
        return min(LONGEST_WAIT, float(retry_after))
    return min(LONGEST_WAIT, 2.0**attempt + random.random())  # noqa: S311 - spreads retries, guards nothing


class Deliveries:
    """The queue of events and the threads that send them. Any thread may add; nothing waits for a delivery."""

    def __init__(self, targets: Callable[[str], list[Target]], clock: Clock, line: Line | None = None) -> None:
        """``targets`` tells who wants an event; it is asked in the background."""
        self._targets = targets
        self._clock = clock
        self._line = line or Line()
        self._queue: queue.Queue[tuple[str, dict[str, Any]]] = queue.Queue(WAITING)
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []

    def add(self, event: str, data: dict[str, Any]) -> bool:
        """Notes an event such as ``model_version.created``; False if too many wait already."""
        with self._lock:
            if not self._threads:
                self._threads = [threading.Thread(target=self._work, name="webhooks", daemon=True) for _ in range(WORKERS)]
                for thread in self._threads:
                    thread.start()
        try:
            self._queue.put_nowait((event, data))
        except queue.Full:
            _log.warning("the webhook event %s was dropped: %d are waiting already", event, WAITING)
            return False
        return True

    def wait(self) -> None:
        """Returns when everything that was added has been sent or given up."""
        self._queue.join()

    def _work(self) -> None:
        while True:
            event, data = self._queue.get()
            try:
                for target in self._targets(event):
                    outcome = send(target, event, data, clock=self._clock, line=self._line)
                    if not 200 <= outcome.status < 300:
                        _log.warning("webhook %s did not take %s: %s %s", target.id, event, outcome.status, outcome.body[:200])
            except Exception:  # noqa: BLE001 - the thread must outlive what one webhook does
                _log.exception("webhook event %s", event)
            finally:
                self._queue.task_done()
