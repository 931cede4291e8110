"""One W&B run, built up record by record. Source of the field numbers: ``wandb/proto/wandb_internal.proto`` of wandb 0.31."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from tidegate.clock import SECOND
from tidegate.tracking.importing.points import PointList
from tidegate.tracking.importing.records import Attachment, Problem
from tidegate.tracking.importing.wire import BYTES, Field, fields, outline

_HISTORY, _SUMMARY, _OUTPUT, _CONFIG, _STATS, _ARTIFACT, _OUTPUT_RAW, _RUN, _EXIT = 2, 3, 4, 5, 7, 8, 13, 17, 18
_ENVELOPE = {1, 16, 19, 200}
_SILENT = {20, 21, 22, 23, 24, 25, 27, 100}
_NAMES = {
    6: "files",
    8: "artifact",
    9: "tensorboard",
    10: "alert",
    11: "telemetry",
    12: "metric",
    20: "final",
    21: "header",
    22: "footer",
    23: "preempting",
    25: "use_artifact",
    26: "environment",
    27: "output_logger",
    100: "request",
}
_TIME, _STEP = "_timestamp", "_step"


class WandbRun:
    """What the records of one run add up to."""

    def __init__(self) -> None:
        self.id = self.project = self.entity = self.name = self.notes = self.group = self.job_type = self.sweep = self.host = ""
        self.commit = self.remote = ""
        self.labels: list[str] = []
        self.config: dict[str, Any] = {}
        self.summary: dict[str, Any] = {}
        self.points = PointList()
        self.started_at = self.runtime = 0
        self.exit_code: int | None = None
        self.output: list[str] = []
        self.others: list[bytes] = []
        self.values: list[bytes] = []
        self.files: list[Attachment] = []
        self.problems: list[Problem] = []
        self.records = self.samples = 0

    def take(self, record: bytes) -> None:
        """Adds one record.

        Raises:
            ValueError: it cannot be understood.
        """
        for field in fields(record):
            if field.kind != BYTES or field.number in _ENVELOPE:
                continue
            if field.number == _HISTORY:
                self._history(field.data)
            elif field.number == _SUMMARY:
                _change(self.summary, field.data)
            elif field.number == _CONFIG:
                _change(self.config, field.data)
            elif field.number == _STATS:
                self._stats(field.data)
            elif field.number in {_OUTPUT, _OUTPUT_RAW}:
                self.output += [item.text for item in fields(field.data) if item.number == 3]
            elif field.number == _RUN:
                self._run(field.data)
            elif field.number == _EXIT:
                found = {item.number: item.whole for item in fields(field.data)}
                self.exit_code, self.runtime = found.get(1, 0), found.get(2, 0)
            else:
                self._other(field)

    def _run(self, data: bytes) -> None:
        texts = {
            1: "id", 2: "entity", 3: "project", 6: "group", 7: "job_type", 8: "name", 9: "notes", 12: "sweep", 13: "host",
        }  # fmt: skip
        labels: list[str] = []
        for field in fields(data):
            if field.number in texts:
                setattr(self, texts[field.number], field.text)
            elif field.number == 4:
                _change(self.config, field.data)
            elif field.number == 5:
                _change(self.summary, field.data)
            elif field.number == 10:
                labels.append(field.text)
            elif field.number == 17:
                self.started_at = self.started_at or _time(field.data)
            elif field.number == 21:
                git = {item.number: item.text for item in fields(field.data)}
                self.remote, self.commit = git.get(1, ""), git.get(2, "")
            elif field.number not in {16, 200}:
                self.note("run", {str(field.number): outline(field.data) if field.kind == BYTES else field.whole})
        self.labels = labels or self.labels

    def _history(self, data: bytes) -> None:
        record: dict[str, Any] = {}
        step: int | None = None
        for field in fields(data):
            if field.number == 1:
                path, value = _item(field.data)
                _put(record, path, value)
            elif field.number == 2:
                step = next((item.whole for item in fields(field.data) if item.number == 1), 0)
        written = record.pop(_STEP, None)
        number = int(written) if isinstance(written, int | float) else step or 0
        at = record.pop(_TIME, None)
        micros = round(at * SECOND) if isinstance(at, int | float) else self.points.last_at or self.started_at
        for name, value in _leaves(record):
            if isinstance(value, bool | int | float):
                self.points.add(name, number, micros, float(value))
            else:
                self.values.append(_line({"step": number, "at": micros, "name": name, "value": value}))

    def _stats(self, data: bytes) -> None:
        """A sample of the machine: its step counts the samples."""
        at = 0
        found: list[tuple[str, Any]] = []
        for field in fields(data):
            if field.number == 2:
                at = _time(field.data)
            elif field.number == 3:
                path, value = _item(field.data)
                found.append((".".join(path), value))
        for name, value in found:
            if isinstance(value, bool | int | float):
                self.points.add(f"system/{name}", self.samples, at, float(value))
            else:
                self.values.append(_line({"step": self.samples, "at": at, "name": f"system/{name}", "value": value}))
        self.samples += 1

    def _other(self, field: Field) -> None:
        if field.number == _ARTIFACT:
            self._artifact(field.data)
        if field.data or field.number not in _SILENT:
            self.note(_NAMES.get(field.number, str(field.number)), outline(field.data))

    def note(self, kind: str, content: Any) -> None:
        """Keeps a record without a place here as a line of a file."""
        line = _line({"record": kind, "fields": content})
        if line not in self.others:
            self.others.append(line)

    def _artifact(self, data: bytes) -> None:
        """The files of a logged artifact, where they are still on this machine with the digest that the record tells."""
        name = next((item.text for item in fields(data) if item.number == 5), "unnamed")
        for manifest in (item.data for item in fields(data) if item.number == 12):
            for entry in (item.data for item in fields(manifest) if item.number == 4):
                texts = {item.number: item.text for item in fields(entry)}
                path, local = texts.get(1, ""), texts.get(6, "")
                if texts.get(3):
                    continue  # a reference to elsewhere, which the record keeps
                where = f"artifacts/{name}/{path}"
                if local and _has_md5(Path(local), texts.get(2, "")):
                    self.files.append(Attachment(where, Path(local)))
                else:
                    self.problems.append(Problem("artifacts", where, f"its file {local or '(not named)'} is gone or has changed"))


def as_param(value: Any) -> str:
    """A value of the configuration as a parameter: texts as they are, all else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def flat(config: Mapping[str, Any]) -> dict[str, str]:
    """The configuration as parameters, nested keys joined by dots; what W&B keeps for itself is left out."""
    return {name: as_param(value) for name, value in _leaves({key: config[key] for key in config if key != "_wandb"}, empty=True)}


