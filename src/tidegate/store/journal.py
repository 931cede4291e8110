"""The journal of a recording process: what ``log`` returned from survives a kill -9, and a store that cannot be reached.

A journal is one append-only file per writer. Every record is a frame: length and CRC-32 of the payload (little-endian
unsigned 32-bit each), then the payload in MessagePack: an array that begins with the kind of the frame and its number.
One ``write(2)`` per frame puts it into the kernel, where it outlives the process; ``sync`` (at most a second later) puts
it onto the disk, where it outlives the machine. Reading streams, and stops at the first frame that is torn or damaged.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import struct
import threading
import zlib
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

import msgspec
import numpy as np
from numpy.typing import NDArray

from tidegate.errors import BadInputError, UnavailableError
from tidegate.records.run import Artifact, Run, RunInput, RunState, Series
from tidegate.store.ports import Batch

FORMAT = 1
SUFFIX = ".journal"
UNNAMED = ".new"
"""Behind the name of a journal that is being begun."""
BULK_POINTS = 1 << 16
"""Points in one frame of ``series``: about a megabyte and a half."""
MAX_FRAME = 1 << 26
"""Bytes of the largest frame that is written; a greater length is damage."""

_HEADER = struct.Struct("<II")
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_BLOCK = 1 << 20
_LAST_STEP = (1 << 63) - 1
_LOOK = 256
_MOST_LOOKED_AT = 1 << 30
"""Bytes of what may be frames that are looked at behind damage: bytes that look like many would take for ever."""
_FRAME_START = re.compile(rb"[\x92-\x9f][\x00-\x04]")


class Points(msgspec.Struct, frozen=True, array_like=True, tag=0):
    """One ``log`` call: a step, a time in microseconds UTC, and a value per metric."""

    seq: int
    step: int
    at: int
    values: dict[str, float]


class Bulk(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """Columns of one metric as little-endian bytes; a column of times that are all the same holds it once."""

    seq: int
    metric: str
    steps: bytes
    times: bytes
    values: bytes


class Note(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """What was added to the run beside points."""

    seq: int
    params: dict[str, str] = {}
    tags: dict[str, str] = {}
    inputs: list[RunInput] = []
    artifacts: list[Artifact] = []


class Opening(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """The first frame: who writes, to which run, and all about the run if the store did not know it at that time."""

    seq: int
    format: int
    run_id: str
    writer: str
    host: str
    at: int
    owner: bool
    """Whether this writer began or resumed the run, and so ends it."""
    resumed: bool = False
    run: Run | None = None


class Ending(msgspec.Struct, frozen=True, array_like=True, tag=4):
    """The run's end, by its owner."""

    seq: int
    state: RunState
    at: int


Frame = Points | Bulk | Note | Opening | Ending

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Frame).decode


