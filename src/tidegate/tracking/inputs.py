"""What a run read, as a record: a snapshot, a file or folder, or a frame, each with its digest."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from tidegate import digest as digests
from tidegate import frames
from tidegate.errors import NotFoundError, UsageError
from tidegate.records.run import RunInput


class Referenced(Protocol):
    """A snapshot, as far as a run cares."""

    @property
    def ref(self) -> str:
        """``flights@3``."""
        ...

    @property
    def digest(self) -> str:
        """Of its content."""
        ...


FindSnapshot = Callable[[str], Referenced]


def run_input(source: Any, name: str, context: str, find_snapshot: FindSnapshot | None) -> RunInput:
    """The record of an input: ``flights-train@3`` or a snapshot, a path, a frame (then with a name), or such a record.

    The digest of a file is its SHA-256, that of a folder the tree's (``digest.of_tree``), that of a frame covers the names,
    types and values of its columns in their order.

    Raises:
        NotFoundError: no such snapshot or file.
        UsageError: a frame without a name.
        BadInputError: it is no frame either.
    """
    if isinstance(source, RunInput):
        return source
    tags = {"mlflow.data.context": context} if context else {}
    ref, digest = getattr(source, "ref", None), getattr(source, "digest", None)
    if isinstance(ref, str) and isinstance(digest, str):
        return RunInput(name=name or ref, digest=digest, source_type="snapshot", source=ref, tags=tags)
    if isinstance(source, str) and "@" in source and not Path(source).exists():
        if find_snapshot is None:
            raise UsageError(
                "no-snapshots", f"nobody knows the snapshot {source!r} here", fix="give the path of a file, or a frame"
            )
        found = find_snapshot(source)
        return RunInput(name=name or found.ref, digest=found.digest, source_type="snapshot", source=found.ref, tags=tags)
    if isinstance(source, str | Path):
        path = Path(source)
        if not path.exists():
            raise NotFoundError("input-not-found", f"no file {path}", fix="check the path; a snapshot is written like flights@3")
        return RunInput(
            name=name or path.name, digest=_digest_of(path), source_type="file", source=str(path.absolute()), tags=tags
        )
    if not name:
        raise UsageError("input-unnamed", "a frame needs a name", why="it has none of its own", fix='input(frame, name="train")')
    with frames.connect() as con:
        rows = frames.relation(con, source)
        schema = ", ".join(f"{column} {kind}" for column, kind in zip(rows.columns, rows.types, strict=True))
        return RunInput(name=name, digest=_frame_digest(rows, schema), source_type="frame", schema=schema, tags=tags)


def _digest_of(path: Path) -> str:
    if path.is_file():
        return digests.of_file(path)
    files = sorted(file for file in path.rglob("*") if file.is_file())
    return digests.of_tree((file.relative_to(path).as_posix(), digests.of_file(file)) for file in files)


def _frame_digest(rows: frames.Relation, schema: str) -> str:
    parts = [digests.of_bytes(schema.encode())]
    for values in frames.to_columns(rows).values():
        if values.dtype.kind == "O":
            parts.append(digests.of_bytes("\0".join(map(repr, values.tolist())).encode("utf-8", "surrogatepass")))
        else:
            parts.append(digests.of_bytes(values.tobytes()))
    return digests.of_bytes("\n".join(parts).encode())
