"""Runs the serving application: one process, models that follow their pointers, HTTP on one port and gRPC, if wanted, on another.

It needs the bucket alone. On SIGTERM it first says that it is not ready and asks clients to close, then stops
accepting, finishes what it has begun, writes the prediction log out, and ends with 0.
"""

from __future__ import annotations

import asyncio
import ctypes
import errno
import gc
import importlib
import signal
import socket
import sys
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from time import monotonic
from typing import Any

from tidegate.clock import Clock
from tidegate.errors import UnavailableError, UsageError, missing_extra
from tidegate.models.signing import TrustedKey
from tidegate.monitoring import PredictionLog
from tidegate.monitoring.prediction_log import PredictionColumns
from tidegate.records.policy import ServingPolicy
from tidegate.store.ports import Bucket

try:
    import uvicorn

    from tidegate.serving.app import App
    from tidegate.serving.connections import SlowClients
    from tidegate.serving.direct import DirectConnection
    from tidegate.serving.follow import Follower
    from tidegate.serving.log import LogQueue
    from tidegate.serving.routes import VERTEX, Asked
except ImportError as error:
    raise missing_extra("serving", error.name or "uvicorn", "serving a model") from None

GRACE_SECONDS = 0.5
"""Between "not ready" and the end of accepting: clients that keep connections open are asked to close them meanwhile."""

_DRAIN_SECONDS = 30
_SWITCH_SECONDS = 0.001
_GARBAGE = 10_000
"""New objects after which cycles are looked for: a request leaves none, and what waits to be logged would be looked at again and again."""
_LOOK_TICKS = 10  # of a tenth of a second
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # mallopt(3)
_KEPT_BYTES = {_TRIM_THRESHOLD: 64 << 20, _MMAP_THRESHOLD: 32 << 20}


