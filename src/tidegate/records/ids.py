"""Identifiers that sort by time: 50 bits of microseconds, then 70 random bits, in Crockford's base 32."""

from __future__ import annotations

import os

_ALPHABET = b"0123456789abcdefghjkmnpqrstvwxyz"
_OF_BYTE = _ALPHABET * 8
"""A character for every byte, each equally often: random bytes become random characters."""
_HEAD = 10
_TAIL = 14


def new_id(now: int, random_bits: int | None = None) -> str:
    """A 24-character id. ``now`` is in microseconds UTC; ``random_bits`` is injected by tests, and where ids are made of a content."""
    if random_bits is None:
        return _text(now, _HEAD) + os.urandom(_TAIL).translate(_OF_BYTE).decode()
    return _text(now, _HEAD) + _text(random_bits, _TAIL)


def new_ids(now: int, count: int) -> list[str]:
    """``count`` ids of the same time, in no order: cheaper than one by one."""
    head = _text(now, _HEAD)
    tails = os.urandom(_TAIL * count).translate(_OF_BYTE).decode()
    return [head + tails[place : place + _TAIL] for place in range(0, _TAIL * count, _TAIL)]


def _text(number: int, length: int) -> str:
    """The lowest 5 bits of ``number`` for each of ``length`` characters."""
    return bytes([_ALPHABET[(number >> shift) & 31] for shift in range(5 * length - 5, -1, -5)]).decode()
