"""Archives from elsewhere: plain files and folders come out, below one folder and within a limit, or nothing does."""

from __future__ import annotations

import gzip
import tarfile
import zlib
from itertools import count
from pathlib import Path
from typing import IO, Any

from tidegate.errors import BadInputError
from tidegate.models.paths import check_path

RATIO = 100
"""How many times its size a compressed archive may have when it is unpacked; what is small may always be."""

_SMALL = 64 * 1024 * 1024
_SLACK = 1024 * 1024
_BLOCK = 1 << 20
_MOST = 100_000
"""Files and folders in one archive: empty ones cost no bytes, but each costs a place on the disk."""


def unpack(archive: Path, folder: Path, *, form: str) -> list[str]:
    """Unpacks a ``tar`` or ``tar+gzip`` below a folder; returns the paths of its files.

    Raises:
        BadInputError: it holds anything but files and folders (links, devices), a path outside or twice, or more than it should.
    """
    limit = archive.stat().st_size * (RATIO if form == "tar+gzip" else 1) + _SMALL
    paths: list[str] = []
    try:
        with gzip.open(archive) if form == "tar+gzip" else archive.open("rb") as file:
            meter: Any = _Meter(file)
            with tarfile.open(fileobj=meter, mode="r|") as tar:
                for number in count(1):
                    member = tar.next()
                    if member is None:
                        break
                    if number > _MOST:
                        raise _refused(f"it holds more than {_MOST} files and folders")
                    path = member.name.removeprefix("./").rstrip("/")
                    if member.isdir():
                        if path not in {"", "."}:
                            (folder / check_path(path)).mkdir(parents=True, exist_ok=True)
                        continue
                    if not member.isreg() or member.issparse():
                        raise _refused(f"{path[:200]!r} is no plain file")
                    limit -= member.size
                    if limit < 0:
                        raise _refused(f"it unpacks to far more than its {archive.stat().st_size} bytes")
                    meter.left = member.size + _SLACK
                    _write(tar.extractfile(member), folder / check_path(path))
                    meter.left = _SLACK  # what a header may have; a longer one would fill the memory
                    paths.append(path)
    except (tarfile.TarError, gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise _refused(str(error)) from None
    except (FileExistsError, NotADirectoryError, IsADirectoryError):
        raise _refused("it holds a path twice") from None
    return paths


class _Meter:
    """A file that ends in an error when more is read than was allowed."""

    def __init__(self, file: Any) -> None:
        self.left = _SLACK
        self._file = file

    def read(self, size: int) -> bytes:
        data = self._file.read(size)
        self.left -= len(data)
        if self.left < 0:
            raise _refused("a header in it is larger than any header should be")
        return data


def _write(source: IO[bytes] | None, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("xb") as file:
        while source is not None and (block := source.read(_BLOCK)):
            file.write(block)


def _refused(why: str) -> BadInputError:
    return BadInputError(
        "archive-unsafe", "a layer of the artifact is not unpacked", why=why, fix="do not use it; ask whoever made it"
    )
