"""What may be logged: names, steps and numbers as people and libraries hand them in."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidegate.errors import BadInputError

MAX_STEP = (1 << 63) - 1
MAX_NAME = 250
MAX_TEXT = 1 << 20
"""Characters of a parameter or tag."""


def metric_values(values: Mapping[str, Any]) -> dict[str, float]:
    """The values of one ``log`` call as floats: numbers, booleans, decimals, NumPy scalars, tensors with one element.

    Raises:
        BadInputError: a value is no number, or a name cannot be one.
    """
    return {metric_name(name): _number(name, value) for name, value in values.items()}


def metric_name(name: Any) -> str:
    """The name of a metric, checked.

    Raises:
        BadInputError: it is no text, empty, too long, or holds what no database takes.
    """
    if not isinstance(name, str) or not 0 < len(name) <= MAX_NAME or not name.isprintable():
        raise BadInputError(
            "bad-metric-name",
            f"{name!r:.80} cannot name a metric",
            why=f"a name has 1 to {MAX_NAME} printable characters",
            fix="write it like val/loss",
        )
    return str(name)


def whole_step(step: Any) -> int:
    """A step as a whole number of 64 bits.

    Raises:
        BadInputError: it is none.
    """
    try:
        whole: Any = int(step) if isinstance(step, float | np.floating) and float(step).is_integer() else step
        number = operator.index(whole)
    except TypeError:
        number = None
    if number is None or not -MAX_STEP <= number <= MAX_STEP:
        raise BadInputError(
            "bad-step", f"{step!r:.80} is no step", why="a step is a whole number of 64 bits", fix="log(..., step=3)"
        )
    return number


def metric_columns(
    values: Any, steps: Any, times: Any, *, first_step: int, now: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Steps, times (one for all where none are given) and values of a whole series, checked.

    Raises:
        BadInputError: they are no numbers, or their lengths differ.
    """
    numbers = _numbers(values)
    counted = np.arange(first_step, first_step + len(numbers)) if steps is None else np.asarray(steps)
    if counted.dtype.kind == "f" and len(counted) and np.equal(np.mod(counted, 1), 0).all():
        counted = counted.astype(np.int64)
    at = np.array([now]) if times is None else np.asarray(times)
    if at.dtype.kind == "M":
        at = at.astype("datetime64[us]").astype(np.int64)
    for name, column in (("steps", counted), ("times", at)):
        fits = column.shape == numbers.shape or (name == "times" and times is None)
        if len(numbers) and (column.dtype.kind not in "iu" or not fits):
            raise BadInputError(
                "bad-series",
                f"{name} of type {column.dtype} and shape {column.shape} do not fit {len(numbers)} values",
                why="steps are whole numbers, times whole microseconds UTC or datetime64; there is one for each value",
                fix="log_series(name, values, steps=..., times=...)",
            )
    return counted.astype(np.int64), at.astype(np.int64), numbers


def shown_text(value: Any) -> str:
    """A parameter or tag as text that every database takes.

    Raises:
        BadInputError: it is longer than ``MAX_TEXT`` characters.
    """
    text = value if value.__class__ is str else str(value)
    if len(text) > MAX_TEXT:
        raise BadInputError(
            "text-too-long",
            f"a text of {len(text):,} characters is no parameter or tag",
            why=f"they have at most {MAX_TEXT:,}",
            fix='store it as an artifact: artifact(text.encode(), "name.txt")',
        )
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode()


def _numbers(values: Any) -> NDArray[np.float64]:
    try:
        array = np.asarray(values)
    except (TypeError, ValueError, RuntimeError) as error:
        raise _no_number("values", type(values).__name__, str(error)) from None
    if array.ndim != 1:
        raise BadInputError(
            "bad-series",
            f"values of shape {array.shape} are no series",
            fix="give one dimension: log_series(name, values.ravel())",
        )
    if array.dtype.kind in "fiub":
        return array.astype(np.float64)
    return np.array([_number("values", value) for value in array.tolist()], np.float64)


def _number(name: Any, value: Any) -> float:
    """``float(value)``, but a text that looks like a number is a text."""
    if isinstance(value, str | bytes | bytearray):
        raise _no_number(name, value, "it is a text")
    try:
        # A tensor or array with one element tells it by item(), whatever its shape.
        return float(value.item() if getattr(value, "ndim", 0) else value)
    except Exception as error:  # noqa: BLE001 - the value is anything, and so is what it raises
        raise _no_number(name, value, str(error)) from None


def _no_number(name: Any, value: Any, why: str) -> BadInputError:
    return BadInputError(
        "metric-not-a-number",
        f"metrics are numbers, not {name}={value!r:.80}",
        why=f"a series has one float per step: {why or type(value).__name__}",
        fix="log texts as tags or parameters, arrays by log_series or as artifacts; nothing of this call was recorded",
    )
