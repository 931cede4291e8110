"""A candidate: what a training step returns and the registry packs."""

from __future__ import annotations

from dataclasses import dataclass
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
