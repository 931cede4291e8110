"""The gRPC door: ``inference.GRPCInferenceService`` on a port of its own, in the event loop of the HTTP application.

The same models, limits and predictions as over HTTP; errors become status codes, with the same texts.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import Any

from tidegate.errors import (
    BadInputError,
    NotFoundError,
    RefusedError,
    TidegateError,
    UnavailableError,
    UsageError,
    missing_extra,
)
from tidegate.serving.admission import MAX_WAITING_REQUESTS, OverloadedError
from tidegate.serving.app import STATUS, App
from tidegate.serving.body import BODY_SECONDS, SMALL_BYTES
from tidegate.serving.handle import Handle
from tidegate.serving.protocols import oip
from tidegate.serving.protocols.port import told

try:
    import grpc
    import grpc.aio
    from google.protobuf.message import DecodeError

    from tidegate.serving.protocols import grpc_health, oip_grpc
except ImportError as error:
    raise missing_extra("grpc", error.name or "grpc", "serving over gRPC") from None

DRAIN_SECONDS = 30.0
"""How long calls that have begun may take when the server stops."""

_MOST_BYTES = 4096
"""Headers and fields beside the tensors."""
_READERS = 16
_QUICK_SECONDS = 0.2
"""A message that takes longer to arrive is a large one, or its client is slow."""
_WATCH_SECONDS = 1.0
_CODES: list[tuple[type[TidegateError], Any]] = [
    (UsageError, grpc.StatusCode.INVALID_ARGUMENT),
    (BadInputError, grpc.StatusCode.INVALID_ARGUMENT),
    (NotFoundError, grpc.StatusCode.NOT_FOUND),
    (RefusedError, grpc.StatusCode.PERMISSION_DENIED),
    (UnavailableError, grpc.StatusCode.UNAVAILABLE),
]
_OF_CODE: dict[str, Any] = dict.fromkeys(("too-many-rows", "body-too-large"), grpc.StatusCode.RESOURCE_EXHAUSTED)

_log = logging.getLogger("tidegate.serving")

_Method = Callable[[Any, Any], Awaitable[Any]]
_Tell = Callable[[Any], dict[str, Any]]
"""From a message to the fields of its answer."""


class GrpcDoor:
    """Answers calls as ``app`` would answer requests. Made and used on the event loop."""

    def __init__(self, app: App, host: str, port: int, *, max_bytes: int) -> None:
        """Binds ``port`` (0: a free one); ``max_bytes`` of a message are read.

        Raises:
            UnavailableError: the port cannot be had.
        """
        self._app = app
        self._made = oip_grpc.messages()
        options = [
            ("grpc.max_receive_message_length", max_bytes + _MOST_BYTES),
            ("grpc.max_send_message_length", -1),
            ("grpc.so_reuseport", 0),
            ("grpc.http2.bdp_probe", 0),  # it would let megabytes of each message come before its turn
        ]
        self._server = grpc.aio.server(options=options, maximum_concurrent_rpcs=MAX_WAITING_REQUESTS)
        self._reading = _Reading(max(1, app.arriving.max_bytes // max_bytes))
        services = {oip_grpc.SERVICE: self._handlers(), grpc_health.SERVICE: self._health_handlers()}
        self._server.add_generic_rpc_handlers(
            tuple(grpc.method_handlers_generic_handler(name, handlers) for name, handlers in services.items())
        )
        place = f"[{host}]" if ":" in host else host
        try:
            self.port = self._server.add_insecure_port(f"{place}:{port}")
        except RuntimeError:
            raise UnavailableError(
                "port-in-use",
                f"port {port} on {host} cannot be had for gRPC",
                why="another process listens there, or it is not allowed to",
                fix=f"choose another: --grpc-port {port + 1}",
            ) from None
        self.address = f"grpc://{place}:{self.port}"

    async def start(self) -> None:
        """Begins to answer."""
        await self._server.start()

    async def stop(self) -> None:
        """Takes no more calls, and waits for those that have begun."""
        await self._server.stop(DRAIN_SECONDS)

    def _handlers(self) -> dict[str, Any]:
        methods: dict[str, _Tell] = {
            "ServerLive": lambda _: {"live": True},
            "ServerReady": lambda _: {"ready": not self._app.draining},
            "ModelReady": self._model_ready,
            "ServerMetadata": lambda _: {"name": "tidegate", "version": self._app.version},
            "ModelMetadata": self._model_metadata,
        }
        answering: dict[str, _Method] = {name: self._telling(name, tell) for name, tell in methods.items()}
        answering["ModelInfer"] = self._model_infer
        return {
            name: grpc.stream_unary_rpc_method_handler(  # one message, read when it is its turn
                self._guarded(self._made[f"{name}Request"], method), None, self._made[f"{name}Response"].SerializeToString
            )
            for name, method in answering.items()
        }

    def _health_handlers(self) -> dict[str, Any]:
        request, response = grpc_health.messages()

        async def check(asked: Any, _: Any) -> Any:
            return response(status=self._health(asked.service))

        async def watch(asked: Any, context: Any) -> None:
            last = None
            while not (self._app.draining and last == grpc_health.NOT_SERVING):  # it must not keep the server from ending
                try:
                    now = self._health(asked.service)
                except NotFoundError:
                    now = grpc_health.SERVICE_UNKNOWN if not self._app.draining else grpc_health.NOT_SERVING
                if now != last:
                    await context.write(response(status=now))
                    last = now
                await asyncio.sleep(_WATCH_SECONDS)

        kinds = {"Check": (grpc.stream_unary_rpc_method_handler, check), "Watch": (grpc.stream_stream_rpc_method_handler, watch)}
        return {
            name: kind(self._guarded(request, method), None, response.SerializeToString) for name, (kind, method) in kinds.items()
        }

    def _health(self, service: str) -> int:
        """The status of the server (an empty name, or that of its service), or of a model."""
        if service not in {"", oip_grpc.SERVICE, grpc_health.SERVICE}:
            self._app.models.find(service)
        return grpc_health.NOT_SERVING if self._app.draining else grpc_health.SERVING

    def _telling(self, name: str, tell: _Tell) -> _Method:
        response = self._made[f"{name}Response"]

        async def answer(request: Any, _: Any) -> Any:
            return response(**tell(request))

        return answer

    def _model_ready(self, request: Any) -> dict[str, Any]:
        self._app.models.find(_named(request.name), request.version)
        return {"ready": not self._app.draining}

    def _model_metadata(self, request: Any) -> dict[str, Any]:
        handle = self._app.models.find(_named(request.name), request.version).handle
        return oip.model_metadata(handle.version, self._app.models.follower(request.name).served())

    async def _model_infer(self, request: Any, context: Any) -> Any:
        start = perf_counter()
        app = self._app
        handle, router, policy = app.models.find(_named(request.model_name), request.model_version)
        headers: dict[str, str] = {}
        if router is not None and router.live is not None:
            headers = {name: value for name, value in context.invocation_metadata() if isinstance(value, str)}
        left = context.time_remaining()
        within = math.inf if left is None else left
        try:
            app.predictions.refuse_late(handle, start, within)
            if request.ByteSize() > policy.max_body_bytes:
                raise _too_large(policy.max_body_bytes)  # noqa: TRY301 - counted below, like every refusal
            decoded = oip_grpc.decode(request, handle.signature, policy.max_rows, headers)
            answered = await app.predictions.answer(handle, decoded, start, router, within=within)
        except TidegateError as error:
            _count(app, handle, start, STATUS.get(error.code, error.http_status))
            raise
        except Exception:
            _count(app, handle, start, 500)
            raise
        return oip_grpc.encode(answered.handle.version, decoded, answered.outputs, answered.ids)

    def _guarded(self, kind: Any, method: _Method) -> Any:
        """The method, from a call to a message of ``kind``, and with errors as status codes: the last seam, as in ``App``."""

        async def guarded(_: Any, context: Any) -> Any:
            try:
                with self._app.arriving.hold() as held:
                    data = await self._reading.read(context)
                    if len(data) > SMALL_BYTES:
                        held.add(len(data))
                    message, data = kind.FromString(data), b""
                    return await method(message, context)
            except DecodeError:
                status, text = grpc.StatusCode.INVALID_ARGUMENT, f"the message is no {kind.DESCRIPTOR.name} [bad-request]"
            except TidegateError as error:
                code = next((code for kind, code in _CODES if isinstance(error, kind)), grpc.StatusCode.INTERNAL)
                status, text = _OF_CODE.get(error.code, code), told(error)
            except Exception:  # noqa: BLE001 - a bug is a plain INTERNAL for the client, and a traceback in the log
                _log.exception("a call failed")
                status, text = grpc.StatusCode.INTERNAL, "the server failed to answer this call. its log says why [internal]"
            return await context.abort(status, text)

        return guarded


class _Reading:
    """Whose messages may come now. How much of one is there, gRPC tells nobody before it is whole: so few may come at a time.

    A large message, or a slow one, soon makes room for others: small ones do not wait for it.
    """

    def __init__(self, large: int) -> None:
        """``large``: how many large messages may be on their way."""
        self._any = asyncio.Semaphore(_READERS)
        self._large = asyncio.Semaphore(large)

    async def read(self, context: Any) -> bytes:
        """The message of a call.

        Raises:
            OverloadedError: it is large, and too many of those are on their way.
            UnavailableError: it did not arrive in time.
        """
        await self._any.acquire()
        reading: asyncio.Future[Any] = asyncio.ensure_future(context.read())
        try:
            try:
                await asyncio.wait([reading], timeout=_QUICK_SECONDS)
            finally:
                self._any.release()
            if reading.done():
                return _whole(reading.result())
            if self._large.locked():
                why = "others are on their way"
                raise OverloadedError("too many large messages arrive at the same time", why=why, retry_after=1.0)
            async with self._large, asyncio.timeout(BODY_SECONDS):
                return _whole(await reading)
        except TimeoutError:
            raise UnavailableError(
                "slow-body", f"the message did not arrive within {BODY_SECONDS:.0f} seconds", fix="send it in one go"
            ) from None
        finally:
            reading.cancel()


def _whole(message: Any) -> bytes:
    if message is grpc.aio.EOF:  # pyright: ignore[reportAttributeAccessIssue]  (the stub lacks it)
        raise UsageError("bad-request", "the call has no message", fix="send one")
    return message


def _named(model: str) -> str:
    if not model:
        raise UsageError("bad-request", "the call names no model", fix="fill its name")
    return model


def _too_large(max_bytes: int) -> UsageError:
    return UsageError(
        "body-too-large",
        f"the message has more than {max_bytes} bytes",
        fix="send several calls, or raise serving.max_body_bytes",
    )


def _count(app: App, handle: Handle, start: float, status: int) -> None:
    app.metrics.refused(handle, perf_counter() - start, status=status)
