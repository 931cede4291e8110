"""Artifacts of MLflow's REST API: files of runs, of logged models and of traces, kept as objects in the bucket.

A client calls a file ``EXPERIMENT/RUN/artifacts/model/MLmodel``. Here the run owns ``model/MLmodel``; what stands before its
id is not looked at, because an experiment may be moved to another root.
"""

from __future__ import annotations

import errno
import hashlib
import mimetypes
import posixpath
import re
import tempfile
import time
import unicodedata
from collections.abc import AsyncIterator, Iterable
from contextlib import suppress
from pathlib import Path, PureWindowsPath
from typing import Any, BinaryIO, NamedTuple
from urllib.parse import quote, unquote

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from tidegate.errors import IntegrityError, UnavailableError
from tidegate.records.run import Artifact
from tidegate.server.mlflow.packages import is_package, package_files, refuse_change
from tidegate.server.mlflow.protocol import Call, MlflowError, answered, both, in_thread, invalid, missing, route
from tidegate.server.mlflow.runs import experiment_of_run, known_run
from tidegate.server.mlflow.views import artifact_root
from tidegate.store import fetch_object
from tidegate.store.objects import object_key
from tidegate.workspace import Workspace

PROXY = "/api/2.0/mlflow-artifacts"
_OWNED = re.compile(r"(?:[^/]+/)*?(?P<owner>[^/]+)/artifacts(?:/(?P<rest>.+))?")
_ELSEWHERE = "mlflow-artifacts"
"""Who owns files whose path names no owner."""
_BLOCK = 1 << 20
_CHECKED_FIRST = 16 * _BLOCK
"""Smaller files are checked before the first byte is sent; of larger ones the end is held back until their digest is right."""
_DEEPEST = 20
_STALE_SECONDS = 86_400


class Place(NamedTuple):
    """A file or folder: who owns it, and its path there (empty: everything)."""

    owner: str
    path: str


class _File(NamedTuple):
    local: Path
    digest: str
    size: int


def routes(workspace: Workspace) -> list[Route]:
    """The routes of artifacts."""

    async def upload(request: Request) -> Response:
        return await answered(workspace, request, _upload, reads_body=False)

    async def download(request: Request) -> Response:
        return await answered(workspace, request, _download, reads_body=False)

    _forget_stale(workspace)
    file = f"{PROXY}/artifacts/{{artifact:path}}"
    found = [
        Route(file, upload, methods=["PUT"]),
        Route(file, download, methods=["GET"]),
        Route("/get-artifact", download, methods=["GET"]),
        route("DELETE", file, _delete, workspace),
        route("GET", f"{PROXY}/artifacts", _list, workspace),
        route("GET", f"{PROXY}/presigned/{{artifact:path}}", _no_presigned, workspace),
    ]
    uploads = [f"{PROXY}/mpu/{verb}/{{artifact:path}}" for verb in ("create", "complete", "abort")]
    direct = [*both("artifacts/presigned-upload-url"), *both("artifacts/presigned-download-url")]
    found += [route("POST", path, _no_multipart, workspace) for path in uploads]
    found += [route("GET", path, _list_of_run, workspace) for path in both("artifacts/list")]
    return found + [route("POST", path, _no_direct, workspace) for path in direct]


def safe_path(text: str) -> str:
    """A relative path as a client sends it, made plain; empty for the root.

    Raises:
        MlflowError: it leads upwards or elsewhere in any encoding, or has characters that are no part of a name.
    """
    decoded = text
    for _ in range(_DEEPEST):
        if (once := unquote(decoded)) == decoded:
            break
        decoded = once
    else:
        raise invalid("Invalid path")
    for path in (text, decoded):
        if (
            "\\" in path
            or "#" in path
            or any(unicodedata.category(letter) in {"Cc", "Cs"} for letter in path)
            or ".." in path.split("/")
            or path.startswith(("/", "file:"))
            or PureWindowsPath(path).drive
        ):
            raise invalid("Invalid path")
    normal = posixpath.normpath(text) if text else ""
    return "" if normal == "." else normal


def place_of(path: str) -> Place:
    """The owner of a path below the artifact root: the id before the first folder ``artifacts``."""
    match = _OWNED.fullmatch(path)
    if match is None:
        return Place(_ELSEWHERE, path)
    return Place(match.group("owner"), match.group("rest") or "")


def files_of(workspace: Workspace, owner: str) -> list[Artifact]:
    """What a run, a logged model, a trace or a version has, by path."""
    return package_files(workspace, owner) if is_package(owner) else workspace.store.artifacts.list(owner)


