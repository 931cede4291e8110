"""A model's signature: inferred from example rows, and held against every input.

The check refuses what would lose something (text as a number, 1.5 as an integer, a missing feature); it passes what
is only written differently (int32 for int64, an int for a float).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidegate import frames
from tidegate.errors import BadInputError
from tidegate.frames import Columns
from tidegate.models.declared import check_allowed
from tidegate.records.model import DType, Signature, Tensor
from tidegate.records.names import nearest

MATRIX = "X"
"""Name of the single input of a model that takes a plain matrix."""

FEW = 4_096
"""Numbers up to so many are looked at by their product with themselves; BLAS would take more threads for more of them."""

NUMPY: dict[DType, Any] = {
    "bool": np.dtype(np.bool_),
    "int32": np.dtype(np.int32),
    "int64": np.dtype(np.int64),
    "float32": np.dtype(np.float32),
    "float64": np.dtype(np.float64),
    "string": np.dtype(object),
}


def example_columns(example: Any) -> Columns:
    """Example rows as arrays in the signature's types: a 2-D array gives one matrix, a frame one array per column.

    Raises:
        BadInputError: there are no rows, or a column's type cannot be a model's input.
    """
    if isinstance(example, np.ndarray):
        if example.ndim != 2:
            raise BadInputError("bad-example", f"the example is an array of {example.ndim} dimensions", fix="give rows x columns")
        columns = {MATRIX: np.asarray(example)}
    else:
        with frames.connect() as con:
            columns = frames.to_columns(frames.relation(con, example))
    if not columns or not len(next(iter(columns.values()))):
        raise BadInputError(
            "bad-example",
            "the example has no rows",
            why="the signature and the parity check are made from real rows",
            fix="give some hundreds of rows of the model's input",
        )
    return {name: np.asarray(values, dtype=NUMPY[dtype_of(name, values)]) for name, values in columns.items()}


def dtype_of(name: str, values: NDArray[Any]) -> DType:
    """The signature's type for an array; smaller numbers are widened.

    Raises:
        BadInputError: times, durations, bytes, mixed or nested values.
    """
    kind, size = values.dtype.kind, values.dtype.itemsize
    if kind == "b":
        return "bool"
    if kind in "iu":
        return "int32" if size < 4 or (kind == "i" and size == 4) else "int64"
    if kind == "f":
        return "float32" if size <= 4 else "float64"
    if kind in "UT" or (kind == "O" and all(isinstance(value, str) or _missing(value) for value in values.flat)):
        return "string"
    raise BadInputError(
        "bad-input-type",
        f"column {name!r} has type {values.dtype}, which a model cannot take",
        why="inputs are booleans, integers, floats or text",
        fix="turn it into one of these in the features (a time into hours, for example)",
    )


def infer_inputs(columns: Columns) -> list[Tensor]:
    """Input tensors for arrays as ``example_columns`` gives them."""
    return [
        Tensor(name=name, dtype=dtype_of(name, values), shape=[-1, values.shape[1] if values.ndim == 2 else 1])
        for name, values in columns.items()
    ]


def conform(signature: Signature, columns: Mapping[str, Any]) -> Columns:
    """The inputs as arrays of the signature's exact types: ``[n]`` where one value stands per row, else ``[n, k]``.

    Raises:
        BadInputError: a feature is missing or unknown, or has the wrong type or shape, or a value is missing where the
            model cannot do without.
    """
    if len(columns) != len(signature.inputs) or any(tensor.name not in columns for tensor in signature.inputs):
        raise names_error(signature.input_names, list(columns))
    ready: Columns = {}
    rows = -1
    for tensor in signature.inputs:
        values = _shaped(tensor, _typed(tensor, columns[tensor.name]))
        if rows not in {-1, len(values)}:
            raise BadInputError(
                "wrong-shape",
                f"{tensor.name!r} has {len(values)} rows, {signature.inputs[0].name!r} has {rows}",
                fix="give every input the same rows",
            )
        rows = len(values)
        if not tensor.nullable and has_missing(values):
            raise missing_value(tensor, values)
        if tensor.allowed is not None:
            check_allowed(tensor, tensor.allowed, values)
        ready[tensor.name] = values
    return ready


def names_error(expected: Sequence[str], found: Sequence[str]) -> BadInputError:
    """The error for inputs whose names are not the signature's: unknown ones first, each with the nearest valid name."""
    known, given = set(expected), set(found)
    unknown = [name for name in found if name not in known]
    absent = [name for name in expected if name not in given]
    if unknown:
        return BadInputError(
            "unknown-feature",
            f"the model has no input {unknown[0][:200]!r}",
            why=f"it takes {len(expected)}: {_shortened(expected)}",
            fix=nearest(unknown[0], absent or list(expected)),
        )
    if absent:
        return BadInputError(
            "missing-feature",
            f"{len(absent)} of the model's {len(expected)} inputs are missing: {_shortened(absent)}",
            why="a model is never given less than it was trained on",
            fix="send every input of the signature",
        )
    return BadInputError("repeated-feature", "an input is given twice", fix="send every input once")


def _shortened(names: Sequence[str]) -> str:
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")


