import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from s3_proxy import S3Proxy
from tidegate import digest
from tidegate.errors import ConflictError, IntegrityError, NotFoundError, UnavailableError, UsageError
from tidegate.store import fetch_object, object_key, put_object
from tidegate.store.bucket import CloudBucket, open_bucket
from tidegate.testing.expecting import at_once

LARGE = 64 << 20


@pytest.fixture
def bucket(s3_url, tmp_path):
    return CloudBucket(s3_url, tmp_path / "cache", patience_s=20)


@pytest.fixture
def proxy(s3_server, s3_url, monkeypatch):
    """A proxy that the environment points to; requests are unsigned, so that it may change them."""
    proxy = S3Proxy(s3_server.port)
    monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
    monkeypatch.setenv("AWS_SKIP_SIGNATURE", "true")
    yield proxy
    proxy.close()


@pytest.fixture
def behind(proxy, s3_url, tmp_path):
    return CloudBucket(s3_url, tmp_path / "cache", patience_s=10)


def large_file(folder, size=LARGE):
    path = folder / "large.bin"
    path.write_bytes(os.urandom(1 << 20) * (size >> 20))
    return path


# --- opening


def test_an_address_opens_and_is_tested_once(proxy, s3_url, tmp_path):
    bucket = open_bucket(s3_url, tmp_path / "cache")
    assert list(bucket.keys("")) == ["format.json", "selftest.json"]
    proxy.seen.clear()
    assert list(open_bucket(s3_url, tmp_path / "cache").keys("")) == ["format.json", "selftest.json"]
    assert [method for method, _ in proxy.seen] == ["GET", "GET", "GET"]


@pytest.mark.parametrize("dropped", [{"if-match"}, {"if-none-match"}, {"if-match", "if-none-match"}])
def test_a_store_that_ignores_conditions_is_refused(proxy, s3_url, tmp_path, dropped):
    proxy.drop = dropped
    with pytest.raises(UnavailableError) as caught:
        open_bucket(s3_url, tmp_path / "cache")
    assert caught.value.code == "bucket-unsafe"
    assert "is ignored" in caught.value.why
    assert list(CloudBucket(s3_url, tmp_path / "cache").keys("")) == []


def test_a_newer_format_is_refused(bucket, s3_url, tmp_path):
    bucket.put_if_absent("format.json", b'{"format": 99}')
    with pytest.raises(UnavailableError, match="written by a newer Tidegate"):
        open_bucket(s3_url, tmp_path / "cache")


@pytest.mark.parametrize("address", ["bucket/prefix", "ftp://bucket", "s3://", "://x"])
def test_what_is_no_address_is_refused(address, tmp_path):
    with pytest.raises(UsageError) as caught:
        open_bucket(address, tmp_path)
    assert caught.value.code == "bad-bucket"


def test_the_extra_is_named_when_it_is_missing(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "obstore", None)
    with pytest.raises(UnavailableError, match=r"needs the package 'obstore'"):
        open_bucket("s3://bucket", tmp_path)


