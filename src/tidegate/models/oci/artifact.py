"""A version as a ModelPack artifact: one layer for each file of the folder that ``model pull`` writes, uncompressed.

The same version with the same signatures gives the same bytes, so its digest is known before anything is sent.

Source: CNCF ModelPack, model-spec: spec.md, config.md, annotations.md; OCI Image Specification 1.1, "Image Manifest".
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any, NamedTuple

import msgspec

from tidegate import digest as digests
from tidegate.clock import from_us
from tidegate.errors import BadInputError, IntegrityError
from tidegate.models.oci.registry import INDEX, MANIFEST
from tidegate.models.paths import check_path
from tidegate.models.signing import FILES, SIGNATURES, StoredSignature
from tidegate.models.signing import MANIFEST as MANIFEST_FILE
from tidegate.records.model import ModelVersion

ARTIFACT = "application/vnd.cncf.model.manifest.v1+json"
CONFIG = "application/vnd.cncf.model.config.v1+json"
FILE_PATH = "org.cncf.model.filepath"
_TITLE = "org.opencontainers.image.title"
"""Where oras looks for the name of a file."""

_LAYER = re.compile(r"application/vnd\.cncf\.model\.(weight\.config|weight|doc|code|dataset)\.v1\.(raw|tar|tar\+gzip)")
_DOCS = {".md", ".rst", ".pdf", ".html"}
_SETTINGS = {".json", ".txt", ".toml", ".yaml", ".yml", ".jinja"}
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_MOST_LAYERS = 10_000


class Descriptor(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """What names a blob or a manifest: type, digest (``sha256:...``), size in bytes."""

    media_type: str
    digest: str
    size: int
    annotations: dict[str, str] = {}
    platform: dict[str, Any] = {}


class ImageManifest(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """An image manifest. Fields that are not needed here are passed over when it is read."""

    schema_version: int
    config: Descriptor
    layers: list[Descriptor]
    media_type: str = ""
    artifact_type: str = ""
    annotations: dict[str, str] = {}
    manifests: Any = msgspec.UNSET
    """Never there: what has it is a list of manifests, whatever else it says."""


class ImageIndex(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A list of manifests, one for each platform."""

    schema_version: int
    manifests: list[Descriptor]
    media_type: str = ""


class Artifact(NamedTuple):
    """The documents of an artifact, and its layers by their path in the folder."""

    manifest: bytes
    config: bytes
    layers: dict[str, Descriptor]


def make_artifact(version: ModelVersion, manifest: bytes, signatures: Sequence[StoredSignature]) -> Artifact:
    """The artifact of a version whose manifest has these bytes."""
    layers = {MANIFEST_FILE: describe_bytes(manifest, "application/vnd.cncf.model.weight.config.v1.raw", MANIFEST_FILE)}
    for file in sorted(version.manifest.files, key=lambda file: file.path):
        path = f"{FILES}/{file.path}"
        layers[path] = Descriptor(
            media_type=_kind(file.path), digest=f"sha256:{file.digest}", size=file.size, annotations=_named(path)
        )
    for signature in sorted(signatures, key=lambda signature: signature.file):
        path = f"{SIGNATURES}/{signature.file}"
        layers[path] = describe_bytes(signature.data, "application/vnd.cncf.model.doc.v1.raw", path)
    config = digests.canonical(_config(version, [layer.digest for layer in layers.values()]))
    created = from_us(version.manifest.created_at).isoformat()
    written = ImageManifest(
        schema_version=2,
        media_type=MANIFEST,
        artifact_type=ARTIFACT,
        config=describe_bytes(config, CONFIG),
        layers=list(layers.values()),
        annotations={
            "org.opencontainers.image.created": created,
            _TITLE: version.name,
            "org.opencontainers.image.version": str(version.version),
        },
    )
    return Artifact(digests.canonical(written), config, layers)


def describe_bytes(data: bytes, media_type: str, path: str = "") -> Descriptor:
    """The descriptor of some bytes, with their path in a folder."""
    annotations = _named(path) if path else {}
    return Descriptor(media_type=media_type, digest=f"sha256:{digests.of_bytes(data)}", size=len(data), annotations=annotations)


