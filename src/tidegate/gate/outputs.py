"""What models answer, as columns of evidence: one per model, or one per class where models give probabilities of classes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from tidegate.errors import BadInputError
from tidegate.frames import Columns
from tidegate.gate.case import Loads
from tidegate.gate.evidence import label_shares
from tidegate.gate.foreign import foreign
from tidegate.gate.stability import refuse_unstable
from tidegate.models.outputs import VALUES
from tidegate.records.model import ModelVersion
from tidegate.records.policy import BaselineModel, CheckPolicy, ModelPolicy, Task

CANDIDATE = "prediction of the candidate"
CHAMPION = "prediction of the champion"
ANCHOR = "prediction of the anchor"
OUTPUTS = {"binary": "probability", "multiclass": "label", "regression": "prediction"}
"""The output of a task that metrics are computed from."""
PROBABILITIES = "probabilities"
"""The output that holds a column for each class or label."""


def predict(role: str, version: ModelVersion, table: Columns, policy: ModelPolicy, models: Loads) -> Columns:
    """What a version predicts for the rows of ``table``: a column ``role``, or ``role: CLASS`` for every class.

    Raises:
        BadInputError: it fails, gives another number of answers than there are rows, or another answer when it is asked again.
    """
    classes = version.manifest.classes
    with foreign("prediction-failed", f"{version.ref} cannot predict the evaluation rows"):
        predictor = models.load(version, allow_code=policy.serving.allow_code)

        def ask(columns: Columns) -> NDArray[Any]:
            return _answers(version, policy.task, predictor.predict(columns), len(next(iter(columns.values()))))

        inputs = {name: table[name] for name in version.manifest.signature.input_names}
        values = ask(inputs)
        refuse_unstable(version.ref, ask, inputs, values)
        if policy.task == "multilabel" or values.shape[1] > 1:
            return _by_class(role, {name: values[:, place] for place, name in enumerate(classes)})
        values = values.reshape(len(values))
        if policy.task != "multiclass":
            return {role: values}
        return {role: np.asarray(classes, dtype=object)[values.astype(np.int64)] if classes else as_text(values)}


def _answers(version: ModelVersion, task: Task, outputs: Columns, rows: int) -> NDArray[Any]:
    """[rows, width]: a column for each class or label where there are probabilities of them, else one."""
    classes = version.manifest.classes
    if task == "multilabel" or (task == "multiclass" and classes and PROBABILITIES in outputs):
        return _shaped(version, np.asarray(outputs[PROBABILITIES]), rows, len(classes))
    return _shaped(version, np.asarray(outputs[OUTPUTS.get(task) or VALUES[task]]), rows, 1)


def _shaped(version: ModelVersion, values: NDArray[Any], rows: int, width: int) -> NDArray[Any]:
    if values.size != rows * width:
        raise BadInputError(
            "prediction-failed", f"{version.ref} gave {values.size:,} answers for {rows * width:,}", fix="check its package"
        )
    return values.reshape(rows, width)


def _by_class(role: str, shares: Mapping[str, NDArray[Any]]) -> Columns:
    return {f"{role}: {name}": values for name, values in shares.items()}


def constant(role: str, labels: NDArray[Any], baseline: BaselineModel, task: str) -> Columns:
    """A baseline that says the same of every row: its value, else the mean label or the shares of the classes of these very rows.

    By log loss, Brier score and squared error no constant does better on them, so to beat it is the harder thing.
    """
    size = labels.size
    if task == "multiclass":
        texts = as_text(labels)
        names, counts = np.unique(texts[texts != None].astype(str), return_counts=True)  # noqa: E711 - element by element
        if not names.size:
            return {role: np.full(size, "", dtype=object)}
        shares = counts / counts.sum()
        return _by_class(role, {str(name): np.full(size, share) for name, share in zip(names, shares, strict=True)})
    known = labels.astype(np.float64)
    known = known[~np.isnan(known)]
    value = baseline.value if baseline.value is not None else float(known.mean()) if known.size else 0.0
    return {role: np.full(size, value, dtype=np.float64)}


def constant_labels(role: str, columns: Columns, label: str, baseline: BaselineModel, names: list[str]) -> Columns:
    """The same of several labels: its value for each of them, else the share of these very rows that have it.

    ``names`` are those of the candidate's labels: what the places of a list of 0 and 1 stand for.

    Raises:
        BadInputError: there is no such label, or it is one value per row.
    """
    shares, named = label_shares(columns, label)
    if not named and len(names) == len(shares):
        shares = dict(zip(names, shares.values(), strict=True))
    rows = len(next(iter(columns.values())))
    value = baseline.value
    return _by_class(role, {name: np.full(rows, share if value is None else value) for name, share in shares.items()})


def as_patterns(check: CheckPolicy, columns: Columns) -> CheckPolicy:
    """The policy with a pattern in place of each model whose predictions are a column for each class."""
    changed: dict[str, Any] = {}
    for key in ("candidate", "champion", "anchor"):
        role: str = getattr(check, key)
        if role and role not in columns and any(name.startswith(f"{role}: ") for name in columns):
            changed[key] = f"{role}: *"
    return replace(check, **changed)


def as_text(values: NDArray[Any]) -> NDArray[Any]:
    """Classes as text; whole numbers without a point. None where there is none."""
    if values.dtype.kind == "f" and np.array_equal(values, np.rint(values)):
        values = values.astype(np.int64)
    return np.array([None if value is None or value != value else str(value) for value in values.tolist()], dtype=object)  # noqa: PLR0124
