"""Where the server may listen: on this machine only, on a port that is free."""

from __future__ import annotations

import socket

from tidegate.errors import UnavailableError, UsageError

LOOPBACK = {"127.0.0.1": "127.0.0.1", "localhost": "127.0.0.1", "::1": "::1"}
"""The hosts that may be asked for, and the address that each is bound to."""


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
            why="until sign-in exists the server answers on this machine only: everybody who reaches it reads everything",
            fix="leave --host away (127.0.0.1), and reach it from elsewhere through an SSH tunnel: ssh -L 7070:127.0.0.1:7070 HOST",
        )
    return address


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens already, so that nobody can take the port between the check and the start. Port 0: any free one.

    Raises:
        UsageError: the host is not this machine's loopback.
        UnavailableError: the port is taken, or may not be used.
    """
    address = loopback_address(host)
    listener = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((address, port))
        listener.listen(128)
    except OSError as error:
        listener.close()
        raise UnavailableError(
            "port-in-use",
            f"port {port} on {address} cannot be used",
            why=(error.strerror or str(error)).lower(),
            fix="stop what listens there, or choose another: --port 7071 (0 takes any free one)",
        ) from None
    return listener


def url_of(listener: socket.socket) -> str:
    """The address of a listening socket as a browser takes it."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"
