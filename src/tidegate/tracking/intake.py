"""Taking journals into the store: in order, in batches, as often as one likes."""

from __future__ import annotations

import fcntl
import os
import shutil
import threading
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from tidegate.errors import ConflictError, IntegrityError, NotFoundError, TidegateError, UnavailableError
from tidegate.records.names import is_name
from tidegate.records.run import Artifact, RunState
from tidegate.store import Store, object_key, put_object
from tidegate.store.bucket.folder import FolderBucket
from tidegate.store.journal import (
    SUFFIX,
    Bulk,
    Ending,
    Frame,
    JournalReader,
    Note,
    Opening,
    Points,
    batch_of,
    claimed,
    read_opening,
)
from tidegate.store.objects import OBJECTS

_CHUNK_POINTS = 100_000
_CHUNK_FRAMES = 20_000


class Taken(NamedTuple):
    """How far one journal was read: whether everything in it is in the store, and if not, why."""

    path: Path
    opening: Opening | None
    size: int
    """Bytes of the file when it was read."""
    whole: bool
    """Every byte was read and is in the store."""
    finished: bool
    """Everything that can be read is in the store; a torn tail may be left."""
    damaged: bool
    """Whole frames lie behind one that cannot be read."""
    ended: bool
    """Its writer has ended the run."""
    last_at: int
    """The time of the newest frame, by the run's clock; 0 if there was none now."""
    points: int
    """Points that were read now."""
    problem: TidegateError | None


class _Position:
    """How far one journal was taken in by this process."""

    def __init__(self) -> None:
        self.offset = 0
        self.ended = False
        self.last_at = 0
        self.points = 0
        self.late = False


