"""The Open Inference Protocol, version 2, over gRPC: messages in, columns out, and back. No I/O.

The messages of the package ``inference`` are made here from a table of their fields, so that no generated code has to be kept: names,
numbers and types are the contract, and they are all that travels.

Source: https://github.com/kserve/open-inference-protocol, specification/protocol/open_inference_grpc.proto.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from numpy.typing import NDArray

from tidegate.errors import BadInputError, UsageError
from tidegate.frames import Columns
from tidegate.models.signature import names_error
from tidegate.records.model import ModelVersion, Signature, Tensor
from tidegate.records.names import nearest
from tidegate.serving.protocols.request import Request, read_event_time, rows_of
from tidegate.serving.protocols.tensors import DATATYPES, LITTLE, bad_bytes, from_bytes, to_bytes

PACKAGE = "inference"
SERVICE = f"{PACKAGE}.GRPCInferenceService"

_PARAMETERS = "map<string, InferParameter> parameters"
_TENSOR = f"string name = 1; string datatype = 2; repeated int64 shape = 3; {_PARAMETERS} = 4; InferTensorContents contents = 5"
_MESSAGES = {
    "ServerLiveRequest": "",
    "ServerLiveResponse": "bool live = 1",
    "ServerReadyRequest": "",
    "ServerReadyResponse": "bool ready = 1",
    "ModelReadyRequest": "string name = 1; string version = 2",
    "ModelReadyResponse": "bool ready = 1",
    "ServerMetadataRequest": "",
    "ServerMetadataResponse": "string name = 1; string version = 2; repeated string extensions = 3",
    "ModelMetadataRequest": "string name = 1; string version = 2",
    "ModelMetadataResponse": "string name = 1; repeated string versions = 2; string platform = 3; "
    "repeated ModelMetadataResponse.TensorMetadata inputs = 4; repeated ModelMetadataResponse.TensorMetadata outputs = 5",
    "ModelMetadataResponse.TensorMetadata": "string name = 1; string datatype = 2; repeated int64 shape = 3",
    "InferParameter": "oneof bool bool_param = 1; oneof int64 int64_param = 2; oneof string string_param = 3; "
    "oneof double double_param = 4; oneof uint64 uint64_param = 5",
    "InferTensorContents": "repeated bool bool_contents = 1; repeated int32 int_contents = 2; repeated int64 int64_contents = 3; "
    "repeated uint32 uint_contents = 4; repeated uint64 uint64_contents = 5; repeated float fp32_contents = 6; "
    "repeated double fp64_contents = 7; repeated bytes bytes_contents = 8",
    "ModelInferRequest": f"string model_name = 1; string model_version = 2; string id = 3; {_PARAMETERS} = 4; "
    "repeated ModelInferRequest.InferInputTensor inputs = 5; "
    "repeated ModelInferRequest.InferRequestedOutputTensor outputs = 6; repeated bytes raw_input_contents = 7",
    "ModelInferRequest.InferInputTensor": _TENSOR,
    "ModelInferRequest.InferRequestedOutputTensor": f"string name = 1; {_PARAMETERS} = 2",
    "ModelInferResponse": f"string model_name = 1; string model_version = 2; string id = 3; {_PARAMETERS} = 4; "
    "repeated ModelInferResponse.InferOutputTensor outputs = 5; repeated bytes raw_output_contents = 6",
    "ModelInferResponse.InferOutputTensor": _TENSOR,
}
"""Each message's fields as the contract writes them; a message within another has a dot."""

METHODS = ("ServerLive", "ServerReady", "ModelReady", "ServerMetadata", "ModelMetadata", "ModelInfer")

_FIELD = re.compile(r"(repeated |oneof )?(map<string, (\w+)>|[\w.]+) (\w+) = (\d+)")
_SCALARS = {
    "bool": FieldDescriptorProto.TYPE_BOOL,
    "int32": FieldDescriptorProto.TYPE_INT32,
    "int64": FieldDescriptorProto.TYPE_INT64,
    "uint32": FieldDescriptorProto.TYPE_UINT32,
    "uint64": FieldDescriptorProto.TYPE_UINT64,
    "float": FieldDescriptorProto.TYPE_FLOAT,
    "double": FieldDescriptorProto.TYPE_DOUBLE,
    "string": FieldDescriptorProto.TYPE_STRING,
    "bytes": FieldDescriptorProto.TYPE_BYTES,
}
_CONTENTS = {
    "BOOL": "bool_contents", "INT8": "int_contents", "INT16": "int_contents", "INT32": "int_contents", "INT64": "int64_contents",
    "UINT8": "uint_contents", "UINT16": "uint_contents", "UINT32": "uint_contents", "UINT64": "uint64_contents",
    "FP32": "fp32_contents", "FP64": "fp64_contents", "BYTES": "bytes_contents",
}  # fmt: skip


@cache
def messages() -> dict[str, Any]:
    """The messages' classes by name. They live in a pool of their own: a client in the same process may have the same names."""
    file = FileDescriptorProto(name="tidegate/open_inference.proto", package=PACKAGE, syntax="proto3")
    made: dict[str, DescriptorProto] = {}
    for name, fields in _MESSAGES.items():
        outer, _, inner = name.rpartition(".")
        message = made[outer].nested_type.add(name=inner) if outer else file.message_type.add(name=name)
        made[name] = message
        for field in fields.split("; ") if fields else []:
            _add_field(message, f".{PACKAGE}.{name}", field)
    pool = DescriptorPool()
    pool.Add(file)  # pyright: ignore[reportAttributeAccessIssue]  (the stub lacks it)
    return {name: GetMessageClass(pool.FindMessageTypeByName(f"{PACKAGE}.{name}")) for name in _MESSAGES}


