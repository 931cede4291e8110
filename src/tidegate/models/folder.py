"""A version as a folder that others can read: what ``model pull`` writes, and what model-signing's own command checks.

manifest.json        the version's manifest, byte for byte: its SHA-256 is the version's digest
files/...            the files of the package
signatures/*.sig     the signatures that were there
"""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

import msgspec

from tidegate import digest as digests
from tidegate.errors import ConflictError, IntegrityError, UnavailableError
from tidegate.models.package import manifest_bytes
from tidegate.models.paths import check_path, write_file, write_files
from tidegate.models.signing import FILES, MANIFEST, SIGNATURES, find_signatures
from tidegate.records.model import Manifest, ModelVersion
from tidegate.records.names import is_name
from tidegate.store.objects import fetch_object
from tidegate.store.ports import Bucket

Advance = Callable[[int], None]
"""Is told how many bytes were just written."""


def read_manifest(data: bytes) -> ModelVersion:
    """The version that a manifest's bytes describe.

    Raises:
        IntegrityError: they are no manifest.
        BadInputError: it names a file outside the package.
    """
    try:
        manifest = digests.parsed(data, Manifest)
    except msgspec.MsgspecError as error:
        raise _unreadable(str(error)[:200]) from None
    if not is_name(manifest.name) or manifest.version < 1:
        raise _unreadable("it names no version of a model")
    paths = [check_path(file.path) for file in manifest.files]
    folders = {parent.as_posix() for path in paths for parent in PurePosixPath(path).parents}
    if len(set(paths)) != len(paths) or folders & set(paths):
        raise _unreadable("it names a file twice, or as a folder too")
    if any(file.size < 0 for file in manifest.files):
        raise _unreadable("it gives a file less than no bytes")
    return ModelVersion(digest=digests.of_bytes(data), manifest=manifest)


@contextmanager
def new_folder(folder: Path) -> Generator[Path]:
    """A folder to be filled beside ``folder``, which it becomes when the block ends well; nobody sees half of it.

    Raises:
        ConflictError: there is something at ``folder`` already.
        UnavailableError: it cannot be written.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConflictError(
            "folder-not-empty",
            f"{folder} is there already and not empty",
            why="nothing is overwritten",
            fix="name another folder",
        )
    part = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.part")
    try:
        part.mkdir(parents=True)
        yield part
        if folder.is_dir():
            folder.rmdir()
        part.replace(folder)
    except OSError as error:
        raise UnavailableError(
            "folder-unwritable", f"cannot write {folder}", why=error.strerror or str(error), fix="check its owner and free space"
        ) from None
    finally:
        shutil.rmtree(part, ignore_errors=True)


def read_folder(folder: Path) -> tuple[ModelVersion, dict[str, bytes]]:
    """A package that lies in a folder: its version, and its files' bytes, each held against its digest.

    Raises:
        IntegrityError: a file is missing or changed, or there is no manifest.
    """
    try:
        version = read_manifest((folder / MANIFEST).read_bytes())
        files = {file.path: (folder / FILES / file.path).read_bytes() for file in version.manifest.files}
    except OSError as error:
        raise IntegrityError(
            "broken-package", f"{folder} holds no whole package", why=f"{error.filename}: {error.strerror}", fix="get it again"
        ) from None
    for file in version.manifest.files:
        if digests.of_bytes(files[file.path]) != file.digest:
            raise IntegrityError(
                "package-changed",
                f"{file.path} is not the file that the manifest of {version.ref} names",
                fix="get the package again",
            )
    return version, files


def write_folder(bucket: Bucket, version: ModelVersion, folder: Path, *, advance: Advance = lambda _: None) -> list[str]:
    """Writes a version of the bucket, each file held against its digest; returns the paths of its signatures in the folder.

    Raises:
        ConflictError: the folder is not empty.
        IntegrityError: a file was changed.
        NotFoundError: a file is missing.
        UnavailableError: the folder cannot be written.
    """
    with new_folder(folder) as part:
        write_file(manifest_bytes(bucket, version), part / MANIFEST)
        for file in version.manifest.files:
            target = part / FILES / check_path(file.path)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(fetch_object(bucket, file.digest), target)
            advance(file.size)
        signatures = {f"{SIGNATURES}/{signature.file}": signature.data for signature in find_signatures(bucket, version)}
        write_files(part, signatures)
    return sorted(signatures)


def _unreadable(why: str) -> IntegrityError:
    return IntegrityError(
        "manifest-unreadable",
        "the manifest of a package cannot be read",
        why=why,
        fix="get the package again, or read it with the newer Tidegate that wrote it",
    )
