"""Running the web server until somebody stops it."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable

import uvicorn

from tidegate.errors import TidegateError
from tidegate.server.app import create_app
from tidegate.server.connection import protocol_class
from tidegate.workspace import Workspace

_log = logging.getLogger("tidegate.server")
_KEEP_UP_SECONDS = 15.0
_GRACE_SECONDS = 30
"""How long requests in flight may take after somebody asked the server to stop."""
_KEEP_ALIVE_SECONDS = 75
"""Longer than most training steps, so that a client that logs now and then keeps its connection."""


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if not self.should_exit:
            self._ready()


def run_server(workspace: Workspace, listener: socket.socket, *, ready: Callable[[], None] = lambda: None) -> None:
    """Answers on a socket that listens already (see ``tidegate.server.address.listen``) until it is interrupted.

    Calls ``ready`` when it answers. Who waits for an answer when it is interrupted still gets it; everything that was
    acknowledged is on disk.
    """
    config = uvicorn.Config(
        create_app(workspace),
        http=protocol_class(),
        log_level="warning",
        access_log=False,
        server_header=False,
        ws="none",
        lifespan="on",
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=_GRACE_SECONDS,
    )
    stopped = threading.Event()
    if workspace.follow_up.wanted:
        threading.Thread(target=_keep_up, args=(workspace, stopped), name="keep-up", daemon=True).start()
    try:
        _Server(config, ready).run(sockets=[listener])
    finally:
        stopped.set()
        workspace.store.close()


def _keep_up(workspace: Workspace, stopped: threading.Event) -> None:
    """Sends notices that wait and takes checkpoints that are missing, whoever moved the pointer."""
    while not stopped.wait(_KEEP_UP_SECONDS):
        try:
            problems = workspace.follow_up.catch_up(workspace.model_names())
        except TidegateError as error:
            problems = [f"{error.what}: {error.why}"]
        for problem in problems:
            _log.warning("%s", problem)
