"""Datasets: named series of immutable snapshots, told by their content.

Bytes are stored once under their SHA-256; a snapshot is the small document that names them. It is written last and only if
its number is free, so that a snapshot either stands whole or does not exist. The user's files are read, never touched.
"""

from __future__ import annotations

import atexit
import errno
import os
import shutil
import tempfile
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

import duckdb
import msgspec

from tidegate import digest, frames
from tidegate.clock import Clock
from tidegate.data.check import check_rows, enforce
from tidegate.data.contract import Contract, load_contract, parse_contract
from tidegate.data.table import is_table, is_text, profile, read_table, stage_table
from tidegate.errors import (
    BadInputError,
    ConflictError,
    IntegrityError,
    NotFoundError,
    TidegateError,
    UnavailableError,
    UsageError,
)
from tidegate.frames import Connection, Relation
from tidegate.records.dataset import ColumnProfile, FileEntry, Snapshot
from tidegate.records.names import check_name, nearest, parse_reference
from tidegate.store.objects import fetch_object, put_object
from tidegate.store.ports import Bucket, Catalog, CatalogEntry

KIND = "dataset"
_ROOT = "datasets"
_MANIFEST = "manifest.json"
_FRAME = "data.parquet"

Progress = Callable[[int, int], None]


def manifest_key(name: str, number: int) -> str:
    """Where a snapshot's document stands in the bucket."""
    return f"{_ROOT}/{name}/{number:08d}/{_MANIFEST}"


def catalog_entry(snapshot: Snapshot) -> CatalogEntry:
    """The row of the index for a snapshot."""
    summary = {
        "files": len(snapshot.files),
        "bytes": snapshot.size,
        "rows": snapshot.rows,
        "columns": len(snapshot.columns),
        "author": snapshot.author,
        "message": snapshot.message,
        "contract": snapshot.contract,
    }
    key = manifest_key(snapshot.name, snapshot.number)
    return CatalogEntry(KIND, snapshot.name, snapshot.number, key, snapshot.digest, snapshot.created_at, summary)


