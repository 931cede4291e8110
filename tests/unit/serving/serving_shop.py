"""A bucket with a promoted model, requests straight into an application, and a server process of its own."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

from tidegate.clock import Clock
from tidegate.models import Candidate, Models
from tidegate.records.ledger import Promoted
from tidegate.records.policy import ServingPolicy
from tidegate.records.receipt import Baseline
from tidegate.release.ledger import Ledger
from tidegate.serving.app import App
from tidegate.serving.follow import Follower
from tidegate.serving.log import LogQueue
from tidegate.store.bucket import open_bucket

NOW = 1_370_088_000_000_000
SETTLED = 30.0  # seconds that a shared machine may need for what takes a fraction of one


class NoCatalog:
    """Serving has no index: nothing here may need one."""

    def put(self, entry):
        pass

    def list(self, kind, name="", *, limit=1000):
        return []


class Shop:
    """A store folder, the versions in it, and the pointer that the tests move."""

    def __init__(self, root: Path, estimators, versions=None):
        self.root = root
        self.bucket = open_bucket(root)
        self.ledger = Ledger(self.bucket, Clock.replay(NOW), "ana")
        self.table, trained = estimators
        self.estimator = trained[0]
        models = Models(self.bucket, NoCatalog(), Clock.replay(NOW))
        self.versions = versions or [models.register(Candidate("delay", each, self.table, "binary")) for each in trained]

    def promote(self, version, digest=None):
        event = Promoted(version=version.version, digest=digest or version.digest, receipt="r", previous=Baseline())
        self.ledger.append("delay", lambda _state: event)

    def app(self, *, append=lambda rows: None, **policy):
        follower = Follower(self.bucket, "delay")
        log = LogQueue(append)
        app = App({"delay": follower}, log, clock=Clock.replay(NOW), policies={"delay": ServingPolicy(**policy)})
        return app, follower, log


def tensors(wind=(12.5,), seats=(100,), carrier=("UA",)):
    return [
        {"name": "wind", "shape": [len(wind)], "datatype": "FP64", "data": list(wind)},
        {"name": "seats", "shape": [len(seats), 1], "datatype": "INT64", "data": [[value] for value in seats]},
        {"name": "carrier", "shape": [len(carrier)], "datatype": "BYTES", "data": list(carrier)},
    ]


JSON = [(b"content-type", b"application/json")]


def call(app, path, body=None, *, method=None, headers=JSON, pieces=None, query=b""):
    """One request straight into the application: status, headers, body."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode() if body is not None else b""
    waiting = list(pieces) if pieces is not None else [data]
    sent = []

    async def receive():
        if not waiting:
            return {"type": "http.disconnect"}
        piece = waiting.pop(0)
        if isinstance(piece, float):
            await asyncio.sleep(piece)
            piece = b""
        return {"type": "http.request", "body": piece, "more_body": bool(waiting) or pieces is not None}

    async def send(message):
        sent.append(message)

    scope = {
        "type": "http",
        "method": method or ("GET" if body is None and pieces is None else "POST"),
        "path": path,
        "headers": list(headers),
        "query_string": query,
    }
    asyncio.run(app(scope, receive, send))
    if not sent:
        return None, {}, b""
    return sent[0]["status"], dict(sent[0]["headers"]), sent[1]["body"]


class Server:
    """``tidegate serve`` as a process."""

    def __init__(self, root: Path, *extra: str, folder: Path, models=("delay",), environment=None):
        command = [
            sys.executable,
            "-X",
            "dev",
            "-W",
            "error",
            "-m",
            "tidegate",
            "serve",
            *models,
            "--port",
            "0",
            "--store",
            str(root),
            *extra,
        ]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=folder, env=os.environ | (environment or {})
        )
        self.line = self.process.stdout.readline().strip()
        if not self.line:
            raise AssertionError(self.process.communicate()[1])
        ports = re.findall(r"(?:http|grpc)://[^ ]*:(\d+)", self.line)
        self.port = int(ports[0])
        self.grpc_port = int(ports[1]) if len(ports) > 1 else 0

    def get(self, path):
        return self.request("GET", path)

    def request(self, method, path, body=None, headers=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=SETTLED)
        try:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def infer(self, **columns):
        body = json.dumps({"inputs": tensors(**columns)})
        return self.request("POST", "/v2/models/delay/infer", body, {"content-type": "application/json"})

    def wait(self, true):
        """Asks until ``true()``; what takes 0.2 s alone may take longer beside other tests."""
        until = time.monotonic() + SETTLED
        while not true():
            assert time.monotonic() < until, "it did not happen"
            time.sleep(0.02)

    def stop(self, number=signal.SIGTERM):
        """Exit code and what it wrote to standard error."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        _, errors = self.process.communicate(timeout=60)
        return self.process.returncode, errors
