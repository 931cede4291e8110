"""From a pipeline and its parameters to a graph and the functions of its nodes."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from tidegate.errors import TidegateError, UsageError
from tidegate.pipelines.authoring import Pipeline
from tidegate.pipelines.failure import PipelineBrokenError, user_frames
from tidegate.pipelines.graph import Graph
from tidegate.pipelines.inputs import Dataset, File
from tidegate.pipelines.trace import tracing
from tidegate.records.names import nearest

_SIMPLE = (bool, int, float, str)


@dataclass(frozen=True)
class Plan:
    """A graph, and the function that each of its nodes calls."""

    graph: Graph
    functions: Mapping[str, Callable[..., Any]]


def make_plan(pipeline: Pipeline[..., Any], params: Mapping[str, Any] | None = None) -> Plan:
    """Calls the pipeline function once, without running a step, and returns what it says.

    Args:
        pipeline: the pipeline.
        params: its arguments by name; texts are converted to the type that the function declares.

    Raises:
        UsageError: a parameter is unknown, missing or of the wrong type; a step's result is used as a value; there is no step.
        PipelineBrokenError: the pipeline function itself failed.
    """
    bound = bind_params(pipeline, params or {})
    with tracing() as trace:
        try:
            returned = pipeline.function(**bound)
        except TidegateError:
            raise
        except Exception as error:
            raise PipelineBrokenError(
                "pipeline-broken",
                f"the function of pipeline {pipeline.name} failed: {type(error).__name__}: {error}",
                why="\n       ".join(user_frames(error)),
                fix="the pipeline function only calls steps; what works on data belongs into a step",
            ) from error
        result = trace.argument(returned)
    if not trace.nodes:
        raise UsageError(
            "pipeline-empty",
            f"pipeline {pipeline.name} calls no step",
            why="only functions decorated with @step become nodes",
            fix="decorate the functions that it calls with @step",
        )
    graph = Graph(pipeline=pipeline.name, target=pipeline.target, params=bound, nodes=tuple(trace.nodes), result=result)
    return Plan(graph, trace.functions)


def bind_params(pipeline: Pipeline[..., Any], params: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of the pipeline function, defaults included, texts converted to the declared types.

    Raises:
        UsageError: a parameter is unknown, missing or of the wrong type.
    """
    signature = inspect.signature(pipeline.function)
    declared = signature.parameters
    for name in params:
        if name not in declared:
            fix = nearest(name, list(declared)) if declared else "the pipeline takes no parameters"
            raise UsageError("unknown-param", f"pipeline {pipeline.name} has no parameter {name!r}", fix=fix)
    missing = [
        name
        for name, item in declared.items()
        if item.default is inspect.Parameter.empty and name not in params and _is_single(item)
    ]
    if missing:
        raise UsageError(
            "missing-param",
            f"pipeline {pipeline.name} needs the parameter {missing[0]!r}",
            why=f"its signature is {pipeline.name}{signature}",
            fix=f"add --param {missing[0]}=...",
        )
    types = _declared_types(pipeline.function)
    return {
        name: _converted(name, params[name], types.get(name, _type_of_default(item.default))) if name in params else item.default
        for name, item in declared.items()
        if name in params or item.default is not inspect.Parameter.empty
    }


def _is_single(item: inspect.Parameter) -> bool:
    return item.kind not in {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD}


def _declared_types(function: Callable[..., Any]) -> dict[str, Any]:
    try:
        return typing.get_type_hints(function)
    except (NameError, TypeError, AttributeError):  # annotations that only a type checker can resolve
        return {}


def _type_of_default(default: Any) -> Any:
    return type(default) if isinstance(default, (*_SIMPLE, Dataset, File)) else Any


def _converted(name: str, value: Any, kind: Any) -> Any:
    """A text as the declared type; anything that is no text is the caller's business."""
    if not isinstance(value, str) or kind in {str, Any}:
        return value
    if kind is Dataset or kind is File:
        return kind(value)
    try:
        return msgspec.convert(value, kind, strict=False)
    except msgspec.ValidationError:
        shown = getattr(kind, "__name__", str(kind))
        raise UsageError(
            "bad-param", f"parameter {name} is declared as {shown}, {value!r} is none", fix=f"write --param {name}=... as {shown}"
        ) from None
    except TypeError:  # a type of the user's own, which msgspec knows nothing of
        return value
