"""MLflow's protocol, answered by MLflow's own server and by ``tidegate server``: both on SQLite, one after the other.

- log-batch: the time of one request with 1,000 metrics on a connection that stays open, 1, 10 and 1,000 names (one summary row each).
- log-metric: 16 connections of wrk with one metric a request, each answered when it is committed; every acknowledged point
  is counted afterwards.
- start: from the command to the first answer, memory (PSS of all processes) and processes ten seconds later.

The physical limit of a commit is an fdatasync: 0.2 ms on this disk, a SQLite transaction about 1 ms.
"""

from __future__ import annotations

import http.client
import json
import re
import shutil
import statistics
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from measure import Row, spread
from peers import family, find_peer, memory_mb, serving, started

_SCRIPT = Path(__file__).parent / "programs" / "log_metric.lua"
_WRK_SECONDS = 10


def measure() -> list[Row]:
    """One batch, many connections, start."""
    names = ["tidegate", *(["mlflow"] if find_peer("mlflow") else [])]
    rows = [row for name in names for row in _batches(name)]
    if shutil.which("wrk"):
        rows += [row for name in names for row in _connections(name)]
    return rows + [row for name in names for row in _start(name)]


class _Client:
    """Asks one server over one connection."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._connection = http.client.HTTPConnection(str(parts.hostname), parts.port)

    def post(self, path: str, value: Any) -> Any:
        """Posts JSON (or bytes that are JSON already), and returns JSON."""
        body = value if isinstance(value, bytes) else json.dumps(value)
        self._connection.request("POST", f"/api/2.0/mlflow/{path}", body, {"content-type": "application/json"})
        answer = self._connection.getresponse()
        data = answer.read()
        if answer.status != 200:
            raise RuntimeError(data.decode())
        return json.loads(data)

    def get(self, path: str) -> Any:
        """What a GET answers as JSON."""
        self._connection.request("GET", f"/api/2.0/mlflow/{path}")
        return json.loads(self._connection.getresponse().read())

    def new_run(self) -> str:
        """The id of a fresh run."""
        return str(self.post("runs/create", {"experiment_id": "0", "start_time": 1})["run"]["info"]["run_id"])


def _batches(name: str) -> list[Row]:
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder, serving(name, Path(folder)) as url:
        client = _Client(url)
        for label, keys in (("1 name", 1), ("10 names", 10), ("1,000 names", 1000)):
            run = client.new_run()
            seconds: list[float] = []
            for turn in range(40):
                metrics = [
                    {"key": f"m{i % keys}", "value": 1 / (i + 1), "timestamp": 1_700_000_000_000 + i, "step": turn * 1000 + i}
                    for i in range(1000)
                ]
                body = json.dumps({"run_id": run, "metrics": metrics}).encode()
                start = time.perf_counter()
                client.post("runs/log-batch", body)
                seconds.append(time.perf_counter() - start)
            millis = [value * 1000 for value in seconds[5:]]
            budget = 5.0 if name == "tidegate" and keys < 1000 else None
            rows.append(
                Row(
                    f"log-batch of 1,000, {label}: {name}",
                    statistics.median(millis),
                    "ms",
                    spread(millis),
                    budget,
                    "from the first byte sent to the answer",
                )
            )
    return rows


def _connections(name: str) -> list[Row]:
    ours = name == "tidegate"
    with tempfile.TemporaryDirectory() as folder, serving(name, Path(folder)) as url:
        run = _Client(url).new_run()
        command = ["wrk", "-t1", "-c16", f"-d{_WRK_SECONDS}s", "--latency", "-s", str(_SCRIPT), url, "--", run]
        told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        answered, refused = (int(text) for text in re.findall(r"ANSWERED (\d+) REFUSED (\d+)", told)[0])
        stored = _count(_Client(url), run)
    per_second = float(re.findall(r"Requests/sec:\s+([\d.]+)", told)[0])
    slowest = _millis(re.findall(r"99%\s+(\S+)", told)[0])
    lost = f"{answered} acknowledged, {max(answered - stored, 0)} lost, {refused} refused"
    return [
        Row(
            f"log-metric, 16 connections: {name}",
            1e6 / per_second,
            "us/request",
            "",
            1e6 / 2000 if ours else None,
            f"{per_second:,.0f}/s; {lost}",
        ),
        Row(f"log-metric, 16 connections, p99: {name}", slowest, "ms", "", 50.0 if ours else None, ""),
    ]


def _count(client: _Client, run: str) -> int:
    """Distinct points of the metric in the store, page by page."""
    count, token = 0, ""
    while True:
        page = client.get(f"metrics/get-history?run_id={run}&metric_key=loss&max_results=25000&page_token={token}")
        count += len(page.get("metrics", []))
        token = page.get("next_page_token", "")
        if not token:
            return count


def _millis(text: str) -> float:
    number, unit = re.fullmatch(r"([\d.]+)(us|ms|s|m)", text).groups()  # type: ignore[union-attr] - wrk always prints one
    return float(number) * {"us": 0.001, "ms": 1.0, "s": 1000.0, "m": 60_000.0}[unit]


def _start(name: str) -> list[Row]:
    seconds: list[float] = []
    ours = name == "tidegate"
    for _ in range(3 if ours else 2):
        with tempfile.TemporaryDirectory() as folder, started(name, Path(folder)) as (_url, taken, process):
            seconds.append(taken)
            time.sleep(10)
            memory, processes = memory_mb(process), len(family(process))
    return [
        Row(f"server, start to first answer: {name}", statistics.median(seconds), "s", "", 2.0 if ours else None),
        Row(f"server, idle memory: {name}", memory, "MB", "", 200.0 if ours else None, "PSS"),
        Row(f"server, processes: {name}", float(processes), "", "", 2.0 if ours else None),
    ]