class Datasets:
    """Takes, reads, verifies and restores snapshots. Safe to use from several threads and processes at once."""

    def __init__(self, bucket: Bucket, catalog: Catalog, clock: Clock, author: str = "") -> None:
        self._bucket = bucket
        self._catalog = catalog
        self._clock = clock
        self._author = author
        self._named: Path | None = None

    def snapshot(
        self,
        source: Any,
        name: str,
        *,
        contract: Contract | str | Path | None = None,
        message: str = "",
        progress: Progress | None = None,
    ) -> Snapshot:
        """Stores a file, a folder or a frame as the next snapshot of ``name``.

        A frame (see ``frames.relation``) becomes one Parquet file, its rows in their order. A folder is taken with all its
        files; links in it are refused, because what they point to may change. ``contract`` is a contract or its file; the
        table is checked before anything is stored. Where content and contract are those of the latest snapshot, that one is
        returned and nothing is written. ``progress`` is called with (bytes stored, bytes in all).

        Raises:
            ContractError: the table breaks the contract; nothing was stored.
            NotFoundError: no file or folder at the path.
            BadInputError: it is empty, cannot be read, or holds links.
            IntegrityError: a file changed while it was being stored.
            UnavailableError: the disk is full; there is no new snapshot, and the source is untouched.
        """
        check_name(name, "dataset")
        declared = load_contract(Path(contract)) if isinstance(contract, (str, Path)) else contract
        if isinstance(source, (str, Path)):
            return self._snapshot_path(Path(source), name, declared, message, progress)
        with _disk_errors(), tempfile.TemporaryDirectory(prefix="tidegate-") as folder, frames.connect() as con:
            path = Path(folder, _FRAME)
            rows = frames.relation(con, source)
            try:
                frames.write_parquet(rows, path)
            except duckdb.IOException:
                raise
            except duckdb.Error as error:
                raise BadInputError(
                    "unreadable-frame",
                    "the frame cannot be read to its end",
                    why=str(error).split("\n", maxsplit=1)[0],
                    fix="check what computes it",
                ) from None
            return self._snapshot_path(path, name, declared, message, progress)

    def get(self, ref: str) -> Snapshot:
        """The snapshot ``name@3``, ``name@latest`` or ``name`` (the latest), read from the bucket.

        Raises:
            UsageError: ``ref`` names no snapshot.
            NotFoundError: there is none.
            IntegrityError: its document was changed.
        """
        reference = parse_reference(ref, "dataset")
        if reference.version not in {"", "latest"} and reference.number is None:
            raise UsageError(
                "bad-reference",
                f"{ref!r} names no snapshot",
                why="snapshots have numbers",
                fix=f"write {reference.name}@3 or {reference.name}@latest",
            )
        numbers = self._numbers(reference.name)
        number = reference.number if reference.number is not None else max(numbers, default=0)
        if number not in numbers:
            raise self._not_found(reference.name, number, numbers)
        return self._load(reference.name, number)

    def list(self, name: str = "") -> list[Snapshot]:
        """All snapshots, or those of one dataset, newest first."""
        names = [name] if name else self.names()
        found = [self._load(each, number) for each in names for number in self._numbers(each)]
        return sorted(found, key=lambda snapshot: (-snapshot.created_at, snapshot.name, -snapshot.number))

    def names(self) -> list[str]:
        """The names of all datasets, sorted."""
        return sorted({key.split("/")[1] for key in self._bucket.keys(f"{_ROOT}/")})

    def path(self, snapshot: Snapshot) -> Path:
        """A local, verified Parquet or CSV file with the snapshot's table; to be read and left alone.

        It lives until this process ends.

        Raises:
            BadInputError: the snapshot is no single table.
            IntegrityError: its bytes were changed.
        """
        entry = _table_of(snapshot)
        stored = fetch_object(self._bucket, entry.digest)
        link = self._names_folder() / entry.digest / PurePosixPath(entry.path).name
        link.parent.mkdir(exist_ok=True)
        if not link.exists():
            with tempfile.TemporaryDirectory(dir=link.parent) as folder:
                fresh = Path(folder, link.name)
                fresh.symlink_to(stored.resolve())
                fresh.replace(link)
        return link

    def read(self, con: Connection, snapshot: Snapshot) -> Relation:
        """The snapshot's rows on ``con``, after its bytes were verified. CSV columns that the contract calls strings are text.

        Raises:
            BadInputError: the snapshot is no single table.
            IntegrityError: its bytes were changed.
        """
        path = self.path(snapshot)
        contract = self.contract(snapshot) if is_text(path) else None
        return read_table(con, path, text_columns=contract.text_columns if contract else ())

    def contract(self, snapshot: Snapshot) -> Contract | None:
        """The contract that the snapshot was checked against, or None."""
        if not snapshot.contract:
            return None
        text = fetch_object(self._bucket, snapshot.contract).read_text(encoding="utf-8")
        return parse_contract(text, where=f"the contract of {snapshot.ref}")

    def restore(self, snapshot: Snapshot, target: Path, *, progress: Progress | None = None) -> None:
        """Writes the snapshot's files into the folder ``target``, each verified. Equal files there are left as they are.

        ``progress`` is called with (bytes restored, bytes in all).

        Raises:
            ConflictError: a file with other content stands in the way; nothing was written.
            IntegrityError: stored bytes were changed, or an entry would leave the folder.
        """
        wanted = [(entry, target / _inside(entry.path)) for entry in snapshot.files]
        for entry, place in wanted:
            if place.is_symlink() or (place.exists() and not (place.is_file() and digest.of_file(place) == entry.digest)):
                raise ConflictError(
                    "restore-would-overwrite",
                    f"{place} is there with other content",
                    why="restoring never overwrites a file",
                    fix="choose an empty folder, or move the file away",
                )
        with _disk_errors("files restored so far are whole; run it again for the rest"):
            done = 0
            for entry, place in wanted:
                if not place.exists():
                    told = _after(done, snapshot.size, progress)
                    _copy_synced(fetch_object(self._bucket, entry.digest, progress=told), place)
                done += entry.size
                if progress:
                    progress(done, snapshot.size)

    def verify(self, snapshot: Snapshot) -> list[str]:
        """Hashes every file of the snapshot again; one sentence per file that is changed or missing, empty if all is well."""
        problems: list[str] = []
        wanted = [(entry.path, entry.digest) for entry in snapshot.files]
        if snapshot.contract:
            wanted.append(("contract", snapshot.contract))
        for path, wanted_digest in wanted:
            try:
                fetch_object(self._bucket, wanted_digest)
            except (NotFoundError, IntegrityError) as error:
                problems.append(f"{snapshot.ref}: {path}: {error.what}")
        return problems

    def reindex(self) -> int:
        """Puts every snapshot of the bucket into the catalog; returns how many there are."""
        snapshots = self.list()
        for snapshot in snapshots:
            self._catalog.put(catalog_entry(snapshot))
        return len(snapshots)

    # ---- taking -----------------------------------------------------------------------------------------------------

    def _snapshot_path(
        self, source: Path, name: str, contract: Contract | None, message: str, progress: Progress | None
    ) -> Snapshot:
        files = _walk(source)
        single = files[0][1] if not source.is_dir() else None
        rows, columns = None, list[ColumnProfile]()
        entries = [FileEntry(path=path, size=file.stat().st_size, digest=_hash(file)) for path, file in files]
        if single is not None and is_table(single):
            rows, columns = _checked_profile(single, contract, where=str(source))
        elif contract is not None:
            raise BadInputError(
                "contract-needs-table",
                f"{source} is no table, so no contract can be checked",
                why="contracts are for one Parquet or CSV file",
                fix="snapshot the file itself, or leave the contract out",
            )
        with _disk_errors():
            done, total = 0, sum(entry.size for entry in entries)
            for (_, file), entry in zip(files, entries, strict=True):
                if put_object(self._bucket, file, progress=_after(done, total, progress)) != entry.digest:
                    raise IntegrityError(
                        "file-changed",
                        f"{file} changed while it was being stored",
                        why="its bytes are not those that were checked",
                        fix="stop what writes to it and try again",
                    )
                done += entry.size
                if progress:
                    progress(done, total)
            stored_contract = put_object(self._bucket, contract.text.encode()) if contract else ""
            draft = Snapshot(
                name=name,
                number=1,
                digest=digest.of_tree((entry.path, entry.digest) for entry in entries),
                files=entries,
                created_at=self._clock.now(),
                author=self._author,
                message=message,
                rows=rows,
                columns=columns,
                contract=stored_contract,
            )
            return self._publish(draft)

    def _publish(self, draft: Snapshot) -> Snapshot:
        """Gives the draft the next free number, unless the latest snapshot is the same."""
        while True:
            latest = max(self._numbers(draft.name), default=0)
            if latest:
                present = self._load(draft.name, latest)
                if (present.digest, present.contract) == (draft.digest, draft.contract):
                    self._catalog.put(catalog_entry(present))
                    return present
            snapshot = msgspec.structs.replace(draft, number=latest + 1)
            if self._bucket.put_if_absent(manifest_key(snapshot.name, snapshot.number), _encode(snapshot)):
                self._catalog.put(catalog_entry(snapshot))
                return snapshot

    # ---- finding ----------------------------------------------------------------------------------------------------

    def _numbers(self, name: str) -> list[int]:
        keys = (key.split("/") for key in self._bucket.keys(f"{_ROOT}/{name}/"))
        return sorted(int(parts[2]) for parts in keys if len(parts) == 4 and parts[3] == _MANIFEST and parts[2].isdigit())

    def _load(self, name: str, number: int) -> Snapshot:
        blob = self._bucket.find(manifest_key(name, number))
        if blob is None:
            raise self._not_found(name, number, self._numbers(name))
        try:
            snapshot = digest.parsed(blob.data, Snapshot)
        except msgspec.MsgspecError as error:
            raise _changed(name, number, str(error)) from None
        told = digest.of_tree((entry.path, entry.digest) for entry in snapshot.files)
        if (snapshot.name, snapshot.number, snapshot.digest) != (name, number, told):
            raise _changed(name, number, "its own name, number or digest does not fit what it lists")
        return snapshot

    def _not_found(self, name: str, number: int, numbers: list[int]) -> NotFoundError:
        if not numbers:
            return NotFoundError(
                "dataset-not-found",
                f"no dataset {name}",
                why="" if self.names() else "the store holds none yet",
                fix=nearest(name, self.names()) if self.names() else f"take one: tidegate data snapshot SOURCE {name}",
            )
        return NotFoundError(
            "snapshot-not-found",
            f"no snapshot {name}@{number}",
            why=f"{name} has the numbers {numbers[0]} to {numbers[-1]}",
            fix=f"tidegate data list {name}",
        )

    def _names_folder(self) -> Path:
        """Objects have no suffix, readers go by suffix: here links lend each object its file's name."""
        if self._named is None:
            self._named = Path(tempfile.mkdtemp(prefix="tidegate-"))
            atexit.register(shutil.rmtree, self._named, ignore_errors=True)
        return self._named


