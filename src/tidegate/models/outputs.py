"""What the models of a task answer, whatever their format: the outputs' names, types and shapes.

binary: ``probability`` [n] of the second class and ``label`` [n]; multiclass: ``probabilities`` [n, classes] and ``label`` [n], an index
into the classes; multilabel: ``probabilities`` [n, labels] and ``labels`` [n, labels] of 0 and 1; regression: ``prediction`` [n];
ranking and scores: ``score`` [n].
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidegate.errors import BadInputError
from tidegate.frames import Columns
from tidegate.models.signature import FEW
from tidegate.records.model import Tensor
from tidegate.records.policy import Task

VALUES: dict[Task, str] = {"regression": "prediction", "ranking": "score", "scores": "score"}
"""The one output of a task whose models give a number for each row."""

_ROUNDING = 1e-4


def outputs_of(task: Task, classes: int) -> list[Tensor]:
    """The outputs that every model of a task has; ``classes`` counts the classes or labels."""
    label = Tensor(name="label", dtype="int64", shape=[-1])
    shares = Tensor(name="probabilities", dtype="float32", shape=[-1, classes])
    if task == "binary":
        return [Tensor(name="probability", dtype="float32", shape=[-1]), label]
    if task == "multiclass":
        return [shares, label]
    if task == "multilabel":
        return [shares, Tensor(name="labels", dtype="int64", shape=[-1, classes])]
    return [Tensor(name=VALUES[task], dtype="float64", shape=[-1])]


def value_outputs(task: Task, values: Any) -> Columns:
    """Outputs of a model that gives a number for each row."""
    return {VALUES[task]: np.asarray(values, dtype=np.float64).reshape(-1)}


def label_outputs(shares: Any, labels: Any) -> Columns:
    """Outputs of a multilabel model: probabilities and decisions, rows x labels."""
    return {"probabilities": np.asarray(shares, dtype=np.float32), "labels": np.asarray(labels).astype(np.int64)}


def class_outputs(task: Task, shares: NDArray[Any], labels: NDArray[Any]) -> Columns:
    """Outputs of a classifier from its table of probabilities, rows x classes."""
    if task == "binary":
        return {"probability": np.ascontiguousarray(shares[:, 1], dtype=np.float32), "label": labels}
    return {"probabilities": np.asarray(shares, dtype=np.float32), "label": labels}


def label_indexes(classes: list[Any], labels: NDArray[Any]) -> NDArray[Any]:
    """A classifier's own labels as indexes into its classes."""
    if classes == list(range(len(classes))):
        return labels.reshape(-1).astype(np.int64)
    index = {value: place for place, value in enumerate(classes)}
    return np.array([index[value] for value in labels.reshape(-1).tolist()], dtype=np.int64)


def given_outputs(task: Task, answers: NDArray[Any], classes: int, rows: int) -> Columns:
    """Outputs from what a model of one's own answers: [n] values or probabilities of the second class, or [n, classes] probabilities.

    Raises:
        BadInputError: it has another shape, or what should be probabilities are none.
    """
    flat = answers.reshape(-1) if answers.shape in {(rows,), (rows, 1)} else None
    if task in VALUES and flat is not None:
        return value_outputs(task, flat)
    shares = np.column_stack([1 - flat, flat]) if task == "binary" and flat is not None else answers
    if task in VALUES or shares.shape != (rows, classes):
        wanted = "[n]" if task in VALUES else f"[n, {classes}]" + (" or [n]" if task == "binary" else "")
        raise BadInputError(
            "wrong-output",
            f"the model answers {rows} rows with the shape {list(answers.shape)}",
            why=f"a model for the task {task} gives {wanted}",
            fix="return one number, or one probability for each class, per row",
        )
    odd = (shares < -_ROUNDING) | (shares > 1 + _ROUNDING)
    if task != "multilabel":
        odd |= (np.abs(shares.sum(axis=1)) > 1 + len(shares[0]) * _ROUNDING)[:, None] if rows else odd
    if odd.any():
        raise BadInputError(
            "not-probabilities",
            f"the model's answers are no probabilities, such as {float(shares[odd][0]):.4g}",
            why=f"the task {task} needs probabilities between 0 and 1"
            + ("" if task == "multilabel" else ", of one row 1 in all"),
            fix="let it end in a sigmoid or softmax",
        )
    if task == "multilabel":
        return label_outputs(shares, shares > 0.5)
    return class_outputs(task, shares, shares.argmax(axis=1).astype(np.int64))


def _surely_finite(values: NDArray[Any]) -> bool:
    """A quick look that never passes what is not finite; very large numbers may look as if they were not."""
    if values.size == 1:
        return math.isfinite(values.item())
    if values.size <= FEW and values.dtype.char in "fd":
        return math.isfinite(np.vdot(values, values))
    return bool(np.isfinite(values.sum(dtype=np.float64)))


def refuse_nan(outputs: Columns) -> Columns:
    """The outputs, if every number in them is one.

    Raises:
        BadInputError: an output is NaN: nothing good follows from passing it on.
    """
    for name, values in outputs.items():
        if values.dtype.kind == "f" and not _surely_finite(values):
            rows = np.flatnonzero(~np.isfinite(values.reshape(len(values), -1)).all(axis=1))
            if len(rows):
                raise BadInputError(
                    "prediction-not-finite",
                    f"the model gives no number for {len(rows)} of {len(values)} rows, first row {int(rows[0])}",
                    why=f"its {name} is NaN or infinite there, most likely because an input is",
                    fix="check the inputs of that row",
                )
    return outputs
