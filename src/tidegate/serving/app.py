"""The serving application: raw ASGI, nothing between the socket and the model but this file.

    GET  /v2, /v2/health/live, /v2/health/ready
    GET  /v2/models/NAME[/versions/V][/ready]
    POST /v2/models/NAME[/versions/V]/infer
    GET  /health, /metrics

docs/reference/serving-http.md describes bodies, answers and limits.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from importlib.metadata import version as installed_version
from time import perf_counter
from typing import Any, NamedTuple

import orjson

from tidegate.clock import Clock
from tidegate.errors import NotFoundError, TidegateError, UnavailableError, UsageError
from tidegate.records.names import nearest
from tidegate.records.policy import ServingPolicy
from tidegate.serving.follow import Follower
from tidegate.serving.handle import Handle
from tidegate.serving.log import LogQueue
from tidegate.serving.metrics import Metrics
from tidegate.serving.predicting import Predictions
from tidegate.serving.protocols import oip

Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

BODY_SECONDS = 30.0
"""How long a client may take to send a body."""

_JSON = (b"content-type", b"application/json")
_STATUS = {
    "body-too-large": 413,
    "too-many-rows": 413,
    "wrong-content-type": 415,
    "slow-body": 408,
    "wrong-method": 405,
}

_log = logging.getLogger("tidegate.serving")


class _Answer(NamedTuple):
    status: int
    body: bytes
    content_type: tuple[bytes, bytes] = _JSON


class _GoneError(Exception):
    """The client left before it had sent its request."""


class App:
    """The ASGI application over the followed models. Set ``draining`` to tell load balancers to look elsewhere."""

    def __init__(self, followers: Mapping[str, Follower], log: LogQueue, *, clock: Clock, policy: ServingPolicy) -> None:
        self.draining = False
        self._followers = followers
        self._log = log
        self._policy = policy
        self._metrics = Metrics(followers, log)
        self._predictions = Predictions(log, self._metrics, clock)
        self._version = installed_version("tidegate")

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            return
        start = perf_counter()
        handle: list[Handle] = []
        try:
            answer = await self._answer(scope, receive, start, handle)
        except _GoneError:
            return
        except TidegateError as error:
            answer = _refusal(error)
        except Exception:  # noqa: BLE001 - the last seam: a bug is a plain 500 for the client, and a traceback in the log
            _log.exception("a request failed")
            answer = _refusal(TidegateError("internal", "the server failed to answer this request", fix="its log says why"))
        if answer.status >= 400 and handle:
            self._metrics.refused(handle[0], perf_counter() - start, status=answer.status)
        headers = [answer.content_type, (b"content-length", str(len(answer.body)).encode())]
        if self.draining or answer.status == 408:  # after a 413 the rest is read and dropped: closing would cut the answer off
            headers.append((b"connection", b"close"))
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": answer.body})

    async def _answer(self, scope: Message, receive: Receive, start: float, handle: list[Handle]) -> _Answer:
        parts = scope["path"].strip("/").split("/")
        match parts:
            case ["v2", "models", model, *rest]:
                return await self._of_model(model, rest, scope, receive, start, handle)
            case ["v2"]:
                return _get(scope, {"name": "tidegate", "version": self._version, "extensions": []})
            case ["v2", "health", "live"]:
                return _get(scope, {"live": True})
            case ["v2", "health", "ready"]:
                return _get(scope, {"live": True, "ready": not self.draining}, status=503 if self.draining else 200)
            case ["health"]:
                return _get(scope, self._health())
            case ["metrics"]:
                _only("GET", scope)
                return _Answer(200, self._metrics.text(), (b"content-type", b"text/plain; version=0.0.4; charset=utf-8"))
            case _:
                known = ["/v2", "/v2/health/live", "/v2/health/ready", "/health", "/metrics", "/v2/models/NAME/infer"]
                raise NotFoundError(
                    "no-such-path", f"nothing is served at {scope['path'][:200]!r}", fix=f"served are {', '.join(known)}"
                )

    async def _of_model(
        self, model: str, rest: list[str], scope: Message, receive: Receive, start: float, pinned: list[Handle]
    ) -> _Answer:
        follower = self._followers.get(model)
        if follower is None:
            raise NotFoundError(
                "model-not-served", f"no model {model[:100]!r} is served here", fix=nearest(model, list(self._followers))
            )
        handle = follower.handle  # pinned: a swap during this request changes nothing for it
        if len(rest) >= 2 and rest[0] == "versions":
            if rest[1] != handle.number:
                raise NotFoundError(
                    "version-not-served",
                    f"version {rest[1][:20]!r} of {model} is not served here",
                    why=f"{handle.version.ref} is",
                    fix=f"leave the version out to ask the one that serves, or ask for {handle.number}",
                )
            rest = rest[2:]
        match rest:
            case ["infer"]:
                _only("POST", scope)
                pinned.append(handle)
                return await self._infer(handle, scope, receive, start)
            case []:
                return _get(scope, oip.model_metadata(handle.version))
            case ["ready"]:
                return _get(scope, {"name": model, "ready": not self.draining}, status=503 if self.draining else 200)
            case _:
                raise NotFoundError(
                    "no-such-path", f"nothing is served at {scope['path'][:200]!r}", fix="a model has infer and ready"
                )

    async def _infer(self, handle: Handle, scope: Message, receive: Receive, start: float) -> _Answer:
        _check_headers(scope, self._policy.max_body_bytes)
        body = await _body(receive, self._policy.max_body_bytes)
        request = oip.decode(body, handle.signature, max_rows=self._policy.max_rows)
        answered = await self._predictions.answer(handle, request, start)
        return _Answer(200, oip.encode(answered.handle.version, request, answered.outputs, answered.ids))

    def _health(self) -> dict[str, Any]:
        models = [
            {
                "name": model,
                "version": follower.handle.version.version,
                "digest": follower.handle.version.digest,
                "format": follower.handle.version.manifest.format,
                "pointer": follower.wanted,
                "problem": follower.problem,
            }
            for model, follower in self._followers.items()
        ]
        log = {"written": self._log.written, "dropped": self._log.dropped, "problem": self._log.problem}
        troubled = self._log.problem or any(follower.problem for follower in self._followers.values())
        status = "draining" if self.draining else "degraded" if troubled else "ok"
        return {"status": status, "models": models, "prediction_log": log}


def _get(scope: Message, value: dict[str, Any], *, status: int = 200) -> _Answer:
    _only("GET", scope)
    return _Answer(status, orjson.dumps(value))


def _only(method: str, scope: Message) -> None:
    if scope["method"] != method:
        raise UsageError(
            "wrong-method", f"{scope['path'][:200]} takes {method}, not {scope['method']}", fix=f"send a {method} request"
        )


def _check_headers(scope: Message, max_bytes: int) -> None:
    for name, value in scope["headers"]:
        if name == b"content-type" and not value.lower().startswith((b"application/json", b"application/vnd.kserve")):
            raise UsageError(
                "wrong-content-type",
                f"the content type {value[:80].decode('latin-1')!r} is not served",
                fix="send JSON tensors with Content-Type: application/json",
            )
        if name == b"inference-header-content-length":
            raise UsageError(
                "wrong-content-type",
                "binary tensors are not served",
                why="the body has an Inference-Header-Content-Length",
                fix="send JSON tensors (binary_data=False in tritonclient)",
            )
        if name == b"content-encoding" and value.lower() != b"identity":
            raise UsageError("wrong-content-type", "compressed bodies are not served", fix="send the JSON as it is")
        if name == b"content-length" and int(value) > max_bytes:
            raise _too_large(max_bytes)


async def _body(receive: Receive, max_bytes: int) -> bytes:
    message = await receive()
    if message["type"] == "http.disconnect":
        raise _GoneError
    body: bytes = message.get("body", b"")
    if len(body) > max_bytes:
        raise _too_large(max_bytes)
    if not message.get("more_body"):
        return body
    parts = [body]
    size = len(body)
    try:
        async with asyncio.timeout(BODY_SECONDS):
            while message.get("more_body"):
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise _GoneError
                parts.append(message.get("body", b""))
                size += len(parts[-1])
                if size > max_bytes:
                    raise _too_large(max_bytes)
    except TimeoutError:
        raise UnavailableError(
            "slow-body", f"the body did not arrive within {BODY_SECONDS:.0f} seconds", fix="send it in one go"
        ) from None
    return b"".join(parts)


def _too_large(max_bytes: int) -> UsageError:
    return UsageError(
        "body-too-large",
        f"the body has more than {max_bytes} bytes",
        fix="send several requests, or raise serving.max_body_bytes",
    )


def _refusal(error: TidegateError) -> _Answer:
    text = ". ".join(part for part in (error.what, error.why, error.fix) if part)
    return _Answer(_STATUS.get(error.code, error.http_status), orjson.dumps({"error": f"{text} [{error.code}]"}))
