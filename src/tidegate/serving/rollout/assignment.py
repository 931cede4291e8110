"""Which requests a candidate answers: by a hash of the request's key, so that a key stays with its model."""

from __future__ import annotations

from hashlib import blake2b

_POINTS = float(1 << 64)


def point_of(salt: str, key: str) -> float:
    """Where a key lies in [0, 1): the same for every process, uniform over keys, and independent between salts.

    It is the first 64 bits of BLAKE2b of the key, keyed with the salt (at most 64 bytes).
    """
    digest = blake2b(key.encode("utf-8", "surrogatepass"), key=salt.encode()[:64], digest_size=8).digest()
    return int.from_bytes(digest, "big") / _POINTS


def is_assigned(salt: str, key: str, share: float) -> bool:
    """Whether the candidate answers a key at a step with this share. A larger share only adds keys."""
    return point_of(salt, key) < share
