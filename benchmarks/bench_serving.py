"""Predictions over HTTP, the same models behind every server: one core for the server, wrk on the other, one row a request.

Prediction log and metrics of ours are on. Medians of several short runs. Which peers there are is told by ``tools/peers serving mlflow3``:
MLflow's scoring server, MLServer, BentoML with adaptive batching, and what one writes by hand: FastAPI, pydantic and ONNX Runtime.

- log: the same requests to a server whose prediction log throws everything away; the difference is what the log costs. Profiles are made
  from the log, elsewhere.
- overload: models that stay native, three times as many requests (of 32 rows) a second as they can answer, each wanted within half a second.
  To turn a request away takes some 33 us under load (13 in the kernel, the rest with cold caches). So what is lost depends on what an answer
  costs: half a millisecond, or two, with which about as many are answered as by BentoML at its best.
- swaps: two versions promoted in turn while wrk asks; every one of them is served before the next one comes. The server looks at the
  pointer every 20 ms here, so that this takes a minute.
- rollout: the second version answers half of the requests, and each of the two models answers the others' requests as well, unseen.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from measure import Row, spread, time_in_turn
from peers import find_peer, free_port, memory_mb

PROGRAMS = Path(__file__).parent / "programs"
sys.path.insert(0, str(PROGRAMS))

SECONDS = 4
RUNS = 5
PEER_RUNS = 3
SWAPS = 1_000
PEERS = ("mlflow", "mlserver", "bentoml", "fastapi")
_LOG_STARTS, _LOG_TURNS = 8, 5
_TIMEOUT = 0.5
_PATIENCE = 120


def measure() -> list[Row]:
    """The rows of the issue's table."""
    if not shutil.which("wrk") or not shutil.which("taskset"):
        return []
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "store"
        sizes = _stock(store)
        rows = _throughput(store, Path(folder))
        rows += _log_cost(store, Path(folder))
        rows += _decode()
        rows += _start(store, sizes)
        rows += _overload(store, Path(folder), "native", "0.5 ms")
        rows += _overload(store, Path(folder), "heavy", "2 ms")
        rows += _swaps(store, Path(folder))
        return rows + _rollout(store, Path(folder))


def _stock(store: Path) -> dict[str, float]:
    """A store with the models, the first version of each promoted; their megabytes by name."""
    from serving_models import fitted

    from tidegate.clock import Clock
    from tidegate.models import Candidate, Models
    from tidegate.store import open_store

    models = Models((opened := open_store(store)).bucket, opened.catalog, Clock())
    sizes: dict[str, float] = {}
    for name in ("forest", "boosted", "native", "heavy"):
        for seed in (0, 1) if name == "forest" else (0,):
            estimator, table, task = fitted(name, seed)
            version = models.register(Candidate(name, estimator, table, task))
            if version.version == 1:
                _promote(store, name, version.version, version.digest)
            sizes[name] = version.manifest.size / 1e6
    return sizes


def _promote(store: Path, name: str, number: int, digest: str) -> None:
    from tidegate.clock import Clock
    from tidegate.records.ledger import Promoted
    from tidegate.records.receipt import Baseline
    from tidegate.release.ledger import append
    from tidegate.store.bucket import open_bucket

    event = Promoted(version=number, digest=digest, receipt="benchmark", previous=Baseline())
    append(open_bucket(store), name, lambda _state: event, clock=Clock(), actor="benchmark")


def _body(peer: str, name: str, folder: Path) -> Path:
    from serving_models import rows

    row = rows(10 if name == "boosted" else 20)[0].tolist()
    count = 32 if name in ("native", "heavy") else 1
    tensor = {"name": "X", "shape": [count, len(row)], "datatype": "FP64", "data": row * count}
    value = {"mlflow": {"inputs": [row]}, "bentoml": {"rows": [row]}}.get(peer, {"inputs": [tensor]})
    path = folder / f"{peer}-{name}.json"
    path.write_text(json.dumps(value), encoding="utf-8")
    return path


def _tidegate(store: Path, port: int, *names: str, program: tuple[str, ...] = ("-m", "tidegate")) -> list[str]:
    return [sys.executable, *program, "serve", *names, "--port", str(port), "--store", str(store)]


