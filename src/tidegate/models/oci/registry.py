"""What a registry keeps of one repository: manifests by tag or digest, and blobs by digest. All of it is held against its digest.

Source: OCI Distribution Specification 1.1, "Pull" and "Push".
"""

from __future__ import annotations

import hashlib
import io
import re
from pathlib import Path
from typing import IO, Any, NamedTuple
from urllib.parse import urlencode

from urllib3.exceptions import HTTPError

from tidegate.errors import IntegrityError, UnavailableError
from tidegate.models.oci.connection import NUMBER, TRIES, Answer, Connection
from tidegate.store.ports import Progress

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
_DOCKER = "application/vnd.docker.distribution.manifest"
_ACCEPTED = f"{MANIFEST}, {INDEX}, {_DOCKER}.v2+json, {_DOCKER}.list.v2+json"

CHUNK = 16 * 1024 * 1024
"""Bytes that are sent at once: what is lost when a connection breaks."""

LARGEST_MANIFEST = 4 * 1024 * 1024
"""What registries take, by the specification."""

_BLOCK = 1 << 20
_LARGEST_CHUNK = 256 * 1024 * 1024
"""What is held in memory at most, whatever a registry asks for."""
_RANGE = re.compile(r"(?:bytes=)?0-([0-9]{1,18})")
_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,18})-[0-9]+/(?:[0-9]+|\*)")


class StoredManifest(NamedTuple):
    """A manifest's bytes, their digest (``sha256:...``), and what the registry says that they are."""

    data: bytes
    digest: str
    media_type: str