class Journal:
    """The writing end of one journal file. Any thread may append; ``sync`` may run beside it.

    Every append is whole or not at all. Errors: ``UnavailableError`` when the frame cannot be written (``disk-full``,
    ``journal-unwritable``), and ``BadInputError`` when it is larger than ``MAX_FRAME``; then nothing of it will be read back.
    """

    def __init__(self, path: Path, opening: Opening, *, step: int = -1) -> None:
        """Makes the file, and its folder if it is not there; ``step`` is the last step so far.

        Raises:
            UnavailableError: it cannot be made.
        """
        self.path = path
        self.step = step
        self.seq = opening.seq
        self.synced = 0
        self._lock = threading.Lock()
        unnamed = path.with_name(path.name + UNNAMED)
        try:
            self._descriptor = _made(unnamed)
            with suppress(OSError):  # a file system without locks: then nobody takes the journal for an abandoned one either
                fcntl.flock(self._descriptor, fcntl.LOCK_EX)
            self._put(_encode(opening))
            # Locked and begun before it has its name: who looks for abandoned journals never sees half a one.
            unnamed.rename(path)
            os.fdatasync(self._descriptor)
            _sync_folder(path.parent)
        except OSError as error:
            raise _unwritable(path, error) from None

    def points(self, step: int | None, at: int, values: Mapping[str, float]) -> None:
        """Appends the values of one ``log`` call at ``step`` (None: one more than the last), which becomes the last step."""
        with self._lock:
            if step is None:
                step = min(self.step + 1, _LAST_STEP)
            # Counted before it is written: an exception in between (a signal) leaves a gap, never the same number twice.
            self.seq = seq = self.seq + 1
            self._put(_encode((0, seq, step, at, values)))
            self.step = step

    def aside(self, step: int, at: int, values: Mapping[str, float]) -> None:
        """Appends values that do not count as the run's last step: what the machine does while the run runs."""
        with self._lock:
            self.seq = seq = self.seq + 1
            self._put(_encode((0, seq, step, at, values)))

    def series(self, metric: str, steps: NDArray[np.int64], times: NDArray[np.int64], values: NDArray[np.float64]) -> None:
        """Appends columns of equal length, in frames of ``BULK_POINTS``; ``times`` may be one for all."""
        with self._lock:
            for start in range(0, len(values), BULK_POINTS):
                part = slice(start, start + BULK_POINTS)
                at = times if len(times) == 1 else times[part]
                self.seq = seq = self.seq + 1
                columns = [np.ascontiguousarray(column).data for column in (steps[part], at, values[part])]
                self._put(_encode((1, seq, metric, *columns)))
                self.step = int(steps[part][-1])

    def note(
        self,
        *,
        params: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
        inputs: Sequence[RunInput] = (),
        artifacts: Sequence[Artifact] = (),
    ) -> None:
        """Appends what is added to the run beside points."""
        with self._lock:
            self.seq = seq = self.seq + 1
            self._put(_encode(Note(seq, dict(params or {}), dict(tags or {}), list(inputs), list(artifacts))))

    def end(self, state: RunState, at: int) -> None:
        """Appends the run's end."""
        with self._lock:
            self.seq = seq = self.seq + 1
            self._put(_encode(Ending(seq, state, at)))

    def sync(self) -> None:
        """Puts everything that was appended onto the disk; costs nothing if it is there already.

        Raises:
            OSError: the disk refuses.
        """
        seq = self.seq
        if seq != self.synced:
            os.fdatasync(self._descriptor)
            self.synced = seq

    def close(self) -> None:
        """Closes the file, and with it its lock. What was appended stays, synced as far as the disk lets it."""
        with suppress(OSError):
            self.sync()
        os.close(self._descriptor)

    def drop_copy(self) -> None:
        """Closes what a forked child has inherited: the lock is the parent's alone again."""
        with suppress(OSError):
            os.close(self._descriptor)

    def _put(self, payload: bytes) -> None:
        length = len(payload)
        if length > MAX_FRAME:
            raise BadInputError(
                "record-too-large",
                f"one call cannot record {length:,} bytes",
                why=f"a record has at most {MAX_FRAME:,}",
                fix="store large texts as artifacts",
            )
        try:
            written = os.write(self._descriptor, _HEADER.pack(length, zlib.crc32(payload)) + payload)
            if written != length + 8:
                os.ftruncate(self._descriptor, os.lseek(self._descriptor, 0, os.SEEK_END) - written)
                raise OSError(errno.ENOSPC, "no room for the whole record")  # noqa: TRY301 - the same end as that of a refused write
        except OSError as error:
            raise _unwritable(self.path, error) from None


class JournalReader:
    """Reads the whole frames of a journal from ``offset`` on; ``offset`` and ``seq`` move with what was read."""

    def __init__(self, path: Path, *, offset: int = 0) -> None:
        self.path = path
        self.offset = offset
        self.seq = 0

    def frames(self) -> Iterator[Frame]:
        """The frames, in order, until the end or the first one that is not whole.

        Raises:
            UnavailableError: a newer Tidegate wrote it.
        """
        with self.path.open("rb", buffering=_BLOCK) as file:
            file.seek(self.offset)
            while (payload := _whole(file)) is not None:
                try:
                    frame = _decode(payload)
                except msgspec.MsgspecError as error:
                    raise _newer(self.path, str(error)) from None
                self.offset += _HEADER.size + len(payload)
                self.seq = frame.seq
                yield frame

    def left(self) -> int:
        """Bytes behind the last whole frame that was read."""
        return self.path.stat().st_size - self.offset

    def damaged(self) -> bool:
        """Whether the bytes behind the last whole frame are more than a torn tail: whole frames lie among them."""
        with self.path.open("rb") as file:
            file.seek(self.offset)
            rest = file.read(MAX_FRAME + _BLOCK)
            if file.read(1):
                return True
        # A payload begins with the head of an array and a kind; before it stand its length and checksum.
        looked, whole = 0, memoryview(rest)
        for found in _FRAME_START.finditer(rest, _HEADER.size + 1):
            length, checksum = _HEADER.unpack_from(rest, found.start() - _HEADER.size)
            if not 2 < length <= len(rest) - found.start():
                continue
            looked += length + _LOOK
            if looked > _MOST_LOOKED_AT or zlib.crc32(whole[found.start() : found.start() + length]) == checksum:
                return True  # or nobody knows: the file is kept
        return False


