"""``@step`` and ``@pipeline``: metadata on plain functions. Called directly, both run like the functions that they are."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, Generic, ParamSpec, TypeVar, cast, overload

from tidegate.errors import UsageError
from tidegate.pipelines.trace import active_trace
from tidegate.records.names import check_name

P = ParamSpec("P")
R = TypeVar("R")


class Step(Generic[P, R]):
    """A function with a name for the pipeline's records, and whether its result may be used again."""

    def __init__(self, function: Callable[P, R], *, name: str = "", cache: bool = True) -> None:
        _check_plain(function, "step")
        self.function = function
        self.name = check_name(name or function.__name__.strip("_"), "step")
        self.cache = cache
        functools.update_wrapper(self, function)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        trace = active_trace()
        if trace is None:
            return self.function(*args, **kwargs)
        # While tracing, the promise of a result stands where the result will be.
        return cast("R", trace.call(self.name, self.function, cache=self.cache, args=args, kwargs=kwargs))

    def __repr__(self) -> str:
        return f"<step {self.name}>"


class Pipeline(Generic[P, R]):
    """A function that calls steps. A ``Runner`` turns it into a graph; called directly it simply runs."""

    def __init__(self, function: Callable[P, R], *, name: str = "") -> None:
        _check_plain(function, "pipeline")
        self.function = function
        self.name = check_name(name or function.__name__.strip("_"), "pipeline")
        functools.update_wrapper(self, function)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        return self.function(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<pipeline {self.name}>"

    @property
    def target(self) -> str:
        """``module:function``, as the command line names it."""
        return f"{self.function.__module__}:{self.function.__qualname__}"


@overload
def step(function: Callable[P, R], /) -> Step[P, R]: ...
@overload
def step(*, name: str = "", cache: bool = True) -> Callable[[Callable[P, R]], Step[P, R]]: ...
def step(function: Callable[..., Any] | None = None, /, *, name: str = "", cache: bool = True) -> Any:
    """Marks a function as a step: ``@step`` or ``@step(name="clean", cache=False)``.

    Args:
        function: the function, when used without parentheses.
        name: the step's name in records and commands; the function's name by default.
        cache: False for a step that reads something Tidegate cannot see, like a web service: it runs every time.

    Raises:
        UsageError: it is no plain function, or the name cannot be one.
    """
    return Step(function) if function else functools.partial(_make_step, name=name, cache=cache)


@overload
def pipeline(function: Callable[P, R], /) -> Pipeline[P, R]: ...
@overload
def pipeline(*, name: str = "") -> Callable[[Callable[P, R]], Pipeline[P, R]]: ...
def pipeline(function: Callable[..., Any] | None = None, /, *, name: str = "") -> Any:
    """Marks a function as a pipeline: ``@pipeline`` or ``@pipeline(name="delay")``; runs are kept under its name.

    Raises:
        UsageError: it is no plain function, or the name cannot be one.
    """
    return Pipeline(function) if function else functools.partial(_make_pipeline, name=name)


def _make_step(function: Callable[..., Any], *, name: str, cache: bool) -> Step[..., Any]:
    return Step(function, name=name, cache=cache)


def _make_pipeline(function: Callable[..., Any], *, name: str) -> Pipeline[..., Any]:
    return Pipeline(function, name=name)


def _check_plain(function: Any, noun: str) -> None:
    odd = inspect.iscoroutinefunction(function) or inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function)
    if not inspect.isfunction(function) or odd:
        raise UsageError(
            "not-a-function",
            f"@{noun} decorates a {'generator or coroutine' if odd else type(function).__name__}",
            why=f"a {noun} is a plain function that returns its result",
            fix=f"put @{noun} on top of a def; other decorators stand below it",
        )
