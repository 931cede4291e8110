"""An image that serves one version: a Dockerfile with what it copies; and, without any engine, an OCI layout.

The model is one layer more on a base that can run Tidegate: a small bucket in ``/srv/tidegate``, so that ``tidegate serve`` needs
none on the network. Equal inputs give equal bytes: the layer's times are the version's, its owner is root, its order sorted.

Source: OCI Image Specification 1.1, "Image Configuration", "Image Layer Filesystem Changeset"; Docker's ``Healthcheck`` field.
"""

from __future__ import annotations

import io
import json
import shutil
import tarfile
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version as installed_version
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import msgspec

from tidegate import digest as digests
from tidegate.clock import SECOND, from_us
from tidegate.errors import IntegrityError, NotFoundError
from tidegate.models.oci.artifact import Descriptor, ImageManifest, is_index, read_image_index, read_image_manifest
from tidegate.models.oci.layout import REF_NAME, ImageLayout, ImageSource
from tidegate.models.oci.registry import MANIFEST
from tidegate.models.package import manifest_bytes, manifest_key
from tidegate.models.signing import StoredSignature, TrustedKey, signature_key
from tidegate.records.model import ModelVersion
from tidegate.records.policy import ServingPolicy
from tidegate.store.objects import fetch_object, object_key
from tidegate.store.ports import Bucket, Progress

HOME = "srv/tidegate"
"""The project's folder in the image."""

PORT = 8080
_NOBODY = 65_532
USER = f"{_NOBODY}:{_NOBODY}"
SCRATCH = "var/lib/tidegate"
"""An empty folder of that user: a volume that is new takes its owner from the folder that it is mounted on."""
_CONFIG = "application/vnd.oci.image.config.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar"
_LARGEST_CONFIG = 4 * 1024 * 1024
_DOCKER_TYPES = {
    "application/vnd.docker.image.rootfs.diff.tar": _LAYER,
    "application/vnd.docker.image.rootfs.diff.tar.gzip": f"{_LAYER}+gzip",
}

Content = bytes | Path


class BuiltImage(NamedTuple):
    """An image in a layout: the digest of its manifest, and its bytes with those of the base."""

    digest: str
    size: int


def image_files(
    bucket: Bucket,
    version: ModelVersion,
    policy: ServingPolicy,
    signatures: Sequence[StoredSignature] = (),
    keys: Mapping[str, bytes] | None = None,
) -> dict[str, Content]:
    """What the model's layer holds, by path: a bucket with one version, its policy, and the public keys (by name) that it asks for.

    Raises:
        NotFoundError: a file of the package is missing.
        IntegrityError: a file was changed.
    """
    root = f"{HOME}/.tidegate/bucket"
    files: dict[str, Content] = {
        f"{HOME}/tidegate.toml": _settings(version, policy, sorted(keys or {})),
        f"{root}/format.json": b'{"format":1}',
        f"{root}/{manifest_key(version.name, version.version)}": manifest_bytes(bucket, version),
    }
    files |= {f"{HOME}/keys/{name}": data for name, data in (keys or {}).items()}
    files |= {f"{root}/{signature_key(version, signature)}": signature.data for signature in signatures}
    return files | {f"{root}/{object_key(file.digest)}": fetch_object(bucket, file.digest) for file in version.manifest.files}


def write_context(folder: Path, files: Mapping[str, Content], version: ModelVersion, base: str = "") -> None:
    """Writes what ``docker build`` takes: a Dockerfile, its requirements, and the files of the model's layer.

    ``base`` is an image by its digest; without one the Dockerfile has no default, and whoever builds names it.
    """
    written: dict[str, Content] = {
        "Dockerfile": dockerfile(version, base).encode(),
        "requirements.txt": requirements(version).encode(),
        ".dockerignore": b"oci\n",
    }
    for path, content in (written | {f"rootfs/{path}": content for path, content in files.items()}).items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, bytes):
            target.write_bytes(content)
        else:
            shutil.copyfile(content, target)


