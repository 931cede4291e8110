"""The journal of a training process: what ``log`` returned from survives a kill -9, and a store that cannot be reached.

A journal is one append-only file per writer. Every record is a frame: length and CRC-32 of the payload (little-endian
unsigned 32-bit each), then the payload in MessagePack. One ``write(2)`` per record puts it into the kernel, where it
outlives the process; ``sync`` (at most a second later) puts it onto the disk, where it outlives the machine. Reading
stops at the first frame that is torn.
"""

from __future__ import annotations

import fcntl
import os
import struct
import zlib
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from tidegate.records.run import MetricPoint

_HEADER = struct.Struct("<II")


class Record(msgspec.Struct, frozen=True, array_like=True):
    """The points of one ``log`` call with the number of that call, counted from 1."""

    seq: int
    points: list[MetricPoint]


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Record)


class Journal:
    """The writing end of one journal file. ``append`` is for one thread at a time; ``sync`` may run beside it."""

    def __init__(self, path: Path) -> None:
        """Makes the file; its folder is made if it is not there.

        Raises:
            OSError: it cannot be made.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        # Locked before it has its name: who looks for abandoned journals never sees one without its writer's lock.
        unnamed = path.with_name(path.name + ".new")
        self._descriptor = os.open(unnamed, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        unnamed.rename(path)

    def append(self, record: Record) -> None:
        """Adds one record with one ``write(2)``.

        Raises:
            OSError: the disk is full; nothing of the record will be read back.
        """
        payload = _encoder.encode(record)
        frame = _HEADER.pack(len(payload), zlib.crc32(payload)) + payload
        before = os.lseek(self._descriptor, 0, os.SEEK_END)
        if os.write(self._descriptor, frame) != len(frame):
            os.ftruncate(self._descriptor, before)
            raise OSError(28, "the disk is full", str(self.path))

    def sync(self) -> None:
        """Puts everything that was appended onto the disk."""
        os.fdatasync(self._descriptor)

    def close(self) -> None:
        """Syncs and closes the file."""
        self.sync()
        os.close(self._descriptor)


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
        except BlockingIOError:
            yield False
            return
        yield path.exists()  # whoever had it before may have finished with it


def read_journal(path: Path, *, after: int = 0) -> Iterator[Record]:
    """The whole records of a journal with a greater ``seq`` than ``after``; a torn tail ends the reading."""
    data = path.read_bytes()
    position = 0
    while position + _HEADER.size <= len(data):
        length, checksum = _HEADER.unpack_from(data, position)
        payload = data[position + _HEADER.size : position + _HEADER.size + length]
        if len(payload) != length or zlib.crc32(payload) != checksum:
            return
        record = _decoder.decode(payload)
        if record.seq > after:
            yield record
        position += _HEADER.size + length
