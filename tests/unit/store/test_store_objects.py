import hashlib
import os

import pytest

from tidegate.errors import IntegrityError, NotFoundError, UnavailableError
from tidegate.store import fetch_object, object_key, put_object
from tidegate.store.bucket import FolderBucket
from tidegate.store.verify import changed_objects, object_digests


def test_equal_bytes_are_stored_once(bucket, tmp_path):
    path = tmp_path / "f"
    path.write_bytes(b"data")
    assert put_object(bucket, b"data") == put_object(bucket, path) == hashlib.sha256(b"data").hexdigest()
    assert len(list(bucket.keys("objects/"))) == 1


def test_a_missing_object_says_so(bucket):
    with pytest.raises(NotFoundError, match="missing from the bucket"):
        fetch_object(bucket, "a" * 64)


def test_a_changed_object_is_never_handed_out(bucket):
    digest = put_object(bucket, b"data")
    path = bucket.local(object_key(digest))
    os.chmod(path, 0o644)  # noqa: PTH101
    path.write_bytes(b"date")
    with pytest.raises(IntegrityError, match="was changed on disk"):
        fetch_object(bucket, digest)
    assert changed_objects(bucket, object_digests(bucket)) == [digest]


def test_a_damaged_copy_is_fetched_again_and_a_damaged_object_is_not_handed_out(tmp_path):
    class Copied(FolderBucket):
        def local(self, key, *, progress=None):
            copy = tmp_path / key.replace("/", "-")
            if not copy.exists():
                copy.write_bytes(super().local(key).read_bytes())
            return copy

        def forget(self, copy):
            copy.unlink()

    bucket = Copied(tmp_path / "bucket")
    digest = put_object(bucket, b"data")
    fetch_object(bucket, digest).write_bytes(b"date")
    assert fetch_object(bucket, digest).read_bytes() == b"data"
    original = FolderBucket.local(bucket, object_key(digest))
    original.chmod(0o644)
    original.write_bytes(b"date")
    bucket.forget(bucket.local(object_key(digest)))
    with pytest.raises(IntegrityError, match="was changed on disk"):
        fetch_object(bucket, digest)


def test_a_folder_that_went_away_is_not_made_again(tmp_path):
    bucket = FolderBucket(tmp_path / "store" / "bucket")
    bucket.put_if_absent("a", b"1")
    (tmp_path / "store").rename(tmp_path / "away")
    for write in (lambda: bucket.put_if_absent("b", b"1"), lambda: bucket.compare_and_swap("c", b"1", None)):
        with pytest.raises(UnavailableError, match="bucket-missing"):
            write()
    assert not (tmp_path / "store").exists()
    (tmp_path / "away").rename(tmp_path / "store")
    assert bucket.put_if_absent("b", b"1")


def test_untouched_objects_verify(bucket):
    digests = sorted(put_object(bucket, bytes([number])) for number in range(5))
    counted = []
    assert changed_objects(bucket, object_digests(bucket), advance=lambda: counted.append(1)) == []
    assert (sorted(object_digests(bucket)), len(counted)) == (digests, 5)


def test_strays_and_links_to_nothing_do_not_end_the_search(bucket):
    digest = put_object(bucket, b"data")
    path = bucket.local(object_key(digest))
    path.unlink()
    path.symlink_to("/nowhere")
    (path.parent / ".DS_Store").write_bytes(b"")
    bucket.put_if_absent("objects/sha256/README", b"x")
    assert changed_objects(bucket, object_digests(bucket)) == [digest]


def test_a_file_that_changes_while_it_is_stored_leaves_nothing(bucket, tmp_path):
    path = tmp_path / "f"
    path.write_bytes(b"a" * 3_000_000)

    def meddle(_):
        with path.open("r+b") as file:
            file.seek(-1, os.SEEK_END)
            file.write(b"!")

    with pytest.raises(IntegrityError) as caught:
        put_object(bucket, path, progress=meddle)
    assert caught.value.code == "file-changed"
    assert list(bucket.keys("")) == []
