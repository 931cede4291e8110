"""Paths inside a package: checked before anything is written below a folder."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from tidegate.errors import BadInputError

_DEEPEST, _LONGEST = 32, 1024


def check_path(path: str) -> str:
    """A path inside a package, as it came.

    Raises:
        BadInputError: it is absolute, leaves the folder, or is none.
    """
    parts = path.split("/")
    if (
        not path
        or len(path.encode(errors="replace")) > _LONGEST
        or len(parts) > _DEEPEST
        or any(part in {"", ".", ".."} or len(part.encode(errors="replace")) > 255 for part in parts)
        or "\\" in path
        or any(ord(letter) < 32 for letter in path)
    ):
        raise BadInputError(
            "path-outside",
            f"a package names the file {path[:200]!r}, which is no path inside it",
            why="such a name could write anywhere on this machine",
            fix="do not use this package; ask whoever made it",
        )
    return path


def write_files(folder: Path, files: Mapping[str, bytes]) -> None:
    """Writes small files below a folder, by their paths in it."""
    for path, data in files.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        write_file(data, target)


def write_file(data: bytes, target: Path) -> None:
    """Writes a new file, durably."""
    with target.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