def _after(done: int, total: int, progress: Progress | None) -> Callable[[int], None]:
    """Counts the bytes of one file on top of the ``done`` bytes of those before it; bytes sent again do not count twice."""
    moved = 0

    def tell(count: int) -> None:
        nonlocal moved
        moved += count
        if progress:
            progress(min(done + moved, total), total)

    return tell


def _checked_profile(path: Path, contract: Contract | None, *, where: str) -> tuple[int, list[ColumnProfile]]:
    with frames.connect() as con:
        table = stage_table(con, path, text_columns=contract.text_columns if contract else ())
        if contract is not None:
            enforce(check_rows(table, contract, text=is_text(path), where=where), contract, where=where)
        return profile(table, where=where)


def _walk(source: Path) -> list[tuple[str, Path]]:
    """(path in the snapshot, file) of a file or of all files below a folder, sorted by path."""
    if not source.exists():
        raise NotFoundError("source-not-found", f"nothing is at {source}", fix="check the path")
    if source.is_file():
        return [(source.name, source)]
    if not source.is_dir():
        raise BadInputError("not-a-file", f"{source} is neither a file nor a folder", fix="give a regular file or a folder")
    found: list[tuple[str, Path]] = []
    for parent, folders, names in os.walk(source, onerror=_raise):
        if Path(parent, "bucket", "format.json").is_file():
            raise BadInputError(
                "holds-a-store",
                f"{parent} is a store of Tidegate",
                why="a snapshot of it would hold every earlier snapshot",
                fix="put the data into a folder of its own, such as data/, and take that one",
            )
        for name in sorted([*names, *folders]):
            path = Path(parent, name)
            if path.is_symlink() or (name in names and not path.is_file()):
                raise BadInputError(
                    "not-a-file",
                    f"{path} is a link or no regular file",
                    why="what it points to may change or be missing elsewhere",
                    fix="replace it by a copy, or take it out of the folder",
                )
        found += [(Path(parent, name).relative_to(source).as_posix(), Path(parent, name)) for name in names]
    if not found:
        raise BadInputError("empty-folder", f"{source} holds no file", fix="check the path")
    return sorted(found)


