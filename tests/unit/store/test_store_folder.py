import os
import subprocess
import sys
from pathlib import Path

import pytest

from tidegate.errors import UnavailableError
from tidegate.store.bucket import FolderBucket, open_bucket


@pytest.fixture
def bucket(tmp_path):
    return FolderBucket(tmp_path / "bucket")


def test_a_file_is_copied_and_left_alone(bucket, tmp_path):
    original = tmp_path / "mine.bin"
    original.write_bytes(b"x" * 100)
    before = original.stat()
    bucket.put_if_absent("k", original)
    assert bucket.local("k").read_bytes() == b"x" * 100
    assert (original.stat().st_ino, original.stat().st_mode, original.stat().st_mtime_ns) == (
        before.st_ino,
        before.st_mode,
        before.st_mtime_ns,
    )


def test_keys_are_sorted_and_temporary_files_hidden(bucket):
    for key in ("b/2", "a/1", "b/1"):
        bucket.put_if_absent(key, b"")
    assert list(bucket.keys("")) == ["a/1", "b/1", "b/2"]
    assert list(bucket.keys("b/")) == ["b/1", "b/2"]
    assert list(bucket.keys("absent/")) == []


FULL_DISK = """
import os, resource, sys
from pathlib import Path
from tidegate.errors import UnavailableError
from tidegate.store.bucket import FolderBucket
import errno
real = os.fsync
def full(descriptor):
    raise OSError(errno.ENOSPC, "No space left on device")
os.fsync = full
try:
    FolderBucket(Path(sys.argv[1])).put_if_absent("k", b"data")
except UnavailableError as error:
    print(error.code)
"""


def test_a_full_disk_is_an_error_and_leaves_nothing(bucket):
    done = subprocess.run([sys.executable, "-c", FULL_DISK, str(bucket.root)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "disk-full"
    assert list(bucket.keys("")) == []
    assert not list((bucket.root / ".tmp").iterdir())


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UnavailableError, match="cannot write"):
        FolderBucket(tmp_path / "file").put_if_absent("k", b"")


def test_values_are_read_only_on_disk(bucket):
    bucket.put_if_absent("k", b"x")
    assert bucket.local("k").stat().st_mode & 0o222 == 0


def test_a_newer_format_is_refused(tmp_path):
    open_bucket(tmp_path)
    mark = tmp_path / "bucket" / "format.json"
    os.chmod(mark, 0o644)  # noqa: PTH101
    mark.write_text('{"format": 99}')
    with pytest.raises(UnavailableError, match="written by a newer Tidegate"):
        open_bucket(tmp_path)


def test_the_temporary_folder_is_in_the_bucket_so_that_links_work(bucket):
    bucket.put_if_absent("k", b"")
    assert Path(bucket.root / ".tmp").is_dir()


def test_sweeping_frees_what_a_killed_writer_left_and_nothing_else(bucket):
    bucket.compare_and_swap("k", b"x", None)
    folder = bucket.root / ".tmp"
    dead, young = folder / ("a" * 32), folder / ("b" * 32)
    for path in (dead, young):
        path.write_bytes(b"12345")
    os.utime(dead, (1000, 1000))
    os.utime(next(folder.glob("*.lock")), (1000, 1000))
    before = {path.name for path in folder.iterdir()}
    assert bucket.sweep(2000 * 1_000_000) == 5
    assert {path.name for path in folder.iterdir()} == before - {dead.name}
    assert list(bucket.keys("")) == ["k"]


KILLED = """
import os, signal, sys
from pathlib import Path
from tidegate.store.bucket import FolderBucket
FolderBucket(Path(sys.argv[1])).put_if_absent("k", Path(sys.argv[2]), progress=lambda _: os.kill(os.getpid(), signal.SIGKILL))
"""


def test_a_killed_write_is_invisible_and_its_bytes_come_back(bucket, tmp_path):
    source = tmp_path / "source"
    source.write_bytes(bytes(5 << 20))
    done = subprocess.run([sys.executable, "-c", KILLED, str(bucket.root), str(source)], check=False)
    assert done.returncode == -9
    assert list(bucket.keys("")) == []
    assert bucket.sweep(1 << 62) > 0
    assert list((bucket.root / ".tmp").iterdir()) == []
    assert bucket.put_if_absent("k", source)
