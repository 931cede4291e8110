"""git as a tool that only reads: no hook, filter, external diff, file monitor or network, and a temporary index and object folder.

What is switched off, and where git documents it: git-config(1) ``core.hooksPath``, ``core.fsmonitor``, ``protocol.allow``,
``filter.<driver>``; git(1) ``GIT_INDEX_FILE``, ``GIT_OBJECT_DIRECTORY``, ``GIT_ALTERNATE_OBJECT_DIRECTORIES``,
``GIT_OPTIONAL_LOCKS``.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import time
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

_KEPT = {
    "GIT_CONFIG_GLOBAL",
    "GIT_CONFIG_SYSTEM",
    "GIT_CONFIG_NOSYSTEM",
    "GIT_CEILING_DIRECTORIES",
    "GIT_DISCOVERY_ACROSS_FILESYSTEM",
    "GIT_EXEC_PATH",
}
"""Where git and its settings are; every other GIT_* variable (of a hook, of a debugger) would lead git astray."""

_OFF = {
    "core.hooksPath": os.devnull,
    "core.fsmonitor": "false",
    "core.untrackedCache": "false",
    "core.splitIndex": "false",
    "core.quotePath": "false",
    "core.safecrlf": "false",
    "core.bigFileThreshold": "512m",
    "index.sparse": "false",
    "index.threads": "1",
    "protocol.allow": "never",
    "submodule.recurse": "false",
    "gc.auto": "0",
    "maintenance.auto": "false",
    "diff.suppressBlankEmpty": "false",
    "apply.whitespace": "nowarn",
    "apply.ignoreWhitespace": "false",
}


class GitError(Exception):
    """git is missing, failed or took too long; the text says which. It never leaves this room."""


class Layout(NamedTuple):
    """Where a repository keeps its things. ``root`` is the top of the working tree."""

    root: Path
    index_file: Path
    objects: Path
    algorithm: str


class Entry(NamedTuple):
    """One line of an index or tree: mode in octal, object id, path from the top."""

    mode: str
    oid: str
    path: bytes


class Git:
    """Runs git in one folder until a deadline. ``scratch`` gets a temporary index and the new objects."""

    def __init__(self, folder: Path, *, seconds: float) -> None:
        self.folder = folder
        self._deadline = time.monotonic() + seconds
        self._settings = dict(_OFF)
        self._variables: dict[str, str] = {}

    def switch_off_filters(self, drivers: Iterable[str]) -> None:
        """Lets clean and smudge filters of these drivers do nothing: they may run anything and write anywhere."""
        for driver in drivers:
            self._settings |= {
                f"filter.{driver}.{key}": value
                for key, value in (("clean", ""), ("smudge", ""), ("process", ""), ("required", "false"))
            }

    def use_scratch(self, scratch: Path, layout: Layout, *, index: str) -> None:
        """From now on git reads and writes the index ``scratch/index`` and writes objects below ``scratch``."""
        (scratch / "objects").mkdir(exist_ok=True)
        self._variables = {
            "GIT_INDEX_FILE": str(scratch / index),
            "GIT_OBJECT_DIRECTORY": str(scratch / "objects"),
            "GIT_ALTERNATE_OBJECT_DIRECTORIES": quoted(os.fsencode(layout.objects)).decode("utf-8", "surrogateescape"),
        }

    def __call__(self, *words: str, given: bytes | None = None, answers: tuple[int, ...] = (0,)) -> bytes:
        """What one git command prints.

        Raises:
            GitError: git is not installed, ends with another code than ``answers``, or the deadline has passed.
        """
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise GitError("git took too long")
        try:
            done = subprocess.run(  # noqa: S603 - fixed words and object ids; file names go through standard input
                ["git", *words],  # noqa: S607 - git is found by PATH on purpose
                cwd=self.folder,
                env=self._environment(),
                input=given if given is not None else b"",
                capture_output=True,
                timeout=left,
                check=False,
            )
        except FileNotFoundError:
            raise GitError(
                "git is not installed" if shutil.which("git") is None else f"there is no folder {self.folder}"
            ) from None
        except subprocess.TimeoutExpired:
            raise GitError("git took too long") from None
        except OSError as error:
            raise GitError(f"git cannot be run: {error}") from None
        if done.returncode not in answers:
            said = done.stderr.decode("utf-8", "replace").strip().splitlines()
            raise GitError(f"git {words[0]}: {said[0][:300] if said else f'ended with {done.returncode}'}")
        return done.stdout

    def line(self, *words: str) -> str:
        """The output of a command as one line of text; empty if the command says no."""
        try:
            return self(*words).decode("utf-8", "surrogateescape").strip()
        except GitError:
            return ""

    def change_index(self, entries: Iterable[Entry]) -> None:
        """Sets entries of the temporary index; mode ``0`` removes one."""
        lines = b"".join(b"%s %s\t%s\0" % (mode.encode(), oid.encode(), path) for mode, oid, path in entries)
        if lines:
            self("update-index", "-z", "--index-info", given=lines)

    def blobs(self, oids: Iterable[str]) -> dict[str, bytes]:
        """The contents of these blobs; one that is not here (a partial clone) is absent from the answer."""
        wanted = list(dict.fromkeys(oids))
        if not wanted:
            return {}
        answer = self("cat-file", "--batch", given="".join(f"{oid}\n" for oid in wanted).encode())
        found: dict[str, bytes] = {}
        at = 0
        for oid in wanted:
            end = answer.index(b"\n", at)
            words = answer[at:end].split()
            at = end + 1
            if words[-1] != b"missing":
                size = int(words[2])
                found[oid] = answer[at : at + size]
                at += size + 1
        return found

    def sizes(self, oids: Iterable[str]) -> dict[str, int]:
        """The sizes of these objects in bytes; one that is not here is absent from the answer."""
        wanted = list(dict.fromkeys(oids))
        if not wanted:
            return {}
        try:
            answer = self("cat-file", "--batch-check", given="".join(f"{oid}\n" for oid in wanted).encode())
        except GitError as error:
            # In a partial clone git does not say "missing" but ends, because it would have to fetch.
            if "lazy fetching" not in str(error) and "promisor" not in str(error):
                raise
            half = len(wanted) // 2
            return self.sizes(wanted[:half]) | self.sizes(wanted[half:]) if half else {}
        rows = [line.split() for line in answer.decode().splitlines()]
        return {row[0]: int(row[2]) for row in rows if row[-1] != "missing"}

    def _environment(self) -> dict[str, str]:
        outside = {key: value for key, value in os.environ.items() if not key.startswith("GIT_") or key in _KEPT}
        settings: dict[str, str] = {"GIT_CONFIG_COUNT": str(len(self._settings))}
        for number, (key, value) in enumerate(self._settings.items()):
            settings |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
        fixed = {
            "LC_ALL": "C",
            "GIT_OPTIONAL_LOCKS": "0",
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_NO_LAZY_FETCH": "1",
            "GIT_NO_REPLACE_OBJECTS": "1",
        }
        return outside | settings | fixed | self._variables


def find_layout(git: Git) -> Layout:
    """The repository around the folder.

    Raises:
        GitError: there is none, it is bare, or git refuses to read it.
    """
    answer = git(
        "rev-parse", "--is-bare-repository", "--is-inside-work-tree", "--show-object-format",
        "--git-path", "index", "--git-path", "objects", "--show-cdup", answers=(0, 128),
    )  # fmt: skip
    lines = os.fsdecode(answer).splitlines()
    if not lines:
        git("rev-parse", "--git-dir")  # says why
    if lines[:1] == ["true"]:
        raise GitError("this is a bare git repository: it has no working tree")
    if lines[1:2] != ["true"]:
        raise GitError("this folder lies inside a .git folder")
    if len(lines) != 6:
        raise GitError("git's answer cannot be read: the folder's name has a line break")
    root = Path(os.path.normpath(git.folder / lines[5]))
    return Layout(root, git.folder / lines[3], (git.folder / lines[4]).resolve(), lines[2])


def settings_of(git: Git) -> dict[str, list[str]]:
    """Every git setting that holds here, by lower-case section and key."""
    found: dict[str, list[str]] = {}
    for item in os.fsdecode(git("config", "--list", "-z")).split("\0"):
        key, _, value = item.partition("\n")
        if key:
            found.setdefault(key, []).append(value)
    return found


def filter_drivers(settings: Mapping[str, list[str]]) -> set[str]:
    """The names of all filter drivers that are configured."""
    parts = [key.removeprefix("filter.").rpartition(".") for key in settings if key.startswith("filter.")]
    return {driver for driver, _, _ in parts if driver}


def object_id(algorithm: str, kind: bytes, data: bytes) -> str:
    """The id that git gives to an object: the hash of its header and bytes."""
    return hashlib.new(algorithm, b"%s %d\0" % (kind, len(data)) + data, usedforsecurity=False).hexdigest()


def write_blob(objects: Path, algorithm: str, data: bytes) -> str:
    """Writes a blob as a loose object below ``objects``, byte for byte (no filter, no line endings), and returns its id."""
    oid = object_id(algorithm, b"blob", data)
    place = objects / oid[:2] / oid[2:]
    if not place.exists():
        place.parent.mkdir(exist_ok=True)
        place.write_bytes(zlib.compress(b"blob %d\0" % len(data) + data, 1))
    return oid


def raw_entries(answer: bytes) -> list[tuple[Entry, Entry]]:
    """What ``--raw -z --no-renames`` prints, as (before, after); mode ``000000`` is no file."""
    parts = answer.split(b"\0")
    pairs: list[tuple[Entry, Entry]] = []
    for head, path in zip(parts[::2], parts[1::2], strict=False):
        old_mode, new_mode, old, new, _ = head.lstrip(b":").decode().split()
        pairs.append((Entry(old_mode, old, path), Entry(new_mode, new, path)))
    return pairs


def quoted(path: bytes) -> bytes:
    """A path in git's C-style quotes, as GIT_ALTERNATE_OBJECT_DIRECTORIES wants it when it has a colon."""
    plain = b"".join(
        b"\\" + bytes([byte]) if byte in b'"\\' else bytes([byte]) if 32 <= byte != 127 else b"\\%03o" % byte for byte in path
    )
    return b'"' + plain + b'"'
