"""One tensor on the wire, as a list or as bytes, to an array of the model's signature, and back. All protocols end here, so that
they agree on what fits.

Lists and bytes of the same values give the same array: whole numbers become 64-bit integers, text becomes objects. Nothing is read as
something else: text is no number, 1.5 no integer, True no number.

Source of the bytes' layout: Open Inference Protocol, binary tensor data extension (the same as gRPC's raw contents): row by row,
little-endian; BOOL one byte each; BYTES each value with its length before it, four bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from struct import Struct
from typing import Annotated, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from tidegate.errors import BadInputError, UsageError
from tidegate.records.model import DType, Tensor

DATATYPES: dict[DType, str] = {
    "bool": "BOOL",
    "int32": "INT32",
    "int64": "INT64",
    "float32": "FP32",
    "float64": "FP64",
    "string": "BYTES",
}
LITTLE: dict[str, Any] = {
    "BOOL": np.dtype(np.bool_),
    "UINT8": np.dtype("u1"), "UINT16": np.dtype("<u2"), "UINT32": np.dtype("<u4"), "UINT64": np.dtype("<u8"),
    "INT8": np.dtype("i1"), "INT16": np.dtype("<i2"), "INT32": np.dtype("<i4"), "INT64": np.dtype("<i8"),
    "FP16": np.dtype("<f2"), "FP32": np.dtype("<f4"), "FP64": np.dtype("<f8"),
}  # fmt: skip
"""The types of a fixed size."""
_WHOLE = {"INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64"}
_ACCEPTED: dict[DType, set[str]] = {
    "bool": {"BOOL"},
    "int32": _WHOLE,
    "int64": _WHOLE,
    "float32": _WHOLE | {"FP16", "FP32", "FP64"},
    "float64": _WHOLE | {"FP16", "FP32", "FP64"},
    "string": {"BYTES"},
}
_LARGEST_FLOAT = 3.402823567797336e38  # what is nearer to the largest float of 32 bits than to infinity
_FLOAT32: Any = Annotated[float, msgspec.Meta(ge=-_LARGEST_FLOAT, le=_LARGEST_FLOAT)]
_ITEM: dict[DType, Any] = {
    "bool": bool,
    "int32": int,
    "int64": int,
    "float32": _FLOAT32 | None,
    "float64": float | None,
    "string": str | None,
}
_LIST: dict[DType, Any] = {kind: list[item] for kind, item in _ITEM.items()}
_FLAT: dict[DType, msgspec.json.Decoder[Any]] = {kind: msgspec.json.Decoder(found) for kind, found in _LIST.items()}
_NESTED: dict[DType, msgspec.json.Decoder[Any]] = {kind: msgspec.json.Decoder(list[found]) for kind, found in _LIST.items()}
_PARSED: dict[DType, Any] = {
    "bool": np.bool_, "int32": np.int64, "int64": np.int64, "float32": np.float32, "float64": np.float64, "string": object
}  # fmt: skip
_LARGEST = np.iinfo(np.int64).max
_LENGTH = Struct("<I")


def from_json(raw: memoryview, tensor: Tensor, shape: list[int], datatype: str) -> NDArray[Any]:
    """[n] or [n, width] from JSON: a list of all values, or of rows.

    Raises:
        BadInputError: type, shape or values do not fit the tensor.
    """
    # Requests have one of these for each feature: what follows is written out instead of shared.
    width, kind = tensor.shape[1], tensor.dtype
    if (
        datatype not in _ACCEPTED[kind]
        or not shape
        or shape[0] < 1
        or not (shape[1:] == [width] or (width == 1 and len(shape) == 1))
    ):
        raise _misfit(tensor, shape, datatype)
    nested = b"[" in bytes(raw[1:64]).lstrip()[:1]
    try:
        values: list[Any] = _NESTED[kind].decode(raw) if nested else _FLAT[kind].decode(raw)
        if nested:
            if any(len(row) != width for row in values):
                raise _wrong_size(tensor, shape)
            values = [value for row in values for value in row]
        if len(values) != shape[0] * width:
            raise _wrong_size(tensor, shape)
        flat = np.array(values, dtype=_PARSED[kind])
    except msgspec.ValidationError as error:
        raise _wrong_value(tensor, str(error)) from None
    except UnicodeDecodeError as error:
        raise _not_utf8(tensor, error) from None
    except OverflowError:
        raise _too_long(tensor) from None
    return flat if width == 1 else flat.reshape(-1, width)


def from_cells(cells: Sequence[Any], tensor: Tensor) -> NDArray[Any]:
    """[n] or [n, width] from plain values, one cell for each row: a value, or a list of ``width`` values.

    Raises:
        BadInputError: type, shape or values do not fit the tensor.
    """
    width = tensor.shape[1]
    values: Sequence[Any] = cells
    if any(isinstance(cell, list) for cell in cells):
        if any(not isinstance(cell, list) or len(cell) != width for cell in cells):
            raise _wrong_size(tensor, [len(cells), width])
        values = [value for cell in cells for value in cell]
    elif width != 1:
        raise _wrong_size(tensor, [len(cells), width])
    if any(value != value for value in values):  # noqa: PLR0124 - NaN is how other encoders write what is missing, even a text
        values = [None if value != value else value for value in values]  # noqa: PLR0124
    if tensor.dtype in {"int32", "int64"}:  # 100.0 is what tables make of 100, where a value in its column is missing
        values = [int(value) if isinstance(value, float) and value.is_integer() else value for value in values]
    try:
        found = msgspec.convert(values, _LIST[tensor.dtype])
    except msgspec.ValidationError as error:
        raise _wrong_value(tensor, str(error)) from None
    return _array(found, tensor, width)


def from_bytes(raw: memoryview, tensor: Tensor, shape: list[int], datatype: str) -> NDArray[Any]:
    """[n] or [n, width] from bytes; numbers of the tensor's own type are not copied, and can then not be written to.

    Raises:
        UsageError: the bytes are not what shape and type say.
        BadInputError: type, shape or values do not fit the tensor.
    """
    width = _checked(tensor, shape, datatype)
    count = shape[0] * width
    if datatype == "BYTES":
        flat = np.array(_texts(raw, tensor, count), dtype=object)
        return flat if width == 1 else flat.reshape(-1, width)
    kind = LITTLE[datatype]
    if len(raw) != count * kind.itemsize:
        raise bad_bytes(f"{tensor.name!r} has {len(raw)} bytes, its shape {shape} in {datatype} takes {count * kind.itemsize}")
    values: NDArray[Any] = np.frombuffer(raw, dtype=kind)
    return from_numbers(values, tensor)


def from_numbers(values: NDArray[Any], tensor: Tensor) -> NDArray[Any]:
    """[n] or [n, width] from all values of an accepted type of numbers or booleans, in one dimension.

    Raises:
        BadInputError: a value does not fit into the tensor's type.
    """
    target, width = np.dtype(_PARSED[tensor.dtype]), tensor.shape[1]
    if target.kind == "b":
        if values.view(np.uint8).max(initial=0) > 1:
            raise _wrong_value(tensor, "a byte other than 0 and 1 is neither")
    elif values.dtype.kind == "u" and target.kind == "i" and values.max(initial=0) > _LARGEST:
        raise _too_long(tensor)
    elif values.dtype != target:
        # By way of doubles, as numbers in JSON go: the same number gives the same float, however it was sent.
        doubles = values.astype(np.float64) if target.kind == "f" and values.dtype.kind in "iu" else values
        try:
            with np.errstate(over="raise"):
                values = doubles.astype(target)
        except FloatingPointError:
            raise _wrong_value(tensor, "a number is too large") from None
    elif not values.flags.aligned:
        values = values.copy()
    values = values.astype(target, copy=False)
    return values if width == 1 else values.reshape(-1, width)


def to_bytes(values: NDArray[Any]) -> bytes:
    """An output's values, row by row."""
    if values.dtype.kind == "O":
        parts: list[bytes] = []
        for value in values.reshape(-1).tolist():
            text = ("" if value is None else str(value)).encode()
            parts += (_LENGTH.pack(len(text)), text)
        return b"".join(parts)
    return values.astype(values.dtype.newbyteorder("<"), copy=False).tobytes()


