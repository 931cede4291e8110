"""Packed stretches of a metric series: columns to bytes and back, without losing a bit.

Steps and times are kept as differences less the smallest one, in as few bytes as the widest needs; regular ones need none.
Values that are exact in 32 bits take four bytes instead of eight, times in whole milliseconds are kept as such. The bytes are
shuffled into planes (all first bytes, all second bytes, ...) and a plane that gets smaller by it is deflated. The sign bit and
the payload of a NaN are the only thing that is not kept. The layout, little-endian:

    u8 version | u8 flags | u32 points | u32 CRC-32 of everything else
    steps: i64 first, u64 least difference, u8 width | times: the same
    for each plane of steps, times and values: u32 length (0: one repeated byte follows; points: as it is; else deflated), bytes

SOURCE: the shuffle of Blosc and HDF5. Gorilla's XOR (Pelkonen et al., VLDB 2015) gains nothing on noisy values.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tidegate.errors import IntegrityError

VERSION = 1
_FLOAT32, _MILLISECONDS = 1, 2
_HEAD = struct.Struct("<BBII")
_SPAN = struct.Struct("<QQB")
_LENGTH = struct.Struct("<I")


class Columns(NamedTuple):
    """Points as columns of equal length: steps and times (microseconds UTC), both int64, and values (float64)."""

    steps: NDArray[np.int64]
    times: NDArray[np.int64]
    values: NDArray[np.float64]

    def part(self, which: slice | NDArray[np.bool_]) -> Columns:
        """Some of the points."""
        return Columns(self.steps[which], self.times[which], self.values[which])


class Header(NamedTuple):
    """What a curve can be drawn from without unpacking. Least, greatest and sum leave NaN out; None where all values are NaN.

    ``last`` is the value of the greatest (step, time, value); ``first_at`` and ``last_at`` are the least and greatest time.
    """

    points: int
    nans: int
    first_step: int
    last_step: int
    first_at: int
    last_at: int
    min: float | None
    max: float | None
    last: float | None
    sum: float | None


def ordered(columns: Columns) -> Columns:
    """The same points by step, time and value (NaN after all numbers, -0.0 before 0.0), exactly the same ones once."""
    steps, times, values = columns
    if len(steps) < 2:
        return columns
    later, same = steps[1:] > steps[:-1], steps[1:] == steps[:-1]
    if (later | (same & (times[1:] > times[:-1]))).all():
        return columns
    ranks = _ranks(values)
    order = np.lexsort((ranks, times, steps))
    steps, times, values, ranks = steps[order], times[order], values[order], ranks[order]
    fresh = np.ones(len(steps), bool)
    fresh[1:] = (steps[1:] != steps[:-1]) | (times[1:] != times[:-1]) | (ranks[1:] != ranks[:-1])
    return Columns(steps[fresh], times[fresh], values[fresh])


def _ranks(values: NDArray[np.float64]) -> NDArray[np.int64]:
    """Whole numbers in the order of the floats: every NaN the same and greatest."""
    bits = np.where(np.isnan(values), np.float64("nan"), values).view(np.int64)
    return bits ^ ((bits >> 63) & np.int64(0x7FFF_FFFF_FFFF_FFFF))


def split(columns: Columns, size: int) -> list[Columns]:
    """Ordered points in stretches of about ``size``; fewer than that stay together."""
    count = max(round(len(columns.steps) / size), 1)
    edges = [len(columns.steps) * number // count for number in range(count + 1)]
    return [columns.part(slice(low, high)) for low, high in pairwise(edges)]


def header(columns: Columns) -> Header:
    """The header of ordered points, of which there must be one at least."""
    steps, times, values = columns
    numbers = values[~np.isnan(values)]
    last = float(values[-1])
    with np.errstate(over="ignore", invalid="ignore"):  # an infinite sum is a sum; that of both infinities is none
        total = float(numbers.sum()) if len(numbers) else None
    return Header(
        points=len(values),
        nans=len(values) - len(numbers),
        first_step=int(steps[0]),
        last_step=int(steps[-1]),
        first_at=int(times.min()),
        last_at=int(times.max()),
        min=float(numbers.min()) if len(numbers) else None,
        max=float(numbers.max()) if len(numbers) else None,
        last=last if last == last else None,  # noqa: PLR0124 - NaN is stored as NULL
        sum=total if total == total else None,  # noqa: PLR0124
    )


def encode(columns: Columns) -> bytes:
    """Packs points in their given order."""
    flags = 0
    times = columns.times
    if not (times % 1000).any():
        flags |= _MILLISECONDS
        times = times // 1000
    values: NDArray[Any] = columns.values
    with np.errstate(over="ignore", invalid="ignore"):
        short = values.astype("<f4")
    if ((short.astype(np.float64) == values) | np.isnan(values)).all():
        flags |= _FLOAT32
        values = short
    body = bytearray()
    planes: list[NDArray[np.uint8]] = []
    for column in (columns.steps, times):
        packed = _differences(column)
        body += packed[0]
        planes += packed[1]
    for plane in [*planes, *_shuffled(values.astype(values.dtype.newbyteorder("<")), values.itemsize)]:
        body += _packed_plane(plane)
    prefix = struct.pack("<BBI", VERSION, flags, len(columns.steps))
    return _HEAD.pack(VERSION, flags, len(columns.steps), zlib.crc32(body, zlib.crc32(prefix))) + body


def _differences(column: NDArray[np.int64]) -> tuple[bytes, list[NDArray[np.uint8]]]:
    steps = np.diff(column.view(np.uint64)).view(np.int64)  # differences wrap around, and so do the sums that undo them
    least = steps.min() if len(steps) else np.int64(0)
    above = steps.view(np.uint64) - least.view(np.uint64)
    width = (int(above.max()).bit_length() + 7) // 8 if len(above) else 0
    head = _SPAN.pack(int(column[0].view(np.uint64)), int(least.view(np.uint64)), width)
    return head, _shuffled(above.astype("<u8"), width)


def _shuffled(column: NDArray[Any], width: int) -> list[NDArray[np.uint8]]:
    bytewise = column.view(np.uint8).reshape(len(column), column.itemsize)
    return [np.ascontiguousarray(bytewise[:, place]) for place in range(width)]


def _packed_plane(plane: NDArray[np.uint8]) -> bytes:
    raw = plane.tobytes()
    if not raw:
        return b""
    if raw.count(raw[0]) == len(raw):
        return _LENGTH.pack(0) + raw[:1]
    deflated = zlib.compress(raw, 1, -15)
    smaller = deflated if len(deflated) < len(raw) else raw
    return _LENGTH.pack(len(smaller)) + smaller


def decode(data: bytes) -> Columns:
    """The points of a packed stretch.

    Raises:
        IntegrityError: the bytes are not what was packed, or a newer Tidegate packed them.
    """
    if len(data) < _HEAD.size:
        raise _damaged(f"{len(data)} bytes are too few")
    version, flags, points, checksum = _HEAD.unpack_from(data)
    if version != VERSION:
        raise _damaged(f"its format is version {version}, and this Tidegate reads version {VERSION}")
    if zlib.crc32(data[_HEAD.size :], zlib.crc32(data[:6])) != checksum:
        raise _damaged("its checksum is another one")
    try:
        return _unpacked(memoryview(data)[_HEAD.size :], flags, points)
    except (struct.error, ValueError, IndexError, zlib.error) as error:
        raise _damaged(str(error)) from None


def _unpacked(body: memoryview, flags: int, points: int) -> Columns:
    place = 0

    def plane(length: int) -> NDArray[np.uint8] | np.uint8:
        nonlocal place
        if not length:
            return np.uint8(0)
        (size,) = _LENGTH.unpack_from(body, place)
        raw = body[place + 4 : place + 4 + (size or 1)]
        place += 4 + (size or 1)
        if size == 0:
            return np.uint8(raw[0])
        return np.frombuffer(raw if size == length else zlib.decompress(raw, -15), np.uint8)

    spans = [_SPAN.unpack_from(body, start) for start in (0, _SPAN.size)]
    place = 2 * _SPAN.size
    steps, times = (_summed(span, points, plane) for span in spans)
    if flags & _MILLISECONDS:
        times = times * 1000
    kind = np.dtype("<f4" if flags & _FLOAT32 else "<f8")
    values = _unshuffled(points, kind.itemsize, kind.itemsize, plane).view(kind)[:, 0].astype(np.float64)
    return Columns(steps, times, values)


_Plane = Callable[[int], "NDArray[np.uint8] | np.uint8"]


def _summed(span: tuple[int, int, int], points: int, plane: _Plane) -> NDArray[np.int64]:
    first, least, width = span
    column = np.empty(points, np.uint64)
    column[0] = first
    column[1:] = _unshuffled(points - 1, width, 8, plane).view("<u8")[:, 0]
    column[1:] += np.uint64(least)
    return np.cumsum(column, dtype=np.uint64).view(np.int64)


def _unshuffled(length: int, width: int, size: int, plane: _Plane) -> NDArray[np.uint8]:
    bytewise = np.zeros((length, size), np.uint8)
    for place in range(width):
        bytewise[:, place] = plane(length)
    return bytewise


def raw(columns: Columns) -> bytes:
    """Points as they are, one after the other in 24 bytes each: for a few of them. Raw bytes may be cut and joined."""
    return np.stack((columns.steps, columns.times, columns.values.view(np.int64)), axis=1).astype("<i8", copy=False).tobytes()


RAW_SIZE = 24
"""The bytes that ``raw`` takes for a point."""


def from_raw(data: bytes) -> Columns:
    """The points of ``raw``.

    Raises:
        IntegrityError: a length that no points have.
    """
    if len(data) % RAW_SIZE:
        raise _damaged(f"{len(data)} bytes are no whole points")
    table = np.ascontiguousarray(np.frombuffer(data, "<i8").reshape(-1, 3).T, np.int64)
    return Columns(table[0], table[1], table[2].view(np.float64))


def joined(parts: list[Columns]) -> Columns:
    """Columns one after the other."""
    if len(parts) == 1:
        return parts[0]
    if not parts:
        return Columns(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float64))
    return Columns(
        np.concatenate([part.steps for part in parts]),
        np.concatenate([part.times for part in parts]),
        np.concatenate([part.values for part in parts]),
    )


def _damaged(why: str) -> IntegrityError:
    return IntegrityError(
        "series-damaged",
        "a packed stretch of a metric series cannot be read",
        why=why,
        fix="restore the metadata database from a backup, or upgrade if a newer Tidegate wrote it",
    )
