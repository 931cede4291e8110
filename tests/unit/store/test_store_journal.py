import math
import os
import subprocess
import sys

from hypothesis import given
from hypothesis import strategies as st

from tidegate.records.run import MetricPoint
from tidegate.store.journal import Journal, Record, claimed, read_journal

POINTS = [MetricPoint("loss", 1, 5, 0.5), MetricPoint("nan", 2, 6, math.inf)]


def test_what_was_appended_is_read_back(tmp_path):
    journal = Journal(tmp_path / "w.journal")
    journal.append(Record(1, POINTS))
    journal.append(Record(2, []))
    assert list(read_journal(journal.path)) == [Record(1, POINTS), Record(2, [])]
    assert list(read_journal(journal.path, after=1)) == [Record(2, [])]
    journal.close()


@given(cut=st.integers(min_value=0, max_value=200), flip=st.integers(min_value=0, max_value=255))
def test_a_torn_or_flipped_tail_ends_the_reading_and_loses_nothing_before_it(tmp_path_factory, cut, flip):
    journal = Journal(tmp_path_factory.mktemp("j") / "w.journal")
    for seq in range(1, 6):
        journal.append(Record(seq, POINTS))
    journal.close()
    whole = journal.path.read_bytes()
    size = len(whole) // 5
    data = bytearray(whole[: max(0, len(whole) - cut)])
    if data and flip:
        data[-1] ^= flip
    journal.path.write_bytes(data)
    seqs = [record.seq for record in read_journal(journal.path)]
    intact = (len(data) - (1 if flip and data else 0)) // size
    assert seqs == list(range(1, intact + 1))


KILLED = """
import os, sys
from pathlib import Path
from tidegate.records.run import MetricPoint
from tidegate.store.journal import Journal, Record
journal = Journal(Path(sys.argv[1]))
for seq in range(1, 501):
    journal.append(Record(seq, [MetricPoint("loss", seq, 0, 0.0)]))
    if seq == 500:
        print("logged", flush=True)
        os.kill(os.getpid(), 9)
"""


def test_a_kill_loses_nothing_that_append_returned_from(tmp_path):
    path = tmp_path / "w.journal"
    done = subprocess.run([sys.executable, "-c", KILLED, str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == -9
    assert [record.seq for record in read_journal(path)] == list(range(1, 501))
    with claimed(path) as abandoned, claimed(path) as again:
        assert (abandoned, again) == (True, False)


def test_a_journal_with_a_living_writer_is_not_abandoned(tmp_path):
    journal = Journal(tmp_path / "w.journal")
    try:
        with claimed(journal.path) as abandoned:
            assert not abandoned
    finally:
        journal.close()
    with claimed(journal.path) as abandoned:
        assert abandoned
    journal.path.unlink()
    with claimed(journal.path) as abandoned:
        assert not abandoned


def test_one_append_is_one_write(tmp_path, monkeypatch):
    journal = Journal(tmp_path / "w.journal")
    sizes = []
    real = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: sizes.append(len(data)) or real(descriptor, data))
    journal.append(Record(1, POINTS))
    journal.close()
    assert sizes == [journal.path.stat().st_size]