def dockerfile(version: ModelVersion, base: str = "") -> str:
    """The Dockerfile of a version's image."""
    arguments = json.dumps(_entrypoint(version))
    return f"""\
# {version.ref}, written by tidegate build image. It takes no secrets: what it needs to know at run time comes from the environment.
# BASE is an image with Python 3.11 or newer, by its digest: python:3.12-slim@sha256:...
ARG BASE{f"={base}" if base else ""}

# Everything but the model; tidegate build image --base adds a model's layer to it without Docker:
#   docker build --target runtime -t runtime .
FROM ${{BASE}} AS runtime
COPY requirements.txt /tmp/requirements.txt
RUN python -m pip install --no-cache-dir --requirement /tmp/requirements.txt && rm /tmp/requirements.txt
RUN mkdir -p -m 0700 /{SCRATCH} && chown {USER} /{SCRATCH}
ENV PYTHONUNBUFFERED=1 ORT_DISABLE_TELEMETRY=1

FROM runtime
LABEL {" ".join(f"{name}={json.dumps(value)}" for name, value in _labels(version).items())}
COPY rootfs/ /
WORKDIR /{HOME}
USER {USER}
EXPOSE {PORT}
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s CMD {json.dumps(_PROBE)}
ENTRYPOINT {arguments}
"""


def requirements(version: ModelVersion) -> str:
    """What serves a version: this Tidegate, and exactly what the version was packed with."""
    return "\n".join([f"tidegate[grpc,s3,serving,sign]=={installed_version('tidegate')}", *version.manifest.requirements]) + "\n"