class Intake:
    """Takes the journals in one run's folder into the store. A lock on the folder lets one process do it at a time.

    Every step may be repeated: what the store has already is skipped by the number of its frame. For one thread.
    """

    def __init__(self, store: Store, folder: Path) -> None:
        self._store = store
        self.folder = folder
        self.progress = 0
        """Grows with everything that was taken in."""
        self._positions: dict[str, _Position] = {}
        self.conflicts: list[str] = []
        """What could not become part of the run and stands in its tags instead, in sentences."""

    def take(self, *, deadline: float | None = None, stop: threading.Event | None = None) -> list[Taken] | None:
        """Takes what is there, until ``deadline`` (monotonic seconds) or ``stop``; None if another process is at it.

        Raises:
            UnavailableError: the store cannot be used; what was taken before that stays taken.
        """
        with _folder_lock(self.folder) as mine:
            if not mine:
                return None
            taken: list[Taken] = []
            for path, opening in self._journals():
                try:
                    problem: TidegateError | None = None
                    whole = self._take_journal(path, opening, deadline, stop) if opening else False
                except UnavailableError:
                    raise
                except TidegateError as error:
                    problem, whole = error, False
                except (ValueError, OverflowError) as error:
                    problem, whole = _unusable(path, str(error)), False
                except FileNotFoundError:  # its writer has finished with it
                    continue
                with suppress(FileNotFoundError):
                    taken.append(self._told(path, opening, whole, problem))
            return taken

    def _told(self, path: Path, opening: Opening | None, whole: bool, problem: TidegateError | None) -> Taken:
        position = self._positions.setdefault(path.name, _Position())
        size = path.stat().st_size
        finished = whole or (problem is None and not position.late)
        damaged = finished and not whole and JournalReader(path, offset=position.offset).damaged()
        points, position.points = position.points, 0
        return Taken(
            path, opening, size, whole, finished and not damaged, damaged, position.ended, position.last_at, points, problem
        )

    def _journals(self) -> list[tuple[Path, Opening | None]]:
        """Those of owners first: they bring the run, if the store does not know it."""
        found: list[tuple[Path, Opening | None]] = []
        for path in journals_in(self.folder):
            with suppress(FileNotFoundError):
                found.append((path, read_opening(path)))
        return sorted(found, key=lambda item: (item[1] is None or not item[1].owner, item[1].at if item[1] else 0))

    def _take_journal(self, path: Path, opening: Opening, deadline: float | None, stop: threading.Event | None) -> bool:
        """Takes one journal; tells whether it was taken to its last byte."""
        position = self._positions.setdefault(path.name, _Position())
        reader = JournalReader(path, offset=position.offset)
        position.late = False
        if not reader.left():
            return True
        if not is_name(opening.run_id) or (opening.run is not None and opening.run.id != opening.run_id):
            raise _unusable(path, f"{opening.run_id[:60]!r} is no id of its run")
        after = self._store.series.taken(opening.run_id).get(opening.writer, 0)
        if opening.run is not None and after < opening.seq:
            self._begin(opening)
        for chunk, offset in _chunks(reader):
            fresh = [frame for frame in chunk if frame.seq > after]
            if fresh:
                self._apply(opening, fresh)
                position.points += sum(_size(frame) for frame in fresh)
            for frame in chunk:
                if isinstance(frame, Points | Opening | Ending):
                    position.last_at = max(position.last_at, frame.at)
            position.ended = position.ended or isinstance(chunk[-1], Ending)
            position.offset = offset
            self.progress += 1
            if (deadline is not None and time.monotonic() > deadline) or (stop is not None and stop.is_set()):
                position.late = True
                break
        return not JournalReader(path, offset=position.offset).left()

    def _begin(self, opening: Opening) -> None:
        """Brings a run that began while the store was away; its objects first."""
        run = opening.run
        assert run is not None
        for key in list(FolderBucket(self.folder).keys(OBJECTS)):
            with suppress(NotFoundError):  # a link, or no file: what a note refers to is asked for again, and told
                put_object(self._store.bucket, self._beside(key))
        self._store.runs.create(run)  # which changes nothing where another process was faster

    def _apply(self, opening: Opening, frames: Sequence[Frame]) -> None:
        """Brings the frames of one chunk into the store. Whatever is not a point may be repeated, so it comes first."""
        run_id = opening.run_id
        params: dict[str, str] = {}
        for frame in frames:
            if isinstance(frame, Note):
                for item in frame.artifacts:
                    self._bring(item)
                if frame.artifacts:
                    self._store.artifacts.put(run_id, frame.artifacts)
                params |= frame.params
            elif isinstance(frame, Opening) and frame.resumed:
                self._store.runs.change_state(run_id, RunState.RUNNING, frame.at)
            elif isinstance(frame, Ending):
                try:
                    self._store.runs.change_state(run_id, frame.state, frame.at)
                except ConflictError as error:
                    if error.code == "run-deleted":
                        raise
                    self.conflicts.append(error.what)
        notes = [frame for frame in frames if isinstance(frame, Note) and (frame.params or frame.tags or frame.inputs)]
        if notes:
            self._annotate(run_id, notes)
        refused = self._store.series.ingest([batch_of(run_id, opening.writer, frames)])[0]
        if refused is not None:
            raise refused
        if isinstance(frames[-1], Ending):
            self._store.series.seal(run_id)

    def _annotate(self, run_id: str, notes: Sequence[Note]) -> None:
        params = {name: value for note in notes for name, value in note.params.items()}
        tags = {name: value for note in notes for name, value in note.tags.items()}
        inputs = [item for note in notes for item in note.inputs]
        try:
            self._store.runs.annotate(run_id, params=params, tags=tags, inputs=inputs)
        except ConflictError as error:
            if error.code != "param-changed":
                raise
            # Another process gave a parameter another value: it stands, and this one becomes a tag. Nothing is dropped.
            for name, value in params.items():
                try:
                    self._store.runs.annotate(run_id, params={name: value})
                except ConflictError as conflict:
                    tags[f"refused.params.{name}"] = value
                    self.conflicts.append(conflict.what)
            self._store.runs.annotate(run_id, tags=tags, inputs=inputs)

    def _bring(self, item: Artifact) -> None:
        """Puts an artifact's bytes into the bucket, if they are still beside the journal."""
        key = object_key(item.digest)
        try:
            path = self._beside(key)
        except NotFoundError:
            if key not in self._store.bucket.keys(key.rpartition("/")[0] + "/"):
                raise IntegrityError(
                    "artifact-bytes-missing",
                    f"the bytes of the artifact {item.path!r} are missing",
                    why=f"neither the bucket nor {self.folder} has {key}",
                    fix="copy the whole folder of the run, then: tidegate sync FOLDER",
                ) from None
            return
        if put_object(self._store.bucket, path) != item.digest:
            raise IntegrityError(
                "object-changed",
                f"the artifact {item.path!r} was changed beside its journal",
                why=f"{path} no longer has the digest that was recorded",
                fix="copy the run's folder again, then: tidegate sync FOLDER",
            )

    def _beside(self, key: str) -> Path:
        """The file of an object beside the journal. No link is followed: a folder from elsewhere could name any file of ours.

        Raises:
            NotFoundError: there is none.
        """
        path = FolderBucket(self.folder).local(key)
        if path.resolve() != self.folder.resolve() / key:
            raise NotFoundError("no-such-key", f"{path} is a link", fix="copy the files themselves")
        return path