@dataclass(frozen=True, kw_only=True)
class Offer:
    """A model to serve. ``version`` stands for the pointer if it is given; ``pins`` can be asked beside it, by their number."""

    name: str
    version: int = 0
    pins: tuple[int, ...] = ()
    policy: ServingPolicy = field(default_factory=ServingPolicy)
    signed_by: tuple[TrustedKey, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Address:
    """Where a server listens. A port of 0 is a free one; without a ``grpc_port`` there is no gRPC.

    ``health_path`` and ``predict_path`` are paths that Vertex AI chooses.
    """

    host: str = "127.0.0.1"
    port: int = 8080
    grpc_port: int | None = None
    health_path: str = ""
    predict_path: str = ""

    @property
    def place(self) -> str:
        """The host as addresses write it."""
        return f"[{self.host}]" if ":" in self.host else self.host

    @property
    def named(self) -> dict[str, Asked]:
        """What is asked at the paths of Vertex AI."""
        found = {self.health_path: Asked("ping"), self.predict_path: Asked("infer", protocol=VERTEX)}
        return {path: asked for path, asked in found.items() if path}


def serve(
    bucket: Bucket,
    offers: Sequence[Offer],
    *,
    address: Address | None = None,
    clock: Clock | None = None,
    ready: Callable[[str], None],
) -> None:
    """Serves models until SIGTERM or SIGINT. ``ready`` is called with one line once requests are answered.

    Raises:
        UnavailableError: a port is taken or may not be used, or an extra is not installed.
        UsageError: the host is none of this machine's, or a model is offered twice.
        NotFoundError: nothing has been promoted, or a version is missing.
        IntegrityError: a version was changed.
        RefusedError: it runs code, or is not signed by one of the keys ``signed_by``, if there are any.
    """
    for module in ("httptools", "uvloop"):  # uvicorn loads them by name, and would tell it in the middle of the start
        if find_spec(module) is None:
            raise missing_extra("serving", module, "serving a model")
    address, clock = address or Address(), clock or Clock()
    _check_names(offers)
    listener = _listen(address.host, address.port)
    followers: dict[str, Follower] = {}
    try:
        for offer in offers:
            followers[offer.name] = Follower(
                bucket,
                offer.name,
                allow_code=offer.policy.allow_code,
                signed_by=offer.signed_by,
                clock=clock,
                version=offer.version,
                pins=offer.pins,
                device=offer.policy.device,
            )
        log = LogQueue(_appender(bucket, list(followers)))
        policies = {offer.name: offer.policy for offer in offers}
        app = App(followers, log, clock=clock, policies=policies, named=address.named)
        server = _Server(app, address, listener, ready, max(policy.max_body_bytes for policy in policies.values()))
        for follower in followers.values():
            follower.start()
        log.start()
        # The event loop must not wait 5 ms (the default) until a thread that loads or writes gives the interpreter back.
        sys.setswitchinterval(_SWITCH_SECONDS)
        gc.collect()
        gc.set_threshold(_GARBAGE)
        gc.freeze()  # what is loaded now lives as long as the process: collections need not look at it again
        _keep_freed_memory()
        try:
            server.run(sockets=[listener])
        finally:
            gc.unfreeze()
            for follower in followers.values():
                follower.stop()
            log.stop()
    finally:
        listener.close()


def _keep_freed_memory() -> None:
    """Has the GNU C library keep what is freed, up to some megabytes.

    The log asks for as much again every second, and to get it from the system costs more than to use it: a fault for each page.
    """
    if mallopt := getattr(ctypes.CDLL(None), "mallopt", None):
        for setting, size in _KEPT_BYTES.items():
            mallopt(setting, size)


def _check_names(offers: Sequence[Offer]) -> None:
    names = [offer.name for offer in offers]
    twice = sorted({name for name in names if names.count(name) > 1})
    if not names or twice:
        what = f"{twice[0]!r} is to be served twice" if twice else "no model is named"
        raise UsageError("bad-models", what, fix="name every model once; further versions of it: --pin MODEL@N")


def _appender(bucket: Bucket, names: Sequence[str]) -> Callable[[PredictionColumns], None]:
    """Writes predictions to the log of their model."""
    logs = {name: PredictionLog(bucket, name) for name in names}
    return lambda served: logs[served.model].append_columns(served)


class _Server(uvicorn.Server):
    """uvicorn, with an orderly end: it exits 0 on a signal, and drains before it stops accepting."""

    def __init__(self, app: App, address: Address, listener: socket.socket, ready: Callable[[str], None], max_bytes: int) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http=DirectConnection,
                loop="uvloop",
                ws="none",
                lifespan="off",
                log_config=None,
                log_level="warning",
                access_log=False,
                server_header=False,
                proxy_headers=False,
                timeout_keep_alive=75,
                timeout_graceful_shutdown=_DRAIN_SECONDS,
            )
        )
        app.predictions.begun = self.server_state.tasks.__len__
        self._app = app
        self._address = address
        self._port = listener.getsockname()[1]
        self._ready = ready
        self._max_bytes = max_bytes
        self._grpc: Any = None
        self._slow_clients = SlowClients()
        self._stop_at = 0.0

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        address = self._address
        where = f"http://{address.place}:{self._port}"
        if address.grpc_port is not None:
            door = importlib.import_module("tidegate.serving.rpc").GrpcDoor  # only now: it takes a tenth of a second
            self._grpc = door(self._app, address.host, address.grpc_port, max_bytes=self._max_bytes)
            where += f" and {self._grpc.address}"
            await self._grpc.start()
        await super().startup(sockets=sockets)
        served = ", ".join(follower.handle.version.ref for follower in self._app.models.followers.values())
        self._ready(f"serving {served} on {where}")

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        if self._grpc is None:
            await super().shutdown(sockets=sockets)
        else:
            await asyncio.gather(super().shutdown(sockets=sockets), self._grpc.stop())

    async def on_tick(self, counter: int) -> bool:
        if self._stop_at and monotonic() >= self._stop_at:
            self.should_exit = True
        if counter % _LOOK_TICKS == 0:
            self._slow_clients.look(self.server_state.connections)
        return await super().on_tick(counter)

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        """Handles the signals without raising them again at the end: to be told to stop is no failure."""
        before = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def handle_exit(self, sig: int, frame: Any) -> None:
        del sig, frame
        if self._app.draining:
            self.force_exit = self.should_exit = True  # the second signal: now
        self._app.draining = True
        self._stop_at = self._stop_at or monotonic() + GRACE_SECONDS


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except (socket.gaierror, OverflowError):
        raise UsageError(
            "bad-host", f"{host}:{port} is no address to listen on", fix="use 127.0.0.1, or 0.0.0.0 for all"
        ) from None
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(2048)
    except OSError as error:
        listener.close()
        raise _cannot_listen(host, port, error) from None
    return listener


def _cannot_listen(host: str, port: int, error: OSError) -> UnavailableError | UsageError:
    if error.errno == errno.EADDRINUSE:
        return UnavailableError(
            "port-in-use",
            f"port {port} on {host} is already in use",
            why="another process listens there",
            fix=f"choose another: --port {port + 1}",
        )
    if error.errno in {errno.EACCES, errno.EPERM}:
        return UnavailableError(
            "port-forbidden",
            f"this user may not listen on port {port}",
            why="ports below 1024 belong to root",
            fix="choose --port 8080",
        )
    return UsageError("bad-host", f"cannot listen on {host}:{port}", why=str(error), fix="use 127.0.0.1, or 0.0.0.0 for all")