def read_opening(path: Path) -> Opening | None:
    """The first frame of a journal; None if it is no journal.

    Raises:
        UnavailableError: a newer Tidegate wrote it.
    """
    first = next(JournalReader(path).frames(), None)
    if not isinstance(first, Opening):
        return None
    if first.format > FORMAT:
        raise _newer(path, f"it has format {first.format}, this version knows {FORMAT}")
    return first


def batch_of(run_id: str, writer: str, frames: Sequence[Frame]) -> Batch:
    """The points of some frames of one journal, as they are ingested."""
    loose: dict[str, tuple[list[int], list[int], list[float]]] = {}
    packed: list[Series] = []
    for frame in frames:
        if isinstance(frame, Points):
            for name, value in frame.values.items():
                columns = loose.get(name) or loose.setdefault(name, ([], [], []))
                columns[0].append(frame.step)
                columns[1].append(frame.at)
                columns[2].append(value)
        elif isinstance(frame, Bulk):
            packed.append(_series_of(frame))
    series = [
        Series(name, np.array(steps, np.int64), np.array(times, np.int64), np.array(values, np.float64))
        for name, (steps, times, values) in loose.items()
    ]
    return Batch(run_id, writer, frames[-1].seq, _joined([*series, *packed]))


@contextmanager
def claimed(path: Path) -> Generator[bool]:
    """Whether no living process of this host has the journal open; while the block runs, nobody else can claim it."""
    try:
        file = path.open("rb")
    except FileNotFoundError:
        yield False
        return
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield False
            return
        yield path.exists()  # whoever had it before may have finished with it


def is_written(path: Path) -> bool:
    """Whether a living process of this host has the journal open (or is just looking whether it is abandoned)."""
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def _made(path: Path) -> int:
    for _ in range(100):
        path.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):  # whoever took in the run's other journals has just removed the folder
            return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
    raise FileNotFoundError(errno.ENOENT, "the folder is removed again and again", str(path.parent))


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _whole(file: BinaryIO) -> bytes | None:
    """The payload of the frame that begins here; None at the end, and where it is torn or damaged."""
    header = file.read(_HEADER.size)
    if len(header) < _HEADER.size:
        return None
    length, checksum = _HEADER.unpack(header)
    if not 0 < length <= MAX_FRAME:  # zeros are what a power loss leaves of a tail
        return None
    payload = file.read(length)
    return payload if len(payload) == length and zlib.crc32(payload) == checksum else None


def _series_of(frame: Bulk) -> Series:
    values = np.frombuffer(frame.values, "<f8")
    times = np.frombuffer(frame.times, "<i8")
    return Series(frame.metric, np.frombuffer(frame.steps, "<i8"), np.broadcast_to(times, values.shape), values)


def _joined(parts: Sequence[Series]) -> list[Series]:
    by_metric: dict[str, list[Series]] = {}
    for part in parts:
        by_metric.setdefault(part.metric, []).append(part)
    return [
        Series(
            name,
            np.concatenate([part.steps for part in found]),
            np.concatenate([part.times for part in found]),
            np.concatenate([part.values for part in found]),
        )
        for name, found in by_metric.items()
    ]


def _unwritable(path: Path, error: OSError) -> UnavailableError:
    if error.errno in _NO_ROOM:
        return UnavailableError(
            "disk-full",
            f"the journal cannot grow: {error.strerror or error}",
            why=f"nothing of this call was recorded; what was recorded before is safe in {path}",
            fix="free some space: the next call works again. Catch UnavailableError around log to train on without recording",
        )
    return UnavailableError(
        "journal-unwritable",
        f"the journal cannot be written: {error.strerror or error}",
        why=f"nothing of this call was recorded: {path}",
        fix="check the disk, and the folder's owner and mode",
    )


def _newer(path: Path, why: str) -> UnavailableError:
    return UnavailableError(
        "journal-newer", f"this Tidegate cannot read {path}", why=why, fix="upgrade: pip install --upgrade tidegate"
    )
