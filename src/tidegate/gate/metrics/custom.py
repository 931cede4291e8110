"""Any callable as a metric: ``module:function``, called as f(labels, predictions), with weights=... if there are any, gives a number.

This runs code that a policy names. It is imported as Python imports anything: from the installed packages, and from the
project's own folder where the caller allows that (``importable``); never from beside a policy file or the data. Reading a policy
imports nothing (``check_target``); judging does (``load_metric``).
"""

from __future__ import annotations

import importlib
import inspect
import math
import re
import sys
import warnings
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import partial
from importlib.machinery import PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tidegate import digest
from tidegate.errors import BadInputError, TidegateError, UsageError
from tidegate.gate.evidence import Evidence
from tidegate.gate.metrics.metric import Better, Measured, Metric, grouped
from tidegate.stats.bootstrap import GROUPS, MAX_ROWS, Rows, bca_rows, draws_for
from tidegate.stats.estimate import SPARSE, UNKNOWN, Floats, cluster_count

_TARGET = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")
_TASKS = ("binary", "multiclass", "multilabel", "regression")
_WEIGHTS = ("weights", "sample_weight")


class Loaded(NamedTuple):
    """A user's function, its name in the policy, and the name of the argument that takes weights (empty: none does)."""

    name: str
    function: Callable[..., Any]
    weights: str
    always: bool
    """Whether it must be given weights."""


def is_target(name: str) -> bool:
    """Whether a metric's name means a callable."""
    return ":" in name.partition("[")[0]


def check_target(name: str, task: str) -> None:
    """Refuses what cannot name a callable, without importing anything.

    Raises:
        UsageError: it is not ``module:function``, or the task has no labels and predictions by row.
    """
    if not _TARGET.fullmatch(name):
        raise UsageError(
            "bad-metric",
            f"{name!r} names no function",
            why="a metric of your own is named module:function",
            fix="write my_metrics:profit",
        )
    if task not in _TASKS:
        raise UsageError(
            "bad-metric",
            f"{name!r} cannot be asked of the task {task!r}",
            why="a function is given labels and predictions of single rows",
            fix=f"use a metric of the task {task}",
        )


def load_metric(name: str, task: str) -> Metric:
    """Imports the function and makes a metric of it. Lower is better where it has the attribute ``better = "lower"``.

    Raises:
        UsageError: as ``check_target``.
        BadInputError: ``metric-failed``: it cannot be imported, is not callable, or says neither higher nor lower.
    """
    check_target(name, task)
    module = _import(name)
    found: Any = module
    with _guarded(name, "looking at it raised", "call it by hand"):
        for part in name.partition(":")[2].split("."):
            found = getattr(found, part, None)
        if not callable(found):
            raise _failed(name, f"module {module.__name__} has no such function", "mend the name in the policy")
        better: Any = getattr(found, "better", "higher")
        if not isinstance(better, str) or better not in ("higher", "lower"):
            raise _failed(name, f"its attribute better is {better!r}", 'set it to "higher" or "lower"')
        return _metric(Loaded(name, found, *_weights_argument(found)), "lower" if better == "lower" else "higher")


@contextmanager
def importable(folder: Path) -> Generator[None]:
    """Lets functions be imported from a project's folder, too, and before all else."""
    place = str(folder.resolve())
    added = place not in sys.path
    if added:
        sys.path.insert(0, place)
    importlib.invalidate_caches()
    try:
        yield
    finally:
        if added and place in sys.path:
            sys.path.remove(place)


def _metric(loaded: Loaded, better: Better) -> Metric:
    about = (inspect.getdoc(loaded.function) or "a function of this project").partition("\n")[0]
    return Metric(name=loaded.name, better=better, about=about, measure=partial(_measure, loaded), costly=True)


def _measure(loaded: Loaded, evidence: Evidence, confidence: float, rng: np.random.Generator) -> Measured:
    """The values on all rows, and their intervals from resampled ones."""
    if evidence.weights is not None and not loaded.weights:
        raise _failed(loaded.name, "the policy has a weight, which it does not take", "give it a third argument, weights")
    models = evidence.models
    for predictions in models:
        _check(loaded, evidence, predictions)
    ask: Any = partial(bca_rows, rows=evidence.rows, confidence=confidence, rng=rng, clusters=evidence.clusters)
    found = ask(partial(_compare, loaded, evidence.labels, models, evidence.weights))
    method = _method(loaded, evidence)
    if evidence.champion is None:
        return Measured(found[0], None, None, method, {})
    telling = _telling(*models)
    units = np.count_nonzero(telling) if evidence.clusters is None else cluster_count(evidence.clusters[telling])
    if units >= SPARSE:
        return Measured(found[0], found[1], found[2], method, {})
    if units == 0:
        few = "candidate and champion predict the same on every row, and no resample shows how far they may differ"
        return Measured(found[0], found[1], UNKNOWN._replace(value=0.0), method, {}, few=few)
    turned = [np.concatenate(models), np.concatenate(models[::-1])]
    labels = np.concatenate([evidence.labels] * 2)
    weights = None if evidence.weights is None else np.concatenate([evidence.weights] * 2)
    pair = ask(partial(_compare, loaded, labels, turned, weights), telling=telling)
    return Measured(found[0], found[1], pair[2], method, {})


