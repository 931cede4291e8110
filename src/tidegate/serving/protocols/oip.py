"""The Open Inference Protocol, version 2, over HTTP: JSON tensors, and the extensions for binary tensors and repositories. No I/O.

Source: https://github.com/kserve/open-inference-protocol, specification/protocol/inference_rest.md; for binary tensors,
the extension binary_tensor_data as https://github.com/triton-inference-server/server describes it.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec
import orjson

from tidegate.errors import BadInputError, TidegateError, UsageError
from tidegate.frames import Columns
from tidegate.models.signature import names_error
from tidegate.records.model import ModelVersion, Signature, Tensor
from tidegate.records.names import nearest
from tidegate.serving.protocols.port import JSON, Encoded, Headers, told, wrong_content_type
from tidegate.serving.protocols.request import Request, check_rows, read_event_time, rows_of
from tidegate.serving.protocols.tensors import DATATYPES, bad_bytes, from_bytes, from_json, to_bytes

EXTENSIONS = ["binary_tensor_data", "model_repository"]

_LENGTH = b"inference-header-content-length"
_LARGE = 100_000
"""Bytes of JSON from which it pays to count rows before they are read."""
_Scalar = str | int | float | bool


class _Input(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    shape: list[int]
    datatype: Literal[
        "BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64", "FP16", "FP32", "FP64", "BYTES"
    ]
    data: msgspec.Raw = msgspec.Raw(b"")
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


class OipProtocol:
    """See ``HttpProtocol``."""

    slow_types: frozenset[bytes] = frozenset()

    def decode(self, body: bytes, headers: Headers, signature: Signature, max_rows: int) -> Request:
        length = headers.get(_LENGTH)
        if length is None:
            _check_type(headers)
            request = _parsed(body)
            if len(body) > _LARGE:
                for tensor in request.inputs:
                    check_rows(tensor.shape[0] if tensor.shape else 0, max_rows)
            columns = _columns(request.inputs, signature, {})
        else:
            head, rest = _split(memoryview(body), length)
            request = _parsed(head)
            columns = _columns(request.inputs, signature, _parts(request.inputs, rest))
        wanted, binary = _wanted(request, signature)
        parameters = request.parameters
        at = read_event_time(parameters["event_time"]) if "event_time" in parameters else 0
        return Request(request.id, columns, rows_of(columns, max_rows), at, wanted, parameters, {}, binary)

    def encode(self, version: ModelVersion, request: Request, outputs: Columns, ids: list[str]) -> Encoded:
        response: dict[str, Any] = {"model_name": version.name, "model_version": str(version.version)}
        if request.id:
            response["id"] = request.id
        response["parameters"] = {"prediction_ids": ids}
        tensors: list[dict[str, Any]] = []
        parts: list[bytes] = []
        for tensor in version.manifest.signature.outputs:
            name = tensor.name
            if request.outputs and name not in request.outputs:
                continue
            values = outputs[name]
            shown: dict[str, Any] = {"name": name, "datatype": DATATYPES[tensor.dtype], "shape": values.shape}
            if name in request.binary:
                parts.append(to_bytes(values))
                shown["parameters"] = {"binary_data_size": len(parts[-1])}
            else:
                shown["data"] = values.reshape(-1)
            tensors.append(shown)
        response["outputs"] = tensors
        head = orjson.dumps(response, _listed, orjson.OPT_SERIALIZE_NUMPY)
        if not parts:
            return Encoded(head, [JSON])
        kind = (b"content-type", b"application/octet-stream")
        return Encoded(b"".join((head, *parts)), [kind, (_LENGTH, str(len(head)).encode())])

    def refusal(self, error: TidegateError, status: int) -> bytes:  # noqa: ARG002 - the port's
        return orjson.dumps({"error": told(error)})


def _check_type(headers: Headers) -> None:
    given = headers.get(b"content-type")
    if given is not None and not given.lower().startswith((b"application/json", b"application/vnd.kserve")):
        raise wrong_content_type(
            given, "JSON tensors with Content-Type: application/json, or binary ones with their header's length"
        )


def _parsed(body: bytes | memoryview) -> _Request:
    try:
        return _DECODER.decode(body)
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


def _split(body: memoryview, length: bytes) -> tuple[memoryview, memoryview]:
    size = int(length) if length.isdigit() and len(length) < 12 else -1
    if not 0 < size <= len(body):
        raise bad_bytes(f"Inference-Header-Content-Length is {length[:20].decode('latin-1')!r}, the body has {len(body)} bytes")
    return body[:size], body[size:]


def _parts(inputs: list[_Input], rest: memoryview) -> dict[str, memoryview]:
    """Each binary tensor's bytes, by its name. Together they are all of ``rest``."""
    parts: dict[str, memoryview] = {}
    place = 0
    for tensor in inputs:
        size = tensor.parameters.get("binary_data_size")
        if size is None:
            continue
        if isinstance(size, (bool, str, float)) or size < 0 or place + size > len(rest):
            raise bad_bytes(f"{tensor.name!r} says binary_data_size {str(size)[:30]}, {len(rest) - place} bytes are left")
        if tensor.data:
            raise bad_bytes(f"{tensor.name!r} has both data and binary_data_size")
        parts[tensor.name] = rest[place : place + size]
        place += size
    if place != len(rest):
        raise bad_bytes(f"{len(rest) - place} bytes of the body belong to no tensor")
    return parts


