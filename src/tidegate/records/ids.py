"""Identifiers that sort by time: 50 bits of microseconds, then 70 random bits, in Crockford's base 32."""

from __future__ import annotations

import os
import secrets

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_PAIRS = [one + two for one in _ALPHABET for two in _ALPHABET]
_RANDOM_BITS = 70


def new_id(now: int, random_bits: int | None = None) -> str:
    """A 24-character id. ``now`` is in microseconds UTC; ``random_bits`` is injected by tests only."""
    tail = secrets.randbits(_RANDOM_BITS) if random_bits is None else random_bits
    number = ((now & ((1 << 50) - 1)) << _RANDOM_BITS) | tail
    return "".join([_PAIRS[(number >> shift) & 1023] for shift in range(110, -1, -10)])


def new_ids(now: int, count: int) -> list[str]:
    """``count`` ids of the same time, in no order: cheaper than one by one."""
    head = (now & ((1 << 50) - 1)) << _RANDOM_BITS
    start = "".join([_PAIRS[(head >> shift) & 1023] for shift in range(110, 69, -10)])
    noise = os.urandom(9 * count)
    ids: list[str] = []
    for place in range(0, 9 * count, 9):
        tail = int.from_bytes(noise[place : place + 9])
        ids.append(start + "".join([_PAIRS[(tail >> shift) & 1023] for shift in range(60, -1, -10)]))
    return ids
