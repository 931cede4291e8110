"""Running the web server until somebody stops it."""

from __future__ import annotations

import socket

import uvicorn

from tidegate.server.app import create_app
from tidegate.workspace import Workspace


def run_server(workspace: Workspace, listener: socket.socket) -> None:
    """Answers on a socket that listens already (see ``tidegate.server.address.listen``) until it is interrupted."""
    config = uvicorn.Config(
        create_app(workspace),
        log_level="warning",
        access_log=False,
        server_header=False,
        ws="none",
        lifespan="off",
        timeout_graceful_shutdown=2,
    )
    uvicorn.Server(config).run(sockets=[listener])