@contextmanager
def _running(command: list[str], port: int, health: str, folder: Path, **environment: str) -> Generator[subprocess.Popen[bytes]]:
    """A server on the first core that answers; it is stopped at the end."""
    kept = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"} | environment
    quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": (folder / "server.log").open("wb")}
    with quiet["stderr"], subprocess.Popen(["taskset", "-c", "0", *command], cwd=folder, env=kept, **quiet) as process:
        try:
            start = time.perf_counter()
            while not _answers(port, health):
                if process.poll() is not None or time.perf_counter() - start > _PATIENCE:
                    told = (folder / "server.log").read_text(encoding="utf-8", errors="replace")
                    raise RuntimeError(f"{command[:6]} did not start: {told[-1500:]}")
                time.sleep(0.01)
            yield process
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()


def _answers(port: int, path: str) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


@contextmanager
def _peer(peer: str, name: str, folder: Path) -> Generator[tuple[int, str]]:
    """A peer's server with the model: its port and the path that predicts."""
    python, port = str(find_peer(peer)), free_port()
    place = folder / f"{peer}-{name}"
    path = {"PATH": f"{Path(python).parent}:{os.environ['PATH']}", "PYTHONPATH": str(PROGRAMS)}
    one = {"OMP_NUM_THREADS": "1", "MODEL": name, "BENTOML_DO_NOT_TRACK": "true"} | path
    if peer == "mlflow":
        subprocess.run(
            [python, str(PROGRAMS / "save_mlflow.py"), name, str(place)], check=True, capture_output=True, env=os.environ | one
        )
        local = ["--env-manager", "local", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
        command, health, predict = [python, "-m", "mlflow", "models", "serve", "-m", str(place), *local], "/ping", "/invocations"
    elif peer == "mlserver":
        subprocess.run([python, str(PROGRAMS / "save_mlserver.py"), name, str(place), str(port)], check=True, capture_output=True)
        command = [str(Path(python).parent / "mlserver"), "start", str(place)]
        health, predict = f"/v2/models/{name}/ready", f"/v2/models/{name}/infer"
    elif peer == "bentoml":
        command = [
            str(Path(python).parent / "bentoml"),
            "serve",
            "serve_bentoml:Service",
            "--host",
            "127.0.0.1",
            "--port",
            str(port),
        ]
        command, health, predict = [*command, "--working-dir", str(PROGRAMS)], "/readyz", "/predict"
    else:
        command, health, predict = [python, str(PROGRAMS / "serve_fastapi.py"), name, str(port)], "/health", "/predict"
    with _running(command, port, health, folder, **one):
        yield port, predict


def _servers(store: Path, folder: Path, name: str) -> Iterator[tuple[str, int, str]]:
    """Every server with the model, ours first, one at a time: who it is, its port and its path."""
    port = free_port()
    with _running(_tidegate(store, port, name), port, "/v2/health/ready", folder):
        yield "tidegate", port, f"/v2/models/{name}/infer"
    for peer in PEERS:
        if find_peer(peer):
            with _peer(peer, name, folder) as (its_port, path):
                yield peer, its_port, path


def _wrk(port: int, path: str, body: Path, connections: int, seconds: int) -> dict[str, float]:
    """One run: requests a second, p50 and p99 in milliseconds, and how many were not answered with 200."""
    command = [
        "taskset",
        "-c",
        "1",
        "wrk",
        "-t1",
        f"-c{connections}",
        f"-d{seconds}s",
        "--latency",
        "-s",
        str(PROGRAMS / "post.lua"),
    ]
    told = subprocess.run(
        [*command, f"http://127.0.0.1:{port}{path}", "--", str(body)], capture_output=True, text=True, check=True
    ).stdout
    return _told(told)


def _check(who: str, port: int, path: str, body: Path) -> None:
    """One request: whoever answers it with anything but one prediction is not measured.

    Raises:
        RuntimeError: it is no answer.
    """
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_PATIENCE)
    connection.request("POST", path, body.read_bytes(), {"content-type": "application/json"})
    answer = connection.getresponse()
    told = answer.read()
    connection.close()
    if answer.status != 200 or not re.search(rb"[\[ ](0|1|0\.\d+)[,\]]", told):
        raise RuntimeError(f"{who} answers {answer.status}: {told[:300]!r}")


