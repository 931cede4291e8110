"""The store behind a server, over a line that loses answers."""

import os
import socket
import threading
import time
from contextlib import contextmanager, suppress

import numpy as np
import pytest
import uvicorn
from starlette.applications import Starlette

from tidegate.errors import ConflictError, IntegrityError, NotFoundError, UnavailableError, UsageError
from tidegate.records.run import Run, RunState, Series
from tidegate.server.native import native_routes
from tidegate.store import open_remote, open_store
from tidegate.store.ports import Batch, Document
from tidegate.store.remote import connection


@contextmanager
def _serving(store, port=0):
    listener = socket.create_server(("127.0.0.1", port))
    app = Starlette(routes=native_routes(store))
    server = uvicorn.Server(uvicorn.Config(app, log_level="critical", lifespan="off", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    while not server.started:
        time.sleep(0.005)
    try:
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


def _received(connection):
    try:
        return connection.recv(1 << 20)
    except OSError:  # the other direction closed it
        return b""


class _LossyLine:
    """Passes requests on to a server and loses the answers to the next ``losses`` of them, after they were done.

    With ``others`` it goes on to the next of these servers after each loss.
    """

    def __init__(self, port, *others):
        self._targets = [port, *others]
        self.losses = 0
        self.requests = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._pass, args=(client,), daemon=True).start()

    def _pass(self, client):
        server = socket.create_connection(("127.0.0.1", self._targets[0]))
        threading.Thread(target=self._forward, args=(client, server), daemon=True).start()
        with client, server:
            while answer := _received(server):
                self.requests += answer.startswith(b"HTTP/1.1 ")
                if self.losses > 0:
                    self.losses -= 1
                    self._targets = self._targets[1:] or self._targets
                    client.shutdown(socket.SHUT_RDWR)
                    return
                client.sendall(answer)

    def _forward(self, client, server):
        with suppress(OSError):  # the other direction closed it
            while request := _received(client):
                server.sendall(request)

    def close(self):
        self._listener.close()


@pytest.fixture
def served(tmp_path):
    store = open_store(tmp_path / "store")
    yield store
    store.close()


@pytest.fixture
def line(served):
    with _serving(served) as port:
        lossy = _LossyLine(port)
        yield lossy
        lossy.close()


@pytest.fixture
def remote(line, tmp_path):
    store = open_remote(tmp_path / "client", f"http://127.0.0.1:{line.port}")
    yield store
    store.close()


def _run(run_id="a"):
    return Run(id=run_id, experiment="delay", name=run_id, state=RunState.RUNNING, started_at=1)


def test_a_call_whose_answer_was_lost_is_done_once_and_answered(remote, served, line):
    line.losses = 1
    assert remote.bucket.put_if_absent("ledger/1", b"mine") is True
    line.losses = 2
    assert remote.documents.add(Document("alert", "1", "delay", "open", 1, {}, 1)) is True
    line.losses = 1
    remote.runs.create(_run())
    line.losses = 1
    etag = remote.bucket.compare_and_swap("pointer", b"1", None)
    assert served.bucket.find("pointer").etag == etag
    line.losses = 1
    assert remote.documents.update(Document("alert", "1", "delay", "done", 1, {}, 1)).revision == 2
    assert line.losses == 0
    assert line.requests == 11


def test_a_repetition_that_another_server_gets_is_known_by_its_value(served, tmp_path):
    with _serving(served) as first, _serving(served) as second:
        line = _LossyLine(first, second)
        remote = open_remote(tmp_path / "client", f"http://127.0.0.1:{line.port}")
        line.losses = 1
        assert remote.bucket.put_if_absent("ledger/1", b"mine") is True
        assert remote.bucket.put_if_absent("ledger/1", b"mine") is False
        line._targets, line.losses = [first, second], 1
        etag = remote.bucket.compare_and_swap("pointer", b"1", None)
        line._targets, line.losses = [first, second], 1
        assert remote.bucket.compare_and_swap("pointer", b"2", etag) == served.bucket.find("pointer").etag
        line._targets, line.losses = [first, second], 1
        assert remote.bucket.put_if_absent("pointer", b"mine") is False
        assert line.losses == 0
        assert line.requests >= 8
        remote.close()
        line.close()


def test_somebody_elses_write_is_not_taken_for_a_repetition(remote, served):
    served.bucket.put_if_absent("ledger/1", b"theirs")
    assert remote.bucket.put_if_absent("ledger/1", b"mine") is False
    with pytest.raises(ConflictError):
        remote.bucket.compare_and_swap("ledger/1", b"mine", "another-etag")
    assert served.bucket.find("ledger/1").data == b"theirs"


def test_errors_keep_their_class_and_their_texts(remote):
    with pytest.raises(NotFoundError) as caught:
        remote.runs.get("nobody")
    assert caught.value.code == "run-not-found"
    assert "nobody" in caught.value.what
    refused = remote.series.ingest([Batch("nobody", "w", 1, [])])
    assert isinstance(refused[0], NotFoundError)
    with pytest.raises(UsageError):
        remote.bucket.put_if_absent("../outside", b"")
    with pytest.raises(IntegrityError):
        remote.bucket.put_if_absent("objects/x", b"bytes", sha256="0" * 64)


def test_columns_of_points_come_back_bit_for_bit(remote):
    remote.runs.create(_run())
    values = np.array([1.5, -0.0, np.inf, np.nan])
    steps, times = np.array([3, 1, -(2**60), 2]), np.array([1, 2, 3, 2**60])
    assert remote.series.ingest([Batch("a", "w", 1, [Series("loss", steps, times, values)])]) == [None]
    found = remote.series.points("a", "loss")
    order = np.argsort(steps)
    assert found.steps.tolist() == steps[order].tolist()
    assert found.times.tolist() == times[order].tolist()
    np.testing.assert_array_equal(found.values, values[order])
    assert remote.runs.get("a").metrics["loss"].count == 4


def test_a_file_is_copied_once_and_again_when_it_changed(remote, line):
    remote.bucket.put_if_absent("value", b"1" * 3_000_000)
    sent = []
    assert remote.bucket.local("value", progress=sent.append).stat().st_size == 3_000_000
    assert sum(sent) == 3_000_000
    before = line.requests
    assert remote.bucket.local("value", progress=sent.append).read_bytes() == b"1" * 3_000_000
    assert sum(sent) == 3_000_000
    assert line.requests == before + 1
    remote.bucket.compare_and_swap("value", b"2", remote.bucket.find("value").etag)
    assert remote.bucket.local("value").read_bytes() == b"2"


def test_a_server_that_comes_back_is_found_again(served, tmp_path):
    with _serving(served) as port:
        remote = open_remote(tmp_path / "client", f"http://127.0.0.1:{port}")
        remote.runs.create(_run())
    back = threading.Timer(0.6, lambda: None)
    back.start()
    done = []

    def ask():
        done.append(remote.runs.get("a").id)

    asking = threading.Thread(target=ask)
    asking.start()
    back.join()
    with _serving(served, port):
        asking.join(timeout=20)
        assert done == ["a"]
    remote.close()


def test_a_server_that_is_away_is_told_as_that(tmp_path, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    monkeypatch.setattr(connection, "_RETRY", connection._RETRY.new(backoff_factor=0.0))
    remote = open_remote(tmp_path, f"http://127.0.0.1:{port}")
    with pytest.raises(UnavailableError) as caught:
        remote.runs.get("a")
    assert caught.value.code == "server-unreachable"
    with pytest.raises(UsageError):
        open_remote(tmp_path, "ftp://somewhere")


@pytest.mark.parametrize(
    "call",
    [
        lambda store: store.runs.get("a"),
        lambda store: store.bucket.find("a"),
        lambda store: store.bucket.local("a"),
        lambda store: list(store.bucket.keys("a/")),
    ],
)
@pytest.mark.parametrize("status", [200, 500])
def test_a_server_that_ends_amid_its_answer_is_told_as_that(tmp_path, call, status):
    listener = socket.create_server(("127.0.0.1", 0))
    head = f"HTTP/1.1 {status} ?\r\nContent-Length: 100\r\nETag: x\r\nX-Modified-Us: 1\r\n\r\n".encode()

    def answer_half():
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                with client:
                    asked = client.recv(1 << 16)
                    client.sendall(head if asked.startswith(b"HEAD") else head + b"half")

    answering = threading.Thread(target=answer_half)
    answering.start()
    remote = open_remote(tmp_path, f"http://127.0.0.1:{listener.getsockname()[1]}")
    try:
        with pytest.raises(UnavailableError) as caught:
            call(remote)
    finally:
        remote.close()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        answering.join()
    assert caught.value.code == "server-unreachable"


def test_a_forked_child_asks_over_a_connection_of_its_own(remote):
    remote.runs.create(_run())
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writing, b"".join(remote.runs.get("a").id.encode() for _ in range(20)))
        finally:
            os._exit(0)
    assert [remote.runs.get("a").id for _ in range(20)] == ["a"] * 20
    os.waitpid(child, 0)
    assert os.read(reading, 100) == b"a" * 20
    os.close(reading)
    os.close(writing)
