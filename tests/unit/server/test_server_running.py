"""The server on a real socket: headers, slow clients, and what happens to who waits when it is stopped."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tidegate.server import connection
from tidegate.workspace import Workspace

JSON = {"Content-Type": "application/json"}


class Running:
    """A server process and its address."""

    def __init__(self, folder: Path, *flags: str, **variables: str) -> None:
        command = [sys.executable, "-m", "tidegate", "-C", str(folder), "server", "--port", "0", *flags]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, **variables}
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert " are at " in line, self.process.communicate()
        self.url = line.split(" are at ")[1].strip().rstrip("/")
        host, port = self.url.removeprefix("http://").split(":")
        self.address = (host, int(port))

    def post(self, path: str, fields: dict) -> dict:
        request = urllib.request.Request(f"{self.url}/api/2.0/mlflow/{path}", json.dumps(fields).encode(), JSON)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)

    def stop(self, how: signal.Signals = signal.SIGINT) -> tuple[str, str]:
        self.process.send_signal(how)
        return self.process.communicate(timeout=60)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    running = Running(tmp_path_factory.mktemp("running"))
    yield running
    out, err = running.stop()
    assert "Traceback" not in out + err


def ask(server: Running, data: bytes) -> bytes:
    with socket.create_connection(server.address, timeout=30) as raw:
        raw.sendall(data)
        return raw.recv(4096)


def test_headers_have_a_bound(server: Running) -> None:
    huge = b"x" * (connection.HEADER_BYTES * 4)
    with socket.create_connection(server.address, timeout=30) as raw:
        try:
            raw.sendall(b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + huge)
            assert raw.recv(64).startswith(b"HTTP/1.1 400")
        except (BrokenPipeError, ConnectionResetError):
            pass  # it was given up while it still sent
    assert ask(server, b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n").startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01 TLS",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /\x00 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
    ],
)
def test_what_is_no_http_is_answered_and_closed(server: Running, data: bytes) -> None:
    assert ask(server, data).startswith(b"HTTP/1.1 400")


def test_two_bodies_in_one_are_refused(server: Running) -> None:
    smuggled = b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    assert ask(server, smuggled).startswith(b"HTTP/1.1 4")


def test_a_body_may_come_in_pieces(server: Running) -> None:
    body = json.dumps({"experiment_id": "0"}).encode()
    with socket.create_connection(server.address, timeout=30) as raw:
        head = f"POST /api/2.0/mlflow/runs/create HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        raw.sendall(head.encode())
        for byte in body:
            raw.sendall(bytes([byte]))
        assert raw.recv(4096).startswith(b"HTTP/1.1 200")


def test_what_was_acknowledged_is_there_after_a_kill(tmp_path: Path) -> None:
    running = Running(tmp_path)
    run = running.post("runs/create", {"experiment_id": "0"})["run"]["info"]["run_id"]
    acknowledged: list[list[int]] = [[] for _ in range(4)]

    def log(mine: list[int], key: str) -> None:
        try:
            for step in range(10_000):
                running.post("runs/log-metric", {"run_id": run, "key": key, "value": step, "timestamp": step, "step": step})
                mine.append(step)
        except (OSError, http.client.HTTPException):
            return

    threads = [threading.Thread(target=log, args=(mine, f"k{number}")) for number, mine in enumerate(acknowledged)]
    for thread in threads:
        thread.start()
    time.sleep(1)
    running.process.kill()
    running.process.communicate()
    for thread in threads:
        thread.join()
    workspace = Workspace.open(tmp_path)
    assert sum(map(len, acknowledged)) > 0
    for number, mine in enumerate(acknowledged):
        there = workspace.store.series.points(run, f"k{number}").steps.tolist()
        assert there[: len(mine)] == mine
        assert len(there) <= len(mine) + 1
    workspace.store.close()


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_who_waits_when_it_is_stopped_is_answered(tmp_path: Path, how: signal.Signals) -> None:
    running = Running(tmp_path)
    run = running.post("runs/create", {"experiment_id": "0"})["run"]["info"]["run_id"]
    body = json.dumps({"run_id": run, "key": "k", "value": "v"}).encode()
    with socket.create_connection(running.address, timeout=30) as raw:
        head = f"POST /api/2.0/mlflow/runs/set-tag HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        raw.sendall(head.encode() + body[:5])
        time.sleep(0.3)
        running.process.send_signal(how)
        time.sleep(0.5)
        raw.sendall(body[5:])
        assert raw.recv(64).startswith(b"HTTP/1.1 200")
    out, err = running.process.communicate(timeout=60)
    assert "Traceback" not in out + err
    workspace = Workspace.open(tmp_path)
    assert workspace.store.runs.get(run).tags["k"] == "v"
    workspace.store.close()


def test_with_a_token_other_machines_may_come(tmp_path: Path) -> None:
    running = Running(tmp_path, "--host", "0.0.0.0", "--store", str(tmp_path / "elsewhere"), TIDEGATE_TOKEN="s3cret-of-16-char")
    with pytest.raises(urllib.error.HTTPError) as refused:
        running.post("runs/create", {"experiment_id": "0"})
    assert refused.value.code == 401
    refused.value.close()
    request = urllib.request.Request(
        f"http://127.0.0.1:{running.address[1]}/version", headers={"Authorization": "Bearer s3cret-of-16-char"}
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        assert answer.status == 200
    running.stop()
    assert (tmp_path / "elsewhere" / "metadata.db").exists()


def test_a_client_that_never_asks_is_given_up() -> None:
    class Loop:
        def __init__(self) -> None:
            self.calls: list = []

        def call_later(self, _seconds: float, what, seen: int) -> None:
            self.calls.append((what, seen))

    class Plain:
        def __init__(self) -> None:
            self.loop, self.connections, self.closed = Loop(), set(), []
            self.transport = self

        def close(self) -> None:
            self.closed.append(True)

        def connection_made(self, _transport) -> None: ...
        def on_message_begin(self) -> None: ...
        def on_headers_complete(self) -> None: ...

    patient = connection._patient(Plain)()
    patient.connection_made(patient)
    patient.on_message_begin()
    what, seen = patient.loop.calls[-1]
    what(seen)
    assert not patient.closed, "it began to ask"
    what, seen = patient.loop.calls[-1]
    what(seen)
    assert patient.closed, "the same headers as half a minute ago"
