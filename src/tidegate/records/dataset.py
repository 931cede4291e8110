"""A snapshot: one immutable, hash-documented state of a dataset."""

from __future__ import annotations

import msgspec


class FileEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One file of a snapshot: its path inside it, size in bytes, and SHA-256."""

    path: str
    size: int
    digest: str


class ColumnProfile(msgspec.Struct, frozen=True, kw_only=True):
    """What one pass over a column tells. ``minimum`` and ``maximum`` are text, so that every type fits."""

    name: str
    type: str
    nulls: int
    distinct: int
    """Approximate (HyperLogLog)."""
    minimum: str = ""
    maximum: str = ""


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """The root document of a snapshot, kept at ``datasets/<name>/<number>/manifest.json``.

    ``digest`` covers paths and content only, so that equal data is equal whoever took it and when.
    ``rows`` and ``columns`` are None and empty for data that is no table.
    """

    name: str
    number: int
    digest: str
    files: list[FileEntry]
    created_at: int
    author: str = ""
    message: str = ""
    rows: int | None = None
    columns: list[ColumnProfile] = []
    contract: str = ""
    """Digest of the contract's object, empty if it was taken without one."""

    @property
    def size(self) -> int:
        """Bytes in all files."""
        return sum(entry.size for entry in self.files)

    @property
    def ref(self) -> str:
        """``flights@3``."""
        return f"{self.name}@{self.number}"