def test_the_default_cache_is_in_the_home_folder(s3_url, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    open_bucket(s3_url).local("format.json")
    assert list((tmp_path / ".cache" / "tidegate").rglob("*"))


# --- errors say what is wrong


def test_a_bucket_that_is_not_there(s3_url, tmp_path):
    bucket = CloudBucket("s3://no-such-bucket/x", tmp_path)
    for use in (
        lambda: bucket.find("k"),
        lambda: bucket.put_if_absent("k", b""),
        lambda: bucket.compare_and_swap("k", b"", '"etag"'),
        lambda: list(bucket.keys("")),
        lambda: put_object(bucket, large_file(tmp_path, 9 << 20)),
    ):
        with pytest.raises(UnavailableError) as caught:
            use()
        assert caught.value.code == "bucket-missing"


def test_wrong_credentials(s3_url, tmp_path, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "guessed")
    bucket = CloudBucket(s3_url, tmp_path)
    for use in (
        lambda: bucket.find("k"),
        lambda: bucket.put_if_absent("k", b""),
        lambda: list(bucket.keys("")),
        lambda: bucket.delete("k"),
        lambda: bucket.local("k"),
    ):
        with pytest.raises(UnavailableError) as caught:
            use()
        assert caught.value.code == "bucket-denied"
        assert "guessed" not in str(caught.value)


def test_no_credentials(s3_url, tmp_path, monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_METADATA_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(UnavailableError) as caught:
        CloudBucket(s3_url, tmp_path, patience_s=0.3).find("k")
    assert caught.value.code == "bucket-credentials"


def test_a_server_that_is_not_there(s3_url, tmp_path, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    bucket = CloudBucket(s3_url, tmp_path, patience_s=0.3)
    for use in (lambda: bucket.find("k"), lambda: bucket.put_if_absent("k", b""), lambda: list(bucket.keys(""))):
        with pytest.raises(UnavailableError) as caught:
            use()
        assert caught.value.code == "bucket-unavailable"


def test_a_key_that_no_store_takes(bucket):
    for key in ("tab\t", "line\n"):
        with pytest.raises(UsageError):
            bucket.put_if_absent(key, b"")
        with pytest.raises(UsageError):
            bucket.find(key)


# --- answers that are lost, late or bad


def test_a_write_whose_answer_is_lost_is_no_conflict(proxy, behind):
    proxy.methods = {"PUT"}
    proxy.lose = 1
    assert behind.put_if_absent("created", b"one")
    proxy.lose = 1
    etag = behind.compare_and_swap("swapped", b"one", None)
    proxy.lose = 1
    etag = behind.compare_and_swap("swapped", b"two", etag)
    assert proxy.lose == 0
    assert (behind.find("swapped").data, behind.find("swapped").etag) == (b"two", etag)
    with pytest.raises(ConflictError):
        behind.compare_and_swap("swapped", b"three", '"stale"')
    assert not behind.put_if_absent("created", b"one")


def test_a_write_that_times_out_after_it_arrived_is_no_conflict(proxy, s3_url, tmp_path):
    bucket = CloudBucket(s3_url, tmp_path / "cache", patience_s=0.5)
    proxy.methods = {"PUT"}
    proxy.stall = 1
    assert bucket.put_if_absent("created", b"one")
    etag = bucket.find("created").etag
    proxy.stall = 1
    assert bucket.compare_and_swap("created", b"two", etag) == bucket.find("created").etag
    assert bucket.find("created").data == b"two"
    assert proxy.stall == 0


def test_a_large_upload_whose_answers_are_lost_ends_whole_or_can_be_repeated(proxy, behind, tmp_path):
    source = large_file(tmp_path, 24 << 20)
    proxy.methods = {"POST"}
    for lost in (1, 2):
        proxy.lose = lost
        try:
            key = put_object(behind, source)
        except UnavailableError:
            key = put_object(behind, source)
        assert digest.of_file(fetch_object(behind, key)) == key
        behind.delete(object_key(key))


def test_bursts_of_server_errors_pass(proxy, behind, tmp_path):
    source = large_file(tmp_path, 32 << 20)
    proxy.fail = 3
    assert behind.put_if_absent("k", b"one")
    proxy.fail = 3
    assert behind.find("k").data == b"one"
    proxy.fail = 3
    key = put_object(behind, source)
    proxy.fail = 3
    assert digest.of_file(fetch_object(behind, key)) == key
    proxy.fail = 3
    assert len(list(behind.keys(""))) == 2
    assert proxy.fail == 0


def test_errors_without_end_are_told_soon_and_change_nothing(proxy, s3_url, tmp_path):
    bucket = CloudBucket(s3_url, tmp_path, patience_s=0.5)
    proxy.fail = 1_000_000
    with pytest.raises(UnavailableError) as caught:
        bucket.put_if_absent("k", b"one")
    assert caught.value.code == "bucket-unavailable"
    assert 1 < len(proxy.seen) < 50
    proxy.fail = 0
    assert bucket.find("k") is None


def test_an_answer_that_breaks_off_is_never_taken_for_whole(proxy, behind, tmp_path):
    source = large_file(tmp_path, 16 << 20)
    key = put_object(behind, source)
    behind.put_if_absent("small", b"x" * 100_000)
    proxy.methods = {"GET"}
    proxy.cut = 1
    assert behind.find("small").data == b"x" * 100_000
    proxy.cut = 1
    assert digest.of_file(fetch_object(behind, key)) == key
    proxy.cut = 1
    assert behind.local("small").read_bytes() == b"x" * 100_000
    assert proxy.cut == 0


def test_the_server_may_go_away_and_come_back(s3_server, bucket):
    wrote = []

    def write(number):
        for count in range(40):
            key = f"k/{number}-{count}"
            if bucket.put_if_absent(key, key.encode()):
                wrote.append(key)

    writers = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for writer in writers:
        writer.start()
    while len(wrote) < 20:
        time.sleep(0.002)
    s3_server.stop_gateway()
    before = len(wrote)
    time.sleep(0.5)
    s3_server.start_gateway()
    for writer in writers:
        writer.join()
    assert before < 160
    assert len(wrote) == 160
    assert list(bucket.keys("k/")) == sorted(wrote)


# --- races


def test_sixteen_writers_each_with_a_bucket_of_their_own_lose_nothing(s3_url, tmp_path):
    buckets = [CloudBucket(s3_url, tmp_path / str(number)) for number in range(16)]
    buckets[0].compare_and_swap("n", b"0", None)

    def add(number):
        for _ in range(5):
            while True:
                blob = buckets[number].find("n")
                try:
                    buckets[number].compare_and_swap("n", b"%d" % (int(blob.data) + 1), blob.etag)
                    break
                except ConflictError:
                    continue

    at_once(16, add)
    assert buckets[0].find("n").data == b"80"


# --- large files


def test_a_large_file_goes_up_in_parts_and_comes_back(proxy, behind, tmp_path):
    source = large_file(tmp_path)
    told = []
    key = put_object(behind, source, progress=told.append)
    parts = [path for method, path in proxy.seen if method == "PUT" and "partNumber" in path]
    assert len(parts) == 8
    assert sum(told) == LARGE
    told.clear()
    path = fetch_object(behind, key, progress=told.append)
    assert digest.of_file(path) == key
    assert (sum(told), path.stat().st_mode & 0o222) == (LARGE, 0)
    proxy.seen.clear()
    put_object(behind, source)
    assert [method for method, _ in proxy.seen] == ["HEAD"]


def test_many_who_send_the_same_large_file_agree(bucket, tmp_path):
    source = large_file(tmp_path, 16 << 20)
    at_once(4, lambda _: put_object(bucket, source))
    assert digest.of_file(fetch_object(bucket, digest.of_file(source))) == digest.of_file(source)
    assert len(list(bucket.keys(""))) == 1


def test_a_file_that_changes_on_its_way_is_refused_and_hurts_nobody(s3_server, bucket, tmp_path):
    source = large_file(tmp_path)
    wanted = digest.of_file(source)

    last = source.read_bytes()[-1]

    def meddle(_):
        with source.open("r+b") as file:
            file.seek(-1, os.SEEK_END)
            file.write(bytes([last ^ 1]))

    unfinished = s3_server.unfinished_uploads()
    with pytest.raises(IntegrityError) as caught:
        bucket.put_if_absent(object_key(wanted), source, sha256=wanted, progress=meddle)
    assert caught.value.code == "file-changed"
    with pytest.raises(NotFoundError):
        fetch_object(bucket, wanted)
    until = time.monotonic() + 10  # parts that were on their way when the upload was aborted may still arrive
    while s3_server.unfinished_uploads() != unfinished and time.monotonic() < until:
        time.sleep(0.2)
    assert s3_server.unfinished_uploads() == unfinished


KILLED = """
import os, signal, sys
from pathlib import Path
from tidegate.store import put_object
from tidegate.store.bucket import CloudBucket

sent = 0
def die(count):
    global sent
    sent += count
    if sent >= 32 << 20:
        os.kill(os.getpid(), signal.SIGKILL)

put_object(CloudBucket(sys.argv[1], Path(sys.argv[2])), Path(sys.argv[3]), progress=die)
"""


def test_a_killed_upload_is_invisible_and_can_be_done_again(s3_url, bucket, tmp_path):
    source = large_file(tmp_path)
    done = subprocess.run([sys.executable, "-c", KILLED, s3_url, str(tmp_path), str(source)], check=False)
    assert done.returncode == -9
    assert list(bucket.keys("")) == []
    key = put_object(bucket, source)
    assert digest.of_file(fetch_object(bucket, key)) == key


def test_a_source_that_cannot_be_read(bucket, tmp_path):
    with pytest.raises(UnavailableError) as caught:
        bucket.put_if_absent("k", tmp_path / "absent")
    assert caught.value.code == "file-unreadable"


# --- local copies


def test_a_copy_is_asked_about_and_not_fetched_again(proxy, behind):
    key = put_object(behind, b"data")
    first = fetch_object(behind, key)
    proxy.seen.clear()
    assert fetch_object(behind, key) == first
    assert [method for method, _ in proxy.seen] == ["HEAD"]


def test_a_damaged_copy_is_fetched_again(bucket):
    key = put_object(bucket, b"data")
    path = fetch_object(bucket, key)
    path.chmod(0o644)
    path.write_bytes(b"date")
    assert fetch_object(bucket, key).read_bytes() == b"data"
    path.unlink()
    assert fetch_object(bucket, key).read_bytes() == b"data"


def test_a_changed_object_is_noticed_though_a_copy_is_here(bucket):
    key = put_object(bucket, b"data")
    fetch_object(bucket, key)
    blob = bucket.find(object_key(key))
    bucket.compare_and_swap(object_key(key), b"date", blob.etag)
    with pytest.raises(IntegrityError) as caught:
        fetch_object(bucket, key)
    assert caught.value.code == "object-changed"


def test_a_cache_that_cannot_be_written_is_an_error(bucket, s3_url, tmp_path):
    bucket.put_if_absent("k", b"x")
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UnavailableError) as caught:
        CloudBucket(s3_url, tmp_path / "file").local("k")
    assert caught.value.code == "bucket-cache"


def test_sweeping_frees_what_dead_writers_left(bucket, tmp_path):
    bucket.put_if_absent("selftest/dead/created", b"12345")
    bucket.put_if_absent("k", b"x")
    copy = bucket.local("k")
    part = copy.with_name("dead.part")
    part.write_bytes(b"1234567")
    assert bucket.sweep(0) == 0
    assert bucket.sweep(int(time.time() * 1e6) + 60_000_000) == 12
    assert (list(bucket.keys("")), copy.exists(), part.exists()) == (["k"], True, False)


def test_the_folder_of_copies_tells_buckets_apart(s3_server, s3_url, tmp_path):
    other = s3_server.fresh_url()
    for url, data in ((s3_url, b"one"), (other, b"two")):
        bucket = CloudBucket(url, tmp_path)
        bucket.put_if_absent("k", data)
        assert bucket.local("k").read_bytes() == data


def test_nothing_of_the_cloud_is_loaded_for_a_folder():
    code = "import sys, tidegate.store.bucket; print({'obstore', 'sqlalchemy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=Path(__file__).parent)
    assert done.stdout.strip() == "set()"