def _told(text: str) -> dict[str, float]:
    bad = [int(each) for each in re.findall(r"Non-2xx or 3xx responses: (\d+)", text)]
    errors = [int(each) for line in re.findall(r"Socket errors: (.*)", text) for each in re.findall(r"\d+", line)]
    found = {f"p{name}": _millis(taken) for name, taken in re.findall(r"\b(50|99)%\s+(\S+)", text)}
    rate = float(re.findall(r"Requests/sec:\s+([\d.]+)", text)[0])
    return found | {"rate": rate, "failed": float(sum(bad) + sum(errors))}


def _millis(text: str) -> float:
    found = re.fullmatch(r"([\d.]+)(us|ms|s|m)", text)
    if found is None:  # nothing was answered in the run
        return float("inf")
    number, unit = found.groups()
    return float(number) * {"us": 0.001, "ms": 1.0, "s": 1000.0, "m": 60_000.0}[unit]


def _runs(who: str, port: int, path: str, body: Path, connections: int) -> dict[str, list[float]]:
    _check(who, port, path, body)
    _wrk(port, path, body, connections, 1)
    runs = [_wrk(port, path, body, connections, SECONDS) for _ in range(RUNS if who == "tidegate" else PEER_RUNS)]
    return {key: [run[key] for run in runs] for key in runs[0]}


def _throughput(store: Path, folder: Path) -> list[Row]:
    rows: list[Row] = []
    for who, port, path in _servers(store, folder, "forest"):
        ours, body = who == "tidegate", _body(who, "forest", folder)
        rows.append(_row("forest of 100, 32 connections", who, _runs(who, port, path, body, 32), 15_000 if ours else 0))
        rows.append(_latency("forest of 100, 32 connections, p99", who, rows[-1], 5.0 if ours else None))
        one = _runs(who, port, path, body, 1)
        rows.append(
            Row(
                f"forest of 100, one connection, p50: {who}",
                statistics.median(one["p50"]),
                "ms",
                _spread(one["p50"]),
                0.25 if ours else None,
            )
        )
    for who, port, path in _servers(store, folder, "boosted"):
        runs = _runs(who, port, path, _body(who, "boosted", folder), 8)
        rows.append(_row("gradient boosting, 8 connections", who, runs, 8_000 if who == "tidegate" else 0))
    return rows


_P99: dict[str, list[float]] = {}


def _row(what: str, who: str, runs: dict[str, list[float]], promised: float) -> Row:
    rate, failed = statistics.median(runs["rate"]), sum(runs["failed"])
    _P99[f"{what}: {who}"] = runs["p99"]
    note = f"{rate:,.0f}/s" + (f", {failed:.0f} FAILED" if failed else "")
    times = [1e6 / each for each in runs["rate"]]
    return Row(f"{what}: {who}", 1e6 / rate, "us/request", _spread(times), 1e6 / promised if promised else None, note)


def _latency(what: str, who: str, row: Row, budget: float | None) -> Row:
    values = _P99[row.name]
    return Row(f"{what}: {who}", statistics.median(values), "ms", _spread(values), budget)


def _spread(values: list[float]) -> str:
    return spread(values) if len(values) > 1 else ""


