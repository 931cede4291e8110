"""Where the server may listen: on this machine only, unless it asks for a token; on a port that is free."""

from __future__ import annotations

import socket
from typing import Any

from tidegate.errors import UnavailableError, UsageError
from tidegate.settings import Project

LOOPBACK = {"127.0.0.1": "127.0.0.1", "localhost": "127.0.0.1", "::1": "::1"}
"""The hosts that may be asked for without a token, and the address that each is bound to."""
LEAST_TOKEN = 16
"""Characters of a token that other machines may try to guess."""


def loopback_address(host: str) -> str:
    """The loopback address that ``host`` stands for.

    Raises:
        UsageError: it is another host.
    """
    address = LOOPBACK.get(host.strip("[]").lower())
    if address is None:
        raise UsageError(
            "bind-not-loopback",
            f"the server does not listen on {host}",
            why="without a token everybody who reaches it reads and writes everything, so it answers on this machine only",
            fix="set a token (TIDEGATE_TOKEN), or leave --host away and come through an SSH tunnel: ssh -L 7070:127.0.0.1:7070 HOST",
        )
    return address


def listen(host: str, port: int, *, anywhere: bool = False) -> socket.socket:
    """A socket that listens already, so that nobody can take the port between the check and the start. Port 0: any free one.

    Args:
        host: A loopback name, or, with ``anywhere``, any name or address of this machine.
        port: The port.
        anywhere: Whether other hosts than loopback are allowed: only for a server that asks for a token.

    Raises:
        UsageError: the host is not this machine's loopback.
        UnavailableError: the port is taken or may not be used, or the host is none of this machine's.
    """
    address = LOOPBACK.get(host.strip("[]").lower(), host.strip("[]")) if anywhere and host else loopback_address(host)
    listener = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((address, port))
        listener.listen(1024)
    except OSError as error:
        listener.close()
        raise UnavailableError(
            "port-in-use",
            f"port {port} on {address} cannot be used",
            why=(error.strerror or str(error)).lower(),
            fix="stop what listens there, or choose another: --port 7071 (0 takes any free one)",
        ) from None
    return listener


def check_token(token: str, host: str) -> None:
    """Refuses a token that can be guessed where other machines can try: a server answers thousands of guesses a second.

    Raises:
        UsageError: it has fewer than ``LEAST_TOKEN`` characters, and ``host`` is not this machine's loopback.
    """
    if token and len(token) < LEAST_TOKEN and host.strip("[]").lower() not in LOOPBACK:
        raise UsageError(
            "token-too-short",
            f"the token has fewer than {LEAST_TOKEN} characters",
            why=f"on {host} others can try one after the other, thousands a second",
            fix="make one with: openssl rand -hex 32",
        )


def url_of(listener: socket.socket) -> str:
    """The address of a listening socket as a browser takes it."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"


def token_of(project: Project) -> str:
    """The secret that every request must bring; empty: none is asked for, and only this machine may ask."""
    token: Any = getattr(project.settings, "token", "")
    return token if isinstance(token, str) else str(token.get_secret_value())