def _typed(tensor: Tensor, given: Any) -> NDArray[Any]:
    target = NUMPY[tensor.dtype]
    values = given if isinstance(given, np.ndarray) else frames.plain(np.asarray(given))
    if values.dtype == target and tensor.dtype != "string":
        return values
    if tensor.dtype == "string":
        if values.dtype.kind == "O":
            values = _text(values)
            if values is not None:
                return values
        elif values.dtype.kind in "UT":
            return values.astype(object)
        raise _wrong_type(tensor, given)
    if values.dtype.kind == "O":
        values = _unboxed(values)
    if tensor.dtype in {"float32", "float64"} and values.dtype.kind in "iufb":
        return values.astype(target)
    if tensor.dtype in {"int32", "int64"} and values.dtype.kind in "iuf":
        return _whole(tensor, values)
    raise _wrong_type(tensor, given)


def _text(values: NDArray[Any]) -> NDArray[Any] | None:
    """Text with None for what is missing; None if something else is among it."""
    kinds = set(map(type, values.flat))
    if kinds <= {str}:
        return values
    if all(kind in {str, type(None), float} or kind.__name__ == "NAType" for kind in kinds) and not any(
        isinstance(value, float) and not math.isnan(value) for value in values.flat
    ):
        return np.array([value if isinstance(value, str) else None for value in values.flat], dtype=object).reshape(values.shape)
    return None


def _unboxed(values: NDArray[Any]) -> NDArray[Any]:
    """An object array of numbers (and None) as a plain array; anything else is returned as it is."""
    kinds = set(map(type, values.flat))
    if kinds <= {bool, np.bool_}:
        return values.astype(np.bool_)
    if all(
        kind is type(None) or (issubclass(kind, (int, float, np.integer, np.floating)) and kind is not bool) for kind in kinds
    ):
        return values.astype(np.float64)
    return values


def _whole(tensor: Tensor, values: NDArray[Any]) -> NDArray[Any]:
    target = NUMPY[tensor.dtype]
    if has_missing(values):
        raise missing_value(tensor, values)
    bounds = np.iinfo(target)
    if len(values) and not (bounds.min <= values.min() and values.max() <= bounds.max):
        raise BadInputError(
            "wrong-type",
            f"{tensor.name!r} holds numbers that do not fit into {tensor.dtype}",
            fix="check the unit of the feature",
        )
    whole = values.astype(target)
    if values.dtype.kind == "f" and not np.array_equal(whole, values):
        raise BadInputError(
            "wrong-type",
            f"{tensor.name!r} holds fractions, the model takes {tensor.dtype}",
            why="rounding would change the input silently",
            fix="round it where the feature is made, or train the model on floats",
        )
    return whole


def _wrong_type(tensor: Tensor, given: Any) -> BadInputError:
    values = np.asarray(given)
    sample = next((value for value in values.flat if value is not None), None)
    return BadInputError(
        "wrong-type",
        f"{tensor.name!r} must be {tensor.dtype}, not {values.dtype} (such as {str(sample)[:40]!r})",
        fix=f"send {'text' if tensor.dtype == 'string' else tensor.dtype + ' values'}",
    )


def _shaped(tensor: Tensor, values: NDArray[Any]) -> NDArray[Any]:
    width = tensor.shape[1]
    if values.ndim == 1 and width == 1:
        return values
    if values.ndim == 2 and values.shape[1] == width:
        return values.reshape(-1) if width == 1 else values
    raise BadInputError(
        "wrong-shape",
        f"{tensor.name!r} has shape {list(values.shape)}, the model takes {[-1, width] if width > 1 else '[n] or [n, 1]'}",
        why="the first dimension is the number of rows",
        fix="send one value per row" if width == 1 else f"send {width} values per row",
    )


def has_missing(values: NDArray[Any]) -> bool:
    """Whether an array holds NaN (numbers) or None (text)."""
    if values.dtype.kind == "f":
        if values.size == 1:  # one row is the common case when serving, and a scalar is ten times faster to look at
            return math.isnan(values.item())
        if values.size <= FEW and values.dtype.char in "fd":
            return math.isnan(np.vdot(values, values))  # half the time: squares cannot cancel, so it is NaN if one value is
        return bool(np.isnan(values).any())
    return values.dtype.kind == "O" and None in values.reshape(-1).tolist()


def _missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def missing_value(tensor: Tensor, values: NDArray[Any]) -> BadInputError:
    """The error for a missing value where the model cannot do without."""
    flat = values.reshape(len(values), -1)
    rows = [row for row in range(len(flat)) if any(map(_missing, flat[row].tolist()))]
    return BadInputError(
        "missing-value",
        f"{tensor.name!r} is missing in {len(rows)} of {len(flat)} rows, first in row {rows[0] if rows else 0}",
        why="the model was packed without an answer for a missing value of this input",
        fix="send a value, or train the model with an imputer" + (" on float columns" if tensor.dtype.startswith("int") else ""),
    )


def synthetic_row(signature: Signature) -> Columns:
    """One row of zeros and empty texts that fits a signature; where these are not allowed, of the smallest values that are."""
    row: Columns = {}
    for tensor in signature.inputs:
        fill: Any = "" if tensor.dtype == "string" else 0
        if allowed := tensor.allowed:
            low = -math.inf if allowed.minimum is None else allowed.minimum
            high = math.inf if allowed.maximum is None else allowed.maximum
            nearest_to_zero = min(max(0.0, low), high)
            fill = allowed.choices[0] if allowed.choices else nearest_to_zero
        row[tensor.name] = np.full((1, tensor.shape[1]) if tensor.shape[1] > 1 else 1, fill, dtype=NUMPY[tensor.dtype])
    return row
