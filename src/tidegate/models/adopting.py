"""A package from elsewhere becomes a version here: the same manifest byte for byte, so the same digest."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tidegate import digest as digests
from tidegate.errors import BadInputError, ConflictError, IntegrityError
from tidegate.models.folder import read_manifest
from tidegate.models.package import manifest_key
from tidegate.models.signing import (
    FILES,
    MANIFEST,
    SIGNATURES,
    StoredSignature,
    TrustedKey,
    read_signature,
    require_signature,
    store_signature,
)
from tidegate.records.model import ModelVersion
from tidegate.store.objects import object_key
from tidegate.store.ports import Bucket


def adopt(bucket: Bucket, folder: Path, *, signed_by: Sequence[TrustedKey] = ()) -> ModelVersion:
    """Stores the package in a folder (see ``tidegate.models.folder``) under its own name and number. Nothing of it is loaded.

    Raises:
        BadInputError: the folder holds no package.
        RefusedError: keys are asked for, and none of them signed it.
        IntegrityError: a file is not the one that the manifest names, or a signature does not hold.
        ConflictError: another package has that name and number here.
    """
    data, signatures = read_folder(folder)
    version = read_manifest(data)
    if signed_by:
        require_signature(signatures, version, signed_by)
    key = manifest_key(version.name, version.version)
    _refuse_taken(bucket, key, version)
    for file in version.manifest.files:
        path = folder / FILES / file.path
        if path.is_symlink() or not path.is_file() or path.stat().st_size != file.size or digests.of_file(path) != file.digest:
            raise IntegrityError(
                "package-changed",
                f"{file.path} is not the file that the manifest of {version.ref} names",
                fix="get the package again",
            )
        bucket.put_if_absent(object_key(file.digest), path, sha256=file.digest)
    bucket.put_if_absent(key, data)
    _refuse_taken(bucket, key, version)
    for signature in signatures:
        store_signature(bucket, version, signature)
    return version


def read_folder(folder: Path) -> tuple[bytes, list[StoredSignature]]:
    """The manifest's bytes and the signatures of the package in a folder, unchecked.

    Raises:
        BadInputError: there is no manifest in it.
        IntegrityError: a signature cannot be read.
    """
    try:
        data = (folder / MANIFEST).read_bytes()
    except OSError as error:
        raise BadInputError(
            "not-a-package",
            f"{folder} holds no package of Tidegate",
            why=f"{MANIFEST} cannot be read: {error.strerror}",
            fix="pull it into a folder with --to, and use it with the tools that it was made for",
        ) from None
    return data, [read_signature(path.read_bytes()) for path in sorted((folder / SIGNATURES).glob("*.sig"))]


def _refuse_taken(bucket: Bucket, key: str, version: ModelVersion) -> None:
    present = bucket.find(key)
    if present is not None and digests.of_bytes(present.data) != version.digest:
        raise ConflictError(
            "version-taken",
            f"there is another {version.ref} here already",
            why=f"it has the digest {digests.short(digests.of_bytes(present.data))}, this one {digests.short(version.digest)}",
            fix="pull it into a folder with --to, or into a project of its own: a version keeps its name, number and digest",
        )
