"""An OCI image layout: a folder that is a registry of one image, and needs no server.

Source: OCI Image Specification 1.1, "OCI Image Layout Specification".
"""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, Protocol

from tidegate import digest as digests
from tidegate.errors import BadInputError, IntegrityError, NotFoundError
from tidegate.models.oci.artifact import Descriptor, describe_bytes, read_image_index
from tidegate.models.oci.registry import INDEX, StoredManifest
from tidegate.store.ports import Progress

REF_NAME = "org.opencontainers.image.ref.name"
_MARK = "oci-layout"
_VERSION = {"imageLayoutVersion": "1.0.0"}
_BLOCK = 1 << 20


class ImageSource(Protocol):
    """Where a base image comes from: a registry, or a layout in a folder. Everything is held against its digest."""

    def get_manifest(self, wanted: str) -> StoredManifest:
        """The manifest under a tag or a digest.

        Raises:
            NotFoundError: there is none.
            IntegrityError: the bytes are not those of the digest.
        """
        ...

    def fetch_blob(self, digest: str, size: int, target: Path, *, progress: Progress | None = None) -> None:
        """Writes a blob to a file that does not exist.

        Raises:
            IntegrityError: it has another size, or other bytes.
            NotFoundError: there is none.
        """
        ...


class ImageLayout:
    """A layout in a folder. What is read is checked, and what is written is written once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @staticmethod
    def open(folder: Path) -> ImageLayout:
        """The layout in a folder.

        Raises:
            BadInputError: there is none.
        """
        with suppress(OSError, ValueError, RecursionError):
            if json.loads((folder / _MARK).read_bytes()) == _VERSION:
                return ImageLayout(folder)
        raise BadInputError(
            "not-a-layout",
            f"{folder} is no OCI image layout",
            why=f"it has no {_MARK} that says version 1.0.0",
            fix="name a folder that skopeo copy or docker buildx wrote (oci:FOLDER), or an image as oci://...",
        )

    def get_manifest(self, wanted: str) -> StoredManifest:
        """See ``ImageSource``. An empty ``wanted`` is the only one that there is."""
        try:
            index = read_image_index((self.folder / "index.json").read_bytes())
        except OSError as error:
            raise _missing(self.folder, "index.json", error) from None
        found = [one for one in index.manifests if wanted in {"", one.digest, one.annotations.get(REF_NAME)}]
        if len(found) != 1 and not wanted.startswith("sha256:"):
            raise NotFoundError(
                "no-such-artifact",
                f"{self.folder} holds {len(index.manifests)} images" + (f", none of them {wanted}" if wanted else ""),
                why="the base is one image",
                fix="name it by its tag: FOLDER:TAG",
            )
        digest = found[0].digest if found else wanted
        data = self._path(digest).read_bytes() if self._path(digest).is_file() else b""
        self._check(digest, f"sha256:{digests.of_bytes(data)}")
        return StoredManifest(data, digest, found[0].media_type if found else "")

    def fetch_blob(self, digest: str, size: int, target: Path, *, progress: Progress | None = None) -> None:
        """See ``ImageSource``."""
        running = hashlib.sha256()
        try:
            with self._path(digest).open("rb") as source, target.open("xb") as file:
                _copy(source, file, running, progress)
                copied = file.tell()
        except OSError as error:
            raise _missing(self.folder, digest, error) from None
        self._check(digest, f"sha256:{running.hexdigest()}" if copied == size else f"{copied} bytes, not {size}")

    def begin(self) -> None:
        """Makes an empty layout of a folder."""
        (self.folder / "blobs" / "sha256").mkdir(parents=True)
        (self.folder / _MARK).write_bytes(digests.canonical(_VERSION))

    def add(self, data: bytes, media_type: str) -> Descriptor:
        """Adds a small blob."""
        described = describe_bytes(data, media_type)
        self._path(described.digest).write_bytes(data)
        return described

    def take(self, file: Path, media_type: str) -> Descriptor:
        """Moves a file into the layout, as a blob."""
        digest, size = f"sha256:{digests.of_file(file)}", file.stat().st_size
        file.replace(self._path(digest))
        return Descriptor(media_type=media_type, digest=digest, size=size)

    def blob_file(self, digest: str) -> Path:
        """Where the blob of a digest stands, or will."""
        return self._path(digest)

    def finish(self, manifest: Descriptor) -> None:
        """Writes the index that names the only image."""
        (self.folder / "index.json").write_bytes(
            digests.canonical({"schemaVersion": 2, "mediaType": INDEX, "manifests": [manifest]})
        )

    def _path(self, digest: str) -> Path:
        return self.folder / "blobs" / "sha256" / digest.removeprefix("sha256:")

    def _check(self, digest: str, found: str) -> None:
        if found != digest:
            raise IntegrityError(
                "artifact-changed",
                f"{digest} in {self.folder} is not what its digest names",
                why=f"it is {found}",
                fix="copy the image again",
            )


def _copy(source: IO[bytes], file: IO[bytes], running: Any, progress: Progress | None) -> None:
    while block := source.read(_BLOCK):
        running.update(block)
        file.write(block)
        if progress:
            progress(len(block))


def _missing(folder: Path, what: str, error: OSError) -> NotFoundError:
    return NotFoundError(
        "no-such-artifact", f"{folder} has no {what}", why=error.strerror or str(error), fix="copy the image again"
    )