def journals_in(folder: Path) -> list[Path]:
    """The journals in a run's folder; pipes and devices of such a name are none."""
    return sorted(path for path in folder.glob(f"*{SUFFIX}") if path.is_file())


def _unusable(path: Path, why: str) -> IntegrityError:
    return IntegrityError(
        "journal-unusable",
        f"{path.name} says what no journal of a run can say",
        why=why,
        fix="it was written by something else, or was changed; nothing more of it is taken, and the file is kept",
    )


def dispose(taken: Taken) -> list[str]:
    """Removes a journal that is in the store as a whole and has no living writer; keeps a damaged one aside.

    A torn tail is what a kill in the middle of a call leaves: that call had not returned. Returns what is to be told.
    """
    with claimed(taken.path) as abandoned:
        if not abandoned or taken.problem is not None:
            return []
        if taken.damaged:
            aside = taken.path.with_name(taken.path.name + ".damaged")
            taken.path.rename(aside)
            told = "what comes before the damage is in the store, what comes after it is not"
            return [f"the journal {taken.path.name} is damaged: {told}; it is kept as {aside}"]
        if taken.finished and taken.path.stat().st_size == taken.size:
            taken.path.unlink()
    return []


def remove_folder(folder: Path) -> None:
    """Removes the folder of a run, with the objects that were kept beside its journals, once there is no journal in it."""
    if any(True for _ in folder.glob(f"*{SUFFIX}*")):
        return
    for name in (OBJECTS, ".tmp"):
        shutil.rmtree(folder / name, ignore_errors=True)
    with suppress(OSError):  # somebody has just begun another journal
        folder.rmdir()


def _chunks(reader: JournalReader) -> Iterator[tuple[list[Frame], int]]:
    """Frames in chunks that fit into memory, each with the offset behind it; the run's end is a chunk of its own."""
    chunk: list[Frame] = []
    size = 0
    offset = reader.offset
    for frame in reader.frames():
        if isinstance(frame, Ending) and chunk:
            yield chunk, offset
            chunk, size = [], 0
        chunk.append(frame)
        size += _size(frame)
        offset = reader.offset
        if isinstance(frame, Ending) or size >= _CHUNK_POINTS or len(chunk) >= _CHUNK_FRAMES:
            yield chunk, offset
            chunk, size = [], 0
    if chunk:
        yield chunk, offset


def _size(frame: Frame) -> int:
    if isinstance(frame, Points):
        return len(frame.values)
    return len(frame.values) // 8 if isinstance(frame, Bulk) else 0


@contextmanager
def _folder_lock(folder: Path) -> Generator[bool]:
    """Whether nobody else takes in this folder; a folder that cannot be locked is as good as locked by us."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        yield True
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        yield False
        return
    except OSError:  # a file system without locks
        pass
    try:
        yield True
    finally:
        os.close(descriptor)
