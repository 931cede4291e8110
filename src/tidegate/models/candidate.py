"""A candidate: what a training step returns and the registry packs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tidegate.records.policy import Task


@dataclass(frozen=True)
class Candidate:
    """A fitted estimator with real rows of its input. It can be pickled, so that a pipeline's cache keeps it.

    ``example`` holds only the columns that the model takes (or is one matrix), as the estimator was trained on them:
    it fixes the signature, and the compiled model is compared with the estimator on these rows, so some hundreds of
    rows with their usual missing values are better than five. ``trained_on`` are references of snapshots.
    """

    name: str
    estimator: Any
    example: Any
    task: Task
    description: str = ""
    trained_on: tuple[str, ...] | list[str] = ()
    training_digest: str = ""
    classes: tuple[str, ...] | list[str] = ()
    """Names of the classes or labels, in the order of the model's outputs, where the model does not know them itself."""
    units: Mapping[str, str] = field(default_factory=dict[str, str])
    """What the numbers of an input count, by its name."""
    ranges: Mapping[str, Sequence[Any]] = field(default_factory=dict[str, Sequence[Any]])
    """What an input may be, by its name: ``(0, 60)`` is a range (None: no end), a list or set holds the only values. Other values are
    refused in every request."""
    card: str = ""
    """What people should know of the model, in Markdown: what it is for, and what not."""
    allow_code: bool = False
    """Whether source files of the project may go into the package if nothing else holds the model: only a deployment that allows
    code loads it then."""


@dataclass(frozen=True)
class PythonModel:
    """A model in plain Python: a function or class of the project's modules, and what it needs to answer.

    A function is called as ``predict(rows, **state)``; of a class one object is made, ``predict = Model(**state)``, and called as
    ``predict(rows)``. ``rows`` are arrays by the inputs' names. The answer is [n] numbers (of a binary model: probabilities of the
    second class), or [n, classes] probabilities. Whatever prepares rows or turns answers into others stands in the same function.

    A package keeps the source files that it reaches and the state: arrays, text and numbers in lists and dicts, estimators of
    scikit-learn, and files (``pathlib.Path``: the model gets the path of a copy). Nothing is pickled.
    """

    predict: Callable[..., Any]
    state: Mapping[str, Any] = field(default_factory=dict[str, Any])
