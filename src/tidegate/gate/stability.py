"""Whether a model gives a row the same answer when it is asked again: alone, and among other rows in another order.

A model that answers by chance, or by the rows that happen to stand beside, was not measured by one table of predictions: in
production every row comes with other neighbours. Compared is what the gate judges by; a label must be the same, a number equal to
about single precision, which is what sums of another order cost.
"""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidegate.errors import BadInputError
from tidegate.frames import Columns

ROWS = 20
"""Rows that are asked about again, spread over all of them."""
SECONDS = 2.0
"""So long single rows are asked about; slow models get fewer calls, at least three."""
TOLERANCE = 1e-5
"""Of the larger of the answer and the largest answer among these rows."""
_FEWEST = 3

Asks = Callable[[Columns], NDArray[Any]]
"""Inputs to answers, [rows, width]."""


def refuse_unstable(ref: str, ask: Asks, inputs: Columns, answers: NDArray[Any]) -> None:
    """Asks about some rows again, all at once in the opposite order and then one by one.

    Args:
        ref: The version's reference.
        ask: The model.
        inputs: [n] each; all rows.
        answers: [n, width] numbers or objects: what it said of them.

    Raises:
        BadInputError: it says something else now.
    """
    rows = np.unique(np.linspace(0, len(answers) - 1, ROWS).astype(np.int64))[::-1] if len(answers) else np.empty(0, np.int64)
    if not rows.size:
        return
    told = answers[rows]
    _refuse_other(ref, rows, told, ask(_some(inputs, rows)), "in another order")
    start = perf_counter()
    for place in range(rows.size):
        if place >= _FEWEST and perf_counter() - start > SECONDS:
            return
        single = rows[place : place + 1]
        _refuse_other(ref, single, told[place : place + 1], ask(_some(inputs, single)), "alone", told)


def _some(inputs: Columns, rows: NDArray[np.int64]) -> Columns:
    return {name: values[rows] for name, values in inputs.items()}


def _refuse_other(
    ref: str, rows: NDArray[np.int64], told: NDArray[Any], again: NDArray[Any], how: str, among: NDArray[Any] | None = None
) -> None:
    other = np.flatnonzero(~_alike(told, again, told if among is None else among).all(axis=1))
    if not other.size:
        return
    first = int(other[0])
    place = int(np.flatnonzero(~_alike(told, again, told if among is None else among)[first])[0])
    raise BadInputError(
        "prediction-unstable",
        f"{ref} answers {_word(told[first, place])} for row {int(rows[first]) + 1:,} among all rows, and {_word(again[first, place])} when "
        f"that row is asked about {how}",
        why="an answer that depends on chance or on the other rows cannot be measured: production asks with others",
        fix="switch off what is random or taken from the batch in the model (dropout, sampling, batch statistics), and register it again",
    )


def _alike(told: NDArray[Any], again: NDArray[Any], among: NDArray[Any]) -> NDArray[np.bool_]:
    if told.dtype.kind not in "biuf" or again.dtype.kind not in "biuf":
        return np.asarray(told.astype(str) == again.astype(str), dtype=np.bool_)
    known = np.abs(among[np.isfinite(among)])
    scale = float(known.max()) if known.size else 0.0
    return np.isclose(again, told, rtol=TOLERANCE, atol=TOLERANCE * scale, equal_nan=True)


def _word(value: Any) -> str:
    return f"{value:.7g}" if isinstance(value, (int, float, np.number)) else repr(str(value)[:80])
