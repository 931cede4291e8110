from __future__ import annotations

import http.client
import json
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest
from serving_shop import SETTLED, tensors

from tidegate import frames
from tidegate.errors import UnavailableError, UsageError
from tidegate.monitoring import PredictionLog
from tidegate.serving import Address, Offer, serve
from tidegate.serving.follow import POLL_SECONDS


def test_a_port_in_use_is_told_before_anything_starts(shop):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UnavailableError, match="port-in-use") as caught:
            serve(shop.bucket, [Offer(name="no-such-model")], address=Address(port=port), ready=print)
    assert str(port) in caught.value.what
    with pytest.raises(UsageError, match="bad-host"):
        serve(shop.bucket, [Offer(name="delay")], address=Address(host="no.such.host.invalid"), ready=print)


def test_a_server_answers_logs_and_ends_in_order(shop, server):
    running = server()
    assert running.line == f"serving delay@1 on http://127.0.0.1:{running.port}"
    assert running.get("/v2/health/ready")[0] == 200
    status, body = running.infer()
    assert status == 200
    ids = json.loads(body)["parameters"]["prediction_ids"]
    assert running.infer(wind=["x"])[0] == 422
    code, errors = running.stop()
    assert (code, errors) == (0, "")
    with frames.connect() as con:
        rows = PredictionLog(shop.bucket, "delay").read(con, 0, 2**53).project('prediction_id, version, "in.carrier"').fetchall()
    assert rows == [(ids[0], 1, "UA")]


def test_a_huge_body_is_refused_and_the_server_lives(shop, server):
    running = server()
    connection = socket.create_connection(("127.0.0.1", running.port), timeout=SETTLED)
    with connection:
        connection.sendall(b"POST /v2/models/delay/infer HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999999\r\n\r\n")
        assert b" 413 " in connection.recv(1000)
    assert running.infer()[0] == 200


def test_a_client_that_sends_too_much_can_read_why(shop, server):
    running = server()
    connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=SETTLED)
    for close in ({"connection": "close"}, {}):
        for body in (b" " * 20_000_000, (b" " * 1_000_000 for _ in range(20))):
            connection.request("POST", "/v2/models/delay/infer", body, {"content-type": "application/json"} | close)
            answer = connection.getresponse()
            assert (answer.status, b"body-too-large" in answer.read()) == (413, True)
    connection.request("GET", "/health")
    assert connection.getresponse().status == 200
    connection.close()


def test_no_request_fails_while_the_pointer_moves(shop, server):
    running = server()
    stop, lock = threading.Event(), threading.Lock()
    seen, failed = [], []

    def ask():
        import http.client

        body = json.dumps({"inputs": tensors()})
        connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=SETTLED)
        while not stop.is_set():
            connection.request("POST", "/v2/models/delay/infer", body, {"content-type": "application/json"})
            answer = connection.getresponse()
            told = json.loads(answer.read())
            with lock:
                if answer.status != 200:
                    failed.append(told)
                else:
                    seen.append((told["model_version"], told["outputs"][1]["data"][0]))
        connection.close()

    clients = [threading.Thread(target=ask) for _ in range(4)]
    for client in clients:
        client.start()
    try:
        for move in range(6):
            target = shop.versions[(move + 1) % 2]
            shop.promote(target)
            running.wait(lambda target=target: seen and seen[-1][0] == str(target.version))
    finally:
        stop.set()
        for client in clients:
            client.join()
    assert failed == []
    assert {version for version, _ in seen} == {"1", "2"}
    assert len({label for version, label in seen if version == "1"}) == 1
    assert len(set(seen)) == 2  # a version never answers with the other one's model
    code, errors = running.stop()
    assert (code, "Traceback" in errors) == (0, False)


def test_a_rollback_is_followed(shop, server):
    running = server()

    def version():
        return json.loads(running.get("/health")[1])["models"][0]["version"]

    shop.promote(shop.versions[1])
    running.wait(lambda: version() == 2)
    shop.promote(shop.versions[0])
    running.wait(lambda: version() == 1)
    assert POLL_SECONDS < 2  # the guide says: back within two seconds


def test_terminating_lets_a_keep_alive_client_finish(shop, server):
    """Requests go on while it drains: every one that was sent is answered, and the connection is closed with an answer."""
    import http.client

    running = server()
    body = json.dumps({"inputs": tensors()})
    connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=SETTLED)
    answered = 0
    closing = False
    running.infer()
    until = time.monotonic() + SETTLED
    while not closing and time.monotonic() < until:
        if answered == 20:
            running.process.send_signal(signal.SIGTERM)
        connection.request("POST", "/v2/models/delay/infer", body, {"content-type": "application/json"})
        answer = connection.getresponse()
        answer.read()
        assert answer.status == 200
        answered += 1
        closing = answer.getheader("connection") == "close"
        time.sleep(0.002)
    assert closing
    connection.close()
    code, _ = running.stop()
    assert code == 0
    with frames.connect() as con:
        assert PredictionLog(shop.bucket, "delay").read(con, 0, 2**53).shape[0] == answered + 1


def test_a_full_prediction_log_never_fails_a_request(shop, server):
    running = server()
    # Where the log's folder should be stands a file: every write fails, as on a full disk, and root cannot write it either.
    (shop.root / "bucket" / "monitoring").write_text("in the way")
    for _ in range(20):
        assert running.infer()[0] == 200
    running.wait(lambda: json.loads(running.get("/health")[1])["prediction_log"]["problem"])
    health = json.loads(running.get("/health")[1])
    assert health["status"] == "degraded"
    assert health["prediction_log"]["dropped"] == 0  # they wait until there is room again
    assert b"model_prediction_log_dropped_rows_total 0.0" in running.get("/metrics")[1]
    assert running.infer()[0] == 200
    code, errors = running.stop()
    assert code == 0
    assert "lost 21 rows" in errors
    assert "Traceback" not in errors


def test_serving_never_loads_the_database(shop):
    script = "import sys, tidegate.serving.server; print([name for name in ('sqlalchemy', 'alembic', 'sklearn', 'pandas') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_command_line_tells_what_is_missing(shop, tmp_path):
    command = [sys.executable, "-m", "tidegate", "serve", "other", "--store", str(shop.root), "--port", "0"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 1
    assert "nothing-promoted" in done.stderr
    assert "Traceback" not in done.stderr
    (tmp_path / "tidegate.toml").write_text("[models.delay.serving]\nmax_row = 3\n")
    command[4] = "delay"
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 2
    assert "max_row" in done.stderr
