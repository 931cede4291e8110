"""Run under ``failing_disk.c``: lets an ingest fail at each of its writes in turn, and looks at what is left."""

import ctypes
import errno
import os
import shutil
import sqlite3
import sys
from pathlib import Path

import numpy as np

from tidegate.errors import UnavailableError
from tidegate.records.run import Run, RunState, Series
from tidegate.store import open_store
from tidegate.store.ports import Batch

DISK = ctypes.CDLL(None)
DISK.disk_arm.argtypes = [ctypes.c_long, ctypes.c_int, ctypes.c_int]
DISK.disk_calls.restype = ctypes.c_long


def line(metric, first, last):
    steps = np.arange(first, last)
    return Series(metric, steps, steps * 1000, np.sin(steps))


# The second batch packs the tail of "loss", goes straight into stretches with "long" and begins a metric.
FIRST = Batch("a", "w", 1, [line("loss", 0, 900), line("acc", 0, 10)])
SECOND = Batch("a", "w", 2, [line("loss", 900, 1100), line("long", 0, 5000), line("acc", 10, 11), line("new", 0, 1)])
BEFORE = {"loss": 900, "acc": 10, "long": 0, "new": 0}
AFTER = {"loss": 1100, "acc": 11, "long": 5000, "new": 1}


def sizes(store):
    found = {name: store.series.points("a", name) for name in BEFORE}
    for series in found.values():
        assert series.values.tolist() == np.sin(series.steps).tolist()
    return {name: len(series) for name, series in found.items()}


def attempt(root, calls, error, stays):
    """One ingest into a fresh copy that fails at call ``calls``; tells how many calls it made."""
    store = open_store(root)
    DISK.disk_arm(calls, error, stays)
    refused = None
    try:
        assert store.series.ingest([SECOND]) == [None]
    except UnavailableError as caught:
        refused = caught
    made = DISK.disk_calls()
    if refused is None:
        assert sizes(store) == AFTER
    else:
        assert refused.code in {"disk-full", "database-unavailable"}, refused
        assert store.series.ingest([SECOND]) == [None], "the same process goes on"
        assert sizes(store) == AFTER
    store.close()
    return made, refused


def look(root):
    """A new process opens what is left: whole before or whole after, and the batch is taken again."""
    store = open_store(root)
    assert sizes(store) in (BEFORE, AFTER)
    assert store.series.ingest([SECOND]) == [None]
    assert sizes(store) == AFTER
    assert store.runs.get("a").metrics["loss"].count == 1100
    store.close()
    connection = sqlite3.connect(root / "metadata.db")
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()


def main(folder, mode):
    base = folder / "base"
    store = open_store(base)
    store.runs.create(Run(id="a", experiment="e", name="a", state=RunState.RUNNING, started_at=1))
    assert store.series.ingest([FIRST]) == [None]
    store.close()
    failures = 0
    for calls in range(10_000):
        root = folder / f"{mode}-{calls}"
        shutil.copytree(base, root)
        if mode == "crash":
            child = os.fork()
            if child == 0:
                attempt(root, calls, 0, 0)
                os._exit(0)
            failed = os.WIFSIGNALED(os.waitpid(child, 0)[1])
        else:
            error = {"eio": errno.EIO, "full": errno.ENOSPC, "dead": errno.EIO}[mode]
            made, _ = attempt(root, calls, error, mode == "dead" and 1)
            failed = made > calls
        look(root)
        shutil.rmtree(root)
        failures += failed
        if not failed:
            break
    print(failures)


main(Path(sys.argv[1]), sys.argv[2])
