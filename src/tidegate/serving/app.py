"""The serving application: raw ASGI, nothing between the socket and the model but this file.

``routes`` says what a path asks, a protocol of ``protocols`` reads and writes the bodies, ``predicting`` answers.
docs/reference/serving-http.md describes paths, bodies, answers and limits.
"""

from __future__ import annotations

import asyncio
import logging
import math
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from importlib.metadata import version as installed_version
from time import perf_counter
from typing import Any, NamedTuple
from urllib.parse import parse_qs

import orjson

from tidegate.clock import Clock
from tidegate.errors import RefusedError, TidegateError
from tidegate.frames import Columns
from tidegate.records.policy import ServingPolicy
from tidegate.serving.admission import TIMEOUT_HEADER, OverloadedError, seconds_wanted
from tidegate.serving.batching import Asking, Waiting
from tidegate.serving.body import SMALL_BYTES, Arriving, GoneError, Message, Reading, Receive, packed, read_body
from tidegate.serving.follow import Follower
from tidegate.serving.handle import Handle
from tidegate.serving.log import LogQueue
from tidegate.serving.metrics import Metrics
from tidegate.serving.models import ServedModels
from tidegate.serving.predicting import Predictions
from tidegate.serving.protocols import kserve, oip
from tidegate.serving.protocols.port import JSON, Headers, HttpProtocol, content_type
from tidegate.serving.protocols.request import Request
from tidegate.serving.rollout.router import Router
from tidegate.serving.routes import OIP, Asked, route

Send = Callable[[Message], Awaitable[None]]

STATUS = {
    "body-too-large": 413,
    "too-many-rows": 413,
    "wrong-content-type": 415,
    "wrong-content-encoding": 415,
    "slow-body": 408,
    "wrong-method": 405,
}
"""Errors whose status is not that of their class."""

_PACK_BYTES = 4_096
"""Answers below are sent as they are: to pack them costs more than it saves."""
_BESIDE_BYTES = 1_000_000
_PLAIN_PATH = re.compile(rb"/[\w./:@-]{0,500}", re.ASCII)
_ROUTES = 1_000
"""Paths that are kept in mind."""
_PROMETHEUS = (b"content-type", b"text/plain; version=0.0.4; charset=utf-8")

_log = logging.getLogger("tidegate.serving")


