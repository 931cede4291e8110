"""A curve of 1,000,000 points at 1,000 pixels, one of them a spike: what a page has to wait for.

MLflow answers ``metrics/get-history-bulk-interval`` with every k-th step; whether the spike is among its answer is told.
Its points are put straight into its database, which takes minutes otherwise.
"""

from __future__ import annotations

import sqlite3
import statistics
import tempfile
import time
import urllib.request
from pathlib import Path

import msgspec
import numpy as np

from measure import Row, spread
from peers import find_peer, serving
from tidegate import open_workspace

POINTS = 1_000_000
PIXELS = 1_000
SPIKE = 777_777


def measure() -> list[Row]:
    """Ours from the store and over HTTP, MLflow's over HTTP."""
    values = np.random.default_rng(0).normal(size=POINTS)
    values[SPIKE] = 1000.0
    rows = _tidegate(values)
    if find_peer("mlflow"):
        rows += _mlflow(values)
    return rows


def _tidegate(values: np.ndarray) -> list[Row]:
    with tempfile.TemporaryDirectory() as folder:
        workspace = open_workspace(folder, store=f"{folder}/store")
        run = workspace.runs.start("bench")
        run.log_series("loss", values)
        run.finish()
        seconds: list[float] = []
        for _ in range(30):
            start = time.perf_counter()
            curve = workspace.store.series.envelope(run.id, "loss", pixels=PIXELS)
            seconds.append(time.perf_counter() - start)
        exact = int(curve.counts.sum()) == POINTS and float(curve.high.max()) == 1000.0 and float(curve.low.min()) == values.min()
        told = f"{len(curve.low)} stretches, exact: {'yes' if exact else 'NO'}"
        workspace.store.close()
        rows = [_row("curve, from the store: tidegate", seconds, 10.0, told)]
        with serving("tidegate", Path(folder)) as url:
            seconds = [_fetched(f"{url}/api/v1/runs/{run.id}/metrics/loss?pixels={PIXELS}")[0] for _ in range(20)]
    return [*rows, _row("curve, over HTTP: tidegate", seconds, None, "")]


def _mlflow(values: np.ndarray) -> list[Row]:
    with tempfile.TemporaryDirectory() as name, serving("mlflow", Path(name)) as url:
        request = urllib.request.Request(
            f"{url}/api/2.0/mlflow/runs/create", msgspec.json.encode({"experiment_id": "0"}), {"content-type": "application/json"}
        )
        with urllib.request.urlopen(request) as answer:
            run = msgspec.json.decode(answer.read())["run"]["info"]["run_id"]
        with sqlite3.connect(Path(name) / "mlflow.db") as database:
            database.executemany(
                "INSERT INTO metrics (key, value, timestamp, run_uuid, step, is_nan) VALUES ('loss', ?, ?, ?, ?, 0)",
                ((value, 1_700_000_000_000 + step, run, step) for step, value in enumerate(values.tolist())),
            )
            database.execute(
                "INSERT INTO latest_metrics (key, value, timestamp, step, is_nan, run_uuid) VALUES ('loss', ?, ?, ?, 0, ?)",
                (float(values[-1]), 1_700_000_000_000 + POINTS - 1, POINTS - 1, run),
            )
        address = f"{url}/ajax-api/2.0/mlflow/metrics/get-history-bulk-interval?run_ids={run}&metric_key=loss&max_results=1000"
        answers = [_fetched(address) for _ in range(3)]
        points = msgspec.json.decode(answers[0][1]).get("metrics", [])
    seen = any(point["value"] == 1000.0 for point in points)
    told = f"{len(points)} points, the spike {'is' if seen else 'is NOT'} among them"
    return [_row("curve, over HTTP: mlflow", [seconds for seconds, _ in answers], None, told)]


def _fetched(url: str) -> tuple[float, bytes]:
    start = time.perf_counter()
    with urllib.request.urlopen(url, timeout=300) as answer:
        data = answer.read()
    return time.perf_counter() - start, data


def _row(name: str, seconds: list[float], budget: float | None, note: str) -> Row:
    millis = [value * 1000 for value in seconds]
    return Row(name, statistics.median(millis), "ms", spread(millis), budget, note)
