"""Writers of several processes on one SQLite file, and what the database file costs."""

import subprocess
import sys

import numpy as np
import pytest
import sqlalchemy as sa

from tidegate.records.run import Series
from tidegate.store import open_store
from tidegate.store.ports import Batch
from tidegate.testing.runs import a_run

WRITERS = """
import os, signal, sys, time
from pathlib import Path
import numpy as np
from tidegate.records.run import Series
from tidegate.store import open_store
from tidegate.store.ports import Batch

root, processes, turns, killed = Path(sys.argv[1]), *map(int, sys.argv[2:])

def write(number):
    store = open_store(root)
    said = os.open(root / f"said{number}", os.O_CREAT | os.O_WRONLY)
    for seq in range(1, turns + 1):
        steps = np.arange(seq * 100, seq * 100 + 100)
        given = [Series(name, steps, steps * 1000 + number, np.full(100, float(number))) for name in ("loss", f"own{number}")]
        assert store.series.ingest([Batch("a", f"w{number}", seq, given)]) == [None]
        os.write(said, b"x")
    store.close()

children = []
for number in range(processes):
    child = os.fork()
    if child == 0:
        write(number)
        os._exit(0)
    children.append(child)
for number in range(killed):
    said = root / f"said{number}"
    while not (said.exists() and said.stat().st_size):
        time.sleep(0.001)
    os.kill(children[number], signal.SIGKILL)
assert not any([os.waitpid(child, 0)[1] for child in children][killed:])
"""


def write_at_once(root, processes, turns, *, kill=0):
    """Lets processes write together, kills the first ``kill`` of them on their way, and answers how far each said it was."""
    command = [sys.executable, "-c", WRITERS, root, str(processes), str(turns), str(kill)]
    subprocess.run(command, check=True, timeout=250)
    return [(root / f"said{number}").stat().st_size for number in range(processes)]


def check_writers(root, processes, turns, *, kill=0):
    store = open_store(root)
    store.runs.create(a_run("a"))
    said = write_at_once(root, processes, turns, kill=kill)
    taken = store.series.taken("a")
    for number in range(processes):
        done = taken[f"w{number}"]
        assert done >= said[number], "what was acknowledged is there"
        assert number < kill or done == turns
        assert store.series.points("a", f"own{number}").steps.tolist() == list(range(100, done * 100 + 100))
    assert len(store.series.points("a", "loss")) == sum(taken.values()) * 100
    assert store.runs.get("a").metrics["loss"].count == sum(taken.values()) * 100
    store.close()


def test_a_few_processes_on_one_file_lose_nothing(tmp_path):
    check_writers(tmp_path, 4, 5, kill=1)


@pytest.mark.slow
def test_sixty_four_processes_on_one_file_lose_nothing(tmp_path):
    check_writers(tmp_path, 64, 8, kill=8)


@pytest.mark.parametrize(("short", "limit"), [(True, 6.0), (False, 10.0)])
def test_a_point_costs_few_bytes_of_the_file(tmp_path, short, limit):
    random = np.random.default_rng(7)
    count = 200_000
    values = np.exp(-np.arange(count) / 50_000) + random.normal(0, 0.05, count)
    if short:
        values = values.astype(np.float32).astype(np.float64)
    times = (1_700_000_000_000 + np.cumsum(random.integers(1, 200, count))) * 1000
    store = open_store(tmp_path)
    store.runs.create(a_run("a"))
    empty = (tmp_path / "metadata.db").stat().st_size
    for start in range(0, count, 10_000):
        part = slice(start, start + 10_000)
        store.series.ingest(
            [Batch("a", "w", start + 1, [Series("loss", np.arange(start, start + 10_000), times[part], values[part])])]
        )
    assert ((tmp_path / "metadata.db").stat().st_size - empty) / count < limit
    store.close()


def test_loose_points_are_packed_when_there_are_a_thousand(any_store):
    """Whatever is ingested, no tail stays longer, and an ended run has none."""
    any_store.runs.create(a_run("a"))
    for step in range(0, 4000, 160):
        steps = np.arange(step, step + 160)
        any_store.series.ingest(
            [
                Batch(
                    "a", "w", 0, [Series("loss", steps, steps, steps * 0.5), Series("acc", steps[:1], steps[:1], steps[:1] * 1.0)]
                )
            ]
        )
        assert any_store.series.points("a", "loss").steps.tolist() == list(range(step + 160))
    with any_store.database.read() as connection:
        assert connection.execute(sa.text("SELECT max(loose) FROM metrics")).scalar_one() < 1000
        assert connection.execute(sa.text("SELECT count(*) FROM metric_chunks")).scalar_one() == 3
    any_store.series.seal("a")
    with any_store.database.read() as connection:
        assert connection.execute(sa.text("SELECT sum(loose) FROM metrics")).scalar_one() == 0
        assert connection.execute(sa.text("SELECT count(*) FROM metric_loose")).scalar_one() == 0
        assert connection.execute(sa.text("SELECT sum(points) FROM metric_chunks")).scalar_one() == 4025


def test_a_count_is_mended_when_points_that_were_sent_again_are_packed(any_store):
    any_store.runs.create(a_run("a"))
    steps = np.arange(400)
    for _ in range(3):
        any_store.series.ingest([Batch("a", "w", 0, [Series("loss", steps, steps, steps * 0.5)])])
    assert any_store.runs.get("a").metrics["loss"].count == 400
    assert len(any_store.series.points("a", "loss")) == 400


def test_an_envelope_reads_no_packed_bytes(any_store):
    """A curve as long as the screen is wide comes from headers: it is right even if nothing can be unpacked."""
    any_store.runs.create(a_run("a"))
    steps = np.arange(100_000)
    any_store.series.ingest([Batch("a", "w", 1, [Series("loss", steps, steps, np.sin(steps))])])
    with any_store.database.write() as connection:
        connection.execute(sa.text("UPDATE metric_chunks SET data = :data"), {"data": b"damaged"})
    drawn = any_store.series.envelope("a", "loss", pixels=100)
    assert (len(drawn.first), int(drawn.counts.sum())) == (100, 100_000)
    assert (drawn.low.min(), drawn.high.max()) == (np.sin(steps).min(), np.sin(steps).max())