class Answer(NamedTuple):
    """An answer, with its headers but for those that every answer has."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


@dataclass(slots=True)
class Call:
    """What is known of a request so far; ``asked`` and ``asking`` on the short way alone."""

    headers: Headers
    start: float
    protocol: HttpProtocol = OIP
    handle: Handle | None = None
    asked: Asked | None = None
    asking: Asking | None = None


class App:
    """The ASGI application over the followed models. Set ``draining`` to tell load balancers to look elsewhere.

    Args:
        followers: Who follows each model, by its name.
        log: Where predictions go.
        clock: What time it is.
        policies: What a deployment allows, by the model's name; the defaults where nothing is said.
        named: Paths that the surroundings choose, and what they ask.
    """

    def __init__(
        self,
        followers: Mapping[str, Follower],
        log: LogQueue,
        *,
        clock: Clock,
        policies: Mapping[str, ServingPolicy] = {},
        named: Mapping[str, Asked] = {},
    ) -> None:
        self.draining = False
        self.models = ServedModels(followers, policies)
        self.metrics = Metrics(followers, log)
        self.predictions = Predictions(log, self.metrics, clock, policies)
        self.turn = 0.0
        """When the event loop began to read what it reads now, by ``perf_counter``; 0 when it does not."""
        self.read, self.read_before = 0, 0
        """Requests that it has read in this turn, and in the one before."""
        self.version = installed_version("tidegate")
        self._log = log
        self._named = named
        self.arriving = Arriving()
        """Large bodies that lie in memory now."""
        self._plain_route = lru_cache(_ROUTES)(partial(_plain_route, named))

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            return
        call = Call(dict(scope["headers"]), scope.get("began") or perf_counter())
        reading = Reading(receive)
        try:
            answer = await self._answer(scope, reading, call)
        except GoneError:
            return
        except Exception as error:  # noqa: BLE001 - the last seam
            answer = self.refusal(error, call)
        status, headers, body = answer
        if len(body) >= _PACK_BYTES and b"accept-encoding" in call.headers:
            body, packing = await _packed(body, call.headers)
            headers = headers + packing
        close = self.draining or status == 408
        headers = self.finished(headers, body, call, close=close)
        await send({"type": "http.response.start", "status": status, "headers": headers})
        # To close while more of a refused body comes would cut the answer off. uvicorn drops the rest itself where it does not close.
        closes = scope.get("http_version") == "1.0" or call.headers.get(b"connection", b"").lower() == b"close"
        early = closes and reading.more and status != 408 and b"expect" not in call.headers
        await send({"type": "http.response.body", "body": body, "more_body": early})
        if early:
            await reading.drop()
            await send({"type": "http.response.body"})

    def refusal(self, error: Exception, call: Call) -> Answer:
        """The answer that tells an error, which is counted. A bug is a plain 500 for the client, and a traceback in the log."""
        if not isinstance(error, TidegateError):
            _log.error("a request failed", exc_info=error)
            error = TidegateError("internal", "the server failed to answer this request", fix="its log says why")
        status = STATUS.get(error.code, error.http_status)
        headers: list[tuple[bytes, bytes]] = [JSON]
        if isinstance(error, OverloadedError):
            headers.append((b"retry-after", b"%d" % error.retry_after))
        if call.handle:
            self.metrics.refused(call.handle, perf_counter() - call.start, status=status)
        return Answer(status, headers, call.protocol.refusal(error, status))

    def finished(
        self, headers: Sequence[tuple[bytes, bytes]], body: bytes, call: Call, *, close: bool
    ) -> list[tuple[bytes, bytes]]:
        """All headers of an answer."""
        headers = [*headers, (b"content-length", b"%d" % len(body))]
        request_id = call.headers.get(b"x-request-id")
        if request_id is not None and len(request_id) <= 200:
            headers.append((b"x-request-id", request_id))
        if close:
            headers.append((b"connection", b"close"))
        return headers

    def plain(self, url: bytes, headers: Sequence[tuple[bytes, bytes]], start: float) -> Call | None:
        """A POST request whose header says that it may take the short way (see ``direct``); None if it may not."""
        asked = self._plain_route(url)
        if asked is None:
            return None
        call = Call(dict(headers), start, asked.protocol, None, asked)
        if (
            len(call.headers) != len(headers)
            or b"content-encoding" in call.headers
            or (not asked.model and b"x-model" in call.headers)
        ):
            return None
        slow = asked.protocol.slow_types
        return None if slow and content_type(call.headers) in slow else call

    def turned_away(self, call: Call) -> bytes | None:
        """The answer to a plain request that would come too late, from its header alone, behind status and date; None if it may come in.

        With three times too much to do two of three requests end here: what it costs is lost to the third.
        """
        assert call.asked is not None
        try:
            handle = self.models.find(call.asked.model, call.asked.version).handle
            within = seconds_wanted(call.headers.get(TIMEOUT_HEADER), 1e3)
        except TidegateError:
            return None
        late = self.predictions.turn_away(handle, call.start, within)
        if not late:
            return None
        self.metrics.refused(handle, perf_counter() - call.start, status=503)
        return _turned_away(call.protocol, handle.version.name, max(1, math.ceil(late)))

    def begin(self, call: Call, body: bytes, future: Waiting) -> Request | None:
        """Puts a plain request into its line; ``future`` is told what becomes of it. None if it must take the long way.

        Raises:
            OverloadedError: it would be answered too late.
            TidegateError: it is wrong in some way; the long way tells which.
        """
        assert call.asked is not None
        handle, router, policy = self.models.find(call.asked.model, call.asked.version)
        if (router is not None and router.live is not None) or len(body) > min(policy.max_body_bytes, SMALL_BYTES):
            return None
        call.handle = handle
        within = seconds_wanted(call.headers.get(TIMEOUT_HEADER), 1e3)
        request = call.protocol.decode(body, call.headers, handle.signature, policy.max_rows)
        call.asking = self.predictions.put(handle, request, call.start, future, within=within)
        return request

    def told(self, call: Call, request: Request, outputs: Columns) -> Answer:
        """The answer to a request that was begun."""
        assert call.handle is not None
        assert call.asking is not None
        encoded = call.protocol.encode(call.handle.version, request, outputs, call.asking.ids)
        headers, body = encoded.headers, encoded.body
        if _PACK_BYTES <= len(body) < _BESIDE_BYTES and b"accept-encoding" in call.headers:
            body, packing = packed(body, call.headers)
            headers = headers + packing
        return Answer(200, headers, body)

    async def _answer(self, scope: Message, receive: Receive, call: Call) -> Answer:
        asked = route(scope["method"], scope["path"], self._named)
        call.protocol = asked.protocol
        if asked.what != "infer":
            return await self._tell(asked, scope, receive, call)
        model, version = (asked.model, asked.version) if asked.model else _named_model(scope, call.headers)
        handle, router, policy = self.models.find(model, version)
        call.handle = handle
        within = seconds_wanted(call.headers.get(TIMEOUT_HEADER), 1e3)
        self.predictions.refuse_late(handle, call.start, within)
        protocol = asked.protocol
        with self.arriving.hold() as held:
            body = await read_body(receive, call.headers, policy.max_body_bytes, held)
            decode = partial(protocol.decode, body, call.headers, handle.signature, policy.max_rows)
            if protocol.slow_types and content_type(call.headers) in protocol.slow_types:
                request = await asyncio.get_running_loop().run_in_executor(None, decode)
            else:
                request = decode()
            if router is not None and router.live is not None:
                request = request._replace(
                    headers={name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
                )
            answered = await self.predictions.answer(handle, request, call.start, router, within=within)
        encoded = protocol.encode(answered.handle.version, request, answered.outputs, answered.ids)
        return Answer(200, encoded.headers, encoded.body)

    async def _tell(self, asked: Asked, scope: Message, receive: Receive, call: Call) -> Answer:
        """Everything but predictions."""
        ready = 503 if self.draining else 200
        match asked.what:
            case "live":
                return _json({"live": True})
            case "ready":
                return _json({"live": True, "ready": not self.draining}, ready)
            case "ping":
                return Answer(ready, [JSON], b"\n")
            case "server":
                return _json(oip.server_metadata(self.version))
            case "version":
                return Answer(200, [(b"content-type", b"text/plain; charset=utf-8")], self.version.encode())
            case "health":
                return _json(self._health())
            case "metrics":
                return Answer(200, [_PROMETHEUS], self.metrics.text())
            case "index":
                with self.arriving.hold() as held:
                    await read_body(receive, call.headers, _PACK_BYTES, held)
                return _json(self.models.index())
            case "load" | "unload":
                raise _closed(asked)
            case "models v1":
                return _json(kserve.model_list(sorted(self.models.followers)))
            case _:
                return await self._tell_model(asked, scope)

    async def _tell_model(self, asked: Asked, scope: Message) -> Answer:
        follower = self.models.follower(asked.model)
        if asked.what == "rollout":
            return await _analysis(follower.router, scope)
        handle = self.models.find(asked.model, asked.version).handle
        if asked.what == "metadata":
            return _json(oip.model_metadata(handle.version, follower.served()))
        ready = {"name": follower.model, "ready": not self.draining}
        return _json(ready, 503 if self.draining and asked.what == "model ready" else 200)

    def _health(self) -> dict[str, Any]:
        followers = self.models.followers
        models = [
            {
                "name": model,
                "version": follower.handle.version.version,
                "digest": follower.handle.version.digest,
                "format": follower.handle.version.manifest.format,
                **_where(follower.handle),
                "pointer": follower.wanted,
                "problem": follower.problem,
                **follower.router.state(),
            }
            for model, follower in followers.items()
        ]
        log = {"written": self._log.written, "dropped": self._log.dropped, "problem": self._log.problem}
        troubled = self._log.problem or any(follower.problem or follower.router.problem for follower in followers.values())
        status = "draining" if self.draining else "degraded" if troubled else "ok"
        return {"status": status, "models": models, "prediction_log": log}


def _plain_route(named: Mapping[str, Asked], url: bytes) -> Asked | None:
    """What a POST to a plain path asks, if it is a prediction."""
    if not _PLAIN_PATH.fullmatch(url):
        return None
    try:
        asked = route("POST", url.decode(), named)
    except TidegateError:
        return None
    return asked if asked.what == "infer" else None


@lru_cache(_ROUTES)
def _turned_away(protocol: HttpProtocol, model: str, retry_after: int) -> bytes:
    error = OverloadedError(f"{model} has too much to do to answer in time", why="others wait already", retry_after=retry_after)
    body = protocol.refusal(error, error.http_status)
    head = b"content-type: application/json\r\nretry-after: %d\r\ncontent-length: %d\r\n\r\n" % (retry_after, len(body))
    return head + body


def _where(handle: Handle) -> dict[str, str]:
    """Where a model computes, and why not where it should."""
    device, problem = handle.placed
    return {"device": device} | ({"device_problem": problem} if problem else {})


async def _analysis(router: Router, scope: Message) -> Answer:
    """What the newest look at the rollout says, in JSON: see ``rollout.analysis``."""
    asked = _query(scope, "step")
    document = await asyncio.get_running_loop().run_in_executor(
        None, router.analysis, int(asked) if asked.isdecimal() and len(asked) < 9 else None
    )
    return _json(document)


def _named_model(scope: Message, headers: Headers) -> tuple[str, str]:
    """The model, and its version if one is given, that the header X-Model or the query names: ``delay`` or ``delay@3``."""
    given = headers.get(b"x-model", b"").decode("latin-1") or _query(scope, "model")
    model, _, version = given.partition("@")
    return model, version


def _query(scope: Message, name: str) -> str:
    query = scope.get("query_string", b"")
    return parse_qs(query.decode("latin-1")).get(name, [""])[0] if query else ""


async def _packed(body: bytes, headers: Headers) -> tuple[bytes, list[tuple[bytes, bytes]]]:
    if len(body) < _BESIDE_BYTES:
        return packed(body, headers)
    return await asyncio.get_running_loop().run_in_executor(None, packed, body, headers)


def _json(value: Any, status: int = 200) -> Answer:
    return Answer(status, [JSON], orjson.dumps(value))


def _closed(asked: Asked) -> RefusedError:
    return RefusedError(
        "repository-closed",
        f"models are not {asked.what}ed over HTTP",
        why="which version serves is decided by the ledger: judged, approved and written down",
        fix=f"tidegate promote {asked.model[:100]}@N, or start a server with the models that it should have",
    )
