"""What every ``Bucket`` must do."""

from __future__ import annotations

from pathlib import Path

from tidegate import digest
from tidegate.errors import ConflictError, IntegrityError, NotFoundError, UsageError
from tidegate.store.bucket.selftest import check_conditional_writes
from tidegate.store.ports import Bucket
from tidegate.testing.expecting import at_once, refused

_LARGE = 9_000_000


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

    def test_one_of_many_putters_of_equal_bytes_wins(self, bucket: Bucket) -> None:
        """Equal bytes make nobody believe that another's write was theirs."""
        wins: list[int] = []

        def put(number: int) -> None:
            if bucket.put_if_absent("k", b"the same"):
                wins.append(number)

        at_once(16, put)
        assert len(wins) == 1

    def test_content_addressed_bytes_are_checked(self, bucket: Bucket, tmp_path: Path) -> None:
        """Small or large, bytes or file: what has another digest is never visible, what has the right one is whole."""
        for number, size in enumerate((10, _LARGE)):
            data = bytes(size)
            source = tmp_path / str(size)
            source.write_bytes(data)
            for given in (data, source):
                key = f"objects/{number}/{type(given).__name__}"
                with refused(IntegrityError):
                    bucket.put_if_absent(key, given, sha256=digest.of_bytes(b"other"))
                assert bucket.find(key) is None
                assert bucket.put_if_absent(key, given, sha256=digest.of_bytes(data))
                assert not bucket.put_if_absent(key, given, sha256=digest.of_bytes(data))
                assert bucket.local(key).read_bytes() == data

    def test_progress_counts_every_byte(self, bucket: Bucket, tmp_path: Path) -> None:
        """What was told adds up to the size."""
        source = tmp_path / "large"
        source.write_bytes(bytes(_LARGE))
        told: list[int] = []
        bucket.put_if_absent("k", source, sha256=digest.of_file(source), progress=told.append)
        assert sum(told) == _LARGE

    def test_a_changed_value_has_a_changed_file(self, bucket: Bucket) -> None:
        """``local`` shows what is stored now, also after a swap and after a deletion."""
        first = bucket.compare_and_swap("k", b"one", None)
        assert bucket.local("k").read_bytes() == b"one"
        bucket.compare_and_swap("k", b"two", first)
        assert bucket.local("k").read_bytes() == b"two"
        bucket.delete("k")
        with refused(NotFoundError):
            bucket.local("k")

    def test_conditional_writes_hold(self, bucket: Bucket) -> None:
        """The self-test that doctor runs finds nothing and leaves nothing."""
        assert check_conditional_writes(bucket) == []
        assert list(bucket.keys("")) == []

    def test_sweeping_removes_nothing_that_is_stored(self, bucket: Bucket) -> None:
        """``sweep`` is about unfinished writes alone."""
        bucket.put_if_absent("a/k", b"x")
        bucket.sweep(1 << 62)
        assert list(bucket.keys("")) == ["a/k"]

    def test_odd_names_are_names(self, bucket: Bucket) -> None:
        """Spaces, signs and other alphabets come back as they were written."""
        names = ["odd/" + name for name in ("a b", "p%20q", "h#h", "q?x", "plus+", "ti~l", "a:b", "x@1", "[x]", "\u00fc\u4f60")]
        for name in names:
            assert bucket.put_if_absent(name, name.encode())
        assert list(bucket.keys("odd/")) == sorted(names)
        assert [_value(bucket, name) for name in names] == [name.encode() for name in names]

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
