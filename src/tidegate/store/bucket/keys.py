"""Keys of a bucket, and what every bucket says about them."""

from __future__ import annotations

from tidegate.errors import ConflictError, IntegrityError, NotFoundError, UsageError

TEMPORARY = ".tmp"
"""A part of no key: where a folder keeps what is not complete."""
_LONGEST_KEY, _LONGEST_PART = 1024, 255
"""Bytes that S3 and file systems take."""


def check_key(key: str) -> list[str]:
    """The parts of a key.

    Raises:
        UsageError: it is no relative path, or it would leave the bucket.
    """
    parts = key.split("/")
    if not key or "\0" in key or any(part in {"", ".", "..", TEMPORARY} for part in parts) or _is_too_long(key, parts):
        why = f"a key is a relative path without . or .., of at most {_LONGEST_KEY} bytes and {_LONGEST_PART} in each part"
        raise UsageError("bad-key", f"{key[:200]!r} is no key of a bucket", why=why)
    return parts


def _is_too_long(key: str, parts: list[str]) -> bool:
    try:
        return len(key.encode()) > _LONGEST_KEY or any(len(part.encode()) > _LONGEST_PART for part in parts)
    except UnicodeEncodeError:  # half a surrogate pair
        return True


def no_such_key(key: str) -> NotFoundError:
    """The error for a key under which nothing is stored."""
    return NotFoundError("no-such-key", f"nothing is stored under {key}", fix="run tidegate store verify")


def changed_meanwhile(key: str, expected: str | None) -> ConflictError:
    """The error for a compare-and-swap whose key is in another state than ``expected`` (an etag; None: absent)."""
    return ConflictError(
        "moved-meanwhile",
        f"{key} was changed by somebody else meanwhile",
        why=f"its etag is no longer {expected}" if expected else "it exists already",
        fix="read it again and decide anew",
    )


def changed_while_read(key: str) -> IntegrityError:
    """The error for a file whose bytes are no longer those of the digest that was taken first."""
    return IntegrityError(
        "file-changed",
        f"a file changed while it was being stored under {key}",
        why="its bytes no longer match the digest taken first; nothing was stored",
        fix="stop what writes to it and try again",
    )
