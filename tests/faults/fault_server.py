"""What the tests that kill servers need: a server process, and clients that remember what they were told is done."""

from __future__ import annotations

import http.client
import itertools
import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Generator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode

import numpy as np

from tidegate.errors import UnavailableError
from tidegate.records.run import Series
from tidegate.store import Store, open_remote
from tidegate.store.ports import Batch, Document

API = "/api/2.0/mlflow/"
FILES = "/api/2.0/mlflow-artifacts/artifacts/"
MODEL = "delay"
IN_BATCH = 7


class NoAnswer(Exception):
    """The server was gone before it answered: what was asked is done or not."""


class ServerProcess:
    """``tidegate server`` on any free port. ``answers`` is False if it died before it listened."""

    def __init__(self, folder: Path, **variables: str) -> None:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("KILL_", "COV"))}
        command = [sys.executable, "-m", "tidegate", "-C", str(folder), "server", "--port", "0"]
        self._errors = (folder / "server.err").open("ab")
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=self._errors, text=True, env={**kept, **variables}
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        self.answers = " are at " in line
        self.url = line.split(" are at ")[1].strip().rstrip("/") if self.answers else ""
        if not self.answers:
            code = self.process.wait(timeout=60)
            assert code == -9, (code, (folder / "server.err").read_text())

    def kill(self, *, patience: float = 0.0) -> bool:
        """Kills it, and tells whether somebody had done so before: its connections end a moment before it does."""
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout=patience)
        dead = self.process.poll() is not None
        self.process.kill()
        self.process.communicate(timeout=60)
        self._errors.close()
        return dead


class Op(NamedTuple):
    """One request: its kind and a number that no other of its kind has."""

    what: str
    number: int


def file_bytes(number: int) -> bytes:
    """The file that the op ``file`` sends; every fifth one is larger than what the server holds in memory."""
    return f"bytes of {number}\n".encode() * (200_000 if number % 5 == 4 else 10)


class Client:
    """One connection. A request returns when it was answered with 200; any other answer fails the test.

    ``url`` is asked before every connection: the server may have another one by then.
    """

    def __init__(self, url: Callable[[], str], run_id: str, folder: Path) -> None:
        self._url = url
        self._folder = folder
        self.run_id = run_id
        self._line: http.client.HTTPConnection | None = None
        self._store: Store | None = None

    def ask(self, method: str, path: str, body: bytes = b"") -> bytes:
        try:
            if self._line is None:
                self._line = http.client.HTTPConnection(self._url().removeprefix("http://"), timeout=60)
            self._line.request(method, path, body or None, {"content-type": "application/json"} if body[:1] == b"{" else {})
            answer = self._line.getresponse()
            data = answer.read()
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise NoAnswer(str(error)) from None
        assert answer.status == 200, (method, path, answer.status, data)
        return data

    def post(self, path: str, **fields: Any) -> Any:
        return json.loads(self.ask("POST", API + path, json.dumps(fields).encode()))

    def get(self, path: str, **query: Any) -> Any:
        return json.loads(self.ask("GET", f"{API}{path}?{urlencode(query)}"))

    def native(self, call: Callable[[Store], Any]) -> Any:
        if self._store is None:
            self._store = open_remote(self._folder, self._url())
        try:
            return call(self._store)
        except UnavailableError as error:
            self.close()
            if error.code != "server-unreachable":
                raise
            raise NoAnswer(error.why) from None

    def close(self) -> None:
        if self._line is not None:
            self._line.close()
        if self._store is not None:
            self._store.close()
        self._line = self._store = None

    def do(self, op: Op) -> Any:
        """Sends one request; what it answers is what ``Book`` keeps."""
        return getattr(self, f"_{op.what}")(op.number)

    def _metric(self, n: int) -> None:
        self.post("runs/log-metric", run_id=self.run_id, key="loss", value=n / 7, timestamp=n, step=n)

    def _batch(self, n: int) -> None:
        points = [{"key": "bulk", "value": i / 7, "timestamp": i, "step": i} for i in range(n * IN_BATCH, (n + 1) * IN_BATCH)]
        pair = [{"key": f"batch{n}", "value": str(n)}]
        self.post("runs/log-batch", run_id=self.run_id, metrics=points, params=pair, tags=pair)

    def _tag(self, n: int) -> None:
        self.post("runs/set-tag", run_id=self.run_id, key=f"tag{n}", value=str(n))

    def _last(self, n: int) -> None:
        self.post("runs/set-tag", run_id=self.run_id, key="last", value=str(n))

    def _param(self, n: int) -> None:
        self.post("runs/log-parameter", run_id=self.run_id, key=f"param{n}", value=str(n))

    def _file(self, n: int) -> None:
        self.ask("PUT", f"{FILES}0/{self.run_id}/artifacts/{n}.bin", file_bytes(n))

    def _version(self, n: int) -> int:
        source, tags = f"runs:/{self.run_id}/model", [{"key": "n", "value": str(n)}]
        made = self.post("model-versions/create", name=MODEL, source=source, run_id=self.run_id, tags=tags)
        return int(made["model_version"]["version"])

    def _alias(self, n: int) -> int:
        """Gives an alias of its own, and the one that moves, to the newest version; its number."""
        newest = max(int(item["version"]) for item in self.versions())
        self.post("registered-models/alias", name=MODEL, alias=f"a{n}", version=str(newest))
        return newest

    def _ingest(self, n: int) -> None:
        at = np.array([n, n], np.int64)
        series = [Series("native", at, at, np.array([n / 7, n + 0.5])), Series("other", at[:1], at[:1], np.array([float(n)]))]
        assert self.native(lambda store: store.series.ingest([Batch(self.run_id, "writer", n + 1, series)])) == [None]

    def _annotate(self, n: int) -> None:
        pair = {f"native{n}": str(n)}
        self.native(lambda store: store.runs.annotate(self.run_id, params=pair, tags=pair))

    def _put(self, n: int) -> bool:
        return self.native(lambda store: store.bucket.put_if_absent(f"notes/{n}", file_bytes(n)))

    def _swap(self, n: int) -> str:
        def swap(store: Store) -> str:
            found = store.bucket.find("notes/pointer")
            return store.bucket.compare_and_swap("notes/pointer", str(n).encode(), found.etag if found else None)

        return self.native(swap)

    def _document(self, n: int) -> bool:
        return self.native(lambda store: store.documents.add(Document("note", str(n), "delay", "open", n, {"n": n}, 1)))

    def versions(self) -> list[dict[str, Any]]:
        query = {"filter": f"name='{MODEL}'", "max_results": 10_000}
        return self.get("model-versions/search", **query).get("model_versions", [])

    def history(self, key: str) -> list[tuple[int, float]]:
        found = self.get("metrics/get-history", run_id=self.run_id, metric_key=key).get("metrics", [])
        return sorted((item["step"], item["value"]) for item in found)


