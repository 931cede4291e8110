"""What MLflow's files and its database have in common: states, datasets, models of runs, and where artifacts are.

Source: ``mlflow/entities`` and ``mlflow/store/artifact`` of MLflow 2.22 and 3.18.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

import msgspec

from tidegate import digest as digests
from tidegate.clock import SECOND
from tidegate.records.run import Run, RunInput, RunState
from tidegate.tracking.importing.records import Attachment, ImportedRun, Problem

MS = SECOND // 1000
MODEL_INPUT, MODEL_OUTPUT = "mlflow.model-input", "mlflow.model-output"
_LARGEST = 1.7976931348623157e308
_STATES = {"1": "RUNNING", "2": "SCHEDULED", "3": "FINISHED", "4": "FAILED", "5": "KILLED"}
_SERVED = "mlflow-artifacts"
_SERVED_FOLDERS = ("mlartifacts", "mlruns")
LEFTOVERS = "mlflow-import"
"""The experiment with what belongs to no run: the model registry, tables and files without a place here."""


def state_of(written: Any) -> RunState:
    """A run's state, from MLflow's number or word; what is neither is CRASHED: nobody said how it ended."""
    text = str(written)
    try:
        return RunState(_STATES.get(text, text))
    except ValueError:
        return RunState.CRASHED


def micros(written: Any) -> int:
    """MLflow's milliseconds as microseconds; 0 for none."""
    return int(written) * MS if written is not None else 0


def infinite(value: float) -> float:
    """A number of the database, which holds infinities as the largest ones."""
    return math.copysign(math.inf, value) if abs(value) == _LARGEST else value


def dataset_input(record: Mapping[str, Any], tags: Mapping[str, str]) -> RunInput:
    """A dataset as an input of a run."""
    texts = {name: str(record.get(name) or "") for name in ("name", "digest", "source_type", "source", "schema", "profile")}
    return RunInput(**texts, tags=dict(tags))


def model_link(model_id: str, kind: str, step: Any) -> RunInput:
    """A logged model that a run read or made, as the server keeps it too."""
    return RunInput(name=model_id, digest=f"{kind}:{step or 0}", source_type=kind, tags={"step": str(step or 0)})


class Found(NamedTuple):
    """Files of an artifact folder, and what could not be read there."""

    files: list[Attachment]
    problems: list[Problem]


def files_below(folder: Path, prefix: str = "") -> Found:
    """Every file below a folder. Links are told and not followed: they may lead anywhere."""
    files: list[Attachment] = []
    problems: list[Problem] = []
    for path in _walk(folder, problems):
        if path.is_symlink():
            problems.append(Problem("artifacts", str(path), "it is a link"))
        elif path.is_file():
            files.append(Attachment(prefix + path.relative_to(folder).as_posix(), path))
    return Found(files, problems)


def _walk(folder: Path, problems: list[Problem]) -> Iterator[Path]:
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        problems.append(Problem("artifacts", str(folder), error.strerror or str(error)))
        return
    for entry in entries:
        if entry.is_dir() and not entry.is_symlink():
            yield from _walk(entry, problems)
        else:
            yield entry


def artifacts_at(uri: str, owner: str, base: Path, prefix: str = "", *, expected: bool = False) -> Found:
    """The files that an artifact URI of a run or model leads to; ``base`` is the folder of the database or of ``mlruns``.

    A folder counts only if the owner's id is a part of its path, as MLflow makes it: a record from elsewhere must not make
    this machine's other files part of the store.
    """
    if not uri:
        return Found([], [])
    if owner not in uri.split("/"):
        return Found([], [Problem("artifacts", uri, f"the address does not name {owner}")])
    places = _local_places(uri, base)
    if places is None:
        return Found([], [Problem("artifacts", uri, "it is not on this machine; artifacts are only read from folders")])
    for place in places:
        if place.is_dir():
            return files_below(place, prefix)
    if expected:
        return Found([], [Problem("artifacts", uri, "there is no such folder, though the run says that it has artifacts")])
    return Found([], [])


def _local_places(uri: str, base: Path) -> list[Path] | None:
    """Where the artifacts may be: as written, and beside the database where the whole folder was moved. None: elsewhere."""
    parts = urlsplit(uri)
    if parts.scheme == _SERVED:
        inner = unquote(parts.path).lstrip("/")
        return [base / folder / inner for folder in _SERVED_FOLDERS] if ".." not in inner.split("/") else []
    if parts.scheme not in {"", "file"} or parts.netloc not in {"", "localhost"}:
        return None
    path = Path(unquote(parts.path) if parts.scheme else uri)
    if ".." in path.parts:
        return []
    places = [base / path]
    for folder in _SERVED_FOLDERS:
        if folder in path.parts:
            inside = path.parts[path.parts.index(folder) :]
            places += [base.joinpath(*inside), base.joinpath(*inside[1:])]
    return places


def leftovers(
    identity: str, at: int, files: Sequence[Attachment], kept: Mapping[str, int], problems: Sequence[Problem]
) -> ImportedRun:
    """A run of its own for what belongs to no run."""
    run = Run(
        id=f"mlflow-import-{digests.of_bytes(identity.encode())[:16]}",
        experiment=LEFTOVERS,
        name="registry and other records of MLflow",
        state=RunState.FINISHED,
        started_at=at,
        ended_at=at,
    )
    return ImportedRun(run, [], files, kept, problems)


def as_json(value: Any) -> bytes:
    """A record of the source as a readable file."""
    return msgspec.json.format(msgspec.json.encode(value, enc_hook=repr), indent=2) + b"\n"
