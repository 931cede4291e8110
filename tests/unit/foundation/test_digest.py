import hashlib
import subprocess
import sys

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate import digest
from tidegate.records.receipt import Baseline


@given(st.dictionaries(st.text(), st.text(), max_size=5))
def test_the_order_of_keys_does_not_matter(mapping):
    assert digest.of_json(mapping) == digest.of_json(dict(reversed(mapping.items())))


@given(st.lists(st.tuples(st.text(min_size=1), st.text(min_size=1)), unique=True))
def test_the_order_of_files_does_not_matter(files):
    assert digest.of_tree(files) == digest.of_tree(reversed(files))


def test_a_file_hashes_like_sha256sum(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"x" * 3_000_000)
    assert digest.of_file(path) == hashlib.sha256(b"x" * 3_000_000).hexdigest()


def test_records_have_a_canonical_form():
    assert digest.canonical(Baseline(version=1, digest="a", move=2)) == b'{"digest":"a","move":2,"version":1}'


def test_a_record_comes_back_from_its_canonical_form():
    record = Baseline(version=1, digest="a", move=2)
    assert digest.parsed(digest.canonical(record), Baseline) == record


@pytest.mark.parametrize("data", [b"", b'{"digest":"\xff"}', b"\xff", b'{"digest":' + b"[" * 100_000])
@pytest.mark.parametrize("kind", [Baseline, dict])
def test_what_says_no_record_is_one_kind_of_error(data, kind):
    with pytest.raises(msgspec.MsgspecError):
        digest.parsed(data, kind)


FIRST_TIME = """
import sys, threading
from tidegate import digest
from tidegate.records.report import Report

DATA = b'{"schema":2,"title":"","verdict":"PASS","sentence":"","task":"","candidate":"","champion":"","rows":1,"clusters":null,\
"confidence":1,"seed":0,"rules":[]}'
sys.setswitchinterval(1e-6)
together = threading.Barrier(32)

def work():
    together.wait()
    assert digest.parsed(DATA, Report).rows == 1

threads = [threading.Thread(target=work) for _ in range(32)]
for thread in threads: thread.start()
for thread in threads: thread.join()
"""


def test_a_record_may_be_read_for_the_first_time_by_many_threads_at_once():
    # msgspec 0.22 crashed the process in 7 of 25 such runs.
    ended = [subprocess.run([sys.executable, "-c", FIRST_TIME], check=False, capture_output=True).returncode for _ in range(5)]
    assert ended == [0] * 5
