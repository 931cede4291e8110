"""Identifiers that sort by time: 50 bits of microseconds, then 70 random bits, in Crockford's base 32."""

from __future__ import annotations

import secrets

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_RANDOM_BITS = 70


def new_id(now: int, random_bits: int | None = None) -> str:
    """A 24-character id. ``now`` is in microseconds UTC; ``random_bits`` is injected by tests only."""
    tail = secrets.randbits(_RANDOM_BITS) if random_bits is None else random_bits
    number = ((now & ((1 << 50) - 1)) << _RANDOM_BITS) | tail
    return "".join(_ALPHABET[(number >> shift) & 31] for shift in range(115, -1, -5))
