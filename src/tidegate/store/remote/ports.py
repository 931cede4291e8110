"""The ports whose methods are asked of a server."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from tidegate.store.remote.calls import Method, methods
from tidegate.store.remote.connection import Connection, refused

PATH = "/api/v1/store"


def remote_port(name: str, connection: Connection) -> Any:
    """An object with every method of the port ``name``; see there for what they do, and ``Connection.ask`` for what else fails."""
    return SimpleNamespace(
        **{method.name: _asking(f"{PATH}/{name}/{method.name}", method, connection) for method in methods(name).values()}
    )


def _asking(path: str, method: Method, connection: Connection) -> Callable[..., Any]:
    headers = {"content-type": "application/msgpack"}

    def ask(*args: Any, **kwargs: Any) -> Any:
        with connection.ask("POST", path, body=method.pack(*args, **kwargs), headers=headers) as answer:
            if answer.status >= 400:
                raise refused(answer)
            return method.unpack(answer.read())

    return ask
