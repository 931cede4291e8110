"""The code of a run, put together again from a repository and the stored patch; and what differs between two of them."""

from __future__ import annotations

import os
import re
import tempfile
import zlib
from pathlib import Path
from typing import NamedTuple

import msgspec

from tidegate import digest as digests
from tidegate.errors import ConflictError, IntegrityError, NotFoundError, TidegateError, UnavailableError
from tidegate.records.run import Environment
from tidegate.store.objects import fetch_object
from tidegate.store.ports import Bucket
from tidegate.tracking.code import base_tree, text_of
from tidegate.tracking.git import Git, GitError, Layout, find_layout

_SECONDS = 120.0
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_MAX_PATCH_BYTES = 200 * 1024 * 1024


class CodeDiff(msgspec.Struct, frozen=True, kw_only=True):
    """What differs between the code of two runs: a line per file, and the unified diff, perhaps only its beginning."""

    files: list[str]
    """``<added lines> <removed lines> <path>``; ``-`` for a binary file."""
    text: str
    lines: int
    """How many lines the whole diff has."""
    note: str = ""
    """Why there is no diff."""


class _Place(NamedTuple):
    git: Git
    layout: Layout
    scratch: Path


def restore_code(environment: Environment, bucket: Bucket, repository: Path, target: Path) -> Path:
    """Writes the code of a run into the folder ``target``, byte for byte, and returns it.

    ``repository`` is any clone that has the commit which the patch starts from; it is read, never written.
    Submodules become empty folders.

    Raises:
        NotFoundError: no code was recorded, or the repository lacks the commit.
        ConflictError: ``target`` exists and is not an empty folder.
        IntegrityError: what was put together is not what was recorded.
        UnavailableError: git is missing or fails.
    """
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise ConflictError("folder-not-empty", f"{target} is not an empty folder", why="no file is replaced", fix="name another")
    with tempfile.TemporaryDirectory(prefix="tidegate-code-") as scratch:
        try:
            place = _open(environment, repository, Path(scratch))
            tree = _rebuilt(environment, bucket, place)
            _write(place.git, tree, target)
        except GitError as error:
            raise UnavailableError(
                "git-failed", "the code could not be put together", why=str(error), fix="look at the repository with git fsck"
            ) from None
    return target


def diff_code(
    first: Environment | None, second: Environment | None, bucket: Bucket, repository: Path, *, most_lines: int = 400
) -> CodeDiff:
    """The unified diff from the code of one run to that of another, of at most ``most_lines`` lines. Raises nothing."""
    if first is None or second is None or not first.git_tree or not second.git_tree:
        return CodeDiff(files=[], text="", lines=0, note="the code of one of the runs was not recorded")
    if first.git_tree == second.git_tree:
        return CodeDiff(files=[], text="", lines=0)
    with tempfile.TemporaryDirectory(prefix="tidegate-code-") as scratch:
        try:
            place = _open(first, repository, Path(scratch))
            trees = [_rebuilt(environment, bucket, place) for environment in (first, second)]
            numbers = place.git("diff-tree", "-r", "--numstat", "-z", "--no-renames", "--no-ext-diff", "--no-textconv", *trees)
            text = place.git(
                "diff-tree", "-r", "-p", "-M", "--no-ext-diff", "--no-textconv", "--no-color", "--submodule=short", *trees
            )  # fmt: skip
        except TidegateError as error:
            return CodeDiff(files=[], text="", lines=0, note=f"{error.what}: {error.why}")
        except (GitError, OSError) as error:
            return CodeDiff(files=[], text="", lines=0, note=str(error))
    # Text that people see in a terminal: nothing in a file may move the cursor.
    lines = [_CONTROLS.sub("\N{REPLACEMENT CHARACTER}", line) for line in text.decode("utf-8", "replace").split("\n")][:-1]
    files = [text_of(line).replace("\t", " ", 2) for line in numbers.split(b"\0") if line]
    return CodeDiff(files=files, text="\n".join(line[:2000] for line in lines[:most_lines]), lines=len(lines))


def _open(environment: Environment, repository: Path, scratch: Path) -> _Place:
    if not environment.git_tree:
        why = environment.patch_note or "it was recorded by a version that kept no tree, or outside of a repository"
        raise NotFoundError("code-not-recorded", "the run's code was not recorded", why=why, fix="tidegate run show RUN")
    git = Git(repository.resolve(), seconds=_SECONDS)
    layout = find_layout(git)
    git.folder = layout.root
    return _Place(git, layout, scratch)


def _rebuilt(environment: Environment, bucket: Bucket, place: _Place) -> str:
    """The run's tree, written as objects into the scratch folder and compared with what was recorded."""
    git, layout, scratch = place
    git.use_scratch(scratch, layout, index="index")
    base = environment.git_base
    if base and not git.line("rev-parse", "--verify", "-q", f"{base}^{{commit}}"):
        raise NotFoundError(
            "code-base-missing",
            f"this repository has no commit {base[:12]}",
            why="the run's code is kept as a patch that starts there",
            fix=f"git fetch {environment.git_remote}"
            if environment.git_remote
            else "use the repository that the run was started in",
        )
    start = base_tree(git, layout, scratch, base, environment.git_hidden)
    git.use_scratch(scratch, layout, index="index")
    git("read-tree", start)
    if environment.patch_digest:
        git("apply", "--cached", "--binary", "-p1", "--whitespace=nowarn", "-", given=_patch(bucket, environment.patch_digest))
    start = git("write-tree", "--missing-ok").decode().strip()
    if start != environment.git_tree:
        raise IntegrityError(
            "code-differs",
            f"the code that was put together is {start[:12]}, the run's is {environment.git_tree[:12]}",
            why="the patch does not fit its base, or no patch was kept",
            fix="tidegate store verify",
        )
    return start


def _patch(bucket: Bucket, digest: str) -> bytes:
    reader = zlib.decompressobj()
    try:
        patch = reader.decompress(fetch_object(bucket, digest).read_bytes(), _MAX_PATCH_BYTES)
    except zlib.error:
        raise IntegrityError(
            "code-differs",
            f"object {digests.short(digest)} is no compressed patch",
            why="it was written by something else",
            fix="tidegate run show RUN",
        ) from None
    if reader.unconsumed_tail:
        raise GitError(f"the patch has more than {_MAX_PATCH_BYTES} bytes")
    return patch


def _write(git: Git, tree: str, target: Path) -> None:
    """Writes the files of a tree byte for byte: a checkout would run filters and change line endings."""
    target.mkdir(parents=True, exist_ok=True)
    rows = [line.partition(b"\t") for line in git("ls-tree", "-r", "-z", "--full-tree", tree).split(b"\0") if line]
    entries = [(*head.decode().split(), path) for head, _, path in rows]
    contents = git.blobs(oid for _, kind, oid, _ in entries if kind == "blob")
    for mode, kind, oid, path in entries:
        place = target / os.fsdecode(path)
        place.parent.mkdir(parents=True, exist_ok=True)
        if kind == "commit":
            place.mkdir()
        elif oid not in contents:
            raise GitError(f"{text_of(path)} is not in this clone")
        elif mode == "120000":
            place.symlink_to(os.fsdecode(contents[oid]))
        else:
            place.write_bytes(contents[oid])
            place.chmod(0o755 if mode == "100755" else 0o644)
