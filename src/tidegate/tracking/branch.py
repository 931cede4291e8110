"""Where a change begins: the commit at which it leaves its branch, what files were there, and who changed them since."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tidegate.tracking.git import Git, GitError, find_layout

_SECONDS = 30.0
_BRANCHES = ("origin/HEAD", "origin/main", "origin/master", "main", "master")


class Beginning(NamedTuple):
    """What stood in a folder before the change. ``commit`` is empty where it cannot be found; then ``note`` says why."""

    commit: str
    files: dict[str, bytes]
    """The files that were asked for and were there, by name."""
    authors: list[str]
    """Names and addresses of those who changed them since."""
    note: str = ""


def find_beginning(folder: Path, names: Sequence[str], base: str = "") -> Beginning | None:
    """What the files ``names`` of ``folder`` were where this change leaves ``base``; None if no branch is named and none is found.

    Without ``base`` it is the first that is there of origin's default branch, origin/main, origin/master, main and master. On that
    branch itself the change is what is not committed yet.
    """
    try:
        git = Git(folder.resolve(), seconds=_SECONDS)
        find_layout(git)
        commit = next((found for branch in ([base] if base else _BRANCHES) if (found := _leaves(git, branch))), "")
        if not commit:
            note = f"git finds no commit that this change and {base} have in common; fetch that branch with its history"
            return Beginning("", {}, [], note) if base else None
        oids = {name: oid for name in names if (oid := git.line("rev-parse", "--verify", "-q", f"{commit}:./{name}"))}
        blobs = git.blobs(oids.values())
        lines = git("log", "--format=%an%n%ae", f"{commit}..HEAD", "--", *names).decode("utf-8", "replace").splitlines()
        return Beginning(commit, {name: blobs[oid] for name, oid in oids.items()}, sorted({line for line in lines if line}))
    except (GitError, OSError, KeyError) as error:
        return Beginning("", {}, [], f"git cannot tell where this change begins: {error}") if base else None


def _leaves(git: Git, branch: str) -> str:
    commit = git.line("rev-parse", "--verify", "-q", "--end-of-options", f"{branch}^{{commit}}").splitlines()
    return git.line("merge-base", "HEAD", commit[-1]) if commit else ""