def numbers_of(summary: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of a summary by name."""
    return {name: float(value) for name, value in _leaves(summary) if isinstance(value, bool | int | float)}


def _leaves(tree: Mapping[str, Any], prefix: str = "", *, empty: bool = False) -> Iterator[tuple[str, Any]]:
    """The values of a nested record; what W&B marks with a type stays whole."""
    for key, value in tree.items():
        if isinstance(value, dict) and "_type" not in value and (value or not empty):
            yield from _leaves(value, f"{prefix}{key}.", empty=empty)  # pyright: ignore[reportUnknownArgumentType] - JSON
        else:
            yield prefix + key, value


def _change(tree: dict[str, Any], data: bytes) -> None:
    """Applies updates (1) and removals (2) to a nested record."""
    for field in fields(data):
        if field.number == 1:
            path, value = _item(field.data)
            _put(tree, path, value)
        elif field.number == 2:
            path, _ = _item(field.data)
            place: Any = tree
            for key in path[:-1]:
                place = place.get(key, {}) if isinstance(place, dict) else {}  # pyright: ignore[reportUnknownMemberType] - JSON
            if isinstance(place, dict) and path:
                place.pop(path[-1], None)  # pyright: ignore[reportUnknownMemberType] - JSON


def _put(tree: dict[str, Any], path: list[str], value: Any) -> None:
    place = tree
    for key in path[:-1]:
        inner = place.get(key)
        if not isinstance(inner, dict):
            inner = place[key] = {}
        place = inner  # pyright: ignore[reportUnknownVariableType] - JSON
    if path:
        place[path[-1]] = value


def _item(data: bytes) -> tuple[list[str], Any]:
    """The key of an item as a path, and its value: JSON, with NaN and infinities as W&B writes them."""
    key, nested, written = "", list[str](), ""
    for field in fields(data):
        if field.number == 1:
            key = field.text
        elif field.number == 2:
            nested.append(field.text)
        elif field.number == 16:
            written = field.text
    try:
        value = json.loads(written) if written else None
    except RecursionError as error:
        raise ValueError("a value is nested too deeply") from error
    return nested or [key], value


def _time(data: bytes) -> int:
    found = {item.number: item.whole for item in fields(data)}
    return found.get(1, 0) * SECOND + found.get(2, 0) // 1000


def _line(value: Any) -> bytes:
    # json, not msgspec: values may be NaN, which W&B writes so too.
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "replace") + b"\n"


def _has_md5(path: Path, expected: str) -> bool:
    try:
        found = hashlib.md5(path.read_bytes(), usedforsecurity=False).digest() if path.is_file() else b""
    except OSError:
        return False
    return bool(found) and base64.b64encode(found).decode() == expected


def pretty(value: Any) -> bytes:
    """A record as a readable file."""
    return json.dumps(value, ensure_ascii=False, indent=2).encode("utf-8", "replace") + b"\n"


def slug(*parts: str) -> str:
    """Characters that name a run of the same parts and no other."""
    return hashlib.sha256(msgspec.json.encode(parts)).hexdigest()[:8]
