"""Packages in the bucket: a manifest under the version's number, and the files that it names by digest.

    models/<name>/versions/<n>/manifest.json     canonical JSON, written last and once; its SHA-256 is the version's digest
    objects/sha256/...                           the files; equal bytes are stored once

The files are durable before the manifest appears, so a crash leaves objects that nobody names, never half a version.
Everything here needs the bucket alone.
"""

from __future__ import annotations

import re

import msgspec

from tidegate import digest as digests
from tidegate.errors import IntegrityError, NotFoundError, RefusedError
from tidegate.models.formats import Predictor, find_format
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
            fix=f"its newest version is {name}@{numbers[-1]}"
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
        manifest = msgspec.json.decode(blob.data, type=Manifest)
    except msgspec.MsgspecError as error:
        raise IntegrityError(
            "manifest-unreadable",
            f"the manifest of {name}@{version} cannot be read",
            why=str(error)[:200],
            fix="restore it from a backup, or read it with the newer Tidegate that wrote it",
        ) from None
    return ModelVersion(digest=found, manifest=manifest)


def load_version(bucket: Bucket, version: ModelVersion, *, allow_code: bool = False) -> Predictor:
    """The model of a version; every file is held against its digest before anything is built from it.

    Raises:
        IntegrityError: a file was changed, or is no such package.
        NotFoundError: a file is missing.
        RefusedError: the package would run code and ``allow_code`` is false.
        UnavailableError: the format's runtime is not installed.
    """
    manifest = version.manifest
    kind = find_format(manifest.format)
    if (kind.loads_code or manifest.loads_code) and not allow_code:
        raise RefusedError(
            "loads-code",
            f"{version.ref} runs code of its own when it is loaded",
            why="this deployment does not allow it",
            fix="register it in a format that runs no code, or set serving.allow_code for this model",
        )
    return kind.load({file.path: _checked_bytes(bucket, file.digest) for file in manifest.files}, manifest)


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
