"""gRPC's own health protocol: what Kubernetes' probes and load balancers ask. Messages only, no I/O.

Source: https://github.com/grpc/grpc/blob/master/doc/health-checking.md and grpc/health/v1/health.proto.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

PACKAGE = "grpc.health.v1"
SERVICE = f"{PACKAGE}.Health"

SERVING, NOT_SERVING, SERVICE_UNKNOWN = 1, 2, 3


@cache
def messages() -> tuple[Any, Any]:
    """HealthCheckRequest and HealthCheckResponse, in a pool of their own. The status is an enum there; as a number it travels the same."""
    file = FileDescriptorProto(name="tidegate/health.proto", package=PACKAGE, syntax="proto3")
    one = FieldDescriptorProto.LABEL_OPTIONAL
    for name, field, kind in (
        ("HealthCheckRequest", "service", FieldDescriptorProto.TYPE_STRING),
        ("HealthCheckResponse", "status", FieldDescriptorProto.TYPE_INT32),
    ):
        file.message_type.add(name=name).field.add(name=field, number=1, label=one, type=kind)
    pool = DescriptorPool()
    pool.Add(file)  # pyright: ignore[reportAttributeAccessIssue]  (the stub lacks it)
    request, response = (GetMessageClass(pool.FindMessageTypeByName(f"{PACKAGE}.{each.name}")) for each in file.message_type)
    return request, response
