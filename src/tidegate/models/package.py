"""Packages in the bucket: a manifest under the version's number, and the files that it names by digest.

    models/<name>/versions/<n>/manifest.json     canonical JSON, written last and once; its SHA-256 is the version's digest
    objects/sha256/...                           the files; equal bytes are stored once

The files are durable before the manifest appears, so a crash leaves objects that nobody names, never half a version.
Everything here needs the bucket alone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import msgspec

from tidegate import digest as digests
from tidegate.errors import IntegrityError, NotFoundError, RefusedError
from tidegate.models.devices import Device
from tidegate.models.disguise import pickle_in
from tidegate.models.formats import DeviceFormat, Predictor, find_format
from tidegate.models.requirements import differing
from tidegate.models.signing import TrustedKey, find_signatures, require_signature
from tidegate.records.model import Manifest, ModelVersion
from tidegate.records.names import check_name
from tidegate.store.objects import fetch_object
from tidegate.store.ports import Bucket

_MANIFEST = re.compile(r"models/[^/]+/versions/(\d+)/manifest\.json")


def manifest_key(name: str, version: int) -> str:
    """The key of a version's manifest."""
    return f"models/{check_name(name, 'model')}/versions/{version}/manifest.json"


def version_numbers(bucket: Bucket, name: str) -> list[int]:
    """The numbers of a model's versions, in order."""
    matches = (_MANIFEST.fullmatch(key) for key in bucket.keys(f"models/{check_name(name, 'model')}/versions/"))
    return sorted(int(match[1]) for match in matches if match)


def read_version(bucket: Bucket, name: str, version: int, digest: str = "") -> ModelVersion:
    """The version's manifest, checked against ``digest`` if one is given.

    Raises:
        NotFoundError: there is no such version.
        IntegrityError: the manifest is not the one that ``digest`` names, or cannot be read.
    """
    key = manifest_key(name, version)
    blob = bucket.find(key)
    if blob is None:
        numbers = version_numbers(bucket, name)
        raise NotFoundError(
            "no-such-version",
            f"there is no {name}@{version}",
            why=f"nothing is stored under {key}",
            fix=f"it was released: restore it from a backup, or serve another one: tidegate rollback {name} --reason TEXT"
            if digest
            else f"its newest version is {name}@{numbers[-1]}"
            if numbers
            else f"no version of {name} is registered; tidegate model list",
        )
    found = digests.of_bytes(blob.data)
    if digest and found != digest:
        raise IntegrityError(
            "manifest-changed",
            f"the manifest of {name}@{version} is not the one that was released",
            why=f"it hashes to {digests.short(found)}, expected {digests.short(digest)}",
            fix="restore it from a backup; tidegate store verify",
        )
    try:
        manifest = digests.parsed(blob.data, Manifest)
        if (manifest.name, manifest.version) != (name, version):
            raise msgspec.ValidationError(f"it is that of {manifest.ref}")
    except msgspec.MsgspecError as error:
        raise IntegrityError(
            "manifest-unreadable",
            f"the manifest of {name}@{version} cannot be read",
            why=str(error)[:200],
            fix="restore it from a backup, or read it with the newer Tidegate that wrote it",
        ) from None
    return ModelVersion(digest=found, manifest=manifest)


def manifest_bytes(bucket: Bucket, version: ModelVersion) -> bytes:
    """A version's manifest as it is stored: an older Tidegate may have written fewer fields than this one would.

    Raises:
        NotFoundError: it is missing.
        IntegrityError: it was changed.
    """
    blob = bucket.find(manifest_key(version.name, version.version))
    if blob is not None and digests.of_bytes(blob.data) == version.digest:
        return blob.data
    read_version(bucket, version.name, version.version, version.digest)
    raise AssertionError("unreachable")


