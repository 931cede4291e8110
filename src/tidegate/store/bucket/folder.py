"""A bucket that is a folder: every value a plain file, every write synced.

Put-if-absent is a hard link of a finished temporary file (it fails if the name exists); compare-and-swap is a lock, a
comparison and an atomic replace. Both sync the file and then its folder, so that what returned survives a power loss.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import re
import secrets
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from tidegate import digest
from tidegate.errors import TidegateError, UnavailableError
from tidegate.store.bucket.keys import TEMPORARY, changed_meanwhile, changed_while_read, check_key, no_such_key
from tidegate.store.ports import Blob, Bucket, Collectable, Progress, Stored

_GUARD = "garbage.lock"  # held by all who find a value to be there already, and alone by the one who removes it
_UNFINISHED = re.compile("[0-9a-f]{32}")
_BLOCK = 1 << 20


class FolderBucket:
    """See ``Bucket``. The folder is made at the first write."""

    least_grace_us = 0

    def __init__(self, root: Path) -> None:
        self.root = root
        self._was_there = root.is_dir()

    def find(self, key: str) -> Blob | None:
        path = self._path(key)
        try:
            data = path.read_bytes()
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return None
        except OSError as error:
            raise _unavailable("read", path, error) from None
        return Blob(data, digest.of_bytes(data))

    def put_if_absent(self, key: str, source: bytes | Path, *, sha256: str = "", progress: Progress | None = None) -> bool:
        path = self._path(key)
        self._require_root()
        touched = self._touched(path)
        if touched:
            return False
        with _translated("write", path), self._temporary(source, progress) as (finished, found):
            if sha256 and found != sha256:
                raise changed_while_read(key)
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                os.link(finished, path)
            except FileExistsError:
                if touched is None and sha256:  # another user's: the same bytes, written now
                    finished.replace(path)
                return False
            _sync_folders(path.parent, self.root)
        return True

    def compare_and_swap(self, key: str, data: bytes, expected: str | None) -> str:
        path = self._path(key)
        self._require_root()
        with _translated("write", path):
            path.parent.mkdir(parents=True, exist_ok=True)
            with _locked(self.root / TEMPORARY / f"{digest.of_bytes(key.encode())[:32]}.lock"):
                present = self.find(key)
                if (present.etag if present else None) != expected:
                    raise changed_meanwhile(key, expected)
                with self._temporary(data) as (finished, _):
                    finished.replace(path)
                _sync_folders(path.parent, self.root)
        return digest.of_bytes(data)

    def keys(self, prefix: str) -> Iterator[str]:
        folder = self._path(prefix.rstrip("/")) if prefix else self.root
        found: list[str] = []
        for parent, folders, files in os.walk(folder):
            if TEMPORARY in folders:
                folders.remove(TEMPORARY)
            found.extend(Path(parent, name).relative_to(self.root).as_posix() for name in files)
        yield from sorted(found)

    def local(self, key: str, *, progress: Progress | None = None) -> Path:  # noqa: ARG002 - it is here already
        path = self._path(key)
        if not path.is_file():
            raise no_such_key(key)
        return path

    def delete(self, key: str) -> None:
        path = self._path(key)
        with _translated("delete", path):
            path.unlink(missing_ok=True)

    def sweep(self, before_us: int) -> int:
        freed = 0
        for path in (self.root / TEMPORARY).glob("*"):
            if not _UNFINISHED.fullmatch(path.name):  # a lock that was removed would no longer exclude anybody
                continue
            with _translated("delete", path), suppress(FileNotFoundError):
                found = path.stat()
                if found.st_mtime_ns < before_us * 1000:
                    path.unlink()
                    freed += found.st_size if found.st_nlink == 1 else 0
        return freed

    def stored(self, prefix: str) -> Iterator[Stored]:
        for key in self.keys(prefix):
            with suppress(FileNotFoundError):
                found = self._path(key).stat()
                yield Stored(key, found.st_size, found.st_mtime_ns // 1000)

    def discard(self, key: str, *, before: int) -> bool:
        path = self._path(key)
        with _translated("delete", path), _locked(self.root / TEMPORARY / _GUARD):
            try:
                if path.stat().st_mtime_ns // 1000 >= before:
                    return False
                path.unlink()
            except FileNotFoundError:
                return False
        return True

    def _require_root(self) -> None:
        """A folder that was there is not made again: what is written to a place whose disk is away nobody finds when it is back."""
        if self._was_there and not self.root.is_dir():
            raise UnavailableError(
                "bucket-missing",
                f"the folder {self.root} is gone",
                why="it was there a moment ago: its disk is away, or somebody moved it",
                fix="bring it back, and try again",
            )

    def _touched(self, path: Path) -> bool | None:
        """Whether the value is there, and from now on young: garbage collection spares it. None: it may not be touched."""
        if not path.exists():
            return False
        with _translated("write", path), _locked(self.root / TEMPORARY / _GUARD, fcntl.LOCK_SH):
            try:
                os.utime(path)
            except FileNotFoundError:
                return False
            except PermissionError:
                return None
        return True

    def _path(self, key: str) -> Path:
        return self.root.joinpath(*check_key(key))

    @contextmanager
    def _temporary(self, source: bytes | Path, progress: Progress | None = None) -> Generator[tuple[Path, str]]:
        """A synced file with the bytes of ``source``, and their SHA-256."""
        folder = self.root / TEMPORARY
        folder.mkdir(parents=True, exist_ok=True)
        self._was_there = True
        path = folder / secrets.token_hex(16)
        try:
            with path.open("xb") as file:
                found = _fill(file, source, progress)
                file.flush()
                os.fchmod(file.fileno(), 0o444)
                os.fsync(file.fileno())
            yield path, found
        finally:
            path.unlink(missing_ok=True)


def _fill(file: BinaryIO, source: bytes | Path, progress: Progress | None) -> str:
    running = hashlib.sha256()
    for block in (source,) if isinstance(source, bytes) else _blocks(source):
        running.update(block)
        file.write(block)
        if progress:
            progress(len(block))
    return running.hexdigest()


def _blocks(path: Path) -> Generator[bytes]:
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            yield block


def _sync_folders(folder: Path, root: Path) -> None:
    """Syncs a folder's entries, and those of its parents up to the root: they may be new as well."""
    for place in (folder, *folder.parents):
        descriptor = os.open(place, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        if place == root:
            return


@contextmanager
def _locked(path: Path, kind: int = fcntl.LOCK_EX) -> Generator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        fcntl.flock(file, kind)
        yield


@contextmanager
def _translated(verb: str, path: Path) -> Generator[None]:
    try:
        yield
    except TidegateError:
        raise
    except OSError as error:
        raise _unavailable(verb, path, error) from None


def _unavailable(verb: str, path: Path, error: OSError) -> TidegateError:
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return UnavailableError(
            "disk-full", f"the disk is full: cannot {verb} {path}", why="nothing was changed", fix="free some space and try again"
        )
    return UnavailableError(
        "bucket-unavailable", f"cannot {verb} {path}", why=str(error), fix="check the folder's owner and mode"
    )


_conforms: Callable[[Path], Bucket] = FolderBucket
_collectable: Callable[[Path], Collectable] = FolderBucket