def bad_bytes(what: str) -> UsageError:
    """The error for bytes that are not what their description says."""
    return UsageError(
        "bad-tensor-bytes",
        what,
        why="a binary tensor's sizes must all agree",
        fix="let a client library write the sizes, or send JSON tensors",
    )


def _texts(raw: memoryview, tensor: Tensor, count: int) -> list[str]:
    texts: list[str] = []
    place, end = 0, len(raw)
    try:
        while place < end:
            if place + 4 > end:
                raise bad_bytes(f"{tensor.name!r} ends within a length")
            start = place + 4
            place = start + _LENGTH.unpack_from(raw, place)[0]
            if place > end:
                raise bad_bytes(
                    f"{tensor.name!r} ends within a text: a length says {place - start}, {end - start} bytes are left"
                )
            texts.append(str(raw[start:place], "utf-8"))
    except UnicodeDecodeError as error:
        raise _not_utf8(tensor, error) from None
    if len(texts) != count:
        raise bad_bytes(f"{tensor.name!r} holds {len(texts)} texts, its shape takes {count}")
    return texts


def _checked(tensor: Tensor, shape: list[int], datatype: str) -> int:
    """The tensor's width, once type and shape are right."""
    width = tensor.shape[1]
    fits = len(shape) > 0 and 0 < shape[0] <= _LARGEST and (shape[1:] == [width] or (width == 1 and len(shape) == 1))
    if not fits or datatype not in _ACCEPTED[tensor.dtype]:
        raise _misfit(tensor, shape, datatype)
    return width