def load_version(
    bucket: Bucket,
    version: ModelVersion,
    *,
    allow_code: bool = False,
    signed_by: Sequence[TrustedKey] = (),
    device: Device = "cpu",
) -> Predictor:
    """The model of a version; every file is held against its digest before anything is built from it.

    ``device``: where it shall compute, if its format knows of any other place than the CPU.

    Raises:
        IntegrityError: a file was changed, or is no such package, or a signature does not hold.
        NotFoundError: a file is missing.
        RefusedError: the package would run code and ``allow_code`` is false, or none of the keys ``signed_by`` signed it.
        UnavailableError: the format's runtime is not installed.
    """
    manifest = version.manifest
    if signed_by:
        require_signature(find_signatures(bucket, version), version, signed_by)
    if (find_format(manifest.format).loads_code or manifest.loads_code) and not allow_code:
        raise runs_code(version)
    files = {file.path: _checked_bytes(bucket, file.digest) for file in manifest.files}
    return built(version, files, allow_code=allow_code, device=device)


def built(version: ModelVersion, files: Mapping[str, bytes], *, allow_code: bool = False, device: Device = "cpu") -> Predictor:
    """The model of a version from its files' bytes, whose digests the caller has checked. Errors: those of ``load_version``."""
    manifest = version.manifest
    kind = find_format(manifest.format)
    if (kind.loads_code or manifest.loads_code) and not allow_code:
        raise runs_code(version)
    if not kind.loads_code:
        _refuse_pickles(files, manifest)
    try:
        if device != "cpu" and isinstance(kind, DeviceFormat):
            return kind.load_on(files, manifest, device)
        return kind.load(files, manifest)
    except IntegrityError as error:
        others = differing(manifest.requirements)
        if not others:
            raise
        told = ", ".join(others[:5])
        raise IntegrityError(
            error.code,
            error.what,
            why=f"{error.why}; installed is {told}",
            fix=f"install what it was packed with: tidegate model show {manifest.ref}",
        ) from error


def runs_code(version: ModelVersion) -> RefusedError:
    """The error for a version that runs code of its own where that is not allowed."""
    return RefusedError(
        "loads-code",
        f"{version.ref} runs code of its own when it is loaded",
        why="this deployment does not allow it",
        fix=f"register it in a format that runs no code, or declare allow_code = true in [models.{version.name}.serving]; "
        f"to try it here: tidegate model load-check {version.ref} --allow-code",
    )


def _refuse_pickles(files: Mapping[str, bytes], manifest: Manifest) -> None:
    for path, data in files.items():
        if found := pickle_in(data):
            raise RefusedError(
                "pickle-in-disguise",
                f"{path} of {manifest.ref} is not what its name says: {found}",
                why="opening a pickle runs whatever code it brings, and this package says that it runs none",
                fix="do not use this package; register the model again from its source",
            )


def load_package(bucket: Bucket, name: str, version: int, digest: str, *, allow_code: bool = False) -> Predictor:
    """The model of ``name@version`` whose manifest must have this digest. Errors: those of reading and loading a version."""
    return load_version(bucket, read_version(bucket, name, version, digest), allow_code=allow_code)


def verify_package(bucket: Bucket, version: ModelVersion) -> list[str]:
    """What is wrong with a version's stored bytes, one sentence each; empty if all is well."""
    problems: list[str] = []
    try:
        read_version(bucket, version.name, version.version, version.digest)
    except (NotFoundError, IntegrityError) as error:
        problems.append(error.what)
    for file in version.manifest.files:
        try:
            path = fetch_object(bucket, file.digest)
        except (NotFoundError, IntegrityError) as error:
            problems.append(f"{file.path}: {error.what}")
            continue
        if path.stat().st_size != file.size:
            problems.append(f"{file.path}: has {path.stat().st_size} bytes, the manifest says {file.size}")
    return problems


def _checked_bytes(bucket: Bucket, digest: str) -> bytes:
    data = fetch_object(bucket, digest).read_bytes()
    if digests.of_bytes(data) != digest:  # it is loaded from these very bytes: nobody can change the file in between
        raise IntegrityError(
            "object-changed", f"object {digests.short(digest)} was changed while it was read", fix="tidegate store verify"
        )
    return data
