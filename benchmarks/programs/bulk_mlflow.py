"""Stores points with MLflow's log_batch, 1000 at a time, on SQLite: bulk_mlflow.py FOLDER POINTS. Prints seconds and bytes as JSON."""

from __future__ import annotations

import json
import random
import sys
import time
from pathlib import Path

import mlflow
from mlflow.entities import Metric


def main(folder: str, points: str) -> None:
    """Logs points of one metric with irregular millisecond times."""
    file = Path(folder) / "mlflow.db"
    mlflow.set_tracking_uri(f"sqlite:///{file}")
    client = mlflow.MlflowClient()
    run = client.create_run(client.create_experiment("bench")).info.run_id
    before = file.stat().st_size
    noise = random.Random(0)
    at, seconds = 1_700_000_000_000, 0.0
    for first in range(0, int(points), 1000):
        batch: list[Metric] = []
        for step in range(first, first + 1000):
            at += noise.randrange(40, 60)
            batch.append(Metric("loss", noise.gauss(0, 1), at, step))
        start = time.perf_counter()
        client.log_batch(run, metrics=batch)
        seconds += time.perf_counter() - start
    print("RESULT" + json.dumps({"seconds": seconds, "bytes": file.stat().st_size - before}))


if __name__ == "__main__":
    main(*sys.argv[1:])