def _add_field(message: DescriptorProto, path: str, text: str) -> None:
    found = _FIELD.fullmatch(text)
    assert found, text
    rule, kind, mapped, name, number = found.groups()
    field = message.field.add(name=name, number=int(number), label=FieldDescriptorProto.LABEL_OPTIONAL)
    if rule == "oneof ":
        if not message.oneof_decl:
            message.oneof_decl.add(name="parameter_choice")
        field.oneof_index = 0
    if rule == "repeated " or mapped:
        field.label = FieldDescriptorProto.LABEL_REPEATED
    if mapped:  # a map is a repeated entry of key and value
        entry = message.nested_type.add(name="".join(part.title() for part in name.split("_")) + "Entry")
        entry.options.map_entry = True
        _add_field(entry, f"{path}.{entry.name}", "string key = 1")
        _add_field(entry, f"{path}.{entry.name}", f"{mapped} value = 2")
        field.type, field.type_name = FieldDescriptorProto.TYPE_MESSAGE, f"{path}.{entry.name}"
    elif kind in _SCALARS:
        field.type = _SCALARS[kind]
    else:
        field.type, field.type_name = FieldDescriptorProto.TYPE_MESSAGE, f".{PACKAGE}.{kind}"


def decode(message: Any, signature: Signature, max_rows: int, headers: Mapping[str, str]) -> Request:
    """A predict request from a ModelInferRequest.

    Raises:
        UsageError: it is no request of the protocol.
        BadInputError: its tensors do not fit the signature, or have too many rows.
    """
    given = {tensor.name: (place, tensor) for place, tensor in enumerate(message.inputs)}
    if len(given) != len(message.inputs) or len(given) != len(signature.inputs):
        raise names_error(signature.input_names, [tensor.name for tensor in message.inputs])
    raw = message.raw_input_contents
    if raw and len(raw) != len(given):
        raise bad_bytes(f"raw_input_contents has {len(raw)} entries, there are {len(given)} inputs")
    columns: Columns = {}
    for tensor in signature.inputs:
        if tensor.name not in given:
            raise names_error(signature.input_names, list(given))
        place, found = given[tensor.name]
        if raw:
            if found.HasField("contents"):
                raise bad_bytes(f"{tensor.name!r} has both contents and raw_input_contents")
            columns[tensor.name] = from_bytes(memoryview(raw[place]), tensor, list(found.shape), found.datatype)
        else:
            columns[tensor.name] = _typed(found, tensor)
    known = [tensor.name for tensor in signature.outputs]
    for output in message.outputs:
        if output.name not in known:
            raise BadInputError(
                "unknown-output", f"the model has no output {output.name[:200]!r}", fix=nearest(output.name, known)
            )
    parameters = {name: _value(value) for name, value in message.parameters.items()}
    wanted = [output.name for output in message.outputs]
    at = read_event_time(parameters.get("event_time"))
    return Request(message.id, columns, rows_of(columns, max_rows), at, wanted, parameters, headers)


def encode(version: ModelVersion, request: Request, outputs: Columns, ids: list[str]) -> Any:
    """The ModelInferResponse: raw contents, and the ids of the predictions with commas between them."""
    response = messages()["ModelInferResponse"](model_name=version.name, model_version=str(version.version), id=request.id)
    response.parameters["prediction_ids"].string_param = ",".join(ids)
    for tensor in version.manifest.signature.outputs:
        if request.outputs and tensor.name not in request.outputs:
            continue
        values = outputs[tensor.name]
        response.outputs.add(name=tensor.name, datatype=DATATYPES[tensor.dtype], shape=values.shape)
        response.raw_output_contents.append(to_bytes(values))
    return response


def _typed(found: Any, tensor: Tensor) -> NDArray[Any]:
    """An input whose values stand in the contents of its type."""
    field = _CONTENTS.get(found.datatype)
    if field is None:
        raise UsageError("bad-request", f"{found.datatype[:20]!r} has no typed contents", fix="send raw_input_contents")
    others = [kind.name for kind, _ in found.contents.ListFields() if kind.name != field]
    if others:
        raise UsageError("bad-request", f"{tensor.name!r} is {found.datatype} and has {others[0]}", fix=f"fill {field}")
    values = getattr(found.contents, field)
    if field == "bytes_contents":
        raw = b"".join(len(value).to_bytes(4, "little") + value for value in values)
    else:
        sent = np.fromiter(values, dtype=_WIDE[field], count=len(values))
        narrow = sent.astype(LITTLE[found.datatype])
        if sent.dtype.kind in "iu" and not np.array_equal(narrow, sent):
            raise BadInputError("wrong-type", f"{tensor.name!r} holds numbers that are no {found.datatype}", fix="check them")
        raw = narrow.tobytes()
    return from_bytes(memoryview(raw), tensor, list(found.shape), found.datatype)


_WIDE = {
    "bool_contents": "?", "int_contents": "<i4", "int64_contents": "<i8", "uint_contents": "<u4", "uint64_contents": "<u8",
    "fp32_contents": "<f4", "fp64_contents": "<f8",
}  # fmt: skip


def _value(parameter: Any) -> Any:
    kind = parameter.WhichOneof("parameter_choice")
    return getattr(parameter, kind) if kind else None
