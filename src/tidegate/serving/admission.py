"""Who is let in: how many may wait for a model, how long, and what is said to the others.

A request that would be answered too late is turned away at once, while it has cost nothing: what is let in is then answered in time,
and a server with three times too much to do still does what it can.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NoReturn

from tidegate.errors import UnavailableError, UsageError

MAX_WAITING_REQUESTS = 4_096
_MEMORY = 0.98  # an answer counts half as much after 34 further ones
_DOUBT = 2.0
"""A wait may turn out so much longer than it was foreseen. While enough waits to keep the model busy, to let fewer in costs nothing."""
_STRICTER = 1.1
"""The first look is: what it lets through costs the time to decode it."""
TIMEOUT_HEADER = b"x-envoy-expected-rq-timeout-ms"
"""Milliseconds in which the caller wants the answer, as Envoy (Istio) tells it.
SOURCE: https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_filters/router_filter"""


class OverloadedError(UnavailableError):
    """More is asked than can be answered in time. ``retry_after``: seconds after which it may be worth trying again."""

    def __init__(self, what: str, *, why: str, retry_after: float) -> None:
        super().__init__("overloaded", what, why=why, fix="try again after Retry-After, or serve from more processes")
        self.retry_after = max(1, math.ceil(retry_after))


@dataclass(slots=True)
class Room:
    """What waits for one model or is with it now, whichever of its versions. Used on the event loop only.

    Beside what a call takes it knows at what pace requests really leave: in that is all that a process does for them. So a newcomer's
    wait is what is before it times the pace (Little's law), as long as it has been about as full before.
    """

    model: str
    max_rows: int
    max_seconds: float
    """How long a request may have to wait for others, as far as can be foreseen."""
    max_requests: int = MAX_WAITING_REQUESTS
    requests: int = 0
    rows: int = 0
    turned_away: int = 0
    pace: float = 0.0
    """Seconds from one answer to the next while somebody waits."""
    depth: float = 0.0
    """How many requests were here when the pace was taken."""
    since: float = 0.0

    @property
    def wait(self) -> float:
        """Seconds that a newcomer would wait, by the pace; if it has never been as full as now, those when it was fullest."""
        return (self.requests if self.requests <= 2 * self.depth else self.depth) * self.pace

    def is_late(self, *, wait: float, left: float) -> float:
        """A first look at a request of which nothing is known yet, so that it costs next to nothing: it is taken to be like the others.

        In seconds: ``wait`` for others, as the calls' times tell it; ``left`` until the answer is wanted. So ``enter`` hardly ever refuses.

        Returns:
            Seconds that it would wait too long, after which it may be worth trying again; 0 if it may come in.
        """
        if not self.requests:
            return 0.0
        wait = max(wait, self.wait)
        if (
            wait > self.max_seconds
            or _STRICTER * _DOUBT * wait > left
            or self.requests >= self.max_requests
            or self.rows + self.rows / self.requests > self.max_rows
        ):
            return min(max(wait, 1e-9), self.max_seconds)
        return 0.0

    def refuse_late(self, *, wait: float, left: float) -> None:
        """The same look.

        Raises:
            OverloadedError: it would wait too long, or too much waits already.
        """
        if late := self.is_late(wait=wait, left=left):
            self._turn_away(f"it would wait {_told(late)} for others", late)

    def enter(self, rows: int, now: float, *, wait: float, own: float, left: float) -> None:
        """Lets a request in. All in seconds: ``wait`` for others, ``own`` time of the model, ``left`` until it is wanted.

        Raises:
            OverloadedError: it would wait too long, or too much waits already.
        """
        why = ""
        wait = max(wait, self.wait)
        if self.requests >= self.max_requests or (self.requests and self.rows + rows > self.max_rows):
            why = f"{self.requests} requests with {self.rows} rows wait already"
        elif wait > self.max_seconds:
            why = f"it would wait {_told(wait)} for others, {_told(self.max_seconds)} are allowed"
        elif _DOUBT * wait + own > left:
            why = f"its answer is wanted within {_told(max(left, 0.0))}, and would take {_told(wait + own)}"
        if why:
            self._turn_away(why, wait)
        if not self.requests:
            self.since = now
        self.requests += 1
        self.rows += rows

    def leave(self, requests: int, rows: int, now: float) -> None:
        """Requests that were let in have been answered, or nobody wants their answers any more."""
        kept = _MEMORY**requests
        self.pace = self.pace * kept + (now - self.since) / requests * (1 - kept)
        self.depth = self.depth * kept + self.requests * (1 - kept)
        self.since = now
        self.requests -= requests
        self.rows -= rows

    def _turn_away(self, why: str, wait: float) -> NoReturn:
        self.turned_away += 1
        raise OverloadedError(
            f"{self.model} has too much to do to answer in time", why=why, retry_after=min(wait, self.max_seconds)
        )


def seconds_wanted(given: object, per_second: float) -> float:
    """In how many seconds a request wants its answer, from what it says, in units of so many to a second; infinite for 0 and None.

    The parameter ``timeout`` counts microseconds, as Triton's clients send it; Envoy's header milliseconds.

    Raises:
        UsageError: what it says is no time.
    """
    if given is None:
        return math.inf
    text = given.decode("latin-1") if isinstance(given, bytes) else str(given)
    try:
        seconds = float(text) / per_second
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise UsageError(
            "bad-timeout",
            f"the timeout {text[:40]!r} is no time",
            why=f"the parameter timeout counts microseconds, the header {TIMEOUT_HEADER.decode()} milliseconds",
            fix="send a number, or leave it out",
        )
    return seconds or math.inf


def _told(seconds: float) -> str:
    return f"{seconds * 1e3:.3g} ms" if seconds < 1 else f"{seconds:.3g} s"
