"""The log of a W&B run: blocks of 32 KiB with checked pieces, as LevelDB writes them, after seven bytes of its own.

Source: ``core/internal/transactionlog`` of wandb 0.31, https://github.com/google/leveldb/blob/main/doc/log_format.md.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

from tidegate.errors import UsageError

_IDENT = struct.Struct("<4sHB")
_MARK, _MAGIC = b":W&B", 0xBEE1
_BLOCK = 32 * 1024
_PIECE = struct.Struct("<IHB")
_FULL, _FIRST, _MIDDLE, _LAST = 1, 2, 3, 4


def is_log(path: Path) -> bool:
    """Whether a file begins like a log of W&B."""
    with path.open("rb") as file:
        return file.read(4) == _MARK


def read_log(path: Path) -> Iterator[bytes | str]:
    """The records of a log, and a sentence for each stretch that cannot be read; what follows it is found again.

    Raises:
        UsageError: the file is no log of W&B.
    """
    data = path.read_bytes()
    if len(data) < _IDENT.size or _IDENT.unpack_from(data)[:2] != (_MARK, _MAGIC):
        raise UsageError(
            "nothing-to-import", f"{path} is no log of W&B", why="it begins otherwise", fix="name a run-*.wandb file"
        )
    place, record, open_ = _IDENT.size, b"", False
    while place < len(data):
        room = _BLOCK - place % _BLOCK
        if room < _PIECE.size:
            place += room
            continue
        torn = _torn(data, place, room)
        if torn:
            yield f"bytes {place:,} to {min(place + room, len(data)):,}: {torn}"
            place, record, open_ = place + room, b"", False
            continue
        _, size, kind = _PIECE.unpack_from(data, place)
        piece = data[place + _PIECE.size : place + _PIECE.size + size]
        place += _PIECE.size + size
        if kind in {_FULL, _FIRST}:
            if open_:
                yield f"the record before byte {place:,} has no end"
            record, open_ = piece, kind == _FIRST
        elif open_:
            record, open_ = record + piece, kind == _MIDDLE
        else:
            continue  # the rest of a record whose beginning could not be read, which was said
        if kind in {_FULL, _LAST}:
            yield record
    if open_:
        yield "the last record has no end"


def _torn(data: bytes, place: int, room: int) -> str:
    """Why the piece at ``place`` cannot be read; empty if it can."""
    if place + _PIECE.size > len(data):
        return "the file ends within a record"
    checksum, size, kind = _PIECE.unpack_from(data, place)
    if kind not in {_FULL, _FIRST, _MIDDLE, _LAST} or _PIECE.size + size > room:
        return "it is no record"
    if place + _PIECE.size + size > len(data):
        return "the file ends within a record"
    found = zlib.crc32(data[place + _PIECE.size - 1 : place + _PIECE.size + size])
    return "" if found == checksum else "its checksum is wrong"
