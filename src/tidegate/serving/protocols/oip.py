"""The Open Inference Protocol, version 2, REST with JSON tensors: bytes in, columns out, and back. No I/O.

Source: https://github.com/kserve/open-inference-protocol, specification/protocol/inference_rest.md.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec
import numpy as np
import orjson
from numpy.typing import NDArray

from tidegate.clock import parse_time
from tidegate.errors import BadInputError, UsageError
from tidegate.frames import Columns
from tidegate.models.signature import names_error
from tidegate.records.model import DType, ModelVersion, Signature, Tensor
from tidegate.records.names import nearest
from tidegate.serving.protocols.request import Request

_Scalar = str | int | float | bool
_DATATYPES: dict[DType, str] = {
    "bool": "BOOL",
    "int32": "INT32",
    "int64": "INT64",
    "float32": "FP32",
    "float64": "FP64",
    "string": "BYTES",
}
_WHOLE = {"INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64"}
_ACCEPTED: dict[DType, set[str]] = {
    "bool": {"BOOL"},
    "int32": _WHOLE,
    "int64": _WHOLE,
    "float32": _WHOLE | {"FP16", "FP32", "FP64"},
    "float64": _WHOLE | {"FP16", "FP32", "FP64"},
    "string": {"BYTES"},
}
_ITEM: dict[DType, Any] = {
    "bool": bool,
    "int32": int,
    "int64": int,
    "float32": float | None,
    "float64": float | None,
    "string": str | None,
}
_FLAT: dict[DType, msgspec.json.Decoder[Any]] = {kind: msgspec.json.Decoder(list[item]) for kind, item in _ITEM.items()}
_NESTED: dict[DType, msgspec.json.Decoder[Any]] = {kind: msgspec.json.Decoder(list[list[item]]) for kind, item in _ITEM.items()}
_PARSED: dict[DType, Any] = {
    "bool": np.bool_, "int32": np.int64, "int64": np.int64, "float32": np.float32, "float64": np.float64, "string": object
}  # fmt: skip
_LAST_TIME = 253_402_300_800_000_000  # the year 10000


class _Input(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    shape: list[int]
    datatype: Literal[
        "BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64", "FP16", "FP32", "FP64", "BYTES"
    ]
    data: msgspec.Raw
    parameters: dict[str, _Scalar] = {}


class _Output(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    parameters: dict[str, _Scalar] = {}


class _Request(msgspec.Struct, forbid_unknown_fields=True):
    inputs: list[_Input]
    id: str = ""
    parameters: dict[str, _Scalar] = {}
    outputs: list[_Output] = []


_DECODER = msgspec.json.Decoder(_Request)


def decode(body: bytes, signature: Signature, *, max_rows: int) -> Request:
    """A predict request from its JSON.

    Raises:
        UsageError: it is no JSON, or not a request of the protocol.
        BadInputError: its tensors do not fit the signature.
    """
    try:
        request = _DECODER.decode(body)
    except msgspec.ValidationError as error:
        raise UsageError(
            "bad-request", f"the body is no inference request: {error}", fix="see docs/reference/serving-http.md for the body"
        ) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UsageError("bad-json", f"the body is not valid JSON: {error}", fix="send one JSON object") from None
    except RecursionError:
        raise UsageError(
            "bad-json", "the JSON is nested too deeply", fix="a tensor's data is a list, or a list of lists"
        ) from None
    columns = _columns(request.inputs, signature)
    rows = len(next(iter(columns.values()))) if columns else 0
    if rows > max_rows:
        raise BadInputError(
            "too-many-rows",
            f"the request has {rows} rows, {max_rows} are allowed",
            fix="send several requests, or raise serving.max_rows",
        )
    wanted = [output.name for output in request.outputs]
    known = [tensor.name for tensor in signature.outputs]
    for name in wanted:
        if name not in known:
            raise BadInputError("unknown-output", f"the model has no output {name!r}", fix=nearest(name, known))
    return Request(request.id, columns, rows, _event_time(request.parameters), wanted)


def _columns(inputs: list[_Input], signature: Signature) -> Columns:
    given = {tensor.name: tensor for tensor in inputs}
    if len(given) != len(inputs) or len(given) != len(signature.inputs):
        raise names_error(signature.input_names, [tensor.name for tensor in inputs])
    columns: Columns = {}
    for tensor in signature.inputs:
        found = given.get(tensor.name)
        if found is None:
            raise names_error(signature.input_names, list(given))
        columns[tensor.name] = _values(found, tensor)
    return columns


def _values(found: _Input, tensor: Tensor) -> NDArray[Any]:
    width, shape, kind = tensor.shape[1], found.shape, tensor.dtype
    if found.datatype not in _ACCEPTED[kind]:
        raise BadInputError(
            "wrong-type", f"{tensor.name!r} is {_DATATYPES[kind]}, not {found.datatype}", fix=f"send it as {_DATATYPES[kind]}"
        )
    if not shape or shape[0] < 1 or (shape[1:] != [width] and not (width == 1 and len(shape) == 1)):
        expected = f"[n, {width}]" if width > 1 else "[n] or [n, 1]"
        raise BadInputError(
            "wrong-shape",
            f"{tensor.name!r} has shape {shape}, the model takes {expected}",
            fix="n is the number of rows, 1 or more",
        )
    raw = memoryview(found.data)
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
        raise BadInputError(
            "wrong-type",
            f"{tensor.name!r} takes {_DATATYPES[kind]} values: {error}",
            fix="null stands for a missing number or text",
        ) from None
    except UnicodeDecodeError as error:
        raise BadInputError(
            "wrong-type", f"{tensor.name!r} holds text that is not UTF-8: {error.reason}", fix="send UTF-8"
        ) from None
    except OverflowError:
        raise BadInputError(
            "wrong-type", f"{tensor.name!r} holds a number that does not fit into 64 bits", fix="check its unit"
        ) from None
    return flat if width == 1 else flat.reshape(-1, width)


def _wrong_size(tensor: Tensor, shape: list[int]) -> BadInputError:
    return BadInputError(
        "wrong-shape",
        f"the data of {tensor.name!r} does not fill its shape {shape}",
        fix="data is a list of all values, or of rows",
    )


def _event_time(parameters: dict[str, _Scalar]) -> int:
    given = parameters.get("event_time")
    if given is None:
        return 0
    moment = parse_time(given) if isinstance(given, str) else given
    if isinstance(moment, (bool, float)) or not 0 < moment < _LAST_TIME:
        raise UsageError(
            "bad-time",
            f"parameters.event_time {given!r} is no time",
            why="it is ISO 8601 text, or whole microseconds since 1970 UTC",
            fix="write it like 2013-06-01T00:00:00Z",
        )
    return moment


def encode(version: ModelVersion, request: Request, outputs: Columns, ids: list[str]) -> bytes:
    """The response's JSON. ``ids`` are the predictions' ids, one per row."""
    tensors = [
        {
            "name": tensor.name,
            "datatype": _DATATYPES[tensor.dtype],
            "shape": outputs[tensor.name].shape,
            "data": outputs[tensor.name].reshape(-1),
        }
        for tensor in version.manifest.signature.outputs
        if not request.outputs or tensor.name in request.outputs
    ]
    response: dict[str, Any] = {"model_name": version.name, "model_version": str(version.version)}
    if request.id:
        response["id"] = request.id
    response["parameters"] = {"prediction_ids": ids}
    response["outputs"] = tensors
    return orjson.dumps(response, option=orjson.OPT_SERIALIZE_NUMPY)


def model_metadata(version: ModelVersion) -> dict[str, Any]:
    """The answer to ``GET /v2/models/NAME``."""
    signature = version.manifest.signature
    return {
        "name": version.name,
        "versions": [str(version.version)],
        "platform": version.manifest.format,
        "inputs": [_described(tensor) for tensor in signature.inputs],
        "outputs": [_described(tensor) for tensor in signature.outputs],
    }


def _described(tensor: Tensor) -> dict[str, Any]:
    return {"name": tensor.name, "datatype": _DATATYPES[tensor.dtype], "shape": tensor.shape}