def _raise(error: OSError) -> None:
    raise BadInputError("unreadable-file", f"{error.filename} cannot be read", why=str(error), fix="check its owner and mode")


def _hash(file: Path) -> str:
    try:
        return digest.of_file(file)
    except OSError as error:
        raise BadInputError("unreadable-file", f"{file} cannot be read", why=str(error), fix="check its owner and mode") from None


def _table_of(snapshot: Snapshot) -> FileEntry:
    if len(snapshot.files) != 1 or not is_table(snapshot.files[0].path):
        raise BadInputError(
            "not-a-table",
            f"{snapshot.ref} is no single table",
            why=f"it holds {len(snapshot.files)} files: {snapshot.files[0].path}, ...",
            fix=f"restore it: tidegate data restore {snapshot.ref} TARGET",
        )
    return snapshot.files[0]


def _inside(path: str) -> Path:
    pure = PurePosixPath(path)
    if pure.is_absolute() or ".." in pure.parts or not pure.parts:
        raise IntegrityError(
            "snapshot-changed",
            f"the entry {path!r} would leave the folder",
            why="no snapshot is written like this",
            fix="restore the snapshot's document from a backup",
        )
    return Path(*pure.parts)


def _copy_synced(source: Path, place: Path) -> None:
    """Copies under another name first, so that ``place`` is whole or absent."""
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place.parent, prefix=".tidegate-") as folder:
        fresh = Path(folder, place.name)
        with source.open("rb") as original, fresh.open("xb") as copy:
            shutil.copyfileobj(original, copy, 1 << 20)
            copy.flush()
            os.fsync(copy.fileno())
        fresh.replace(place)


def _encode(snapshot: Snapshot) -> bytes:
    return msgspec.json.format(msgspec.json.encode(snapshot), indent=2) + b"\n"


def _changed(name: str, number: int, why: str) -> IntegrityError:
    return IntegrityError(
        "snapshot-changed",
        f"the document of {name}@{number} was changed",
        why=why,
        fix="restore it from a backup; tidegate store verify checks all",
    )


@contextmanager
def _disk_errors(unharmed: str = "no snapshot was written and the source is untouched") -> Generator[None]:
    """Tells a full disk, met by us or by DuckDB, as ours."""
    try:
        yield
    except TidegateError:
        raise
    except duckdb.IOException as error:
        raise _unwritable(str(error), unharmed, full="No space left" in str(error)) from None
    except OSError as error:
        raise _unwritable(str(error), unharmed, full=error.errno in {errno.ENOSPC, errno.EDQUOT}) from None


def _unwritable(why: str, unharmed: str, *, full: bool) -> UnavailableError:
    if full:
        return UnavailableError(
            "disk-full",
            "the disk is full",
            why=unharmed,
            fix="free some space and try again",
        )
    return UnavailableError(
        "disk-unavailable",
        "the disk cannot be written or read",
        why=why.split("\n", maxsplit=1)[0],
        fix="check the folder's owner and mode",
    )
