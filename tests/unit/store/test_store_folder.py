import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tidegate.errors import ConflictError, NotFoundError, UnavailableError, UsageError
from tidegate.store.bucket import FolderBucket, open_bucket
from tidegate.store.bucket import folder as folder_module


@pytest.fixture
def bucket(tmp_path):
    return FolderBucket(tmp_path / "bucket")


def test_what_was_put_is_found(bucket):
    assert bucket.put_if_absent("a/b.json", b"one")
    assert bucket.find("a/b.json").data == b"one"
    assert bucket.find("a/absent") is None
    assert bucket.find("a") is None


def test_a_second_put_changes_nothing(bucket):
    bucket.put_if_absent("a", b"one")
    assert not bucket.put_if_absent("a", b"two")
    assert bucket.find("a").data == b"one"


def test_one_of_many_putters_wins(bucket):
    barrier = threading.Barrier(16)
    wins = []

    def put(number):
        barrier.wait()
        if bucket.put_if_absent("k", str(number).encode()):
            wins.append(number)

    threads = [threading.Thread(target=put, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [bucket.find("k").data] == [str(number).encode() for number in wins]


def test_swaps_count_without_loss(bucket):
    bucket.compare_and_swap("n", b"0", None)

    def add():
        for _ in range(25):
            while True:
                blob = bucket.find("n")
                try:
                    bucket.compare_and_swap("n", str(int(blob.data) + 1).encode(), blob.etag)
                    break
                except ConflictError:
                    continue

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert bucket.find("n").data == b"100"


@pytest.mark.parametrize("expected", [None, "0" * 64])
def test_a_stale_swap_writes_nothing(bucket, expected):
    bucket.compare_and_swap("k", b"one", None)
    with pytest.raises(ConflictError, match="changed by somebody else"):
        bucket.compare_and_swap("k", b"two", expected)
    assert bucket.find("k").data == b"one"


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


@pytest.mark.parametrize("key", ["", "/etc/passwd", "../x", "a/../b", "a//b", "a/./b", "a\0b", ".tmp/x"])
def test_a_key_cannot_leave_the_bucket(bucket, key):
    with pytest.raises(UsageError, match="is no key"):
        bucket.put_if_absent(key, b"")


def test_a_missing_key_has_no_file(bucket):
    with pytest.raises(NotFoundError):
        bucket.local("absent")


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
    assert folder_module._TEMPORARY == ".tmp"
    bucket.put_if_absent("k", b"")
    assert Path(bucket.root / ".tmp").is_dir()
