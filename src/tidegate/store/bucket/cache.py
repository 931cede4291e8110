"""Copies of a bucket's values in a local folder. It may be deleted at any time; a copy is used only if it still fits."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from tidegate import digest
from tidegate.errors import UnavailableError
from tidegate.store.ports import Progress

_PART = ".part"


class LocalCache:
    """Files named by (key, etag), so that a value that changed gets another file.

    A copy carries the modification time of the stored value: a file that somebody wrote to since, or that a crash cut off,
    no longer has it and is fetched again. Safe from several threads and processes.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    def find(self, key: str, etag: str, size: int, modified_us: int) -> Path | None:
        """The copy of this state of ``key``, if there is one of ``size`` bytes that nobody touched."""
        path = self._path(key, etag)
        try:
            found = path.stat()
        except OSError:
            return None
        return path if (found.st_size, found.st_mtime_ns) == (size, modified_us * 1000) else None

    def keep(
        self, key: str, etag: str, size: int, modified_us: int, blocks: Iterable[bytes], *, progress: Progress | None = None
    ) -> Path:
        """Writes a copy and returns it. Nobody sees half of it.

        Raises:
            UnavailableError: the folder cannot be written, or fewer or more than ``size`` bytes came.
        """
        path = self._path(key, etag)
        part = path.with_name(f"{secrets.token_hex(8)}{_PART}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with part.open("xb") as file:
                for block in blocks:
                    file.write(block)
                    if progress:
                        progress(len(block))
                written = file.tell()
                file.flush()
                os.fchmod(file.fileno(), 0o444)
                os.fsync(file.fileno())
            if written != size:
                raise UnavailableError(
                    "bucket-unavailable", f"cannot read {key}", why=f"{written} of {size} bytes came", fix="try again"
                )
            os.utime(part, ns=(modified_us * 1000, modified_us * 1000))
            part.replace(path)
        except OSError as error:
            raise UnavailableError(
                "bucket-cache",
                f"cannot keep a copy of {key} in {self._root}",
                why=str(error),
                fix="free some space there, or check the folder's owner and mode",
            ) from None
        finally:
            with suppress(OSError):
                part.unlink()
        return path

    def sweep(self, before_us: int) -> int:
        """Removes what killed downloads left and was last written before ``before_us``; returns the bytes."""
        freed = 0
        for part in self._root.glob(f"*/*{_PART}"):
            with suppress(FileNotFoundError):  # it was finished meanwhile
                found = part.stat()
                if found.st_mtime_ns < before_us * 1000:
                    part.unlink()
                    freed += found.st_size
        return freed

    def _path(self, key: str, etag: str) -> Path:
        name = digest.of_json([key, etag])
        return self._root / name[:2] / name[2:]