def entries(artifacts: Iterable[Artifact], folder: str) -> list[dict[str, Any]]:
    """What lies directly in a folder, as MLflow's ``FileInfo`` with whole paths: files with sizes, and folders."""
    start = f"{folder}/" if folder else ""
    found: dict[str, dict[str, Any]] = {}
    for item in artifacts:
        if not item.path.startswith(start):
            continue
        name, slash, _ = item.path[len(start) :].partition("/")
        path = start + name
        if slash:
            found.setdefault(path + slash, {"path": path, "is_dir": True})
        else:
            found[path] = {"path": path, "is_dir": False} | ({"file_size": item.size} if item.size >= 0 else {})
    return [found[key] for key in sorted(found)]


def _list(call: Call) -> Any:
    place = place_of(safe_path(call.text("path", default="")))
    found = entries(files_of(call.workspace, place.owner), place.path)
    return {"files": [{**item, "path": posixpath.basename(item["path"])} for item in found]} if found else {}


def _list_of_run(call: Call) -> Any:
    path = safe_path(call.text("path", default=""))
    run = known_run(call)
    answer: dict[str, Any] = {"root_uri": artifact_root(run.id, experiment_of_run(call.workspace, run))}
    found = entries(call.workspace.store.artifacts.list(run.id), path)
    return answer | ({"files": found} if found else {})


def _delete(call: Call) -> Any:
    place = _file_place(call)
    refuse_change(place.owner)
    inside = f"{place.path}/"
    present = [item.path for item in call.workspace.store.artifacts.list(place.owner)]
    gone = [path for path in present if path == place.path or path.startswith(inside)] if place.path else present
    call.workspace.store.artifacts.remove(place.owner, gone)
    return {}


async def _upload(call: Call) -> Any:
    place = _file_place(call)
    refuse_change(place.owner)
    if not place.path or str(call.request.path_params["artifact"]).endswith("/"):  # a client cuts what follows a "#"
        raise invalid("Invalid path")
    folder = _uploads(call.workspace)
    file = await in_thread(_temporary, folder)
    received = Path(file.name)
    try:
        hasher, size, waiting = hashlib.sha256(), 0, bytearray()
        async for part in call.request.stream():
            waiting += part
            if len(waiting) >= _BLOCK:
                size += len(waiting)
                await in_thread(_take, file, hasher, bytes(waiting))
                waiting.clear()
        size += len(waiting)
        await in_thread(_take, file, hasher, bytes(waiting))
        await in_thread(file.close)
        await in_thread(_keep, call.workspace, place, Artifact(path=place.path, digest=hasher.hexdigest(), size=size), received)
    finally:
        await in_thread(_drop, file, received)
    return {}


def _keep(workspace: Workspace, place: Place, artifact: Artifact, received: Path) -> None:
    workspace.store.bucket.put_if_absent(object_key(artifact.digest), received, sha256=artifact.digest)
    for known in workspace.store.artifacts.list(place.owner):
        if place.path.startswith(f"{known.path}/") or known.path.startswith(f"{place.path}/"):
            raise invalid(
                f"Invalid artifact path: {place.path!r}. {known.path!r} is there already: no name is a file and a folder."
            )
    workspace.store.artifacts.put(place.owner, [artifact])


def _drop(file: BinaryIO, received: Path) -> None:
    file.close()
    received.unlink(missing_ok=True)


def _take(file: BinaryIO, hasher: Any, block: bytes) -> None:
    hasher.update(block)
    try:
        file.write(block)
    except OSError as error:
        raise _unavailable(error) from None


def _temporary(folder: Path) -> Any:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return tempfile.NamedTemporaryFile(dir=folder, delete=False, buffering=0)
    except OSError as error:
        raise _unavailable(error) from None


def _unavailable(error: OSError) -> UnavailableError:
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return UnavailableError("disk-full", "the disk is full", why="nothing was stored", fix="free some space and try again")
    return UnavailableError(
        "bucket-unavailable", "the file cannot be stored", why=str(error), fix="check the folder's owner and mode"
    )


def _uploads(workspace: Workspace) -> Path:
    return workspace.store.root / "uploads"


def _forget_stale(workspace: Workspace) -> None:
    """Removes what a server that was killed had received of files."""
    folder = _uploads(workspace)
    if folder.is_dir():
        for path in folder.iterdir():
            with suppress(FileNotFoundError):  # another server of this store had just received it
                if path.stat().st_mtime < time.time() - _STALE_SECONDS:
                    path.unlink()


