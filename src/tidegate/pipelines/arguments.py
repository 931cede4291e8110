"""The arguments of a node: what they count for in its fingerprint, and what the step receives."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, assert_never

from tidegate import digest as digests
from tidegate.errors import NotFoundError
from tidegate.pipelines.fingerprint import value_part
from tidegate.pipelines.graph import Argument, Constant, Fields, Graph, Items, Node, Output
from tidegate.pipelines.inputs import Dataset, File
from tidegate.pipelines.outputs import load_value
from tidegate.pipelines.stable import Unhashable
from tidegate.records.dataset import Snapshot
from tidegate.records.pipeline import StepOutput
from tidegate.store.ports import Bucket


class SnapshotSource(Protocol):
    """What a pipeline asks of the datasets: see ``data.Datasets``."""

    def get(self, ref: str, /) -> Snapshot:
        """The snapshot of a reference."""
        ...

    def path(self, snapshot: Snapshot, /) -> Path:
        """The local path of its table."""
        ...


class Arguments:
    """Arguments within one run: a reference to a dataset means one snapshot for all its steps.

    ``outputs`` holds the stored results of the nodes that are done; the runner fills it.
    """

    def __init__(self, graph: Graph, bucket: Bucket, datasets: SnapshotSource, folder: Path) -> None:
        self._split = {node.id for node in graph.nodes if node.results is not None}
        self._bucket = bucket
        self._datasets = datasets
        self._folder = folder
        self.outputs: dict[str, Sequence[StepOutput]] = {}
        self.snapshots: dict[str, Snapshot] = {}

    def parts(self, node: Node) -> tuple[dict[str, str], list[str]]:
        """The input parts of a node's fingerprint by argument name, and what in them cannot be hashed.

        Raises:
            NotFoundError: no such dataset, snapshot or file.
        """
        parts: dict[str, str] = {}
        unhashable: list[str] = []
        for name, argument in node.arguments.items():
            try:
                parts[name] = self.part(argument)
            except (Unhashable, RecursionError) as error:
                unhashable.append(f"argument {name}: {error}")
        return parts, unhashable

    def part(self, argument: Argument) -> str:
        """What one argument counts for. Content counts, not the name it has."""
        match argument:
            case Constant(value=value):
                return value_part(value)
            case Output():
                return f"result {','.join(output.digest for output in self._taken(argument))}"
            case Dataset(ref=ref):
                return f"dataset {ref.partition('@')[0]} {self.snapshot(ref).digest}"
            case File(path=path):
                return f"file {digests.of_file(self.file(path))}"
            case Items(kind=kind, items=items):
                return f"{kind} {digests.of_json([self.part(item) for item in items])}"
            case Fields(items=fields):
                return f"dict {digests.of_json(sorted([value_part(key), self.part(item)] for key, item in fields.items()))}"
            case _:
                assert_never(argument)

    def value(self, argument: Argument) -> Any:
        """What the step receives. A stored result is read anew for every step, so that no step can change another's input."""
        match argument:
            case Constant(value=value):
                return value
            case Output(node=node, index=index):
                values = tuple(load_value(self._bucket, output) for output in self._taken(argument))
                return values if index is None and node in self._split else values[0]
            case Dataset(ref=ref):
                return self._datasets.path(self.snapshot(ref))
            case File(path=path):
                return self.file(path)
            case Items(kind=kind, items=items):
                values = [self.value(item) for item in items]
                return tuple(values) if kind == "tuple" else values
            case Fields(items=fields):
                return {key: self.value(item) for key, item in fields.items()}
            case _:
                assert_never(argument)

    def snapshot(self, ref: str) -> Snapshot:
        """The snapshot that a reference means in this run."""
        if ref not in self.snapshots:
            self.snapshots[ref] = self._datasets.get(ref)
        return self.snapshots[ref]

    def file(self, path: str) -> Path:
        """The path of a file input.

        Raises:
            NotFoundError: there is no such file.
        """
        found = self._folder / path
        if not found.is_file():
            raise NotFoundError("file-not-found", f"no file {found}", why=f"a step takes File({path!r})", fix="check the path")
        return found

    def _taken(self, output: Output) -> Sequence[StepOutput]:
        stored = self.outputs[output.node]
        return stored if output.index is None else [stored[output.index]]


def bare_paths(nodes: Sequence[Node], folder: Path) -> list[str]:
    """A warning for every text argument that names an existing file: such a file can change without anybody noticing."""
    found: dict[str, None] = {}
    for node in nodes:
        for name, argument in node.arguments.items():
            value: Any = argument.value if isinstance(argument, Constant) else None
            if isinstance(value, str | Path) and _is_file(folder, value):
                found[
                    f"step {node.id} takes the path {str(value)!r} as {name}: a change of that file goes unnoticed; pass File({str(value)!r})"
                ] = None
    return list(found)


def _is_file(folder: Path, value: str | Path) -> bool:
    try:
        return bool(str(value)) and (folder / value).is_file()
    except (OSError, ValueError):
        return False
