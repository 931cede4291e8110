"""Logs one value at a time with the tracker that is named, and prints the seconds of every call as JSON.

Run by the interpreter of an environment that has the tracker: log_one.py TRACKER FOLDER CALLS
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


def tidegate(folder: Path) -> tuple[Callable[[int], Any], Callable[[], Any]]:
    """A run in an embedded store."""
    from tidegate import open_workspace

    run = open_workspace(folder).runs.start("bench")
    return lambda step: run.log(loss=1.0 / (step + 1), step=step), run.finish


def mlflow(folder: Path) -> tuple[Callable[[int], Any], Callable[[], Any]]:
    """MLflow's own client on SQLite, its default: one commit per call."""
    import mlflow as peer

    peer.set_tracking_uri(f"sqlite:///{folder / 'mlflow.db'}")
    peer.start_run()
    return lambda step: peer.log_metric("loss", 1.0 / (step + 1), step=step), peer.end_run


def wandb(folder: Path) -> tuple[Callable[[int], Any], Callable[[], Any]]:
    """Weights & Biases offline."""
    import wandb as peer

    run = peer.init(project="bench", mode="offline", dir=str(folder), settings=peer.Settings(console="off", silent=True))
    return lambda step: run.log({"loss": 1.0 / (step + 1)}, step=step), run.finish


def aim(folder: Path) -> tuple[Callable[[int], Any], Callable[[], Any]]:
    """Aim in a local repository."""
    from aim import Run

    run = Run(
        repo=str(folder), experiment="bench", system_tracking_interval=None, log_system_params=False, capture_terminal_logs=False
    )
    return lambda step: run.track(1.0 / (step + 1), name="loss", step=step), run.close


TRACKERS = {"tidegate": tidegate, "mlflow": mlflow, "wandb": wandb, "aim": aim}


def main(tracker: str, folder: str, calls: str) -> None:
    """Logs, and prints the seconds per call."""
    log, end = TRACKERS[tracker](Path(folder))
    for step in range(100):
        log(step)
    seconds: list[float] = []
    clock = time.perf_counter
    for step in range(100, 100 + int(calls)):
        start = clock()
        log(step)
        seconds.append(clock() - start)
    end()
    print("SECONDS" + json.dumps(seconds))


if __name__ == "__main__":
    main(*sys.argv[1:])
