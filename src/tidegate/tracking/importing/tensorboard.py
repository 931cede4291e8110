"""TensorBoard: every folder with event files below a folder of logs is a run."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tidegate import digest as digests
from tidegate.clock import SECOND
from tidegate.errors import NotFoundError, UsageError
from tidegate.records.run import Run, RunState
from tidegate.tracking.importing.points import PointList
from tidegate.tracking.importing.records import NOT_AS_EXPECTED, Attachment, ImportedExperiment, ImportedRun, Problem, Source
from tidegate.tracking.importing.tfevents import Event, Value, doubles, parse_event, parse_tensor, parse_value, read_records
from tidegate.tracking.importing.wire import VARINT, Field, fields, outline

KIND = "tensorboard"
_SIMPLE, _IMAGE, _HISTOGRAM, _AUDIO, _TENSOR = 2, 4, 5, 6, 8
_VERSION, _GRAPH, _SESSION, _META_GRAPH = 3, 4, 7, 9
_HISTOGRAM_PARTS = {1: "min", 2: "max", 3: "num", 4: "sum", 5: "sum_squares", 6: "bucket_limit", 7: "bucket"}
_ENDS = {1: RunState.FINISHED, 2: RunState.FAILED}
_SUFFIXES = ((b"\x89PNG", "png"), (b"\xff\xd8", "jpg"), (b"GIF8", "gif"), (b"RIFF", "wav"))


def open_tensorboard(path: Path) -> Source:
    """The runs below a folder of logs; nothing there is changed.

    Raises:
        NotFoundError: there is nothing at ``path``.
        UsageError: there is no event file.
    """
    if not path.exists():
        raise NotFoundError("source-not-found", f"no file or folder {path}", fix="check the path")
    root = path.absolute() if path.is_dir() else path.absolute().parent
    files = [path.absolute()] if path.is_file() else sorted(item for item in root.rglob("*tfevents*") if item.is_file())
    if not files:
        raise UsageError(
            "nothing-to-import",
            f"{path} holds no event file",
            why="there is no file with tfevents in its name in it or in the folders below it",
            fix="name the folder that tensorboard --logdir takes",
        )
    folders: dict[Path, list[Path]] = {}
    for file in files:
        folders.setdefault(file.parent, []).append(file)
    return Source(KIND, path.absolute(), len(folders) + 1, _items(root, folders))


def _items(root: Path, folders: dict[Path, list[Path]]) -> Iterator[ImportedExperiment | ImportedRun | Problem]:
    begun = False
    for folder, files in folders.items():
        found = _Events()
        for file in files:
            yield from found.read(file)
        if not found.identity:
            continue  # no event in it could be read, which was said; or it is empty, as a writer that logged nothing leaves it
        name = folder.relative_to(root).as_posix()
        if not begun:
            begun = True
            yield ImportedExperiment(root.resolve().name or KIND, found.first_at, {})
        yield found.run(root.resolve().name or KIND, name if name != "." else root.resolve().name, files)


class _Events:
    """What the event files of one folder add up to."""

    def __init__(self) -> None:
        self.identity = ""
        self.points = PointList()
        self.params: dict[str, str] = {}
        self.tags: dict[str, str] = {}
        self.media: dict[str, bytes] = {}
        self.lines: dict[str, list[bytes]] = {}
        self.plugins: dict[str, str] = {}
        self.state = RunState.FINISHED
        self.first_at = self.last_at = 0
        self.kept = 0

    def read(self, path: Path) -> Iterator[Problem]:
        """Adds a file; what cannot be read of it is told."""
        try:
            for number, record in enumerate(read_records(path), 1):
                if isinstance(record, str):
                    yield Problem("records", str(path), record)
                    continue
                # What a file begins with never changes, wherever it is copied to.
                self.identity = self.identity or f"{path.parent.resolve().name}/{path.name}/{digests.of_bytes(record)}"
                try:
                    self._event(parse_event(record))
                except NOT_AS_EXPECTED as error:
                    yield Problem("records", f"{path}, event {number}", str(error))
        except OSError as error:
            yield Problem("records", str(path), error.strerror or str(error))

    def run(self, experiment: str, name: str, files: Sequence[Path]) -> ImportedRun:
        """The run of this folder."""
        contents = self.media | {path: b"".join(lines) for path, lines in self.lines.items()}
        kept = [Attachment(path, data, of_source=False) for path, data in contents.items()]
        run = Run(
            id=f"tensorboard-{digests.of_bytes(self.identity.encode())[:24]}",
            experiment=experiment,
            name=name,
            state=self.state,
            started_at=self.first_at,
            ended_at=self.last_at,
            params=self.params,
            tags={"tensorboard.run": name, "tensorboard.files": str(len(files)), **self.tags},
        )
        return ImportedRun(run, self.points.series(), kept, {"records": self.kept})

    def _event(self, event: Event) -> None:
        at = round(event.wall_time * SECOND)
        self.first_at = min(self.first_at or at, at)
        self.last_at = max(self.last_at, at)
        for data in event.values:
            self._value(parse_value(data), data, event.step, at)
        for field in event.others:
            if field.number in {_GRAPH, _META_GRAPH}:
                self._file(f"graph-{event.step}.pb" if field.number == _GRAPH else f"meta-graph-{event.step}.pb", field.data)
            elif field.number not in {_VERSION, _SESSION, 10}:
                self._line("events", event.step, at, {str(field.number): outline(field.data)})

    def _value(self, value: Value, data: bytes, step: int, at: int) -> None:
        plugin = self.plugins.setdefault(value.tag, value.plugin) or value.plugin
        content = value.content
        if value.plugin == "hparams":
            self._hparams(value.plugin_data)
        elif _SIMPLE in content:
            self.points.add(value.tag, step, at, content[_SIMPLE].number32)
        elif _HISTOGRAM in content:
            self._line(f"histograms/{value.tag}", step, at, _histogram(content[_HISTOGRAM]))
        elif _IMAGE in content or _AUDIO in content:
            message = fields((content.get(_IMAGE) or content[_AUDIO]).data)
            encoded = next((field.data for field in message if field.number == (4 if _IMAGE in content else 5)), b"")
            self._media("images" if _IMAGE in content else "audio", value.tag, step, encoded)
        elif _TENSOR in content:
            self._tensor(plugin, value.tag, content[_TENSOR].data, step, at)
        else:
            self._line("values", step, at, {"tag": value.tag, "value": outline(data)})

    def _tensor(self, plugin: str, tag: str, data: bytes, step: int, at: int) -> None:
        tensor = parse_tensor(data)
        if plugin in {"scalars", ""} and tensor.numbers is not None and len(tensor.numbers) == 1:
            self.points.add(tag, step, at, float(tensor.numbers[0]))
        elif plugin == "text" and tensor.strings:
            texts = [text.decode("utf-8", "replace") for text in tensor.strings]
            self._line(f"text/{tag}", step, at, {"text": texts[0] if len(texts) == 1 else texts, "shape": tensor.shape})
        elif plugin in {"images", "audio"} and tensor.strings:
            # The first two strings of images are width and height; audio alternates sound and label.
            media = tensor.strings[2:] if plugin == "images" else tensor.strings
            for number, encoded in enumerate(media):
                self._media(plugin, f"{tag}-{number}" if len(media) > 1 else tag, step, encoded)
        elif tensor.numbers is not None:
            numbers = tensor.numbers.tolist()
            self._line(f"{plugin or 'tensors'}/{tag}", step, at, {"shape": tensor.shape, "values": numbers})
        else:
            self._line(f"{plugin or 'tensors'}/{tag}", step, at, {"tensor": outline(data)})

    def _hparams(self, data: bytes) -> None:
        """The hparams plugin. Source: ``tensorboard/plugins/hparams/plugin_data.proto`` of TensorBoard 2.21."""
        for part in fields(data):
            if part.number == 3:
                for field in fields(part.data):
                    if field.number == 1:
                        entry = {item.number: item for item in fields(field.data)}
                        if 1 in entry:
                            self.params[entry[1].text] = _shown(entry[2].data if 2 in entry else b"")
                    elif field.number == 4:
                        self.tags["tensorboard.group"] = field.text
            elif part.number == 4:
                status = next((field.whole for field in fields(part.data) if field.number == 1), 0)
                self.state = _ENDS.get(status, self.state)
            elif part.number == 2:
                self._line("hparams-experiment", 0, 0, {"experiment": outline(part.data)}, dated=False)

    def _line(self, name: str, step: int, at: int, value: dict[str, Any], *, dated: bool = True) -> None:
        record = ({"step": step, "at": at} if dated else {}) | value
        self.lines.setdefault(f"tensorboard/{name}.jsonl", []).append(
            json.dumps(record, ensure_ascii=False).encode("utf-8", "replace") + b"\n"
        )
        self.kept += 1

    def _media(self, kind: str, tag: str, step: int, data: bytes) -> None:
        suffix = next((suffix for mark, suffix in _SUFFIXES if data.startswith(mark)), "bin")
        self._file(f"{kind}/{tag}/{step}.{suffix}", data)

    def _file(self, name: str, data: bytes) -> None:
        """Keeps a file; the same step again, as after a restart, is another one."""
        path, number = f"tensorboard/{name}", 1
        while self.media.get(path, data) != data:
            number += 1
            stem, _, suffix = name.rpartition(".")
            path = f"tensorboard/{stem}-{number}.{suffix}"
        self.media[path] = data
        self.kept += 1


def _histogram(field: Field) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for item in fields(field.data):
        name = _HISTOGRAM_PARTS.get(item.number, str(item.number))
        found[name] = doubles(item) if item.number in {6, 7} else item.number64
    return found


def _shown(data: bytes) -> str:
    """A ``google.protobuf.Value`` as a parameter."""
    for field in fields(data):
        if field.number == 2:
            number = field.number64
            return str(int(number)) if number.is_integer() and abs(number) < 1e15 else repr(number)
        if field.number == 3:
            return field.text
        if field.number == 4 and field.kind == VARINT:
            return "true" if field.whole else "false"
        if field.number in {5, 6}:
            return json.dumps(outline(field.data))
    return "null"
