"""Opening a store that is behind a server."""

from __future__ import annotations

from pathlib import Path

from tidegate.store.place import Store
from tidegate.store.remote.bucket import RemoteBucket
from tidegate.store.remote.calls import PORTS
from tidegate.store.remote.connection import Connection
from tidegate.store.remote.ports import remote_port


def open_remote(root: Path, url: str, token: str = "") -> Store:
    """The store behind the server at ``url``. ``root`` is a local folder for journals and copies of files.

    Nothing is sent yet: that the server is away shows at the first call.

    Raises:
        UsageError: ``url`` is no address of a server.
    """
    connection = Connection(url, token)
    ports = {name: remote_port(name, connection) for name in PORTS}
    return Store(root=root, bucket=RemoteBucket(connection, root / "cache"), close=connection.close, **ports)
