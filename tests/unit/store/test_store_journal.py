import subprocess
import sys
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.errors import BadInputError, UnavailableError
from tidegate.records.run import Artifact, Run, RunInput, RunState
from tidegate.store.journal import (
    BULK_POINTS,
    MAX_FRAME,
    Bulk,
    Ending,
    Journal,
    JournalReader,
    Note,
    Opening,
    Points,
    batch_of,
    claimed,
    is_written,
    read_opening,
)

RUN = Run(id="r", experiment="delay", name="r", state=RunState.RUNNING, started_at=1, params={"depth": "6"})
OPENING = Opening(1, 1, "r", "r-w", "host", 5, True, False, RUN)


def journal_at(path, **how):
    return Journal(path, OPENING, **how)


def frames_of(path, **how):
    return list(JournalReader(path, **how).frames())


def test_everything_comes_back_in_order(tmp_path):
    path = tmp_path / "run" / "w.journal"
    journal = journal_at(path)
    journal.points(None, 7, {"loss": 0.5, "acc": float("inf")})
    journal.points(-3, 8, {"loss": 1.0})
    journal.aside(100, 9, {"system/cpu": 1.0})
    journal.note(
        params={"a": "b"},
        tags={"c": "d"},
        inputs=[RunInput(name="n", digest="x")],
        artifacts=[Artifact(path="p", digest="y", size=1)],
    )
    journal.series("bulk", np.arange(3), np.array([11]), np.array([1.0, 2.0, 3.0]))
    journal.end(RunState.FINISHED, 12)
    journal.close()
    first, one, two, aside, note, bulk, end = frames_of(path)
    assert (first, read_opening(path)) == (OPENING, OPENING)
    assert one == Points(2, 0, 7, {"loss": 0.5, "acc": float("inf")})
    assert two == Points(3, -3, 8, {"loss": 1.0})
    assert (aside.step, journal.step) == (100, 2)
    assert (note.params, note.tags, note.inputs[0].name, note.artifacts[0].path) == ({"a": "b"}, {"c": "d"}, "n", "p")
    assert isinstance(bulk, Bulk)
    assert end == Ending(7, RunState.FINISHED, 12)
    batch = batch_of("r", "r-w", [one, two, bulk])
    assert (batch.seq, {series.metric: series.values.tolist() for series in batch.series}) == (
        6,
        {"loss": [0.5, 1.0], "acc": [float("inf")], "bulk": [1.0, 2.0, 3.0]},
    )
    assert batch.series[-1].times.tolist() == [11, 11, 11]


def test_many_points_are_split_and_joined_again(tmp_path):
    journal = journal_at(tmp_path / "w.journal")
    count = 2 * BULK_POINTS + 5
    journal.series("x", np.arange(count), np.arange(count) * 2, np.arange(count) / 3)
    journal.close()
    frames = frames_of(tmp_path / "w.journal")[1:]
    series = batch_of("r", "w", frames).series[0]
    assert (len(frames), len(series)) == (3, count)
    assert np.array_equal(series.times, np.arange(count) * 2)


def test_a_tail_torn_at_any_byte_loses_only_the_last_frame(tmp_path):
    path = tmp_path / "w.journal"
    journal = journal_at(path)
    sizes = []
    for step in range(3):
        journal.points(step, step, {"loss": float(step), "name": step / 3 + 0.1})
        sizes.append(path.stat().st_size)
    journal.close()
    whole = path.read_bytes()
    for length in range(sizes[1], sizes[2]):
        path.write_bytes(whole[:length])
        reader = JournalReader(path)
        assert [frame.seq for frame in reader.frames()] == [1, 2, 3]
        assert (reader.offset, reader.left(), reader.damaged()) == (sizes[1], length - sizes[1], False)
        path.write_bytes(whole[:length] + bytes(sizes[2] - length))  # what a power loss may leave
        assert [frame.seq for frame in JournalReader(path).frames()] == [1, 2, 3]


@given(data=st.data())
def test_damage_in_the_middle_is_told_from_a_torn_tail(data, tmp_path_factory):
    path = tmp_path_factory.mktemp("journal") / "w.journal"
    journal = journal_at(path)
    ends = [path.stat().st_size]
    for step in range(6):
        journal.points(step, step, {"loss": step / 3})
        ends.append(path.stat().st_size)
    journal.close()
    broken = bytearray(path.read_bytes())
    place = data.draw(st.integers(ends[1], ends[5] - 1))
    broken[place] ^= data.draw(st.integers(1, 255))
    path.write_bytes(broken)
    reader = JournalReader(path)
    read = [frame.seq for frame in reader.frames()]
    assert read == list(range(1, 1 + sum(end <= place for end in ends)))
    assert reader.damaged()


