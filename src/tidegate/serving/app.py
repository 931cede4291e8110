"""The serving application: raw ASGI, nothing between the socket and the model but this file.

``routes`` says what a path asks, a protocol of ``protocols`` reads and writes the bodies, ``predicting`` answers.
docs/reference/serving-http.md describes paths, bodies, answers and limits.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version as installed_version
from time import perf_counter
from typing import Any, NamedTuple
from urllib.parse import parse_qs

import orjson

from tidegate.clock import Clock
from tidegate.errors import RefusedError, TidegateError
from tidegate.records.policy import ServingPolicy
from tidegate.serving.admission import TIMEOUT_HEADER, OverloadedError, seconds_wanted
from tidegate.serving.body import Arriving, GoneError, Message, Receive, packed, read_body
from tidegate.serving.follow import Follower
from tidegate.serving.handle import Handle
from tidegate.serving.log import LogQueue
from tidegate.serving.metrics import Metrics
from tidegate.serving.models import ServedModels
from tidegate.serving.predicting import Predictions
from tidegate.serving.protocols import kserve, oip
from tidegate.serving.protocols.port import JSON, Headers, HttpProtocol, content_type
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
_PROMETHEUS = (b"content-type", b"text/plain; version=0.0.4; charset=utf-8")

_log = logging.getLogger("tidegate.serving")


class _Answer(NamedTuple):
    status: int
    body: bytes
    headers: list[tuple[bytes, bytes]]


@dataclass(slots=True)
class _Call:
    """What is known of a request so far."""

    headers: Headers
    start: float
    protocol: HttpProtocol = OIP
    handle: Handle | None = None


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
        self.version = installed_version("tidegate")
        self._log = log
        self._named = named
        self._arriving = Arriving()

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            return
        call = _Call(dict(scope["headers"]), scope.get("began") or perf_counter())
        try:
            answer = await self._answer(scope, receive, call)
        except GoneError:
            return
        except TidegateError as error:
            answer = _refusal(error, call)
        except Exception:  # noqa: BLE001 - the last seam: a bug is a plain 500 for the client, and a traceback in the log
            _log.exception("a request failed")
            error = TidegateError("internal", "the server failed to answer this request", fix="its log says why")
            answer = _refusal(error, call)
        status, body, headers = answer
        if status >= 400 and call.handle:
            self.metrics.refused(call.handle, perf_counter() - call.start, status=status)
        if len(body) >= _PACK_BYTES and b"accept-encoding" in call.headers:
            body, packing = await _packed(body, call.headers)
            headers = headers + packing
        headers = [*headers, (b"content-length", b"%d" % len(body))]
        request_id = call.headers.get(b"x-request-id")
        if request_id is not None and len(request_id) <= 200:
            headers.append((b"x-request-id", request_id))
        if self.draining or status == 408:  # after a 413 the rest is read and dropped: closing would cut the answer off
            headers.append((b"connection", b"close"))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _answer(self, scope: Message, receive: Receive, call: _Call) -> _Answer:
        asked = route(scope["method"], scope["path"], self._named)
        call.protocol = asked.protocol
        if asked.what != "infer":
            return await self._tell(asked, scope, receive, call)
        model, version = (asked.model, asked.version) if asked.model else _named_model(scope, call.headers)
        handle, router, policy = self.models.find(model, version)
        call.handle = handle
        within = seconds_wanted(call.headers.get(TIMEOUT_HEADER), 1e3)
        self.predictions.refuse_late(handle.version.name, call.start, within)
        body = await read_body(receive, call.headers, policy.max_body_bytes, self._arriving)
        protocol = asked.protocol
        if protocol.slow_types and content_type(call.headers) in protocol.slow_types:
            loop = asyncio.get_running_loop()
            request = await loop.run_in_executor(None, protocol.decode, body, call.headers, handle.signature, policy.max_rows)
        else:
            request = protocol.decode(body, call.headers, handle.signature, policy.max_rows)
        if router is not None and router.live is not None:
            request = request._replace(
                headers={name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
            )
        answered = await self.predictions.answer(handle, request, call.start, router, within=within)
        encoded = protocol.encode(answered.handle.version, request, answered.outputs, answered.ids)
        return _Answer(200, encoded.body, encoded.headers)

    async def _tell(self, asked: Asked, scope: Message, receive: Receive, call: _Call) -> _Answer:
        """Everything but predictions."""
        ready = 503 if self.draining else 200
        match asked.what:
            case "live":
                return _json({"live": True})
            case "ready":
                return _json({"live": True, "ready": not self.draining}, ready)
            case "ping":
                return _Answer(ready, b"\n", [JSON])
            case "server":
                return _json(oip.server_metadata(self.version))
            case "version":
                return _Answer(200, self.version.encode(), [(b"content-type", b"text/plain; charset=utf-8")])
            case "health":
                return _json(self._health())
            case "metrics":
                return _Answer(200, self.metrics.text(), [_PROMETHEUS])
            case "index":
                await read_body(receive, call.headers, _PACK_BYTES, self._arriving)
                return _json(self.models.index())
            case "load" | "unload":
                raise _closed(asked)
            case "models v1":
                return _json(kserve.model_list(sorted(self.models.followers)))
            case _:
                return await self._tell_model(asked, scope)

    async def _tell_model(self, asked: Asked, scope: Message) -> _Answer:
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
        troubled = self._log.problem or any(follower.problem for follower in followers.values())
        status = "draining" if self.draining else "degraded" if troubled else "ok"
        return {"status": status, "models": models, "prediction_log": log}


def _where(handle: Handle) -> dict[str, str]:
    """Where a model computes, and why not where it should."""
    device, problem = handle.placed
    return {"device": device} | ({"device_problem": problem} if problem else {})


async def _analysis(router: Router, scope: Message) -> _Answer:
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


def _json(value: Any, status: int = 200) -> _Answer:
    return _Answer(status, orjson.dumps(value), [JSON])


def _closed(asked: Asked) -> RefusedError:
    return RefusedError(
        "repository-closed",
        f"models are not {asked.what}ed over HTTP",
        why="which version serves is decided by the ledger: judged, approved and written down",
        fix=f"tidegate promote {asked.model[:100]}@N, or start a server with the models that it should have",
    )


def _refusal(error: TidegateError, call: _Call) -> _Answer:
    status = STATUS.get(error.code, error.http_status)
    headers: list[tuple[bytes, bytes]] = [JSON]
    if isinstance(error, OverloadedError):
        headers.append((b"retry-after", b"%d" % error.retry_after))
    return _Answer(status, call.protocol.refusal(error, status), headers)
