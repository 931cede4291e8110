"""What a run captures about its surroundings, so that somebody can run the same thing again."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

from tidegate.records.run import Environment

_GIT_SECONDS = 20
MAX_PATCH_BYTES = 20 * 1024 * 1024
"""A larger patch is not kept: then the run says that it is dirty and has no patch."""


class GitState(NamedTuple):
    """The commit, the branch, and everything that is not committed, untracked files included, as one binary patch."""

    commit: str
    branch: str
    patch: bytes

    @property
    def dirty(self) -> bool:
        """Whether anything is not committed."""
        return bool(self.patch)


def installed_packages() -> dict[str, str]:
    """Every installed distribution and its version, by normalised name."""
    found: dict[str, str] = {}
    for distribution in metadata.distributions():
        name = distribution.metadata["Name"]
        if name:
            found.setdefault(name.lower().replace("_", "-"), distribution.version)
    return dict(sorted(found.items()))


def git_state(folder: Path) -> GitState | None:
    """The state of the git repository around ``folder``; None if there is none, or no git."""
    top = _git(folder, "rev-parse", "--show-toplevel")
    if top is None:
        return None
    root = Path(top.decode().strip())
    commit = _git(root, "rev-parse", "--verify", "--quiet", "HEAD")
    branch = _git(root, "rev-parse", "--abbrev-ref", "HEAD")
    return GitState(
        commit=commit.decode().strip() if commit else "",
        branch=branch.decode().strip() if branch and commit else "",
        patch=_patch(root, commit is not None),
    )


def _patch(root: Path, has_commit: bool) -> bytes:
    """The tracked changes, then each untracked file as an addition; git's own exclusions hold."""
    tracked = (_git(root, "diff", "--binary", "HEAD") or b"") if has_commit else b""
    names = (_git(root, "ls-files", "--others", "--exclude-standard", "-z") or b"").split(b"\0")
    # --no-index compares with nothing and so exits with 1 when there is a difference: that is its answer, not a failure.
    added = [
        _git(root, "diff", "--binary", "--no-index", "--", os.devnull, os.fsdecode(name), answers=(0, 1))
        for name in names
        if name
    ]
    return tracked + b"".join(part or b"" for part in added)


def _git(folder: Path, *arguments: str, answers: tuple[int, ...] = (0,)) -> bytes | None:
    try:
        done = subprocess.run(  # noqa: S603 - fixed words; file names come after --
            ["git", "-C", str(folder), "-c", "core.quotepath=off", *arguments],  # noqa: S607 - git is found by PATH on purpose
            capture_output=True,
            timeout=_GIT_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode in answers else None


def capture(folder: Path, git: GitState | None, patch_digest: str) -> Environment:
    """The environment record of this process working in ``folder``."""
    return Environment(
        argv=list(sys.argv),
        directory=str(folder),
        python=platform.python_version(),
        platform=platform.platform(),
        processors=os.cpu_count() or 0,
        memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        packages=installed_packages(),
        git_commit=git.commit if git else "",
        git_branch=git.branch if git else "",
        git_dirty=git.dirty if git else None,
        patch_digest=patch_digest,
    )