STREAMS = {
    "points": ("metric", "metric", "batch"),
    "notes": ("tag", "param", "last"),
    "files": ("file",),
    "registry": ("version", "alias"),
    "native": ("ingest", "annotate", "put", "document", "swap"),
}


class Book:
    """What the clients of one store asked, and what was acknowledged; and the check that this is what the store has."""

    def __init__(self, run_id: str) -> None:
        self.run_id = run_id
        self.done: dict[Op, Any] = {}
        self.open: dict[str, Op] = {}
        """By stream: what was asked and not answered."""
        self.repeated: Counter[str] = Counter()
        """How often something of this kind was not answered, whatever became of it."""
        self._numbers = {what: itertools.count() for kinds in STREAMS.values() for what in kinds}
        self._turns = {stream: itertools.cycle(kinds) for stream, kinds in STREAMS.items()}
        self.failures: list[BaseException] = []

    def work(self, stream: str, client: Client, ops: int) -> bool:
        """Repeats what was not answered, then goes on; False when an answer did not come."""
        for _ in range(ops):
            op = self.open.get(stream)
            if op is None:
                what = next(self._turns[stream])
                op = self.open[stream] = Op(what, next(self._numbers[what]))
            try:
                self.done[op] = client.do(op)
            except NoAnswer:
                self.repeated[op.what] += 1
                return False
            del self.open[stream]
        return True

    def load(
        self, clients: dict[str, Client], going_on: Callable[[], bool], *, pauses: Mapping[str, float] | None = None
    ) -> None:
        """All streams at once while ``going_on``, each until an answer does not come; with pauses it asks again even then."""

        def one(stream: str) -> None:
            try:
                while going_on() and (self.work(stream, clients[stream], 1) or pauses):
                    time.sleep(pauses[stream] if pauses else 0)
            except BaseException as error:  # noqa: BLE001 - told by the test's own thread
                self.failures.append(error)

        threads = [threading.Thread(target=one, args=(stream,)) for stream in clients]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if self.failures:
            raise self.failures[0]

    def numbers(self, what: str) -> set[int]:
        return {op.number for op in self.done if op.what == what}

    def maybe(self, what: str) -> set[int]:
        return {op.number for op in self.open.values() if op.what == what}

    def check(self, client: Client) -> None:
        """Everything acknowledged is there once, and nothing else but what was asked and not answered."""
        self._check_points(client)
        self._check_annotations(client)
        for n in self.numbers("file"):
            assert client.ask("GET", f"{FILES}0/{self.run_id}/artifacts/{n}.bin") == file_bytes(n), "a file was lost"
        listed = {item["path"] for item in client.get("artifacts/list", run_id=self.run_id)["files"]} - {"model"}
        assert {f"{n}.bin" for n in self.numbers("file")} <= listed
        assert listed <= {f"{n}.bin" for n in self.numbers("file") | self.maybe("file")}
        self._check_versions(client)
        self._check_native(client)

    def _check_points(self, client: Client) -> None:
        def expected(key: str, what: str, points: Callable[[int], Generator[tuple[int, float]]]) -> None:
            there, said = client.history(key), {point for n in self.numbers(what) for point in points(n)}
            unsaid = {point for n in self.maybe(what) for point in points(n)}
            assert len(there) == len(set(there)), f"{key}: a point came twice"
            assert said <= set(there), f"{key}: lost {said - set(there)}"
            assert set(there) <= said | unsaid, f"{key}: nobody asked for {set(there) - said - unsaid}"
            assert not unsaid & set(there) or unsaid <= set(there), f"{key}: half a batch"
            summary = client.native(lambda store: store.runs.get(self.run_id)).metrics.get(key)
            # What was sent again without a writer's number is counted again until it is packed (see ``tidegate.store.sql.tables``).
            again = 0 if what == "ingest" else self.repeated[what] * IN_BATCH
            assert 0 <= (summary.count if summary else 0) - len(there) <= again, f"{key}: {summary} of {len(there)} points"

        expected("loss", "metric", lambda n: ((n, n / 7) for n in [n]))
        expected("bulk", "batch", lambda n: ((i, i / 7) for i in range(n * IN_BATCH, (n + 1) * IN_BATCH)))
        expected("native", "ingest", lambda n: ((n, value) for value in (n / 7, n + 0.5)))
        expected("other", "ingest", lambda n: ((n, float(n)) for n in [n]))

    def _check_annotations(self, client: Client) -> None:
        data = client.get("runs/get", run_id=self.run_id)["run"]["data"]
        params, tags = ({item["key"]: item["value"] for item in data.get(name, [])} for name in ("params", "tags"))
        for found, kinds in ((params, {"batch": "batch", "param": "param", "annotate": "native"}),
                             (tags, {"batch": "batch", "tag": "tag", "annotate": "native"})):  # fmt: skip
            for what, start in kinds.items():
                there = {name: value for name, value in found.items() if name.startswith(start)}
                said = {f"{start}{n}": str(n) for n in self.numbers(what)}
                unsaid = {f"{start}{n}": str(n) for n in self.maybe(what)}
                assert said.items() <= there.items(), f"{what}: lost {said.items() - there.items()}"
                assert there.items() <= (said | unsaid).items(), f"{what}: nobody asked for {there.items() - said.items()}"
        self._check_last("last", int(tags.get("last", -1)))

    def _check_last(self, what: str, there: int) -> None:
        """What is replaced has the value of the last one that was acknowledged, or of one after it."""
        assert there in {max(self.numbers(what), default=-1), *self.maybe(what)}, f"{what} is {there}"

    def _check_versions(self, client: Client) -> None:
        found = client.versions()
        made = {int(item["version"]): next((tag["value"] for tag in item.get("tags", [])), "") for item in found}
        assert len(made) == len(found)
        for op, number in self.done.items():
            if op.what == "version":
                assert made.pop(number, None) == str(op.number), f"version {number} was lost"
                source = client.get("model-versions/get-download-uri", name=MODEL, version=number)["artifact_uri"]
                path = source.removeprefix("mlflow-artifacts:/").strip("/")
                assert client.ask("GET", f"{FILES}{path}/model.pkl") == b"weights"
            if op.what == "alias":
                query = {"name": MODEL, "alias": f"a{op.number}"}
                there = client.get("registered-models/alias", **query)["model_version"]
                assert int(there["version"]) == number
        # Nothing tells that two requests are one, so what was done and not answered may be done again, as another version.
        assert len(made) <= self.repeated["version"], f"nobody asked for {made}"

    def _check_native(self, client: Client) -> None:
        for n in self.numbers("put"):
            blob = client.native(lambda store, n=n: store.bucket.find(f"notes/{n}"))
            assert blob is not None, f"notes/{n} was lost"
            assert blob.data == file_bytes(n)
        keys = set(client.native(lambda store: list(store.bucket.keys("notes/")))) - {"notes/pointer"}
        assert keys <= {f"notes/{n}" for n in self.numbers("put") | self.maybe("put")}
        notes = client.native(lambda store: store.documents.list("note"))
        there = {note.body["n"] for note in notes}
        assert len(there) == len(notes)
        assert self.numbers("document") <= there <= self.numbers("document") | self.maybe("document")
        pointer = client.native(lambda store: store.bucket.find("notes/pointer"))
        self._check_last("swap", int(pointer.data) if pointer else -1)


def begin(url: str, folder: Path) -> Book:
    """A run with a model's files, and a registered model."""
    client = Client(lambda: url, "", folder)
    run_id = client.post("runs/create", experiment_id="0")["run"]["info"]["run_id"]
    for name, data in {"MLmodel": b"flavors: {python_function: {loader_module: x}}\n", "model.pkl": b"weights"}.items():
        client.ask("PUT", f"{FILES}0/{run_id}/artifacts/model/{name}", data)
    client.post("registered-models/create", name=MODEL)
    client.close()
    return Book(run_id)
