"""A pipeline as data: what runs, on what, in which order. Made by tracing, read by the runner and by exporters."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, TypeAlias, assert_never

import msgspec

from tidegate.pipelines.inputs import Dataset, File


class Constant(msgspec.Struct, frozen=True, tag="constant"):
    """A value that is known before anything runs."""

    value: Any


class Output(msgspec.Struct, frozen=True, tag="output"):
    """The result of a node, or one element of it where the step is declared to return a tuple."""

    node: str
    index: int | None = None


class Items(msgspec.Struct, frozen=True, tag="items"):
    """A list or tuple with something in it that is not constant."""

    kind: Literal["list", "tuple"]
    items: tuple[Argument, ...]


class Fields(msgspec.Struct, frozen=True, tag="fields"):
    """A dictionary with something in it that is not constant."""

    items: dict[Any, Argument]


Argument: TypeAlias = Constant | Output | Dataset | File | Items | Fields


class Node(msgspec.Struct, frozen=True, kw_only=True):
    """One call of one step. ``id`` is the step's name, numbered when it is called more than once."""

    id: str
    step: str
    function: str
    """``module:qualified.name``"""
    arguments: dict[str, Argument]
    cache: bool = True
    results: int | None = None
    """The number of results of a step that is annotated as ``tuple[A, B]``, stored one by one; None for any other step."""

    @property
    def upstream(self) -> list[str]:
        """The ids of the nodes whose results it takes, each once."""
        return list(dict.fromkeys(output.node for argument in self.arguments.values() for output in outputs_in(argument)))


class Graph(msgspec.Struct, frozen=True, kw_only=True):
    """A traced pipeline: its nodes in an order in which they can run, and what it returns."""

    pipeline: str
    target: str
    """``module:function``"""
    params: dict[str, Any]
    nodes: tuple[Node, ...]
    result: Argument

    def node(self, node_id: str) -> Node | None:
        """The node of that id, or None."""
        return next((node for node in self.nodes if node.id == node_id), None)

    def ancestors(self, node_id: str) -> list[Node]:
        """Every node that the given one needs, itself last, in an order in which they can run."""
        wanted = {node_id}
        for node in reversed(self.nodes):
            if node.id in wanted:
                wanted.update(node.upstream)
        return [node for node in self.nodes if node.id in wanted]


def outputs_in(argument: Argument) -> Iterator[Output]:
    """Every result of a node inside an argument."""
    if isinstance(argument, Output):
        yield argument
    for child in children(argument):
        yield from outputs_in(child)


def children(argument: Argument) -> list[Argument]:
    """What an argument is made of; empty for one that is not a container."""
    match argument:
        case Items(items=items):
            return list(items)
        case Fields(items=fields):
            return list(fields.values())
        case _:
            return []


def shown_argument(argument: Argument) -> str:
    """An argument as people read it: ``clean[0]``, ``dataset flights@3``, ``[train, 'late']``."""
    match argument:
        case Constant(value=value):
            text = repr(value)
            return text if len(text) <= 60 else f"{text[:57]}..."
        case Output(node=node, index=index):
            return node if index is None else f"{node}[{index}]"
        case Dataset(ref=ref):
            return f"dataset {ref}"
        case File(path=path):
            return f"file {path}"
        case Items(kind=kind, items=items):
            text = ", ".join(map(shown_argument, items))
            return f"[{text}]" if kind == "list" else f"({text})"
        case Fields(items=fields):
            return f"{{{', '.join(f'{key}: {shown_argument(item)}' for key, item in fields.items())}}}"
        case _:
            assert_never(argument)