async def _download(call: Call) -> Response:
    path = call.request.path_params.get("artifact")
    if path is None:  # /get-artifact
        place = Place(call.text("run_id", "run_uuid"), safe_path(call.text("path")))
    else:
        place = _file_place(call)
    file = await in_thread(_find, call.workspace, place)
    headers = _headers(posixpath.basename(place.path), file)
    if call.request.headers.get("if-none-match") == headers["etag"]:
        return Response(status_code=304, headers=headers)
    if file.size <= _CHECKED_FIRST:
        await in_thread(fetch_object, call.workspace.store.bucket, file.digest)
    wanted = _range(call.request, file, headers["etag"])
    if wanted is None:
        headers["content-length"] = str(file.size)
        return StreamingResponse(_checked(file), headers=headers)
    start, end = wanted
    headers |= {"content-length": str(end - start), "content-range": f"bytes {start}-{end - 1}/{file.size}"}
    return StreamingResponse(_part(file, start, end), status_code=206, headers=headers)


def _find(workspace: Workspace, place: Place) -> _File:
    present = package_files(workspace, place.owner) if is_package(place.owner) else None
    if present is None:
        artifact = workspace.store.artifacts.find(place.owner, place.path)
    else:
        artifact = next((item for item in present if item.path == place.path), None)
    if artifact is None:
        inside = f"{place.path}/"
        if not place.path or any(item.path.startswith(inside) for item in files_of(workspace, place.owner)):
            raise invalid(f"Artifact path refers to a directory, not a file: '{place.path}'")
        raise missing(f"No such artifact: '{place.path}'")
    local = workspace.store.bucket.local(object_key(artifact.digest))
    return _File(local, artifact.digest, local.stat().st_size)


def _headers(name: str, file: _File) -> dict[str, str]:
    kind = mimetypes.guess_type(name)[0] or ("text/plain" if name in {"MLmodel", "MLproject"} else "application/octet-stream")
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().replace('"', "") or "download"
    disposition = f'attachment; filename="{plain}"'
    if plain != name:
        disposition += f"; filename*=UTF-8''{quote(name, safe='')}"
    # As an attachment: a page that somebody logged must not run as a page of this server.
    return {
        "content-type": kind,
        "content-disposition": disposition,
        "etag": f'"{file.digest}"',
        "accept-ranges": "bytes",
        "cache-control": "no-cache",
    }


def _range(request: Request, file: _File, etag: str) -> tuple[int, int] | None:
    """The part that is asked for, as start and end; None: all of it."""
    match = re.fullmatch(r"bytes=(\d{0,18})-(\d{0,18})", request.headers.get("range", ""))
    if match is None or request.headers.get("if-range", etag) != etag:
        return None
    first, last = match.groups()
    if not first and not last:
        return None
    start = int(first) if first else max(file.size - int(last), 0)
    end = min(int(last) + 1, file.size) if first and last else file.size
    if start >= end:
        raise MlflowError("BAD_REQUEST", f"The file has {file.size} bytes.", status=416)
    return start, end


async def _checked(file: _File) -> AsyncIterator[bytes]:
    hasher, held = hashlib.sha256(), b""
    source = await in_thread(_opened, file)
    try:
        while block := await in_thread(_read, source, hasher):
            if held:
                yield held
            held = block
    finally:
        source.close()
    if hasher.hexdigest() != file.digest:
        raise IntegrityError(
            "object-changed",
            f"object {file.digest[:12]} was changed on disk",
            why="its bytes hash otherwise; the download was cut",
            fix="tidegate store verify",
        )
    yield held


def _opened(file: _File) -> BinaryIO:
    return file.local.open("rb")


def _read(source: BinaryIO, hasher: Any) -> bytes:
    block = source.read(_BLOCK)
    hasher.update(block)
    return block


async def _part(file: _File, start: int, end: int) -> AsyncIterator[bytes]:
    source = await in_thread(_opened, file)
    try:
        source.seek(start)
        while start < end and (block := await in_thread(source.read, min(_BLOCK, end - start))):
            start += len(block)
            yield block
    finally:
        source.close()


def _file_place(call: Call) -> Place:
    path = safe_path(str(call.request.path_params["artifact"]))
    if not path:
        raise invalid("Invalid path")
    return place_of(path)


def _no_multipart(call: Call) -> Any:
    _file_place(call)
    raise MlflowError("NOT_IMPLEMENTED", "Multipart upload is not supported for the current artifact repository")


def _no_presigned(call: Call) -> Any:
    _file_place(call)
    raise MlflowError("NOT_IMPLEMENTED", "Multipart download is not supported for the current artifact repository")


def _no_direct(call: Call) -> Any:
    safe_path(call.text("path"))
    raise invalid("Presigned transfers are not supported for proxied artifact storage: the server keeps the files itself.")
