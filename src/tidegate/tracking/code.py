"""The state of a working tree as a git tree, kept as a patch from a commit that others can get.

Staged, unstaged, deleted and untracked files (not ignored ones) count, with their modes, byte for byte as they lie there.
Everything happens with a temporary index and a temporary object folder: the repository is read, never written.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from tidegate import digest as digests
from tidegate.tracking.git import (
    Entry,
    Git,
    GitError,
    Layout,
    filter_drivers,
    find_layout,
    object_id,
    raw_entries,
    settings_of,
    write_blob,
)
from tidegate.tracking.redaction import redact_file, redact_text

MAX_CODE_BYTES = 20 * 1024 * 1024
"""Of one file and of all changed files together; what does not fit is left out, the largest files first, and named."""
MAX_UNTRACKED = 5000
"""With more untracked files than this, they are taken for data that somebody forgot to ignore."""
MAX_SECONDS = 15.0

_NONE = "000000"
_LINK = "120000"
_SUBMODULE = "160000"
_NO_BLOB = {_NONE, _SUBMODULE}
_RAW_FILTERS = {"lfs", "nbstripout", "nbdime", "jupytext"}
"""Filters that hide nothing: their files are kept as they lie in the working tree. Another one may be encryption."""
_POINTER = re.compile(rb"version https://git-lfs\.github\.com/spec/v1\n(?:.*\n)*?oid sha256:([0-9a-f]{64})\n")


class CodeState(NamedTuple):
    """What is known about the code. ``patch`` leads from ``base`` (empty: from nothing) to ``tree``."""

    commit: str = ""
    branch: str = ""
    dirty: bool | None = None
    base: str = ""
    remote: str = ""
    """The address of a remote that knows ``base``; empty if none does."""
    tree: str = ""
    hidden: tuple[str, ...] = ()
    """Files whose content in ``base`` the patch does not show (it holds secrets, or is too large): it takes them for empty."""
    patch: bytes = b""
    note: str = ""
    left_out: tuple[str, ...] = ()
    redacted: tuple[str, ...] = ()


class GitState(NamedTuple):
    """The commit of a working tree, and whether anything in it is not committed."""

    commit: str
    dirty: bool


class _Change(NamedTuple):
    """A path that differs from the base. ``oid`` is empty where the new content lies in the working tree."""

    path: bytes
    base: Entry
    mode: str
    oid: str
    size: int


class _Found(NamedTuple):
    """What a look at the working tree gave: changed paths with their size, what stays out, and whether anything is not committed."""

    changed: dict[bytes, int]
    left_out: list[str]
    dirty: bool


def capture_code(folder: Path, *, seconds: float = MAX_SECONDS, most_bytes: int = MAX_CODE_BYTES) -> CodeState:
    """The state of the git repository around ``folder``. Whatever goes wrong is told in ``note``; nothing is raised."""
    state = CodeState()
    try:
        git = Git(folder.resolve(), seconds=seconds)
        layout = find_layout(git)
        if layout.root != git.folder and git("check-ignore", "--no-index", ".", answers=(0, 1)):
            return CodeState(note="the repository around this folder ignores it")
        git.folder = layout.root
        settings = settings_of(git)
        git.switch_off_filters(filter_drivers(settings))
        commit, head_tree = _head(git)
        base, remote = _published(git, commit, settings)
        state = CodeState(commit=commit, branch=git.line("symbolic-ref", "--short", "-q", "HEAD"), base=base, remote=remote)
        with tempfile.TemporaryDirectory(prefix="tidegate-code-") as scratch:
            return _Capture(git, layout, Path(scratch), state, most_bytes=most_bytes).run(head_tree, settings)
    except GitError as error:
        no_repository = "not a git repository" in str(error)
        return state._replace(note="this folder is in no git repository" if no_repository else str(error))
    except Exception as error:  # noqa: BLE001 - nothing that can be wrong with a folder is worth a training run
        return state._replace(note=f"{type(error).__name__}: {error}")


def git_state(folder: Path) -> GitState | None:
    """Commit and cleanness of the repository around ``folder``, nothing kept; None if there is none that can be read."""
    try:
        git = Git(folder.resolve(), seconds=MAX_SECONDS)
        find_layout(git)
        git.switch_off_filters(filter_drivers(settings_of(git)))
        return GitState(_head(git)[0], bool(git("status", "--porcelain", "-z")))
    except (GitError, OSError):
        return None


class _Capture:
    """One capture: looks at the working tree, chooses what fits, takes secrets out, and writes tree and patch."""

    def __init__(self, git: Git, layout: Layout, scratch: Path, state: CodeState, *, most_bytes: int) -> None:
        self.git = git
        self.layout = layout
        self.scratch = scratch
        self.state = state
        self.most_bytes = most_bytes
        self.zero = "0" * len(nothing(layout))
        self._diffs: dict[str, list[tuple[Entry, Entry]]] = {}

    def run(self, head_tree: str, settings: Mapping[str, list[str]]) -> CodeState:
        if self.layout.index_file.exists():
            # With its time: git takes entries that are as young as the index for possibly changed.
            shutil.copy2(self.layout.index_file, self.scratch / "index")
        self.git.use_scratch(self.scratch, self.layout, index="index")
        found = self._look(settings)
        changes = self._changes(found)
        if not self.state.remote and self.state.commit and sum(change.size for change in changes) > self.most_bytes:
            self.state = self.state._replace(base=self.state.commit)
            changes = self._changes(found)
        kept, left_out = self._that_fit(changes)
        entries, hidden, redacted, unreadable = self._contents(kept)
        entries += [_Change(item.path, item.base, item.base.mode, item.base.oid, 0) for item in left_out]
        self.git.change_index([Entry(item.mode if item.mode != _NONE else "0", item.oid, item.path) for item in entries])
        unchanged = not found.dirty and not redacted and not left_out and not unreadable
        tree = head_tree if unchanged and head_tree else self.git("write-tree", "--missing-ok").decode().strip()
        names = [_named(item.path, "too large" if item.size >= 0 else "not in this clone") for item in left_out]
        return self.state._replace(
            dirty=found.dirty,
            tree=tree,
            hidden=tuple(hidden),
            patch=self._patch(tree, hidden) if tree != head_tree or self.state.base != self.state.commit else b"",
            left_out=tuple(sorted({*found.left_out, *names, *unreadable})),
            redacted=tuple(redacted),
        )

    def _look(self, settings: Mapping[str, list[str]]) -> _Found:
        tags = self._listed()
        frozen = [path for tag, path in tags if tag.islower() or (tag == "S" and self._path(path).exists())]
        if frozen:
            given = b"".join(path + b"\0" for path in frozen)
            self.git("update-index", "--no-assume-unchanged", "-z", "--stdin", given=given)
            self.git("update-index", "--no-skip-worktree", "-z", "--stdin", given=given)
            tags = self._listed()
        tracked = {path for tag, path in tags if tag in "CR"}
        untracked = {path for tag, path in tags if tag == "?"}
        left_out = [_named(path, "a repository of its own") for path in untracked if path.endswith(b"/")]
        untracked = {path for path in untracked if not path.endswith(b"/")}
        if len(untracked) > MAX_UNTRACKED:
            left_out.append(f"{len(untracked)} untracked files (more than {MAX_UNTRACKED}; ignore them in .gitignore)")
            untracked = set()
        sizes = {path: self._size(path) for path in tracked | untracked}
        encrypted = self._filtered(sizes, settings)
        left_out += [_named(path, "a filter changes it, and may encrypt it") for path in encrypted]
        left_out += self._changed_submodules(settings)
        staged = bool(self._diff(self.state.commit))
        dirty = bool(sizes) or bool(left_out) or staged
        return _Found({path: size for path, size in sizes.items() if path not in encrypted}, left_out, dirty)

    def _listed(self) -> list[tuple[str, bytes]]:
        answer = self.git("ls-files", "-v", "-z", "-c", "-m", "-o", "--exclude-standard", "-x", ".tidegate/")
        return [(chr(item[0]), item[2:]) for item in answer.split(b"\0") if item]

    def _filtered(self, sizes: dict[bytes, int], settings: Mapping[str, list[str]]) -> set[bytes]:
        """Drops what only a filter's absence makes look changed, and returns the paths with a filter that nobody knows."""
        if not sizes or not filter_drivers(settings):
            return set()
        given = b"".join(path + b"\0" for path in sizes)
        parts = self.git("check-attr", "-z", "--stdin", "filter", given=given).split(b"\0")
        drivers = {path: os.fsdecode(value) for path, value in zip(parts[::3], parts[2::3], strict=False)}
        filtered = {path for path in sizes if drivers.get(path, "unspecified") not in {"unspecified", "unset", "set", ""}}
        for path in [path for path in filtered if drivers[path] == "lfs" and self._is_lfs_content(path)]:
            del sizes[path]
        return {path for path in filtered if drivers[path] not in _RAW_FILTERS}

    def _is_lfs_content(self, path: bytes) -> bool:
        """Whether the file is what the index's pointer names, so that nothing has changed."""
        stored = self.git("ls-files", "-s", "-z", "--", f":(literal){os.fsdecode(path)}")
        file = self._path(path)
        if not stored or not file.is_file():
            return False
        pointer = _POINTER.match(self.git("cat-file", "blob", stored.split()[1].decode()))
        return pointer is not None and digests.of_file(file) == pointer[1].decode()

    def _changed_submodules(self, settings: Mapping[str, list[str]]) -> list[str]:
        """Submodules with changes of their own: only the commit of a submodule is part of a tree."""
        if not any(key.startswith("submodule.") and key.count(".") > 1 for key in settings):
            return []
        named: list[str] = []
        for entry in self._submodules()[:20]:
            inside = Git(self._path(entry), seconds=3)
            inside.switch_off_filters(filter_drivers(settings))
            if (inside.folder / ".git").exists() and inside.line("status", "--porcelain"):
                named.append(_named(entry, "a submodule with uncommitted changes"))
        return named

    def _submodules(self) -> list[bytes]:
        answer = self.git("ls-files", "-s", "-z").split(b"\0")
        return [line.partition(b"\t")[2] for line in answer if line.startswith(_SUBMODULE.encode())]

    def _diff(self, commit: str) -> list[tuple[Entry, Entry]]:
        """The index against a commit; against nothing if there is none."""
        if commit not in self._diffs:
            words = ("diff-index", "--cached", "--raw", "-z", "--no-renames", "--no-abbrev", "--ignore-submodules=none")
            self._diffs[commit] = raw_entries(self.git(*words, commit or nothing(self.layout)))
        return self._diffs[commit]

    def _changes(self, found: _Found) -> list[_Change]:
        """Everything that differs from the base, in the index or in the working tree."""
        differing = self._diff(self.state.base)
        committed = [(old, new) for old, new in differing if new.path not in found.changed]
        sizes = self.git.sizes(new.oid for _, new in committed if new.mode not in _NO_BLOB)
        changes = [
            _Change(new.path, old, new.mode, new.oid, 0 if new.mode in _NO_BLOB else sizes.get(new.oid, -1))
            for old, new in committed
        ]
        before = {old.path: old for old, _ in differing}
        before |= self._entries({path for path in found.changed if path not in before})
        for path, size in found.changed.items():
            old = before.get(path, Entry(_NONE, self.zero, path))
            changes.append(_Change(path, old, *self._worktree_mode(path), size))
        return changes

    def _entries(self, paths: set[bytes]) -> dict[bytes, Entry]:
        """The index's entries (they are the base's) of paths that differ from the base in the working tree alone."""
        if not paths:
            return {}
        found: dict[bytes, Entry] = {}
        for line in self.git("ls-files", "-s", "-z").split(b"\0"):
            head, _, path = line.partition(b"\t")
            if path in paths:
                mode, oid, _stage = head.decode().split()
                found[path] = Entry(mode, oid, path)
        return found

    def _worktree_mode(self, path: bytes) -> tuple[str, str]:
        try:
            status = os.lstat(self._path(path))
        except OSError:
            return _NONE, self.zero
        if stat.S_ISLNK(status.st_mode):
            return _LINK, ""
        if stat.S_ISDIR(status.st_mode):
            inside = Git(self._path(path), seconds=3).line("rev-parse", "--verify", "-q", "HEAD")
            return (_SUBMODULE, inside) if inside else (_NONE, self.zero)
        return ("100755" if status.st_mode & stat.S_IXUSR else "100644"), ""

    def _that_fit(self, changes: list[_Change]) -> tuple[list[_Change], list[_Change]]:
        """What is kept, smallest first, and what is left out; a size below 0 says that the content is not here."""
        kept: list[_Change] = []
        left_out: list[_Change] = []
        total = 0
        for change in sorted(changes, key=lambda item: (item.size, item.path)):
            total += max(change.size, 0)
            (left_out if change.size < 0 or total > self.most_bytes else kept).append(change)
        return kept, left_out

    def _contents(self, kept: list[_Change]) -> tuple[list[_Change], list[str], list[str], list[str]]:
        """Writes what is new and what had secrets; returns index entries, hidden paths, and what to tell people."""
        before = [item.base.oid for item in kept if item.base.mode not in _NO_BLOB]
        small = {oid for oid, size in self.git.sizes(before).items() if size <= self.most_bytes}
        stored = self.git.blobs([*small, *(item.oid for item in kept if item.oid and item.mode not in _NO_BLOB)])
        entries: list[_Change] = []
        hidden: list[str] = []
        told: list[str] = []
        unreadable: list[str] = []
        for item in sorted(kept):
            if item.base.mode not in _NO_BLOB and self._must_be_hidden(item, stored.get(item.base.oid)):
                hidden.append(text_of(item.path))
            if item.mode in _NO_BLOB:
                entries.append(item)
                continue
            data = stored.get(item.oid) if item.oid else self._read(item)
            if data is None:
                unreadable.append(_named(item.path, "cannot be read"))
                entries.append(item._replace(mode=item.base.mode, oid=item.base.oid))
                continue
            clean = redact_file(text_of(item.path), data) if item.mode != _LINK else None
            if clean is not None and clean.findings:
                told += [f"{text_of(item.path)}:{finding.line} {finding.kind}" for finding in clean.findings]
            if not item.oid or (clean is not None and clean.findings):
                oid = write_blob(self.scratch / "objects", self.layout.algorithm, clean.data if clean else data)
                entries.append(item._replace(oid=oid))
        return entries, hidden, told, unreadable

    def _must_be_hidden(self, item: _Change, before: bytes | None) -> bool:
        """A patch shows what it removes. What is too large, or has a secret, is not to be shown."""
        return before is None or (item.base.mode != _LINK and bool(redact_file(text_of(item.path), before).findings))

    def _read(self, item: _Change) -> bytes | None:
        path = self._path(item.path)
        try:
            if item.mode == _LINK:
                return os.fsencode(os.readlink(path))  # noqa: PTH115 - Path.readlink changes ./a to a
            handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            with os.fdopen(handle, "rb") as file:
                if not stat.S_ISREG(os.fstat(handle).st_mode):
                    return None
                data = file.read(self.most_bytes + 1)
        except OSError:
            return None
        return data if len(data) <= self.most_bytes else None

    def _patch(self, tree: str, hidden: list[str]) -> bytes:
        return patch_between(self.git, base_tree(self.git, self.layout, self.scratch, self.state.base, hidden), tree)

    def _path(self, path: bytes) -> Path:
        return self.layout.root / os.fsdecode(path)

    def _size(self, path: bytes) -> int:
        """The size of a file in the working tree; 0 if it is gone, no file at all, or a link."""
        try:
            status = os.lstat(self._path(path))
        except OSError:
            return 0
        return status.st_size if stat.S_ISREG(status.st_mode) else 0


