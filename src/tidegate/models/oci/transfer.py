"""Versions to a registry, and artifacts from one."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from tidegate.errors import IntegrityError, UnavailableError, UsageError
from tidegate.models.folder import new_folder, read_manifest
from tidegate.models.oci.artifact import (
    Artifact,
    Descriptor,
    is_index,
    layer_form,
    make_artifact,
    model_layers,
    read_image_manifest,
)
from tidegate.models.oci.reference import ArtifactReference
from tidegate.models.oci.registry import MANIFEST, Registry
from tidegate.models.oci.unpacking import unpack
from tidegate.models.package import manifest_bytes
from tidegate.models.signing import FILES, SIGNATURES, find_signatures
from tidegate.models.signing import MANIFEST as MANIFEST_FILE
from tidegate.records.model import ModelVersion
from tidegate.store.objects import fetch_object
from tidegate.store.ports import Bucket

Moved = Callable[[int, int], None]
"""Is told how many bytes were moved so far, of how many in all."""
_LARGEST_DOCUMENT = 64 * 1024 * 1024


class Pushed(NamedTuple):
    """What a push did. ``sent`` counts bytes that were not in the registry yet."""

    reference: ArtifactReference
    size: int
    sent: int


class Pulled(NamedTuple):
    """What a pull wrote. ``version`` is None where the artifact is no package of Tidegate."""

    reference: ArtifactReference
    size: int
    files: list[str]
    version: ModelVersion | None


def push(
    bucket: Bucket, version: ModelVersion, registry: Registry, place: ArtifactReference, *, moved: Moved = lambda _, __: None
) -> Pushed:
    """Pushes a version with its signatures; what the registry has is not sent again.

    Raises:
        UsageError: the place names a digest, which only the bytes can decide.
        IntegrityError: a file was changed here, or the registry has something else than was sent.
        RefusedError, UnavailableError: see ``Connection``.
    """
    if place.digest:
        raise UsageError(
            "push-by-digest",
            f"{place} names a digest",
            why="the digest follows from what is pushed",
            fix=f"write {place._replace(digest='', tag=place.tag or str(version.version))}",
        )
    place = place._replace(tag=place.tag or str(version.version))
    manifest, signatures = manifest_bytes(bucket, version), find_signatures(bucket, version)
    artifact = make_artifact(version, manifest, signatures)
    inline = {MANIFEST_FILE: manifest} | {f"{SIGNATURES}/{signature.file}": signature.data for signature in signatures}
    total = sum(layer.size for layer in artifact.layers.values()) + len(artifact.config)
    done = sent = 0

    def advance(count: int) -> None:
        nonlocal done
        done += count
        moved(done, total)

    for path, layer in artifact.layers.items():
        source = inline[path] if path in inline else fetch_object(bucket, layer.digest.removeprefix("sha256:"))
        sent += layer.size if registry.send_blob(layer.digest, source, progress=advance) else 0
    sent += len(artifact.config) if _send_config(registry, artifact, advance) else 0
    digest = registry.put_manifest(artifact.manifest, MANIFEST, place.tag)
    if registry.get_manifest(digest).data != artifact.manifest:
        raise IntegrityError(
            "artifact-changed",
            f"{place.host} does not give back what was pushed",
            fix="do not use it; ask whoever runs the registry",
        )
    return Pushed(place._replace(digest=digest), total, sent)


def pull(registry: Registry, place: ArtifactReference, folder: Path, *, moved: Moved = lambda _, __: None) -> Pulled:
    """Writes an artifact's files to a folder that does not exist; each is held against its digest, or nothing is left of it.

    Raises:
        NotFoundError: there is none.
        BadInputError: it is no model, or one of its paths leaves the folder.
        IntegrityError: the registry sends something else than the digests name, or the package contradicts itself.
        ConflictError: the folder is not empty.
        RefusedError, UnavailableError: see ``Connection``.
    """
    stored = registry.get_manifest(place.wanted)
    place = place._replace(digest=stored.digest)
    if is_index(stored.media_type):
        raise IntegrityError(
            "artifact-unreadable",
            f"{place} is a list of images",
            why="a model is one artifact for all platforms",
            fix="name the digest of one of them",
        )
    manifest = read_image_manifest(stored.data)
    layers = model_layers(manifest)
    total = sum(layer.size for layer in layers.values())
    done = 0

    def advance(count: int) -> None:
        nonlocal done
        done += count
        moved(done, total)

    for path, layer in layers.items():  # these are read at once
        if (path == MANIFEST_FILE or path.startswith(f"{SIGNATURES}/")) and layer.size > _LARGEST_DOCUMENT:
            raise _contradicts(f"{path} has {layer.size} bytes, and is no document")
    _check_space(folder, total)
    files: list[str] = []
    with new_folder(folder) as part:
        for path, layer in layers.items():
            files += _pull_layer(registry, path, layer, part, advance)
        version = _package(part, layers)
    return Pulled(place, total, sorted(files), version)


def _pull_layer(registry: Registry, path: str, layer: Descriptor, folder: Path, advance: Callable[[int], None]) -> list[str]:
    form = layer_form(layer)
    target = folder / path if form == "raw" else folder.with_name(f"{folder.name}.layer")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        registry.fetch_blob(layer.digest, layer.size, target, progress=advance)
        return [path] if form == "raw" else unpack(target, folder, form=form)
    except (FileExistsError, NotADirectoryError, IsADirectoryError):
        raise _contradicts(f"it has {path} twice, or as a folder too") from None
    finally:
        if form != "raw":
            target.unlink(missing_ok=True)


def _package(folder: Path, layers: dict[str, Descriptor]) -> ModelVersion | None:
    """The version that the folder holds, if it is a package of Tidegate: then the manifest and the layers say the same."""
    if MANIFEST_FILE not in layers or not any(path.startswith(f"{FILES}/") for path in layers):
        return None
    version = read_manifest((folder / MANIFEST_FILE).read_bytes())
    wanted = {f"{FILES}/{file.path}": (f"sha256:{file.digest}", file.size) for file in version.manifest.files}
    found = {path: (layer.digest, layer.size) for path, layer in layers.items() if path.startswith(f"{FILES}/")}
    others = [path for path in layers if path != MANIFEST_FILE and path not in found and not path.startswith(f"{SIGNATURES}/")]
    if found != wanted or others or any(layer_form(layer) != "raw" for layer in layers.values()):
        odd = sorted({path for path in found.keys() | wanted.keys() if found.get(path) != wanted.get(path)} | set(others))
        raise _contradicts(f"manifest.json and the layers differ in {', '.join(odd[:5]) or 'their form'}")
    return version


def _send_config(registry: Registry, artifact: Artifact, advance: Callable[[int], None]) -> bool:
    return registry.send_blob(read_image_manifest(artifact.manifest).config.digest, artifact.config, progress=advance)


def _check_space(folder: Path, total: int) -> None:
    place = next(parent for parent in folder.absolute().parents if parent.is_dir())
    free = shutil.disk_usage(place).free
    if total > free:
        raise UnavailableError(
            "disk-full",
            f"the artifact does not fit on the disk of {place}",
            why=f"its manifest declares {total} bytes, {free} are free",
            fix="free some space, or choose a folder on another disk",
        )


def _contradicts(why: str) -> IntegrityError:
    return IntegrityError(
        "artifact-unreadable", "the artifact contradicts itself", why=why, fix="ask whoever made it to push it again"
    )