def read_image_manifest(data: bytes) -> ImageManifest:
    """An image manifest from its bytes.

    Raises:
        IntegrityError: they are none, or it names something by another digest than SHA-256.
    """
    try:
        found = digests.parsed(data, ImageManifest)
    except msgspec.MsgspecError as error:
        raise _broken(str(error)[:200]) from None
    named = [found.config, *found.layers]
    kind = found.media_type or MANIFEST  # a document that is a list as well would be read in two ways
    if found.schema_version != 2 or len(named) > _MOST_LAYERS or is_index(kind) or found.manifests is not msgspec.UNSET:
        raise _broken("it is of another kind than an image manifest of version 2")
    _check_descriptors(named)
    return found


def read_image_index(data: bytes) -> ImageIndex:
    """A list of manifests from its bytes.

    Raises:
        IntegrityError: they are none.
    """
    try:
        found = digests.parsed(data, ImageIndex)
    except msgspec.MsgspecError as error:
        raise _broken(str(error)[:200]) from None
    _check_descriptors(found.manifests)
    return found


def is_index(media_type: str) -> bool:
    """Whether a media type is that of a list of manifests."""
    return media_type == INDEX or media_type.endswith(".manifest.list.v2+json")


def model_layers(manifest: ImageManifest) -> dict[str, Descriptor]:
    """The layers of a ModelPack artifact by their path.

    Raises:
        BadInputError: it is no such artifact, has a layer of a kind that is not read here, or a path that leaves the folder.
    """
    kind = manifest.artifact_type or manifest.config.media_type
    if kind not in {ARTIFACT, CONFIG}:
        raise _no_model(f"it is {kind[:200]}, a model is {ARTIFACT}")
    layers: dict[str, Descriptor] = {}
    for layer in manifest.layers:
        path = check_path(layer.annotations.get(FILE_PATH, "")) if FILE_PATH in layer.annotations else ""
        if not path or path in layers:
            raise _no_model("a layer says no path, or one that another has")
        if not _LAYER.fullmatch(layer.media_type):
            raise _no_model(f"the layer {path} is {layer.media_type[:200]}, which is not read here")
        layers[path] = layer
    return layers


def layer_form(layer: Descriptor) -> str:
    """``raw``, ``tar`` or ``tar+gzip``."""
    match = _LAYER.fullmatch(layer.media_type)
    return match[2] if match else ""


def _config(version: ModelVersion, diff_ids: list[str]) -> dict[str, Any]:
    manifest = version.manifest
    descriptor = {
        "createdAt": from_us(manifest.created_at).isoformat(),
        "authors": [manifest.author] if manifest.author else [],
        "name": manifest.name,
        "version": str(manifest.version),
        "title": manifest.ref,
        "description": manifest.description,
        "revision": manifest.lineage.git_commit,
    }
    return {
        "descriptor": {name: value for name, value in descriptor.items() if value},
        "config": {"format": manifest.format},
        "modelfs": {"type": "layers", "diffIds": diff_ids},
    }


def _named(path: str) -> dict[str, str]:
    return {FILE_PATH: path, _TITLE: path}


def _kind(path: str) -> str:
    """What a file most likely is, by its name: for people and tools that look; nothing here rests on it."""
    place = PurePosixPath(path)
    if place.suffix == ".py":
        kind = "code"
    elif place.suffix in _DOCS or place.stem.upper() in {"LICENSE", "NOTICE"}:
        kind = "doc"
    else:
        kind = "weight.config" if place.suffix in _SETTINGS or place.name == "MLmodel" else "weight"
    return f"application/vnd.cncf.model.{kind}.v1.raw"


def _check_descriptors(descriptors: Sequence[Descriptor]) -> None:
    for one in descriptors:
        if not _DIGEST.fullmatch(one.digest) or one.size < 0:
            raise _broken(f"{one.digest[:80]!r} with {one.size} bytes names nothing by SHA-256")


def _broken(why: str) -> IntegrityError:
    return IntegrityError(
        "artifact-unreadable", "the manifest of an artifact cannot be read", why=why, fix="ask whoever made it to push it again"
    )


def _no_model(why: str) -> BadInputError:
    return BadInputError(
        "not-a-model-artifact", "the artifact holds no model that can be read", why=why, fix="push it with tidegate model push"
    )
