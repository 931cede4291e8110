"""Protocol buffers without a schema. Source: https://protobuf.dev/programming-guides/encoding/."""

from __future__ import annotations

import base64
import struct
from collections.abc import Iterator
from typing import Any, NamedTuple

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
_MAX_DEPTH = 20


class WireError(ValueError):
    """The bytes are no message."""


class Field(NamedTuple):
    """One field of a message: its number, how it is encoded, and its value (a whole number, or bytes)."""

    number: int
    kind: int
    value: int | bytes

    @property
    def data(self) -> bytes:
        """The bytes of a text or message; of another field none."""
        return self.value if isinstance(self.value, bytes) else b""

    @property
    def text(self) -> str:
        """The text; what is no UTF-8 in it is replaced."""
        return self.data.decode("utf-8", "replace")

    @property
    def whole(self) -> int:
        """A signed whole number; of another field 0."""
        if not isinstance(self.value, int):
            return 0
        return self.value - (1 << 64) if self.value >= 1 << 63 else self.value

    @property
    def number64(self) -> float:
        """A double; of another field 0."""
        return struct.unpack("<d", self.data)[0] if self.kind == FIXED64 else 0.0

    @property
    def number32(self) -> float:
        """A float; of another field 0."""
        return struct.unpack("<f", self.data)[0] if self.kind == FIXED32 else 0.0


def fields(data: bytes) -> Iterator[Field]:
    """The fields of a message in their order. Fixed numbers are given as their bytes.

    Raises:
        WireError: the bytes are no message.
    """
    place = 0
    while place < len(data):
        key, place = varint(data, place)
        number, kind = key >> 3, key & 7
        if number == 0:
            raise WireError("a field without a number")
        if kind == VARINT:
            value, place = varint(data, place)
            yield Field(number, kind, value)
            continue
        if kind == BYTES:
            size, place = varint(data, place)
        elif kind in {FIXED64, FIXED32}:
            size = 8 if kind == FIXED64 else 4
        else:
            raise WireError(f"an unknown encoding {kind}")
        if place + size > len(data):
            raise WireError("a field is longer than its message")
        yield Field(number, kind, data[place : place + size])
        place += size


def varint(data: bytes, place: int) -> tuple[int, int]:
    """A number of 64 bits at ``place``, and the place behind it.

    Raises:
        WireError: it has no end.
    """
    value = shift = 0
    while place < len(data) and shift < 70:
        byte = data[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFF_FFFF_FFFF_FFFF, place
        shift += 7
    raise WireError("a number without an end")


def outline(data: bytes, depth: int = 0) -> Any:
    """A message of which nobody knows the fields, as JSON: field numbers to texts, numbers, messages, or bytes in base 64."""
    try:
        found = list(fields(data)) if depth < _MAX_DEPTH else None
    except WireError:
        found = None
    if found is None:
        return _shown(data)
    tree: dict[str, list[Any]] = {}
    for field in found:
        tree.setdefault(str(field.number), []).append(_value(field, depth))
    return tree


def _value(field: Field, depth: int) -> Any:
    if isinstance(field.value, int):
        return field.whole
    if field.kind == FIXED64:
        return {"bytes": field.data.hex()}
    text = _text(field.data)
    return text if text is not None else outline(field.data, depth + 1)


def _shown(data: bytes) -> Any:
    text = _text(data)
    return text if text is not None else {"base64": base64.b64encode(data).decode()}


def _text(data: bytes) -> str | None:
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return None
    return text if all(letter.isprintable() or letter in "\n\r\t" for letter in text) else None
