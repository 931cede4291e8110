"""What it costs to log, and how much room a point takes. Every tracker in a process and an environment of its own.

- one value: one call with one value and a step, 3,000 calls after 100 that do not count, each tracker as it is installed.
- bulk: points of one metric into the store, committed: MLflow by log_batch of 1,000, Tidegate by ``log_series`` and by HTTP.
- room: growth of the database file by 200,000 noisy points at irregular millisecond times; float32 as models log them.

The physical limit of one logged value is one ``write(2)`` (about 1 us here); of a point, the entropy of its noise: 4 bytes
as float32, 8 as float64.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from measure import Row, spread
from peers import find_peer, serving
from tidegate import open_workspace

CALLS = 3_000
ROUNDS = 5
ROOM_POINTS = 200_000
HERE = Path(__file__).parent


def measure() -> list[Row]:
    """One value, bulk, room."""
    return [*_one_value(), *_bulk(), *_room()]


def _said(output: str, mark: str) -> Any:
    line = next(line for line in output.splitlines() if line.startswith(mark))
    return json.loads(line.removeprefix(mark))


def _run(*arguments: str, mark: str) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        full = [argument.replace("FOLDER", folder) for argument in arguments]
        done = subprocess.run(full, capture_output=True, text=True, check=True, cwd=folder)
    return _said(done.stdout, mark)


def _one_value() -> list[Row]:
    trackers = {"tidegate": sys.executable}
    trackers |= {name: str(found) for name in ("wandb", "aim", "mlflow") if (found := find_peer(name))}
    medians: dict[str, list[float]] = {name: [] for name in trackers}
    for _ in range(ROUNDS):
        for name, interpreter in trackers.items():
            calls = CALLS if name != "mlflow" else CALLS // 10
            seconds = _run(interpreter, str(HERE / "programs" / "log_one.py"), name, "FOLDER", str(calls), mark="SECONDS")
            medians[name].append(statistics.median(seconds) * 1e6)
    ours = statistics.median(medians["tidegate"])
    return [
        Row(
            f"log one value: {name}",
            statistics.median(values),
            "us",
            spread(values),
            3.0 if name == "tidegate" else None,
            "one write(2), synced within a second"
            if name == "tidegate"
            else f"{statistics.median(values) / ours:.0f} times ours",
        )
        for name, values in medians.items()
    ]


def _bulk() -> list[Row]:
    rows: list[Row] = []
    count = 1_000_000
    values = np.random.default_rng(0).normal(size=count).astype(np.float32).astype(np.float64)
    speeds: list[float] = []
    for _ in range(3):
        with tempfile.TemporaryDirectory() as folder:
            run = open_workspace(folder).runs.start("bench")
            start = time.perf_counter()
            run.log_series("loss", values)
            run.finish()
            speeds.append(count / (time.perf_counter() - start))
    rows.append(_speed("bulk, embedded, to the end of the run: tidegate", speeds, 1e6))
    speeds = []
    for _ in range(3):
        with tempfile.TemporaryDirectory() as folder, serving("tidegate", Path(folder)) as url:
            run = open_workspace(folder, server=url, store=f"{folder}/client").runs.start("bench")
            start = time.perf_counter()
            run.log_series("loss", values)
            run.finish()
            speeds.append(count / (time.perf_counter() - start))
    rows.append(_speed("bulk, native HTTP, to the end of the run: tidegate", speeds, 2e5))
    if found := find_peer("mlflow"):
        done = _run(str(found), str(HERE / "programs" / "bulk_mlflow.py"), "FOLDER", "50000", mark="RESULT")
        rows.append(_speed("bulk, log_batch of 1,000 on SQLite: mlflow", [50_000 / done["seconds"]], None))
    return rows


def _speed(name: str, speeds: list[float], least: float | None) -> Row:
    """A speed as microseconds a point, so that less is better as everywhere in the table."""
    micros = [1e6 / speed for speed in speeds]
    return Row(
        name,
        statistics.median(micros),
        "us/point",
        f"{min(micros):.2f} to {max(micros):.2f}",
        1e6 / least if least else None,
        f"{statistics.median(speeds):,.0f} points/s",
    )


def _room() -> list[Row]:
    rows: list[Row] = []
    random = np.random.default_rng(0)
    times = 1_700_000_000_000_000 + np.cumsum(random.integers(40, 60, ROOM_POINTS)) * 1000
    noise = random.normal(size=ROOM_POINTS)
    for kind, values, budget in (("float32", noise.astype(np.float32).astype(np.float64), 10.0), ("float64", noise, None)):
        with tempfile.TemporaryDirectory() as folder:
            workspace = open_workspace(folder)
            file = workspace.store.root / "metadata.db"
            run = workspace.runs.start("bench")
            before = file.stat().st_size
            run.log_series("loss", values, times=times)
            run.finish()
            rows.append(
                Row(f"room, {kind} noise: tidegate", (file.stat().st_size - before) / ROOM_POINTS, "bytes/point", "", budget)
            )
    if found := find_peer("mlflow"):
        done = _run(str(found), str(HERE / "programs" / "bulk_mlflow.py"), "FOLDER", "50000", mark="RESULT")
        rows.append(Row("room: mlflow", done["bytes"] / 50_000, "bytes/point", "", None, "50,000 points"))
    return rows