class Registry:
    """One repository of a registry. Not for several threads."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def get_manifest(self, wanted: str) -> StoredManifest:
        """The manifest under a tag or a digest.

        Raises:
            NotFoundError: there is none.
            IntegrityError: the bytes are not those of the digest, or are no manifest by their size.
            RefusedError, UnavailableError: see ``Connection``.
        """
        answer = self._connection.ask("GET", self._connection.url(f"manifests/{wanted}"), headers={"Accept": _ACCEPTED})
        if answer.status != 200:
            raise self._connection.refused(answer, f"show the manifest {wanted}")
        try:
            data = answer.body.read(LARGEST_MANIFEST + 1, decode_content=False)
        except HTTPError as error:
            raise self._connection.unreachable(error) from None
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        told = answer.headers.get("Docker-Content-Digest", "")
        expected = wanted if wanted.startswith("sha256:") else told if told.startswith("sha256:") else digest
        if len(data) > LARGEST_MANIFEST or digest != expected:
            why = f"it hashes to {digest}, expected {expected}" if digest != expected else "it has more than 4 MiB"
            raise self._changed(f"the manifest {wanted}", why)
        return StoredManifest(data, digest, answer.headers.get("Content-Type", "").partition(";")[0])

    def put_manifest(self, data: bytes, media_type: str, name: str) -> str:
        """Stores a manifest under a tag or its digest; returns the digest.

        Raises:
            IntegrityError: the registry says that it got other bytes.
            RefusedError, UnavailableError: see ``Connection``.
        """
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        url = self._connection.url(f"manifests/{name}")
        answer = self._connection.ask("PUT", url, body=data, headers={"Content-Type": media_type})
        if answer.status != 201:
            raise self._connection.refused(answer, f"store the manifest {name}")
        told = answer.headers.get("Docker-Content-Digest", digest)
        if told.startswith("sha256:") and told != digest:
            raise self._changed("the manifest", f"the registry says {told}, it is {digest}")
        return digest

    def fetch_blob(self, digest: str, size: int, target: Path, *, progress: Progress | None = None) -> None:
        """Writes a blob to a file that does not exist; goes on where it was when a connection breaks.

        Raises:
            IntegrityError: there are more than ``size`` bytes, or they are not those of the digest.
            NotFoundError: there is none.
            UnavailableError: it did not come to its end.
        """
        running = hashlib.sha256()
        with target.open("xb") as file:
            for attempt in range(TRIES):
                if attempt:
                    self._connection.wait(0.5 * 2.0**attempt)
                self._fetch_rest(digest, size, file, running, progress)
                if file.tell() == size:
                    break
            else:
                raise UnavailableError(
                    "registry-failed",
                    f"{digest} could not be read to its end",
                    why=f"{file.tell()} of {size} bytes came in {TRIES} attempts",
                    fix="try again",
                )
        found = f"sha256:{running.hexdigest()}"
        if found != digest:
            raise self._changed(digest, f"it hashes to {found}")

    def has_blob(self, digest: str) -> bool:
        """Whether a blob is there.

        Raises:
            RefusedError, UnavailableError: see ``Connection``.
        """
        answer = self._connection.ask("HEAD", self._connection.url(f"blobs/{digest}"))
        if answer.status in {200, 404}:
            return answer.status == 200
        raise self._connection.refused(answer, f"look for {digest}")

    def send_blob(self, digest: str, source: bytes | Path, *, progress: Progress | None = None) -> bool:
        """Sends a blob unless it is there; tells whether it was sent. What is large goes in chunks, each again if it was lost.

        Raises:
            IntegrityError: what arrived is something else.
            RefusedError, UnavailableError: see ``Connection``.
        """
        size = len(source) if isinstance(source, bytes) else source.stat().st_size
        if self.has_blob(digest):
            if progress:
                progress(size)
            return False
        place, chunk = self._begin()
        if size <= chunk:
            self._finish(place, digest, source if isinstance(source, bytes) else source.read_bytes())
            if progress:
                progress(size)
            return True
        with io.BytesIO(source) if isinstance(source, bytes) else source.open("rb") as file:
            self._finish(self._send_chunks(place, file, size, chunk, progress), digest, b"")
        return True

    def _fetch_rest(self, digest: str, size: int, file: IO[bytes], running: Any, progress: Progress | None) -> None:
        """Appends what is still missing, or the first part of it."""
        offset = file.tell()
        headers = {"Range": f"bytes={offset}-"} if offset else {}
        answer = self._connection.ask("GET", self._connection.url(f"blobs/{digest}"), headers=headers)
        skipped = _skipped(answer, offset)
        if skipped is None:
            raise self._connection.refused(answer, f"show {digest}")
        try:
            for block in answer.body.stream(_BLOCK, decode_content=False):
                fresh = block[skipped:]
                skipped = max(0, skipped - len(block))
                if file.tell() + len(fresh) > size:
                    answer.body.close()
                    raise self._changed(digest, f"the registry sends more than its {size} bytes")
                running.update(fresh)
                file.write(fresh)
                if progress and fresh:
                    progress(len(fresh))
        except HTTPError:  # the connection broke: what came is good, and the next attempt goes on behind it
            answer.body.close()

    def _begin(self) -> tuple[str, int]:
        """Where an upload goes on, and how large its chunks are."""
        url = self._connection.url("blobs/uploads/")
        answer = self._connection.ask("POST", url, headers={"Content-Length": "0"})
        if answer.status != 202:
            raise self._connection.refused(answer, "take an upload")
        least = answer.headers.get("OCI-Chunk-Min-Length", "")
        return self._located(answer, url), min(max(CHUNK, int(least)), _LARGEST_CHUNK) if NUMBER.fullmatch(least) else CHUNK

    def _send_chunks(self, place: str, file: IO[bytes], size: int, chunk: int, progress: Progress | None) -> str:
        """Sends a file in chunks; returns where the upload is finished. A chunk that is lost goes again, from where it is missing."""
        offset = most = lost = begun = 0
        while offset < size:
            file.seek(offset)
            data = file.read(chunk)
            headers = {"Content-Type": "application/octet-stream", "Content-Range": f"{offset}-{offset + len(data) - 1}"}
            try:
                answer = self._connection.ask("PATCH", place, body=data, headers=headers, tries=1)
            except UnavailableError:
                answer = None
            if answer is not None and answer.status == 202:
                place, offset = self._located(answer, place), _received(answer, offset + len(data))
            elif answer is not None and answer.status < 500 and answer.status not in {408, 416, 429}:
                raise self._connection.refused(answer, "take a part of an upload")
            else:
                self._connection.wait(0.5 * 2.0**lost)
                resumed = self._resumed(place, offset)
                begun += resumed is None
                place, offset = resumed or (self._begin()[0], 0)
            lost = 0 if offset > most else lost + 1
            if lost >= TRIES or begun >= TRIES or offset > size:
                raise UnavailableError(
                    "registry-failed",
                    "an upload does not get on",
                    why=f"the registry has {offset} of {size} bytes",
                    fix="try again: what arrived whole is not sent again",
                )
            if progress and offset > most:
                progress(offset - most)
            most = max(most, offset)
        return place

    def _resumed(self, place: str, offset: int) -> tuple[str, int] | None:
        """Asks how far an upload came after a chunk was lost; None if the registry has lost the upload itself.

        Docker's registry does so when the chunk arrived and only its answer was lost: the address says how far it had come.
        """
        answer = self._connection.ask("GET", place)
        if answer.status == 204:
            return self._located(answer, place), _received(answer, offset)
        if answer.status in {400, 404, 416}:
            return None
        raise self._connection.refused(answer, "go on with an upload")

    def _finish(self, place: str, digest: str, data: bytes) -> None:
        url = f"{place}{'&' if '?' in place else '?'}{urlencode({'digest': digest})}"
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(len(data))}
        answer = self._connection.ask("PUT", url, body=data, headers=headers)
        if answer.status != 201:
            raise self._connection.refused(answer, f"take {digest}")

    def _located(self, answer: Answer, base: str) -> str:
        return self._connection.located(answer.headers.get("Location", base), base)

    def _changed(self, what: str, why: str) -> IntegrityError:
        return IntegrityError(
            "artifact-changed",
            f"{what} from {self._connection.place.host} is not what its digest names",
            why=why,
            fix="do not use it; ask whoever runs the registry",
        )


def _skipped(answer: Answer, offset: int) -> int | None:
    """How many bytes of an answer are there already; None: it is no answer to build on."""
    if answer.status == 200:
        return offset
    match = _CONTENT_RANGE.fullmatch(answer.headers.get("Content-Range", ""))
    return 0 if answer.status == 206 and match and int(match[1]) == offset else None


def _received(answer: Answer, otherwise: int) -> int:
    match = _RANGE.fullmatch(answer.headers.get("Range", ""))
    return int(match[1]) + 1 if match and int(match[1]) else otherwise
