"""Event files of TensorBoard: records with masked CRC-32C around protocol buffers.

Source: ``tensorflow/core/lib/io/record_writer.h``, ``tensorboard/compat/proto/event.proto`` and ``summary.proto`` of TensorBoard 2.21.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tidegate.tracking.importing.wire import FIXED32, FIXED64, Field, fields

_LENGTH = struct.Struct("<Q")
_CHECKSUM = struct.Struct("<I")
_LONGEST = 1 << 31
_DTYPES = {
    1: "<f4", 2: "<f8", 3: "<i4", 4: "u1", 5: "<i2", 6: "i1", 9: "<i8", 10: "?", 17: "<u2", 19: "<f2", 22: "<u4", 23: "<u8",
}  # fmt: skip


def _table() -> list[int]:
    table: list[int] = []
    for byte in range(256):
        value = byte
        for _ in range(8):
            value = (value >> 1) ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    return table


_TABLE = _table()


def crc32c(data: bytes) -> int:
    """The CRC-32C (Castagnoli) of bytes."""
    value = 0xFFFFFFFF
    for byte in data:
        value = _TABLE[(value ^ byte) & 0xFF] ^ (value >> 8)
    return value ^ 0xFFFFFFFF


def masked(checksum: int) -> int:
    """A checksum as the format stores it, so that a record of records has none that fits by chance."""
    return (((checksum >> 15) | (checksum << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def read_records(path: Path) -> Iterator[bytes | str]:
    """The records of an event file up to the first that cannot be read; then a sentence says where and why."""
    with path.open("rb") as file:
        while head := file.read(12):
            place = file.tell() - len(head)
            if len(head) < 12:
                yield f"from byte {place:,}: the file ends within a record"
                return
            size = _LENGTH.unpack_from(head)[0]
            if _CHECKSUM.unpack_from(head, 8)[0] != masked(crc32c(head[:8])) or size > _LONGEST:
                yield f"from byte {place:,}: the length of a record has a wrong checksum"
                return
            data, tail = file.read(size), file.read(4)
            if len(data) < size or len(tail) < 4:
                yield f"from byte {place:,}: the file ends within a record"
                return
            if _CHECKSUM.unpack(tail)[0] == masked(crc32c(data)):
                yield data
            else:
                yield f"at byte {place:,}: a record of {size:,} bytes has a wrong checksum"


class Event(NamedTuple):
    """One event: seconds since 1970, step, the values of its summary, and other content by its field number."""

    wall_time: float
    step: int
    values: list[bytes]
    others: list[Field]


def parse_event(data: bytes) -> Event:
    """An event.

    Raises:
        ValueError: the bytes are none.
    """
    wall_time, step, values, others = 0.0, 0, list[bytes](), list[Field]()
    for field in fields(data):
        if field.number == 1:
            wall_time = field.number64
        elif field.number == 2:
            step = field.whole
        elif field.number == 5:
            values += [item.data for item in fields(field.data) if item.number == 1]
        else:
            others.append(field)
    return Event(wall_time, step, values, others)


class Value(NamedTuple):
    """One value of a summary: its tag, the plugin that shows it, and its content by field number."""

    tag: str
    plugin: str
    plugin_data: bytes
    content: dict[int, Field]


def parse_value(data: bytes) -> Value:
    """A value of a summary.

    Raises:
        ValueError: the bytes are none.
    """
    tag = plugin = ""
    plugin_data = b""
    content: dict[int, Field] = {}
    for field in fields(data):
        if field.number == 1:
            tag = field.text
        elif field.number == 9:
            for item in fields(field.data):
                if item.number == 1:
                    parts = {inner.number: inner for inner in fields(item.data)}
                    plugin = parts[1].text if 1 in parts else ""
                    plugin_data = parts[2].data if 2 in parts else b""
        elif field.number != 7:
            content[field.number] = field
    return Value(tag, plugin, plugin_data, content)


class Tensor(NamedTuple):
    """A tensor's shape, its numbers (None where it has none that are known here), and its byte strings."""

    shape: list[int]
    numbers: Any
    strings: list[bytes]


def parse_tensor(data: bytes) -> Tensor:
    """A ``TensorProto``.

    Raises:
        ValueError: the bytes are none.
    """
    kind, shape, strings, packed, content = 0, list[int](), list[bytes](), b"", b""
    whole: list[int] = []
    for field in fields(data):
        if field.number == 1:
            kind = field.whole
        elif field.number == 2:
            sizes = [item.data for item in fields(field.data) if item.number == 2]
            shape = [next((part.whole for part in fields(size) if part.number == 1), 0) for size in sizes]
        elif field.number == 4:
            content = field.data
        elif field.number == 8:
            strings.append(field.data)
        elif field.number in {5, 6}:
            packed += field.data
        elif field.kind == 0 and field.number in {7, 10, 11, 16, 17}:
            whole.append(field.whole)
    numbers: Any = None
    if kind in _DTYPES and content:
        numbers = np.frombuffer(content, _DTYPES[kind])
    elif packed and kind in {1, 2}:
        numbers = np.frombuffer(packed, _DTYPES[kind])
    elif whole:
        numbers = np.array(whole)
    return Tensor(shape, numbers, strings)


def doubles(field: Field) -> list[float]:
    """The numbers of a packed or single repeated double."""
    if field.kind in {FIXED64, FIXED32}:
        return [field.number64]
    return np.frombuffer(field.data, "<f8").tolist()
