"""What a model decides on a row, and whether that is right: the one definition for every rule and picture."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidegate.stats.estimate import Codes, Floats


def decided(predictions: Any) -> Codes:
    """[n] classes as codes, from codes or [n, K] probabilities; of equal probabilities the first class counts."""
    found = predictions.argmax(axis=1) if predictions.ndim == 2 else predictions
    return np.asarray(found, dtype=np.int64)


def right_rows(
    predictions: Floats, labels: Floats, task: str, threshold: float = 0.5, *, tolerance: float = 0.0
) -> NDArray[np.bool_]:
    """[n] which rows these predictions have right: the decision is the label; a number lies within ``tolerance`` of it."""
    if task == "regression":
        return np.asarray(np.abs(predictions - labels) <= tolerance)
    if task == "multilabel":
        return np.asarray(((predictions >= 0.5) == (labels > 0)).all(axis=1))
    if task == "multiclass":
        return np.asarray(decided(predictions) == labels)
    return np.asarray((predictions >= threshold) == (labels > 0))
