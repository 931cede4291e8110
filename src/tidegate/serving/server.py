"""Runs the serving application: one process, one port, one model that follows its pointer.

It needs the bucket alone. On SIGTERM it first says that it is not ready and asks clients to close, then stops
accepting, finishes what it has begun, writes the prediction log out, and ends with 0.
"""

from __future__ import annotations

import errno
import gc
import signal
import socket
import sys
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from time import monotonic
from typing import Any

from tidegate.clock import Clock
from tidegate.errors import UnavailableError, UsageError, missing_extra
from tidegate.models.signing import TrustedKey
from tidegate.monitoring import PredictionLog
from tidegate.records.policy import ServingPolicy
from tidegate.store.ports import Bucket

try:
    import uvicorn

    from tidegate.serving.app import App
    from tidegate.serving.follow import Follower
    from tidegate.serving.log import LogQueue
except ImportError as error:
    raise missing_extra("serving", error.name or "uvicorn", "serving a model") from None

GRACE_SECONDS = 0.5
"""Between "not ready" and the end of accepting: clients that keep connections open are asked to close them meanwhile."""

_DRAIN_SECONDS = 30
_SWITCH_SECONDS = 0.001


def serve(
    bucket: Bucket,
    model: str,
    *,
    host: str = "127.0.0.1",
    port: int = 8080,
    clock: Clock | None = None,
    policy: ServingPolicy | None = None,
    signed_by: Sequence[TrustedKey] = (),
    ready: Callable[[str], None],
) -> None:
    """Serves ``model`` until SIGTERM or SIGINT. ``ready`` is called with one line once requests are answered.

    Raises:
        UnavailableError: the port is taken or may not be used.
        UsageError: the host is none of this machine's.
        NotFoundError: nothing has been promoted, or the version that the pointer names is missing.
        IntegrityError: that version was changed.
        RefusedError: it runs code, or is not signed by one of the keys ``signed_by``, if there are any.
    """
    for module in ("httptools", "uvloop"):  # uvicorn loads them by name, and would tell it in the middle of the start
        if find_spec(module) is None:
            raise missing_extra("serving", module, "serving a model")
    policy = policy or ServingPolicy()
    listener = _listen(host, port)
    try:
        follower = Follower(bucket, model, allow_code=policy.allow_code, signed_by=signed_by)
        log = LogQueue(PredictionLog(bucket, model).append)
        app = App({model: follower}, log, clock=clock or Clock(), policy=policy)
        place = f"[{host}]" if ":" in host else host
        address = f"http://{place}:{listener.getsockname()[1]}"
        server = _Server(app, lambda: ready(f"serving {follower.handle.version.ref} on {address}"))
        follower.start()
        log.start()
        # The event loop must not wait 5 ms (the default) until a thread that loads or writes gives the interpreter back.
        sys.setswitchinterval(_SWITCH_SECONDS)
        gc.collect()
        gc.freeze()  # what is loaded now lives as long as the process: collections need not look at it again
        try:
            server.run(sockets=[listener])
        finally:
            gc.unfreeze()
            follower.stop()
            log.stop()
    finally:
        listener.close()


class _Server(uvicorn.Server):
    """uvicorn, with an orderly end: it exits 0 on a signal, and drains before it stops accepting."""

    def __init__(self, app: App, started: Callable[[], None]) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http="httptools",
                loop="uvloop",
                ws="none",
                lifespan="off",
                log_config=None,
                log_level="warning",
                access_log=False,
                server_header=False,
                timeout_keep_alive=75,
                timeout_graceful_shutdown=_DRAIN_SECONDS,
            )
        )
        self._app = app
        self._announce = started
        self._stop_at = 0.0

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        self._announce()

    async def on_tick(self, counter: int) -> bool:
        if self._stop_at and monotonic() >= self._stop_at:
            self.should_exit = True
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
