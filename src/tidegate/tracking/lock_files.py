"""The files that fix which packages a project gets, nearest to it."""

from __future__ import annotations

from fnmatch import fnmatchcase
from pathlib import Path

_NAMES = (
    "uv.lock", "poetry.lock", "pdm.lock", "pylock.toml", "pylock.*.toml", "Pipfile.lock", "conda-lock.yml", "pixi.lock", "requirements*.txt",
    "environment.yml", "environment.yaml",
)  # fmt: skip
_EXACT = ("uv.lock", "poetry.lock", "pdm.lock", "pylock.toml", "pylock.*.toml", "Pipfile.lock", "conda-lock.yml", "pixi.lock")
MAX_LOCK_BYTES = 5 * 1024 * 1024


def find_lock_files(folder: Path, top: Path) -> list[Path]:
    """The lock files in ``folder``, or else in the nearest folder above it up to ``top``, that are not too large to keep."""
    for place in [folder, *folder.parents]:
        try:
            found = sorted(path for path in place.iterdir() if _matches(path.name, _NAMES))
            found += sorted((place / "requirements").glob("*.txt")) if (place / "requirements").is_dir() else []
            kept = [path for path in found if path.is_file() and path.stat().st_size <= MAX_LOCK_BYTES]
        except OSError:
            kept = []
        if kept or place == top:
            return kept
    return []


def is_exact(name: str) -> bool:
    """Whether a file of this name fixes every package; ``requirements.txt`` and ``environment.yml`` may not."""
    return _matches(name.rpartition("/")[2], _EXACT)


def _matches(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)