def base_tree(git: Git, layout: Layout, scratch: Path, base: str, hidden: list[str]) -> str:
    """The commit ``base`` itself, the empty tree, or the tree of ``base`` in which the hidden files are empty."""
    if not hidden:
        return base or nothing(layout)
    git.use_scratch(scratch, layout, index="base-index")
    git("read-tree", base)
    empty = write_blob(scratch / "objects", layout.algorithm, b"")
    names = set(hidden)
    lines = [line.partition(b"\t") for line in git("ls-files", "-s", "-z").split(b"\0") if line]
    git.change_index([Entry(head.split()[0].decode(), empty, path) for head, _, path in lines if text_of(path) in names])
    return git("write-tree", "--missing-ok").decode().strip()


def nothing(layout: Layout) -> str:
    """The id of the empty tree, which every repository has."""
    return object_id(layout.algorithm, b"tree", b"")


def patch_between(git: Git, before: str, after: str) -> bytes:
    """The binary patch from one tree to another, the same whatever a user has configured."""
    return git(
        "diff-tree", "-r", "-p", "--binary", "--full-index", "--no-renames", "--no-ext-diff", "--no-textconv", "--no-color",
        "--diff-algorithm=myers", "-U3", "--inter-hunk-context=0", "--submodule=short", "--ignore-submodules=none",
        "--src-prefix=a/", "--dst-prefix=b/", before, after,
    )  # fmt: skip