def _misfit(tensor: Tensor, shape: list[int], datatype: str) -> BadInputError:
    width, kind = tensor.shape[1], tensor.dtype
    if datatype not in _ACCEPTED[kind]:
        return BadInputError(
            "wrong-type", f"{tensor.name!r} is {DATATYPES[kind]}, not {datatype[:20]}", fix=f"send it as {DATATYPES[kind]}"
        )
    expected = f"[n, {width}]" if width > 1 else "[n] or [n, 1]"
    return BadInputError(
        "wrong-shape",
        f"{tensor.name!r} has shape {str(shape[:8])[:60]}, the model takes {expected}",
        fix="n is the number of rows, 1 or more",
    )


def _array(values: Any, tensor: Tensor, width: int) -> NDArray[Any]:
    try:
        flat = np.array(values, dtype=_PARSED[tensor.dtype])
    except OverflowError:
        raise _too_long(tensor) from None
    return flat if width == 1 else flat.reshape(-1, width)


def _wrong_value(tensor: Tensor, why: str) -> BadInputError:
    return BadInputError(
        "wrong-type",
        f"{tensor.name!r} takes {DATATYPES[tensor.dtype]} values: {why}",
        fix="null stands for a missing number or text",
    )


def _not_utf8(tensor: Tensor, error: UnicodeDecodeError) -> BadInputError:
    return BadInputError("wrong-type", f"{tensor.name!r} holds text that is not UTF-8: {error.reason}", fix="send UTF-8")


def _too_long(tensor: Tensor) -> BadInputError:
    return BadInputError("wrong-type", f"{tensor.name!r} holds a number that does not fit into 64 bits", fix="check its unit")


def _wrong_size(tensor: Tensor, shape: list[int]) -> BadInputError:
    return BadInputError(
        "wrong-shape",
        f"the data of {tensor.name!r} does not fill its shape {str(shape)[:60]}",
        fix="data is a list of all values, or of rows",
    )