def _log_cost(store: Path, folder: Path) -> list[Row]:
    """The same requests with the log and without it, in turn, each behind a second of the same load: as many rows are then written
    as are answered. What is left at the end is written in the pause behind it.

    The machine's own pace changes by a third within seconds, always downwards. So what counts of a start is the best turn of each.
    """
    body, path = _body("tidegate", "forest", folder), "/v2/models/forest/infer"
    costs: list[float] = []
    loop = beside = dropped = 0.0
    for _ in range(_LOG_STARTS):  # no two processes lie in memory alike
        ports = [free_port(), free_port()]
        unlogged = (str(PROGRAMS / "serve_unlogged.py"),)
        with (
            _running(_tidegate(store, ports[0], "forest"), ports[0], "/v2/health/ready", folder) as logged,
            _running(_tidegate(store, ports[1], "forest", program=unlogged), ports[1], "/v2/health/ready", folder),
        ):
            best = dict.fromkeys(ports, 0.0)
            for turn in range(_LOG_TURNS):
                for port in ports if turn % 2 else ports[::-1]:
                    _wrk(port, path, body, 32, 1)
                    best[port] = max(best[port], _wrk(port, path, body, 32, 2)["rate"])
                    time.sleep(1.2)
            costs.append(100 * (1 - best[ports[0]] / best[ports[1]]))
            for thread in psutil.Process(logged.pid).threads():
                taken = thread.user_time + thread.system_time
                loop, beside = (loop + taken, beside) if thread.id == logged.pid else (loop, beside + taken)
            dropped += _health(ports[0])["prediction_log"]["dropped"]
    note = f"all threads but the event loop's take {100 * beside / (loop + beside):.1f} % of the server's processor time; {dropped:.0f} rows dropped"
    return [Row("prediction log, share of throughput: tidegate", statistics.median(costs), "%", _spread(costs), 5.0, note)]


def _decode() -> list[Row]:
    """100,000 numbers in one request."""
    from tidegate.records.model import Signature, Tensor
    from tidegate.serving.protocols.oip import OipProtocol

    values = np.random.default_rng(0).normal(size=(1000, 100)).astype(np.float32)
    signature = Signature(inputs=[Tensor(name="X", dtype="float32", shape=[-1, 100])], outputs=[])
    tensor: dict[str, Any] = {"name": "X", "shape": [1000, 100], "datatype": "FP32"}
    as_json = json.dumps({"inputs": [tensor | {"data": values.reshape(-1).tolist()}]}).encode()
    head = json.dumps({"inputs": [tensor | {"parameters": {"binary_data_size": values.nbytes}}]}).encode()
    binary, headers = head + values.tobytes(), {b"inference-header-content-length": str(len(head)).encode()}
    protocol = OipProtocol()
    seconds = time_in_turn(
        {
            "binary: tidegate": lambda: protocol.decode(binary, headers, signature, 10_000),
            "JSON: tidegate": lambda: protocol.decode(as_json, {}, signature, 10_000),
            "JSON: json and numpy": lambda: np.array(json.loads(as_json)["inputs"][0]["data"], dtype=np.float32),
        },
        rounds=15,
    )
    return [
        Row(
            f"100,000 floats decoded, {name}", statistics.median(times) * 1e3, "ms", spread(times, scale=1e3),
            1.0 if name.startswith("binary") else None,
        )
        for name, times in seconds.items()
    ]  # fmt: skip


def _start(store: Path, sizes: dict[str, float]) -> list[Row]:
    seconds: list[float] = []
    memory: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(RUNS):
            port = free_port()
            start = time.perf_counter()
            with _running(_tidegate(store, port, "forest"), port, "/v2/health/ready", Path(folder)) as process:
                seconds.append(time.perf_counter() - start)
                _wrk(port, "/v2/models/forest/infer", _body("tidegate", "forest", Path(folder)), 8, 2)
                memory.append(memory_mb(process.pid) - sizes["forest"])
    return [
        Row("start to ready: tidegate", statistics.median(seconds), "s", _spread(seconds), 1.5),
        Row("memory without the model, after a load: tidegate", statistics.median(memory), "MB", _spread(memory), 150.0, "PSS"),
    ]