def test_reading_goes_on_where_it_stopped(tmp_path):
    journal = journal_at(tmp_path / "w.journal")
    journal.points(1, 1, {"a": 1.0})
    reader = JournalReader(tmp_path / "w.journal")
    assert len(list(reader.frames())) == 2
    journal.points(2, 2, {"a": 2.0})
    assert [frame.seq for frame in reader.frames()] == [3]
    assert reader.left() == 0
    journal.close()


def test_a_large_journal_is_not_read_into_memory(tmp_path):
    path = tmp_path / "w.journal"
    journal = journal_at(path)
    part = np.zeros(BULK_POINTS)
    for _ in range(150):
        journal.series("x", np.arange(BULK_POINTS), np.arange(BULK_POINTS), part)
    journal.close()
    assert path.stat().st_size > 200_000_000
    program = f"""
import resource
from pathlib import Path
from tidegate.store.journal import JournalReader
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
count = sum(1 for _ in JournalReader(Path({str(path)!r})).frames())
print(count, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    count, grown = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True).stdout.split()
    assert int(count) == 151
    assert int(grown) < 30_000  # kilobytes


FULL = """
import resource, sys
from pathlib import Path
from tidegate.errors import UnavailableError
from tidegate.store.journal import Journal, JournalReader, Opening
path = Path(sys.argv[1])
journal = Journal(path, Opening(1, 1, "r", "w", "h", 1, True))
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, resource.RLIM_INFINITY))
kept, refused = [], []
for step in range(500):
    try:
        journal.points(step, step, {"loss": 1.0})
    except UnavailableError as error:
        assert error.code == "disk-full"
        refused.append(step)
    else:
        kept.append(step)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
journal.points(1000, 1, {"loss": 1.0})
journal.close()
assert refused and kept
assert [frame.step for frame in list(JournalReader(path).frames())[1:]] == [*kept, 1000]
print(len(kept), len(refused))
"""


def test_a_full_disk_refuses_the_call_and_harms_nothing_else(tmp_path):
    done = subprocess.run([sys.executable, "-c", FULL, str(tmp_path / "w.journal")], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    kept, refused = map(int, done.stdout.split())
    assert kept > 100
    assert refused > 100


def test_a_record_that_is_too_large_is_refused(tmp_path):
    journal = journal_at(tmp_path / "w.journal")
    with pytest.raises(BadInputError, match="at most"):
        journal.note(params={"a": "x" * (MAX_FRAME + 1)})
    journal.note(params={"a": "y"})
    journal.close()
    assert [frame.params for frame in frames_of(tmp_path / "w.journal") if isinstance(frame, Note)] == [{"a": "y"}]


def test_a_place_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UnavailableError, match="cannot be written"):
        journal_at(tmp_path / "file" / "w.journal")


def test_a_journal_is_claimed_when_its_writer_is_gone(tmp_path):
    path = tmp_path / "w.journal"
    journal = journal_at(path)
    with claimed(path) as abandoned:
        assert not abandoned
    assert is_written(path)
    journal.close()
    assert not is_written(path)
    with claimed(path) as abandoned, claimed(path) as twice:
        assert (abandoned, twice) == (True, False)
    with claimed(tmp_path / "absent") as abandoned:
        assert not abandoned


def test_a_newer_journal_is_refused(tmp_path):
    Journal(tmp_path / "w.journal", Opening(1, 99, "r", "w", "h", 1, True)).close()
    with pytest.raises(UnavailableError, match="cannot read"):
        read_opening(tmp_path / "w.journal")
    (tmp_path / "empty.journal").write_bytes(b"")
    assert read_opening(tmp_path / "empty.journal") is None


def test_threads_may_append_together(tmp_path):
    journal = journal_at(tmp_path / "w.journal")

    def write(number):
        for step in range(300):
            journal.points(step, number, {"loss": float(number)})

    threads = [threading.Thread(target=write, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    journal.close()
    frames = frames_of(tmp_path / "w.journal")
    assert [frame.seq for frame in frames] == list(range(1, 1802))
