"""Many processes at once, some of them killed: on one store, on one run, and as children of one another."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from tidegate.clock import Clock
from tidegate.records.run import RunState
from tidegate.store import open_store
from tidegate.tracking import Runs

BEGIN = """
import os, sys, time
from pathlib import Path
from tidegate.clock import Clock
from tidegate.store import open_store
from tidegate.tracking import Runs, shipping
shipping._TAKE_SECONDS = 0.2
root, number, points = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
runs = Runs(open_store(root), Clock(), journals=root / "journal", project=root)
"""
OWN_RUN = (
    BEGIN
    + """
with runs.start("delay", id=f"run-{number}") as run:
    for step in range(points):
        run.log(loss=float(step), step=step)
        if step == points // 2 and number % 4 == 3:
            os.kill(os.getpid(), 9)
"""
)
ONE_RUN = (
    BEGIN
    + """
with runs.start("delay", id="ddp") if number == 0 else runs.start(join="ddp") as run:
    for step in range(points):
        run.log({f"loss/rank{number}": float(step), "loss": step + number / 1000}, step=step)
        if step == points // 2 and number % 4 == 3:
            os.kill(os.getpid(), 9)
    if number == 0:
        while len(list((root / "journal" / "ddp").glob("*.journal"))) > 1 + sum(n % 4 == 3 for n in range(int(sys.argv[4]))):
            time.sleep(0.05)
"""
)
PARENT = (
    BEGIN
    + """
run = runs.start("delay", id="parent")
children = []
for child in range(3):
    if not os.fork():
        for step in range(10**9):
            run.log({f"child{child}": float(step)}, step=step)
            os.write(1, f"{child} {step}\\n".encode())
            time.sleep(0.001)
time.sleep(0.5)
os.kill(os.getpid(), 9)
"""
)


def opened(root):
    return Runs(open_store(root), Clock(), journals=root / "journal", project=root)


def at_once(program, root, writers, points):
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(root), str(number), str(points), str(writers)], stderr=subprocess.PIPE
        )
        for number in range(writers)
    ]
    return [(process.communicate(timeout=500)[1].decode(), process.returncode) for process in processes]


def check_own_runs(root, writers, points):
    root.mkdir()
    opened(root)
    ended = at_once(OWN_RUN, root, writers, points)
    runs = opened(root)
    runs.recover(seconds=60)
    for number, (errors, code) in enumerate(ended):
        killed = number % 4 == 3
        assert code == (-9 if killed else 0), errors
        run = runs.get(f"run-{number}")
        assert run.state is (RunState.CRASHED if killed else RunState.FINISHED), errors
        steps = runs.points(run.id, "loss").steps.tolist()
        assert steps == list(range(points // 2 + 1 if killed else points))
    assert not list((root / "journal").glob("*"))


def test_writers_of_their_own_runs_on_one_store(tmp_path):
    check_own_runs(tmp_path / "store", 6, 400)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_64_writers_on_one_store(tmp_path):
    check_own_runs(tmp_path / "store", 64, 2000)


def check_one_run(root, writers, points):
    root.mkdir()
    opened(root)
    ended = at_once(ONE_RUN, root, writers, points)
    runs = opened(root)
    runs.recover(seconds=60)
    run = runs.get("ddp")
    assert run.state is RunState.FINISHED, [errors for errors, _ in ended]
    for number, (errors, code) in enumerate(ended):
        killed = number % 4 == 3
        assert code == (-9 if killed else 0), errors
        steps = runs.points("ddp", f"loss/rank{number}").steps.tolist()
        assert steps == list(range(points // 2 + 1 if killed else points)), errors
    shared = runs.points("ddp", "loss")
    assert len(shared) == sum(points // 2 + 1 if number % 4 == 3 else points for number in range(writers))
    assert not list((root / "journal").glob("*"))


def test_ranks_of_one_run(tmp_path):
    check_one_run(tmp_path / "store", 5, 300)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_64_ranks_of_one_run(tmp_path):
    check_one_run(tmp_path / "store", 64, 500)


def test_a_killed_parent_leaves_its_children_writing(tmp_path):
    root = tmp_path / "store"
    root.mkdir()
    runs = opened(root)
    words = [sys.executable, "-c", PARENT, str(root), "0", "0"]
    told: dict[str, int] = {}
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
        assert process.wait(timeout=60) == -9
        try:
            assert runs.recover() == ["parent"]
            assert runs.get("parent").state is RunState.CRASHED
            assert runs.recover() == []
            assert len(list((root / "journal" / "parent").glob("*.journal"))) == 3  # they live, and so are left alone
            time.sleep(0.3)
        finally:
            os.killpg(process.pid, signal.SIGKILL)
        for line in process.stdout:
            if line.endswith("\n"):
                child, step = line.split()
                told[child] = int(step)
    deadline = time.monotonic() + 10
    while list((root / "journal").glob("*/*")) and time.monotonic() < deadline:
        runs.recover()
        time.sleep(0.05)
    assert len(told) == 3
    for child, last in told.items():
        steps = runs.points("parent", f"child{child}").steps.tolist()
        assert steps == list(range(len(steps)))
        assert last < len(steps) <= last + 2