def _overload(store: Path, folder: Path, name: str, cost: str) -> list[Row]:
    body, port, path = _body("tidegate", name, folder), free_port(), f"/v2/models/{name}/infer"
    with _running(_tidegate(store, port, name), port, "/v2/health/ready", folder):
        _wrk(port, path, body, 64, 2)
        loop = ["taskset", "-c", "1", sys.executable, str(PROGRAMS / "open_loop.py"), str(port), path, str(body)]
        peaks, floods, good = [_wrk(port, path, body, 64, SECONDS)["rate"]], list[dict[str, int]](), list[float]()
        for _ in range(5):  # each between two looks at the peak: the machine's own pace changes by a third within a minute
            flood = [*loop, str(3 * peaks[-1]), str(2 * SECONDS), str(_TIMEOUT)]
            told = json.loads(subprocess.run(flood, capture_output=True, text=True, check=True).stdout)
            good.append(told["good"] / told.pop("lasted"))
            floods.append(told)
            peaks.append(_wrk(port, path, body, 64, SECONDS)["rate"])
    lost = [100 * (1 - rate / statistics.mean(pair)) for rate, pair in zip(good, pairwise(peaks), strict=True)]
    total = {kind: sum(counts[kind] for counts in floods) for kind in floods[0]}
    note = f"{statistics.median(good):,.0f}/s of {statistics.median(peaks):,.0f}/s; "
    note += ", ".join(f"{number:,} {kind}" for kind, number in total.items())
    unanswered = float(total["unanswered"] + total["odd"])
    return [
        Row(f"overload 3x, {cost} an answer, goodput lost: tidegate", statistics.median(lost), "%", spread(lost), 10.0, note),
        Row(f"overload 3x, {cost} an answer, without an answer: tidegate", unanswered, "requests", "", 0.0),
    ]


def _swaps(store: Path, folder: Path) -> list[Row]:
    from tidegate.models import read_version
    from tidegate.store.bucket import open_bucket

    bucket = open_bucket(store)
    versions = [read_version(bucket, "forest", number) for number in (2, 1)]
    body, port, path = _body("tidegate", "forest", folder), free_port(), "/v2/models/forest/infer"
    command = _tidegate(store, port, "forest", program=(str(PROGRAMS / "serve_watchful.py"),))
    with _running(command, port, "/v2/health/ready", folder):
        command = ["taskset", "-c", "1", "wrk", "-t1", "-c8", "-d3600s", "--latency", "-s", str(PROGRAMS / "post.lua")]
        load = subprocess.Popen([*command, f"http://127.0.0.1:{port}{path}", "--", str(body)], stdout=subprocess.PIPE, text=True)
        try:
            for swap in range(SWAPS):
                version = versions[swap % 2]
                _promote(store, "forest", version.version, version.digest)
                while _serves(port) != version.version:
                    time.sleep(0.005)
        finally:
            load.send_signal(signal.SIGINT)
            told = _told(load.communicate()[0])
    return [
        Row(
            f"{SWAPS:,} swaps under load, failed requests: tidegate",
            told["failed"],
            "requests",
            "",
            0.0,
            f"{told['rate']:,.0f}/s",
        )
    ]


def _rollout(store: Path, folder: Path) -> list[Row]:
    """Throughput while a rollout runs, and what becomes of the evidence."""
    from tidegate.clock import Clock
    from tidegate.models import read_version
    from tidegate.records.ledger import RolloutMoved, RolloutStarted
    from tidegate.release.ledger import append
    from tidegate.store.bucket import open_bucket

    bucket = open_bucket(store)
    candidate = read_version(bucket, "forest", 2)
    started = RolloutStarted(version=2, digest=candidate.digest, receipt="benchmark", plan={"mode": "canary", "steps": [0.5]})
    moved = RolloutMoved(version=2, step=0, share=0.5, reason="benchmark")
    for event in (started, moved):
        append(bucket, "forest", lambda _state, event=event: event, clock=Clock(), actor="benchmark")
    body, port = _body("tidegate", "forest", folder), free_port()
    with _running(_tidegate(store, port, "forest"), port, "/v2/health/ready", folder):
        while "rollout" not in (found := _health(port)["models"][0]) or found["rollout"]["problem"]:
            time.sleep(0.05)
        runs = _runs("tidegate", port, "/v2/models/forest/infer", body, 32)
        pairs = _health(port)["models"][0]["rollout"]["pairs"]
    row = _row("forest of 100, 32 connections, in a rollout", "tidegate", runs, 0)
    kept = pairs["written"] / max(1, pairs["written"] + pairs["dropped"])
    return [row._replace(note=f"{row.note}; {kept:.0%} of the pairs kept")]


def _health(port: int) -> dict[str, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", "/health")
    found: dict[str, Any] = json.loads(connection.getresponse().read())
    connection.close()
    return found


def _serves(port: int) -> int:
    return int(_health(port)["models"][0]["version"])
