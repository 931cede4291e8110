"""What every ``Bucket`` must do."""

from __future__ import annotations

from pathlib import Path

from tidegate.errors import ConflictError, NotFoundError, UsageError
from tidegate.store.ports import Bucket
from tidegate.testing.expecting import at_once, refused


class BucketSuite:
    """Needs the fixture ``bucket``: an empty bucket that may be used from several threads; and pytest's ``tmp_path``."""

    def test_what_was_put_is_found(self, bucket: Bucket) -> None:
        """A value comes back as it was written; what was never written is None."""
        assert bucket.put_if_absent("a/b.json", b"one")
        blob = bucket.find("a/b.json")
        assert blob is not None
        assert blob.data == b"one"
        assert bucket.find("a/absent") is None
        assert bucket.find("a") is None

    def test_an_empty_value_is_a_value(self, bucket: Bucket) -> None:
        """Zero bytes are not the same as nothing."""
        bucket.put_if_absent("empty", b"")
        blob = bucket.find("empty")
        assert blob is not None
        assert blob.data == b""

    def test_a_second_put_changes_nothing(self, bucket: Bucket) -> None:
        """Put-if-absent never overwrites."""
        bucket.put_if_absent("k", b"one")
        assert not bucket.put_if_absent("k", b"two")
        assert _value(bucket, "k") == b"one"

    def test_a_file_is_copied(self, bucket: Bucket, tmp_path: Path) -> None:
        """The source file stays where and as it is."""
        source = tmp_path / "source.bin"
        source.write_bytes(b"x" * 3_000_000)
        assert bucket.put_if_absent("big", source)
        assert bucket.local("big").read_bytes() == source.read_bytes()

    def test_one_of_many_putters_wins(self, bucket: Bucket) -> None:
        """Of several who put the same key at once, exactly one is told that it wrote."""
        wins: list[int] = []

        def put(number: int) -> None:
            if bucket.put_if_absent("k", str(number).encode()):
                wins.append(number)

        at_once(16, put)
        assert len(wins) == 1
        assert _value(bucket, "k") == str(wins[0]).encode()

    def test_a_swap_needs_the_present_etag(self, bucket: Bucket) -> None:
        """A stale or absent etag writes nothing; the right one writes and gives the next."""
        first = bucket.compare_and_swap("k", b"one", None)
        for stale in (None, "0" * 64):
            with refused(ConflictError):
                bucket.compare_and_swap("k", b"two", stale)
        assert _value(bucket, "k") == b"one"
        second = bucket.compare_and_swap("k", b"two", first)
        blob = bucket.find("k")
        assert blob is not None
        assert (blob.data, blob.etag) == (b"two", second)

    def test_counting_by_swaps_loses_nothing(self, bucket: Bucket) -> None:
        """Four threads add 25 each by compare-and-swap: the sum is 100."""
        bucket.compare_and_swap("n", b"0", None)

        def add(_: int) -> None:
            for _again in range(25):
                while True:
                    blob = bucket.find("n")
                    assert blob is not None
                    try:
                        bucket.compare_and_swap("n", str(int(blob.data) + 1).encode(), blob.etag)
                        break
                    except ConflictError:
                        continue

        at_once(4, add)
        assert _value(bucket, "n") == b"100"

    def test_keys_are_sorted_and_stay_in_their_folder(self, bucket: Bucket) -> None:
        """``keys("b/")`` does not name ``ba``."""
        for key in ("b/2", "a/1", "b/1", "ba"):
            bucket.put_if_absent(key, b"")
        assert list(bucket.keys("")) == ["a/1", "b/1", "b/2", "ba"]
        assert list(bucket.keys("b/")) == ["b/1", "b/2"]
        assert list(bucket.keys("absent/")) == []

    def test_a_key_cannot_leave_the_bucket(self, bucket: Bucket) -> None:
        """Absolute, climbing and odd keys are refused before anything is touched."""
        for key in ("", "/etc/passwd", "../x", "a/../b", "a//b", "a/./b", "a\0b"):
            with refused(UsageError):
                bucket.put_if_absent(key, b"")

    def test_what_is_missing_has_no_file(self, bucket: Bucket) -> None:
        """``local`` never hands out a path to nothing."""
        with refused(NotFoundError):
            bucket.local("absent")

    def test_what_was_deleted_is_gone(self, bucket: Bucket) -> None:
        """Deleting twice is fine."""
        bucket.put_if_absent("k", b"x")
        bucket.delete("k")
        bucket.delete("k")
        assert bucket.find("k") is None


def _value(bucket: Bucket, key: str) -> bytes | None:
    blob = bucket.find(key)
    return blob.data if blob else None
