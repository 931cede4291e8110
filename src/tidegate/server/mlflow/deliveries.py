"""MLflow's webhooks are sent from here: signed, in the background, and to public addresses alone (``tidegate.notices``).

What is told: at most ``WAITING`` events wait, in memory; events beyond that, and those that wait when the server stops, are
dropped with a line in the server's log. A webhook tells that something happened; the ledger and the registry say what is.

Source: ``mlflow/webhooks/delivery.py`` of MLflow 3.18; https://www.standardwebhooks.com.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
import logging
import queue
import random
import threading
import uuid
from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec

from tidegate.clock import Clock, from_us
from tidegate.notices import Line, RefusedAddressError

WAITING = 1000
WORKERS = 4
TRIES = 4
LONGEST_WAIT = 60.0
_AGAIN = {429, 500, 502, 503, 504}
_log = logging.getLogger("tidegate.server")


class Target(NamedTuple):
    """Where a webhook goes, and the secret that it is signed with (empty: it is not signed)."""

    id: str
    url: str
    secret: str


class Outcome(NamedTuple):
    """What came of a delivery: the answer's status and text, or status 0 and the error."""

    status: int
    body: str


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
