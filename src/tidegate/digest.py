"""SHA-256 of bytes, files, folders and canonical JSON: the one notion of identity in Tidegate."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from threading import Lock
from typing import Any, TypeVar

import msgspec
import rfc8785

_Record = TypeVar("_Record")
_learning = Lock()


def of_bytes(data: bytes) -> str:
    """SHA-256 of ``data`` as 64 hexadecimal characters."""
    return hashlib.sha256(data).hexdigest()


def of_file(path: Path) -> str:
    """SHA-256 of a file's bytes, read in blocks; what ``sha256sum`` prints."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def of_tree(files: Iterable[tuple[str, str]]) -> str:
    """SHA-256 of a set of (relative path, digest) pairs, whatever their order."""
    lines = sorted(f"{digest}  {path}\n" for path, digest in files)
    return of_bytes("".join(lines).encode())


def canonical(value: Any) -> bytes:
    """Canonical JSON (RFC 8785) of a record or a plain value: equal values give equal bytes."""
    return rfc8785.dumps(msgspec.to_builtins(value))


def parsed(data: bytes, kind: type[_Record]) -> _Record:
    """The record that JSON says, whoever wrote it: the way back from ``canonical``.

    Raises:
        msgspec.MsgspecError: it says no such record; also where its texts are no UTF-8, or it is nested without end.
    """
    try:
        return _decoder(kind).decode(data)
    except (UnicodeDecodeError, RecursionError) as error:
        raise msgspec.DecodeError(str(error)) from None


@cache
def _decoder(kind: type[_Record]) -> msgspec.json.Decoder[_Record]:
    """Msgspec learns a record's fields when it is first decoded, and crashes the process if two threads let it do so at once."""
    with _learning:
        return msgspec.json.Decoder(kind)


def of_json(value: Any) -> str:
    """SHA-256 of the canonical JSON of a record or a plain value."""
    return of_bytes(canonical(value))


def short(digest: str) -> str:
    """The first twelve characters: enough for people, never for a comparison."""
    return digest[:12]
