"""Loopback or nothing, and a free port or a clear word."""

from __future__ import annotations

import socket

import pytest

from tidegate.errors import UnavailableError, UsageError
from tidegate.server import listen, loopback_address, url_of


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.4", "example.org", "", "127.0.0.2", "localhost.localdomain"])
def test_any_other_host_is_refused(host: str) -> None:
    with pytest.raises(UsageError, match="does not listen") as found:
        listen(host, 0)
    assert found.value.code == "bind-not-loopback"
    assert "without a token everybody who reaches it reads and writes everything" in found.value.why


def test_loopback_has_three_names() -> None:
    assert [loopback_address(host) for host in ("127.0.0.1", "LocalHost", "::1", "[::1]")] == [
        "127.0.0.1",
        "127.0.0.1",
        "::1",
        "::1",
    ]


def test_it_listens_before_anything_starts() -> None:
    with listen("localhost", 0) as listener:
        port = listener.getsockname()[1]
        assert url_of(listener) == f"http://127.0.0.1:{port}/"
        with socket.create_connection(("127.0.0.1", port), timeout=5):
            pass


def test_a_taken_port_is_told() -> None:
    with listen("127.0.0.1", 0) as first, pytest.raises(UnavailableError) as found:
        listen("127.0.0.1", first.getsockname()[1])
    assert found.value.code == "port-in-use"
    assert "--port" in found.value.fix
