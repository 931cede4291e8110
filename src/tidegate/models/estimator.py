"""A scikit-learn estimator behind the signature's names: columns in, the task's fixed outputs out.

The package formats that keep the native model predict through it, and the compiled ones are compared with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidegate.errors import BadInputError, missing_extra
from tidegate.frames import Columns
from tidegate.models.outputs import VALUES, class_outputs, label_indexes, label_outputs, refuse_nan, value_outputs
from tidegate.records.model import Tensor
from tidegate.records.policy import Task


@dataclass(frozen=True)
class NativeModel:
    """An estimator with its inputs and its classes or labels (none where it gives one number)."""

    estimator: Any
    task: Task
    inputs: list[Tensor]
    classes: list[Any]
    allow_code: bool = False
    """Whether its author allows that source files of the project are packed with it."""

    @property
    def class_names(self) -> list[str]:
        """The classes as text; 0.0 and 1.0 are written as the whole numbers that they are."""
        return [str(int(name) if isinstance(name, float) and name.is_integer() else name) for name in self.classes]

    def predict(self, columns: Columns) -> Columns:
        """The task's outputs for columns that conform to the signature.

        Raises:
            BadInputError: the estimator refuses the rows, or answers with NaN.
        """
        rows = self.rows(columns)
        try:
            outputs = self._answers(rows)
        except (ValueError, TypeError) as error:
            raise BadInputError(
                "model-refused-input",
                "the model refused these rows",
                why=str(error).split("\n")[0][:300],
                fix="send values like those it was trained on",
            ) from None
        return refuse_nan(outputs)

    def _answers(self, rows: Any) -> Columns:
        answers: Any = self.estimator.predict(rows)
        if self.task in VALUES:
            return value_outputs(self.task, answers)
        shares: Any = self.estimator.predict_proba(rows)
        if self.task == "multilabel":
            return label_outputs(side_by_side(shares), _dense(answers))
        return class_outputs(self.task, np.asarray(shares, dtype=np.float64), label_indexes(self.classes, np.asarray(answers)))

    def rows(self, columns: Columns) -> Any:
        """The columns as the estimator takes them: a dataframe if it was trained on one, else a matrix."""
        if not hasattr(self.estimator, "feature_names_in_"):
            if len(self.inputs) == 1:
                values = columns[self.inputs[0].name]
                return values if values.ndim == 2 else values.reshape(-1, 1)
            return np.column_stack([columns[tensor.name] for tensor in self.inputs])
        return dataframe({tensor.name: columns[tensor.name] for tensor in self.inputs})


def native_model(estimator: Any, task: Task, inputs: list[Tensor], labels: Sequence[str] = ()) -> NativeModel:
    """Checks that an estimator fits its task and its example, and wraps it. ``labels`` names a multilabel model's labels.

    Raises:
        BadInputError: it is not fitted, cannot give what the task needs, or was trained on other columns.
    """
    wanted = "predict" if task in VALUES else "predict_proba"
    if not hasattr(estimator, wanted):
        raise BadInputError(
            "unfit-estimator",
            f"a {type(estimator).__name__} has no {wanted}",
            why=f"the task {task} needs it",
            fix="fit it first, or choose an estimator that gives probabilities",
        )
    names = [tensor.name for tensor in inputs]
    trained = [str(name) for name in getattr(estimator, "feature_names_in_", names)]
    if sorted(trained) != sorted(names):
        odd = sorted(set(trained) ^ set(names))
        raise BadInputError(
            "example-columns",
            "the example's columns are not those that the estimator was trained on",
            why=f"only one side has {', '.join(odd[:8])}",
            fix="give example rows with exactly the model's input columns",
        )
    order = {name: place for place, name in enumerate(trained)}
    classes = _classes(estimator, task, labels)
    if task == "binary" and len(classes) != 2:
        raise BadInputError(
            "unfit-estimator",
            f"a binary model needs two classes, this one knows {len(classes)}",
            why=f"its classes are {classes[:5]}",
            fix="train it on both classes, or declare the task multiclass",
        )
    return NativeModel(estimator, task, sorted(inputs, key=lambda tensor: order[tensor.name]), classes)


def _classes(estimator: Any, task: Task, names: Sequence[str]) -> list[Any]:
    if task in VALUES:
        return []
    known: Any = estimator.classes_
    if task != "multilabel":
        return list(np.asarray(known).tolist())
    if names and len(names) != len(known):
        raise BadInputError(
            "unfit-estimator",
            f"the model knows {len(known)} labels, the candidate names {len(names)}",
            why="each of a multilabel model's labels needs its name",
            fix="give Candidate(classes=[...]) in the order of the label columns that it was trained on",
        )
    return list(names) or [str(place) for place in range(len(known))]


def side_by_side(shares: Any) -> NDArray[Any]:
    """Probabilities of labels, rows x labels. Estimators with one classifier per label give a table of two classes for each."""
    if not isinstance(shares, list):
        found = np.asarray(shares)
        return found[:, :, 1].T if found.ndim == 3 else found
    tables: list[NDArray[Any]] = [np.asarray(table) for table in shares]
    if any(table.shape[1] != 2 for table in tables):
        raise ValueError("a label was always the same in training: it has no probability")
    return np.column_stack([table[:, 1] for table in tables])


def _dense(answers: Any) -> NDArray[Any]:
    return np.asarray(answers.toarray() if hasattr(answers, "toarray") else answers)


def dataframe(columns: Columns) -> Any:
    """A pandas dataframe (Polars where pandas is not installed), which estimators that were trained on one expect.

    Raises:
        UnavailableError: neither is installed.
    """
    plain = {name: values if values.ndim == 1 else values.reshape(-1) for name, values in columns.items()}
    try:
        import pandas as pd
    except ImportError:
        try:
            import polars as pl
        except ImportError:
            raise missing_extra("sklearn", "pandas", "a model that was trained on a dataframe") from None
        return pl.DataFrame(plain)
    return pd.DataFrame(plain)
