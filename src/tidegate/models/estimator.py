"""A scikit-learn estimator behind the signature's names: columns in, the task's fixed outputs out.

The package formats that keep the native model predict through it, and the compiled ones are compared with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidegate.errors import BadInputError, missing_extra
from tidegate.frames import Columns
from tidegate.records.model import Tensor
from tidegate.records.names import nearest
from tidegate.records.policy import Task


@dataclass(frozen=True)
class NativeModel:
    """An estimator with its inputs and its classes (an empty list for a regression)."""

    estimator: Any
    task: Task
    inputs: list[Tensor]
    classes: list[Any]

    @property
    def class_names(self) -> list[str]:
        """The classes as text; 0.0 and 1.0 are written as the whole numbers that they are."""
        return [str(int(name) if isinstance(name, float) and name.is_integer() else name) for name in self.classes]

    def predict(self, columns: Columns) -> Columns:
        """The task's outputs for columns that conform to the signature.

        Raises:
            BadInputError: the estimator refuses the rows, or answers with NaN.
        """
        rows = self._rows(columns)
        try:
            if self.task == "regression":
                outputs = {"prediction": np.asarray(self.estimator.predict(rows), dtype=np.float64).reshape(-1)}
            else:
                shares: NDArray[Any] = np.asarray(self.estimator.predict_proba(rows), dtype=np.float64)
                labels = label_indexes(self.classes, np.asarray(self.estimator.predict(rows)))
                outputs = class_outputs(self.task, shares, labels)
        except (ValueError, TypeError) as error:
            raise BadInputError(
                "model-refused-input",
                "the model refused these rows",
                why=str(error).split("\n")[0][:300],
                fix="send values like those it was trained on",
            ) from None
        return refuse_nan(outputs)

    def _rows(self, columns: Columns) -> Any:
        if not hasattr(self.estimator, "feature_names_in_"):
            if len(self.inputs) == 1:
                values = columns[self.inputs[0].name]
                return values if values.ndim == 2 else values.reshape(-1, 1)
            return np.column_stack([columns[tensor.name] for tensor in self.inputs])
        return dataframe({tensor.name: columns[tensor.name] for tensor in self.inputs})


def native_model(estimator: Any, task: Task, inputs: list[Tensor]) -> NativeModel:
    """Checks that an estimator fits its task and its example, and wraps it.

    Raises:
        BadInputError: it is not fitted, cannot give what the task needs, or was trained on other columns.
    """
    if task not in ("binary", "multiclass", "regression"):
        raise BadInputError(
            "task-not-packed",
            f"a model for the task {task!r} cannot be packed",
            why="packages hold binary, multiclass and regression models",
            fix=nearest(str(task), ["binary", "multiclass", "regression"]),
        )
    wanted = "predict" if task == "regression" else "predict_proba"
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
    classes = [] if task == "regression" else list(np.asarray(estimator.classes_).tolist())
    if task == "binary" and len(classes) != 2:
        raise BadInputError(
            "unfit-estimator",
            f"a binary model needs two classes, this one knows {len(classes)}",
            why=f"its classes are {classes[:5]}",
            fix="train it on both classes, or declare the task multiclass",
        )
    return NativeModel(estimator, task, sorted(inputs, key=lambda tensor: order[tensor.name]), classes)


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


def refuse_nan(outputs: Columns) -> Columns:
    """The outputs, if every number in them is one.

    Raises:
        BadInputError: an output is NaN: nothing good follows from passing it on.
    """
    for name, values in outputs.items():
        if values.dtype.kind == "f" and values.size and not np.isfinite(values.sum(dtype=np.float64)):
            rows = np.flatnonzero(~np.isfinite(values.reshape(len(values), -1)).all(axis=1))
            if len(rows):
                raise BadInputError(
                    "prediction-not-finite",
                    f"the model gives no number for {len(rows)} of {len(values)} rows, first row {int(rows[0])}",
                    why=f"its {name} is NaN or infinite there, most likely because an input is",
                    fix="check the inputs of that row",
                )
    return outputs


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