def _head(git: Git) -> tuple[str, str]:
    """The commit and its tree; empty before the first commit."""
    words = git.line("rev-parse", "HEAD^{commit}", "HEAD^{tree}").split()
    return (words[0], words[1]) if words else ("", "")


def _published(git: Git, commit: str, settings: Mapping[str, list[str]]) -> tuple[str, str]:
    """The newest ancestor of ``commit`` that a remote-tracking branch reaches, and the remote's address."""
    if not commit or not git("for-each-ref", "--count=1", "--format=%(refname)", "refs/remotes"):
        return "", ""
    urls = {key.split(".", 1)[1].rpartition(".")[0]: values[-1] for key, values in settings.items() if _is_remote_url(key)}
    remote = redact_text(urls.get("origin") or next(iter(urls.values()), "")) or "a remote without an address"
    lines = git("rev-list", "--boundary", commit, "--not", "--remotes", "--").decode().split()
    if not lines:
        return commit, remote
    boundary = [line.removeprefix("-") for line in lines if line.startswith("-")]
    if not boundary:
        return "", ""
    return git("rev-list", "--no-walk=sorted", "--max-count=1", *boundary[:500]).decode().strip(), remote


def _is_remote_url(key: str) -> bool:
    return key.startswith("remote.") and key.endswith(".url")


def text_of(path: bytes) -> str:
    """A path as text; bytes that are no UTF-8 are written as escapes, for a record has to be JSON."""
    return path.decode("utf-8", "backslashreplace")


def _named(path: bytes, why: str) -> str:
    return f"{text_of(path)} ({why})"