def _columns(inputs: list[_Input], signature: Signature, parts: dict[str, memoryview]) -> Columns:
    given = {tensor.name: tensor for tensor in inputs}
    if len(given) != len(inputs) or len(given) != len(signature.inputs):
        raise names_error(signature.input_names, [tensor.name for tensor in inputs])
    columns: Columns = {}
    for tensor in signature.inputs:
        found = given.get(tensor.name)
        if found is None:
            raise names_error(signature.input_names, list(given))
        if found.data:
            columns[tensor.name] = from_json(memoryview(found.data), tensor, found.shape, found.datatype)
        elif tensor.name in parts:
            columns[tensor.name] = from_bytes(parts[tensor.name], tensor, found.shape, found.datatype)
        else:
            raise _no_data(found)
    return columns


def _no_data(found: _Input) -> UsageError:
    if "shared_memory_region" in found.parameters:
        return UsageError("bad-request", f"{found.name!r} lies in shared memory, which is not served", fix="send its data")
    why = "Inference-Header-Content-Length is missing" if "binary_data_size" in found.parameters else ""
    return UsageError("bad-request", f"the tensor {found.name!r} has no data", why=why, fix="send data, or binary_data_size")


def _wanted(request: _Request, signature: Signature) -> tuple[list[str], frozenset[str]]:
    """The outputs to return, and which of them as bytes."""
    everything = request.parameters.get("binary_data_output") is True if request.parameters else False
    if not request.outputs:
        return [], frozenset(tensor.name for tensor in signature.outputs) if everything else frozenset()
    known = [tensor.name for tensor in signature.outputs]
    for output in request.outputs:
        if output.name not in known:
            raise BadInputError(
                "unknown-output", f"the model has no output {output.name[:200]!r}", fix=nearest(output.name, known)
            )
        if odd := {"classification", "shared_memory_region"} & output.parameters.keys():
            raise UsageError("bad-request", f"the output parameter {min(odd)!r} is not served", fix="leave it out")
    binary = {output.name for output in request.outputs if output.parameters.get("binary_data", everything) is True}
    return [output.name for output in request.outputs], frozenset(binary)


def _listed(values: Any) -> Any:
    """What the encoder does not take by itself: text, and arrays that do not lie in one piece."""
    return values.tolist()


def server_metadata(version: str) -> dict[str, Any]:
    """The answer to ``GET /v2``."""
    return {"name": "tidegate", "version": version, "extensions": EXTENSIONS}


def model_metadata(version: ModelVersion, served: list[str]) -> dict[str, Any]:
    """The answer to ``GET /v2/models/NAME``; ``served`` are the numbers of all its versions that can be asked here."""
    signature = version.manifest.signature
    return {
        "name": version.name,
        "versions": served,
        "platform": version.manifest.format,
        "inputs": [_described(tensor) for tensor in signature.inputs],
        "outputs": [_described(tensor) for tensor in signature.outputs],
    }


def _described(tensor: Tensor) -> dict[str, Any]:
    return {"name": tensor.name, "datatype": DATATYPES[tensor.dtype], "shape": tensor.shape}