def _compare(loaded: Loaded, labels: Any, models: list[Floats], weights: Any, rows: Rows) -> Floats:
    """On the given rows the value of the only model; of two models both values and their difference."""
    values = [_call(loaded, labels[rows], each[rows], None if weights is None else weights[rows]) for each in models]
    return np.array(values if len(values) == 1 else [*values, values[0] - values[1]])


def _check(loaded: Loaded, evidence: Evidence, predictions: Floats) -> None:
    """Calls it twice on all rows: it must have a value, the same both times, and leave alone what it is given."""
    given = [evidence.labels.copy(), predictions.copy(), None if evidence.weights is None else evidence.weights.copy()]
    first = _call(loaded, *given)
    for before, after in zip((evidence.labels, predictions, evidence.weights), given, strict=True):
        if before is not None and after is not None and not np.array_equal(before, after):
            raise _failed(loaded.name, "it changes the arrays that it is given", "let it work on a copy")
    if not math.isfinite(first):
        raise _failed(loaded.name, f"on all rows it gives {first}", "let it give a finite number")
    if _call(loaded, evidence.labels.copy(), predictions.copy(), given[2]) != first:
        raise _failed(loaded.name, "it gives another value each time", "let it use no randomness, or a fixed seed")


def _call(loaded: Loaded, labels: Any, predictions: Any, weights: Any) -> float:
    """One call. Its warnings are not ours to show, thousands of times."""
    more = {}
    if weights is not None or loaded.always:
        more = {loaded.weights: np.ones(len(labels)) if weights is None else weights}
    with _guarded(loaded.name, "it raised", "call it on these rows by hand"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        value = loaded.function(labels, predictions, **more)
    if isinstance(value, np.ndarray) and value.ndim == 0:
        value = value[()]
    odd = isinstance(value, (bool, np.bool_, np.timedelta64))  # NumPy counts spans of time among the whole numbers
    if odd or not isinstance(value, (int, float, np.integer, np.floating)):
        raise _failed(loaded.name, f"it gives a {type(value).__name__}", "let it give one number")
    with _guarded(loaded.name, "what it gives cannot be read as a number:", "let it give a finite number"):
        return float(value)


def _method(loaded: Loaded, evidence: Evidence) -> str:
    units = "rows" if evidence.clusters is None else "clusters"
    if evidence.rows > MAX_ROWS:
        how = f"jackknife without one of {GROUPS} groups of {units}"
    else:
        how = f"paired BCa bootstrap over {units}, {draws_for(evidence.rows):,} draws"
    return f"{how}, of {loaded.name}{_source(loaded)}{grouped(evidence)}"


def _source(loaded: Loaded) -> str:
    """Which code ran, so that a receipt says it."""
    module = sys.modules.get(getattr(loaded.function, "__module__", None) or "")
    file = getattr(module, "__file__", None)
    return f" (file {digest.short(digest.of_file(Path(file)))})" if file and Path(file).is_file() else ""


def _telling(candidate: Floats, champion: Floats) -> NDArray[np.bool_]:
    differs = candidate != champion
    return differs if differs.ndim == 1 else differs.any(axis=1)


def _weights_argument(function: Callable[..., Any]) -> tuple[str, bool]:
    try:
        taken = inspect.signature(function).parameters
    except (TypeError, ValueError):
        return "", False
    name = next((name for name in _WEIGHTS if name in taken), "")
    return name, bool(name) and taken[name].default is inspect.Parameter.empty


def _import(name: str) -> ModuleType:
    target = name.partition(":")[0]
    with _guarded(
        name, f"module {target} cannot be imported:", "install its package, or put the module into the project's folder"
    ):
        module = importlib.import_module(target)
    first = target.partition(".")[0]
    spec, loaded = PathFinder.find_spec(first, None), getattr(sys.modules.get(first), "__file__", None)
    if spec is not None and spec.origin and loaded and Path(spec.origin).resolve() != Path(loaded).resolve():
        raise _failed(name, f"{first} is {loaded}, and not {spec.origin}, as it was imported before", "rename the module")
    return module


@contextmanager
def _guarded(name: str, what: str, fix: str) -> Generator[None]:
    """Whatever foreign code raises is a reason for INVALID, also what ends a program or a generator; only Ctrl-C goes through.

    Raises:
        BadInputError: ``metric-failed``.
    """
    try:
        yield
    except (KeyboardInterrupt, TidegateError):
        raise
    except BaseException as error:
        try:
            words = f"{type(error).__name__}: {error}"
        except Exception:  # noqa: BLE001 - even the text of an error is the foreign code's
            words = type(error).__name__
        raise _failed(name, f"{what} {words}", fix) from error


def _failed(name: str, what: str, fix: str) -> BadInputError:
    return BadInputError("metric-failed", f"the function {name} cannot be used: {what}", fix=fix)
