"""kill -9 of a training process before, in and after each kind of call that it makes on files: nothing acknowledged is lost.

What a loss of power does cannot be tried here: that ``fdatasync`` follows within a second is (``test_tracking_active``).
"""

from __future__ import annotations

import collections
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tidegate.clock import MINUTE, Clock
from tidegate.records.run import RunState
from tidegate.store import open_store
from tidegate.tracking import Runs

HERE = Path(__file__).parent
CALLS = ["write", "pwrite", "fdatasync", "fsync", "rename", "unlink", "link", "ftruncate"]
# Each name is a place in the code by what it does to files there.
POINTS = [
    *[(call, side) for call in ("write", "pwrite") for side in ("before", "half", "after")],
    *[(call, side) for call in ("fdatasync", "fsync", "rename", "unlink", "link") for side in ("before", "after")],
]
FAILURES = {"error", "full"}
STEPS = 400


def train(killer, root, *options, **orders):
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("KILL_", "COV"))}
    environment |= {"LD_PRELOAD": str(killer), **{f"KILL_{name.upper()}": str(value) for name, value in orders.items()}}
    done = subprocess.run(
        [sys.executable, HERE / "fault_training.py", root, str(STEPS), *options],
        env=environment,
        capture_output=True,
        check=False,
        timeout=120,
    )
    lines = [line.split(" ", 1) for line in done.stdout.decode().splitlines(keepends=True) if line.endswith("\n")]
    told = collections.defaultdict(list)
    for what, value in lines:
        told[what].append(value.strip())
    return done, told


def check_nothing_lost(root, told, *, killed=True):
    """What the child said is in the store exactly once after recovery, and once more recovering changes nothing."""
    store = open_store(root)
    try:
        runs = Runs(store, Clock(), journals=root / "journal", project=root)
        runs.recover(seconds=60)
        # Killed before it had a journal: then it is silent, which is noticed five minutes later, and may leave a file without a name.
        later = Runs(store, Clock(lambda: Clock().now() + 11 * MINUTE), journals=root / "journal", project=root)
        later.recover(seconds=60)
        assert later.recover(seconds=60) == []
        found = store.runs.search(limit=None)
        assert all(run.state in {RunState.CRASHED, RunState.FINISHED} for run in found)
        assert not list((root / "journal").glob("*/*"))
        for run_id in told["run"]:
            run = store.runs.get(run_id)
            assert run.params["begin"] == "1"
            for name, scale in (("loss", 1 / 7), ("train/acc", 1.0)):
                series = store.series.points(run_id, name)
                steps = series.steps.tolist()
                assert len(steps) == len(set(steps)), "a point came twice"
                assert set(map(int, told["point"])) <= set(steps), "a point was lost"
                assert all(abs(value - step * scale) < 1e-9 for step, value in zip(steps, series.values.tolist(), strict=True))
                assert len(steps) <= len(told["point"]) + 1, "more than the one call that had not returned"
                assert run.metrics[name].count == len(steps) if steps else True
            assert {f"p{step}": step for step in told["param"]}.items() <= run.params.items()
            assert not told["tag"] or int(run.tags["last"]) >= int(told["tag"][-1])
            for step in told["artifact"]:
                assert runs.artifact(run_id, f"{step}.txt").read_bytes() == f"bytes of {step}".encode() * 100
            bulk = store.series.points(run_id, "bulk").steps.tolist()
            assert {step for said in told["bulk"] for step in (int(said), int(said) + 1)} <= set(bulk)
            assert not told["end"] or run.state is RunState.FINISHED or not killed
    finally:
        store.close()


def counted(killer, folder, *options):
    """How often each kind of call is made when nothing is killed."""
    counts = folder / "counts"
    done, told = train(killer, folder / "counting", *options, counts=counts)
    assert done.returncode == 0, done.stderr.decode()
    check_nothing_lost(folder / "counting", told)
    return {call: counts.read_bytes().count(str(kind).encode()) for kind, call in enumerate(CALLS)}


def sweep(killer, tmp_path, points, repeats, *options):
    totals = counted(killer, tmp_path, *options)
    chosen = random.Random(5)
    killed = 0
    for call, side in points:
        for _ in range(repeats):
            if not totals[call]:
                continue
            number = chosen.randint(1, totals[call])
            root = tmp_path / f"{call}-{side}-{number}"
            done, told = train(killer, root, *options, call=call, side=side, number=number)
            killed += done.returncode == -9 or side in FAILURES
            if side in FAILURES:  # one that cannot even begin says so
                assert done.returncode == 0 or b"UnavailableError" in done.stderr, done.stderr.decode()
            else:
                assert done.returncode in {0, -9}, done.stderr.decode()
            if told["run"] or side not in FAILURES:
                check_nothing_lost(root, told, killed=side not in FAILURES)
            shutil.rmtree(root, ignore_errors=True)
    return killed


def test_a_kill_at_any_call_loses_nothing(killer, tmp_path):
    assert (
        sweep(killer, tmp_path, [("write", "half"), ("pwrite", "after"), ("fdatasync", "before"), ("unlink", "before")], 1) >= 2
    )


def test_a_disk_that_refuses_loses_nothing_that_returned(killer, tmp_path):
    assert sweep(killer, tmp_path, [("write", "full"), ("pwrite", "error")], 1) == 2


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_a_disk_that_refuses_any_kind_of_call(killer, tmp_path):
    assert sweep(killer, tmp_path, [(call, side) for call in CALLS for side in sorted(FAILURES)], 10) >= 100


@pytest.mark.slow
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("options", [(), ("offline",)], ids=["online", "offline"])
def test_kills_at_every_kind_of_call_ten_times(killer, tmp_path, options):
    assert sweep(killer, tmp_path, POINTS, 10, *options) >= (100 if not options else 60)
