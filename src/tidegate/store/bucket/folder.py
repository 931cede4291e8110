"""A bucket that is a folder: every value a plain file, every write synced.

Put-if-absent is a hard link of a finished temporary file (it fails if the name exists); compare-and-swap is a lock, a
comparison and an atomic replace. Both sync the file and then its folder, so that what returned survives a power loss.
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from tidegate import digest
from tidegate.errors import ConflictError, NotFoundError, TidegateError, UnavailableError, UsageError
from tidegate.store.ports import Blob, Bucket

_TEMPORARY = ".tmp"
_BLOCK = 1 << 20


class FolderBucket:
    """See ``Bucket``. The folder is made at the first write."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def find(self, key: str) -> Blob | None:
        path = self._path(key)
        try:
            data = path.read_bytes()
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return None
        except OSError as error:
            raise _unavailable("read", path, error) from None
        return Blob(data, digest.of_bytes(data))

    def put_if_absent(self, key: str, source: bytes | Path) -> bool:
        path = self._path(key)
        if path.exists():
            return False
        with _translated("write", path), self._temporary(source) as finished:
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                os.link(finished, path)
            except FileExistsError:
                return False
            _sync_folders(path.parent, self.root)
        return True

    def compare_and_swap(self, key: str, data: bytes, expected: str | None) -> str:
        path = self._path(key)
        with _translated("write", path):
            path.parent.mkdir(parents=True, exist_ok=True)
            with _locked(self.root / _TEMPORARY / f"{digest.of_bytes(key.encode())[:32]}.lock"):
                present = self.find(key)
                if (present.etag if present else None) != expected:
                    raise ConflictError(
                        "moved-meanwhile",
                        f"{key} was changed by somebody else meanwhile",
                        why=f"it is {present.etag[:12] if present else 'absent'}, expected {expected[:12] if expected else 'absent'}",
                        fix="read it again and decide anew",
                    )
                with self._temporary(data) as finished:
                    finished.replace(path)
                _sync_folders(path.parent, self.root)
        return digest.of_bytes(data)

    def keys(self, prefix: str) -> Iterator[str]:
        folder = self._path(prefix.rstrip("/")) if prefix else self.root
        found: list[str] = []
        for parent, folders, files in os.walk(folder):
            if _TEMPORARY in folders:
                folders.remove(_TEMPORARY)
            found.extend(Path(parent, name).relative_to(self.root).as_posix() for name in files)
        yield from sorted(found)

    def local(self, key: str) -> Path:
        path = self._path(key)
        if not path.is_file():
            raise NotFoundError("no-such-key", f"nothing is stored under {key}", fix="run tidegate store verify")
        return path

    def delete(self, key: str) -> None:
        path = self._path(key)
        with _translated("delete", path):
            path.unlink(missing_ok=True)

    def _path(self, key: str) -> Path:
        parts = key.split("/")
        if not key or "\0" in key or any(part in {"", ".", "..", _TEMPORARY} for part in parts):
            raise UsageError("bad-key", f"{key!r} is no key of a bucket", why="a key is a relative path without . or ..")
        return self.root.joinpath(*parts)

    @contextmanager
    def _temporary(self, source: bytes | Path) -> Generator[Path]:
        folder = self.root / _TEMPORARY
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / secrets.token_hex(16)
        try:
            with path.open("xb") as file:
                _fill(file, source)
                file.flush()
                os.fchmod(file.fileno(), 0o444)
                os.fsync(file.fileno())
            yield path
        finally:
            path.unlink(missing_ok=True)


def _fill(file: BinaryIO, source: bytes | Path) -> None:
    if isinstance(source, bytes):
        file.write(source)
        return
    with source.open("rb") as original:
        while block := original.read(_BLOCK):
            file.write(block)


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
def _locked(path: Path) -> Generator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
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
