"""Tracing: the pipeline function is called once, every step call in it becomes a node and returns a ``Ref``.

The graph is static, so a ``Ref`` stands for a value that nobody has yet: whatever would need the value (a condition, a
sum, an attribute) is refused where it is written, with the step to write it in as the way out.
"""

from __future__ import annotations

import ast
import inspect
import typing
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NoReturn

from tidegate.errors import UsageError
from tidegate.pipelines.graph import Argument, Constant, Fields, Items, Node, Output
from tidegate.pipelines.inputs import Dataset, File

_FORBIDDEN = {
    "__bool__": "used as a condition",
    "__len__": "asked for its length",
    "__contains__": "searched",
    "__call__": "called",
    "__setitem__": "assigned to",
    "__enter__": "entered with `with`",
    "__int__": "turned into an int",
    "__float__": "turned into a float",
    "__index__": "used as an index",
    "__str__": "turned into text",
    "__format__": "turned into text",
    "__array__": "turned into an array",
    "__reduce_ex__": "used as a plain value",
}
_COMPARISONS = ("eq", "ne", "lt", "le", "gt", "ge")
_OPERATORS = ("add", "sub", "mul", "matmul", "truediv", "floordiv", "mod", "pow", "and", "or", "xor")
_ARITHMETIC = [f"__{name}__" for name in (*_COMPARISONS, *_OPERATORS, "neg", "pos", "abs", "invert")] + [
    f"__r{name}__" for name in _OPERATORS
]


class Ref:
    """The promise of a step's result while a pipeline is traced; it can be passed to other steps and returned."""

    __slots__ = ("_index", "_node", "_trace")

    def __init__(self, trace: Trace, node: Node, index: int | None = None) -> None:
        self._trace = trace
        self._node = node
        self._index = index

    def __repr__(self) -> str:
        return f"<result of step {self._node.id}{'' if self._index is None else f'[{self._index}]'}>"

    def __hash__(self) -> int:
        return id(self)

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("__"):  # Python and libraries probe for these
            raise AttributeError(name)
        _refuse(self._node.id, f"asked for its attribute {name!r}")

    def __getitem__(self, index: Any) -> Ref:
        if self._index is not None or self._node.results is None or not isinstance(index, int):
            _refuse(self._node.id, "indexed", "annotate the step as returning tuple[A, B] to take its results one by one")
        if not -self._node.results <= index < self._node.results:
            raise IndexError(f"step {self._node.id} returns {self._node.results} results")
        return Ref(self._trace, self._node, index % self._node.results)

    def __iter__(self) -> Iterator[Ref]:
        if self._index is not None or self._node.results is None:
            _refuse(self._node.id, "iterated or unpacked", "annotate the step as returning tuple[A, B] to unpack its results")
        return iter([self[index] for index in range(self._node.results)])

    def as_output(self, trace: Trace) -> Output:
        """The same as data, for the trace that it belongs to."""
        if self._trace is not trace:
            raise UsageError(
                "foreign-ref",
                f"the result of step {self._node.id} comes from another run of the pipeline function",
                why="a step's result lives inside one call of the pipeline function",
                fix="do not keep step results in globals",
            )
        return Output(self._node.id, self._index)


def _refuse(step: str, use: str, fix: str = "") -> NoReturn:
    raise UsageError(
        "ref-used",
        f"the result of step {step!r} is {use} inside the pipeline function",
        why="the pipeline function only says which step takes what; no step has run yet, so there is no value",
        fix=fix or "move this line into a step",
    )


def _forbidden(use: str) -> Callable[..., NoReturn]:
    def refuse(self: Ref, *_: Any) -> NoReturn:
        _refuse(object.__getattribute__(self, "_node").id, use)

    return refuse


for _name, _use in {**_FORBIDDEN, **dict.fromkeys(_ARITHMETIC, "used in arithmetic or a comparison")}.items():
    setattr(Ref, _name, _forbidden(_use))


class Trace:
    """Collects the nodes of one call of a pipeline function."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self.functions: dict[str, Callable[..., Any]] = {}

    def call(
        self, name: str, function: Callable[..., Any], *, cache: bool, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> Ref:
        """Adds the call of a step and returns the promise of its result.

        Raises:
            UsageError: the arguments do not fit the step's signature.
        """
        signature = inspect.signature(function)
        try:
            bound = signature.bind(*args, **kwargs)
        except TypeError as error:
            raise UsageError(
                "bad-step-call", f"step {name!r} cannot be called like this: {error}", fix=f"its signature is {name}{signature}"
            ) from None
        bound.apply_defaults()
        node = Node(
            id=self._free_id(name),
            step=name,
            function=f"{function.__module__}:{function.__qualname__}",
            arguments={key: self.argument(value) for key, value in bound.arguments.items()},
            cache=cache,
            results=declared_results(function),
        )
        self.nodes.append(node)
        self.functions[node.id] = function
        return Ref(self, node)

    def argument(self, value: Any) -> Argument:
        """A value of the pipeline function as data."""
        if isinstance(value, Ref):
            return value.as_output(self)
        if isinstance(value, Dataset | File):
            return value
        kind = type(value)
        if kind is list or kind is tuple:
            items = tuple(self.argument(item) for item in value)
            return Constant(value) if _all_constant(items) else Items("list" if kind is list else "tuple", items)
        if kind is dict:
            fields = {key: self.argument(item) for key, item in value.items()}
            return Constant(value) if _all_constant(tuple(fields.values())) else Fields(fields)
        return Constant(value)

    def _free_id(self, name: str) -> str:
        taken = {node.id for node in self.nodes}
        number = 1
        while (free := name if number == 1 else f"{name}_{number}") in taken:
            number += 1
        return free


_active: ContextVar[Trace | None] = ContextVar("tidegate_trace", default=None)


def active_trace() -> Trace | None:
    """The trace that step calls belong to right now, or None: then a call is a plain call."""
    return _active.get()


@contextmanager
def tracing() -> Generator[Trace]:
    """Within it, step calls are collected and not executed."""
    trace = Trace()
    token = _active.set(trace)
    try:
        yield trace
    finally:
        _active.reset(token)


def _all_constant(arguments: tuple[Argument, ...]) -> bool:
    return all(isinstance(argument, Constant) for argument in arguments)


def declared_results(function: Callable[..., Any]) -> int | None:
    """The number of results of a function annotated as ``tuple[A, B]``; None for every other annotation."""
    declared: Any = getattr(function, "__annotations__", {}).get("return")
    if isinstance(declared, str):
        return _results_in_text(declared)
    arguments = typing.get_args(declared)
    return len(arguments) if typing.get_origin(declared) is tuple and arguments and Ellipsis not in arguments else None


def _results_in_text(annotation: str) -> int | None:
    try:
        node = ast.parse(annotation, mode="eval").body
    except SyntaxError:
        return None
    if not isinstance(node, ast.Subscript) or ast.unparse(node.value) not in {"tuple", "Tuple", "typing.Tuple"}:
        return None
    items = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
    return None if not items or any(isinstance(item, ast.Constant) and item.value is Ellipsis for item in items) else len(items)