def build_layout(
    base: ImageSource,
    wanted: str,
    files: Mapping[str, Content],
    version: ModelVersion,
    folder: Path,
    *,
    platform: str = "linux/amd64",
    progress: Progress | None = None,
) -> BuiltImage:
    """Writes an OCI layout to a folder: the base's layers, and one with the model.

    ``wanted`` is the base's tag or digest in its source; ``platform`` picks among several.

    Raises:
        NotFoundError: there is no such base, or none for the platform.
        IntegrityError: a part of the base is not what its digest names.
    """
    manifest = _base_manifest(base, wanted, platform)
    layout = ImageLayout(folder)
    layout.begin()
    config_file = folder / "config"
    if manifest.config.size > _LARGEST_CONFIG:
        raise _no_image("its configuration has more than 4 MiB")
    base.fetch_blob(manifest.config.digest, manifest.config.size, config_file)
    config = _read_config(config_file.read_bytes(), len(manifest.layers))
    config_file.unlink()
    for layer in {layer.digest: layer for layer in manifest.layers}.values():
        base.fetch_blob(layer.digest, layer.size, layout.blob_file(layer.digest), progress=progress)
    archive = folder / "layer"
    write_layer(archive, files, version.manifest.created_at // SECOND)
    added = layout.take(archive, _LAYER)
    layers = [msgspec.structs.replace(layer, media_type=_oci_type(layer), annotations={}) for layer in manifest.layers]
    described = layout.add(_written(_configured(config, version, added.digest)), _CONFIG)
    made = ImageManifest(
        schema_version=2, media_type=MANIFEST, config=described, layers=[*layers, added], annotations=_labels(version)
    )
    image = layout.add(digests.canonical(made), MANIFEST)
    system, _, machine = platform.partition("/")
    layout.finish(
        msgspec.structs.replace(
            image, platform={"os": system, "architecture": machine}, annotations={REF_NAME: f"{version.name}-{version.version}"}
        )
    )
    return BuiltImage(image.digest, sum(layer.size for layer in made.layers) + described.size + image.size)


def write_layer(archive: Path, files: Mapping[str, Content], time: int) -> None:
    """Writes a tar whose bytes depend on the files and the time (seconds since 1970) alone."""
    folders = {parent.as_posix() for path in (*files, f"{SCRATCH}/.file") for parent in PurePosixPath(path).parents} - {"."}
    with archive.open("xb") as file, tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for path in sorted({*folders, *files}, key=PurePosixPath):
            entry = tarfile.TarInfo(path)
            entry.mtime = time
            if path not in files:
                entry.type, entry.mode = tarfile.DIRTYPE, 0o755
                if path == SCRATCH:
                    entry.mode, entry.uid, entry.gid = 0o700, _NOBODY, _NOBODY
                tar.addfile(entry)
                continue
            content = files[path]
            entry.mode = 0o644
            entry.size = len(content) if isinstance(content, bytes) else content.stat().st_size
            with io.BytesIO(content) if isinstance(content, bytes) else content.open("rb") as source:
                tar.addfile(entry, source)


def key_files(trusted: Sequence[TrustedKey], read: Callable[[str], bytes]) -> dict[str, bytes]:
    """The files of trusted keys, by the names that they get in the image."""
    return {f"{key.id}.pub": read(key.name) for key in trusted}


def _base_manifest(base: ImageSource, wanted: str, platform: str) -> ImageManifest:
    stored = base.get_manifest(wanted)
    if not (is_index(stored.media_type) or _lists_manifests(stored.data)):
        return read_image_manifest(stored.data)
    system, _, machine = platform.partition("/")
    listed = read_image_index(stored.data).manifests
    for one in listed:
        if (one.platform.get("os"), one.platform.get("architecture")) == (system, machine):
            return read_image_manifest(base.get_manifest(one.digest).data)
    known = sorted({f"{one.platform.get('os')}/{one.platform.get('architecture')}" for one in listed})
    raise NotFoundError(
        "no-such-platform",
        f"the base has no image for {platform}",
        why=f"it has {', '.join(known)}",
        fix="choose one of these with --platform",
    )


def _lists_manifests(data: bytes) -> bool:
    try:
        return "manifests" in json.loads(data)
    except (ValueError, TypeError, RecursionError):
        return False


def _read_config(data: bytes, layers: int) -> dict[str, Any]:
    try:
        read: Any = json.loads(data)
        known = len(read["rootfs"]["diff_ids"])
        _ = read["os"], read["architecture"], dict(read.get("config") or {}), list(read.get("history") or [])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise _no_image(f"its configuration cannot be read: {error}") from None
    if known != layers:
        raise _no_image(f"its configuration knows {known} layers, its manifest {layers}")
    return read


def _configured(base: Mapping[str, Any], version: ModelVersion, diff_id: str) -> dict[str, Any]:
    """The base's configuration with the model's layer, run as nobody. An uncompressed layer's digest is its diff id."""
    created = from_us(version.manifest.created_at).isoformat().replace("+00:00", "Z")
    inner: dict[str, Any] = {name: value for name, value in (base.get("config") or {}).items() if name not in {"Cmd", "OnBuild"}}
    inner |= {
        "User": USER,
        "WorkingDir": f"/{HOME}",
        "Entrypoint": _entrypoint(version),
        "Env": _environment(inner.get("Env") or []),
        "ExposedPorts": {f"{PORT}/tcp": {}},
        "Labels": (inner.get("Labels") or {}) | _labels(version),
        "Healthcheck": {"Test": ["CMD", *_PROBE], "Interval": 10 * 10**9, "Timeout": 3 * 10**9, "StartPeriod": 30 * 10**9},
        "StopSignal": "SIGTERM",
    }
    step = {"created": created, "created_by": f"tidegate build image {version.ref}"}
    rootfs = {"type": "layers", "diff_ids": [*base["rootfs"]["diff_ids"], diff_id]}
    return {**base, "created": created, "config": inner, "rootfs": rootfs, "history": [*(base.get("history") or []), step]}


_PROBE = [
    "python",
    "-c",
    f"import urllib.request; urllib.request.urlopen('http://127.0.0.1:{PORT}/v2/health/ready', timeout=2)",
]


def _environment(base: Sequence[str]) -> list[str]:
    """The base's variables; and ONNX Runtime tells nobody what it runs."""
    return [*(one for one in base if not one.startswith("ORT_DISABLE_TELEMETRY=")), "ORT_DISABLE_TELEMETRY=1"]


def _entrypoint(version: ModelVersion) -> list[str]:
    return ["tidegate", "serve", version.ref, "--host", "0.0.0.0", "--port", str(PORT)]  # noqa: S104 - a container's own network


def _labels(version: ModelVersion) -> dict[str, str]:
    return {
        "org.opencontainers.image.title": version.name,
        "org.opencontainers.image.version": str(version.version),
        "dev.tidegate.model.digest": version.digest,
    }


def _settings(version: ModelVersion, policy: ServingPolicy, keys: Sequence[str]) -> bytes:
    """A ``tidegate.toml`` with what the project's policy says of serving; JSON's texts, numbers and lists are TOML's too."""
    standing = msgspec.to_builtins(ServingPolicy())
    known = {name: value for name, value in msgspec.to_builtins(policy).items() if value != standing[name]}
    known |= {"signed_by": [f"keys/{name}" for name in keys]} if keys else {}
    lines = [f"{name} = {json.dumps(value)}" for name, value in known.items() if not isinstance(value, dict)]
    return "\n".join([f"[models.{json.dumps(version.name)}.serving]", *lines, ""]).encode()


def _oci_type(layer: Descriptor) -> str:
    return _DOCKER_TYPES.get(layer.media_type, layer.media_type)


def _written(config: dict[str, Any]) -> bytes:
    return json.dumps(config, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def _no_image(why: str) -> IntegrityError:
    return IntegrityError(
        "artifact-unreadable", "the base is no image that can be built on", why=why, fix="name an image that runs Python"
    )
