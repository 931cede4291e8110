"""An input that is the label itself under another name: its model needs to learn nothing, and has nothing to go by in production."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidegate.frames import Columns
from tidegate.gate.outputs import as_text
from tidegate.stats.estimate import Floats

FEWEST = 20
"""On fewer rows with a label an honest input may agree with it by luck."""
_FIRST = 200


def copies_of(label: NDArray[Any], inputs: Columns) -> list[str]:
    """The inputs that equal the label on every row that has one: as numbers where both can be read so, else as texts.

    None where less than ``FEWEST`` rows have a label, or all the same one.

    Args:
        label: [n] labels, or [n] lists of them; None or NaN where there is none.
        inputs: [n] each, by name.
    """
    return list(dict.fromkeys(name for part in _parts(label) for name in _copies(part, inputs)))


def _parts(label: NDArray[Any]) -> list[NDArray[Any]]:
    """A list of numbers for each row is as many labels; other nested values are not compared."""
    if not _nested(label):
        return [label]
    try:
        table = np.array(label.tolist(), dtype=np.float64)
    except (TypeError, ValueError):
        return []
    return list(table.T) if table.ndim == 2 else []


def _nested(values: NDArray[Any]) -> bool:
    first = next((value for value in values.tolist() if value is not None), None) if values.dtype.kind == "O" else None
    return values.ndim != 1 or isinstance(first, (np.ndarray, list, dict))


def _copies(label: NDArray[Any], inputs: Columns) -> list[str]:
    texts = as_text(label) if label.dtype.kind == "O" else label
    known = np.flatnonzero((texts != None) & (texts == texts))  # noqa: E711, PLR0124 - element by element; NaN is no label
    if known.size < FEWEST or np.all(texts[known] == texts[known[0]]):
        return []
    return [name for name, values in inputs.items() if _equal(label, values, known[:_FIRST]) and _equal(label, values, known)]


def _equal(label: NDArray[Any], values: NDArray[Any], rows: NDArray[Any]) -> bool:
    if _nested(values):
        return False
    ours, theirs = label[rows], values[rows]
    numbers, others = _numbers(ours), _numbers(theirs)
    if numbers is not None and others is not None:
        return bool(np.array_equal(numbers, others))
    return bool(np.array_equal(as_text(ours), as_text(theirs)))


def _numbers(values: NDArray[Any]) -> Floats | None:
    try:
        return values.astype(np.float64)
    except (TypeError, ValueError):
        return None
