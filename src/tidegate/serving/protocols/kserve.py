"""KServe's protocol of version 1, which is TensorFlow Serving's REST: instances in, predictions out. No I/O.

Source: https://kserve.github.io/website/docs/concepts/architecture/data-plane/v1-protocol.
"""

from __future__ import annotations

from typing import Any

import orjson

from tidegate.errors import TidegateError, UsageError
from tidegate.frames import Columns
from tidegate.records.model import ModelVersion, Signature
from tidegate.serving.protocols.port import JSON, Encoded, Headers, content_type, told, wrong_content_type
from tidegate.serving.protocols.request import Request, rows_of
from tidegate.serving.protocols.table import (
    checked_parameters,
    event_time,
    from_rows,
    model_headers,
    parsed,
    predictions,
    table_request,
    to_json,
)


class KserveProtocol:
    """See ``HttpProtocol``."""

    slow_types: frozenset[bytes] = frozenset()

    def decode(self, body: bytes, headers: Headers, signature: Signature, max_rows: int) -> Request:
        given = content_type(headers)
        if given not in {b"", b"application/json"}:
            raise wrong_content_type(given, 'JSON: {"instances": [...]}')
        document = parsed(body)
        if "instances" not in document:
            raise UsageError("bad-request", "the body has no instances", fix='send {"instances": [...]}, a row each')
        if odd := document.keys() - {"instances", "parameters", "signature_name"}:
            raise UsageError("bad-request", f"the body has {min(odd)[:100]!r}, which nobody reads", fix="leave it out")
        parameters = checked_parameters(document.get("parameters"))
        columns = from_rows(document["instances"], signature, "instances", max_rows)
        return table_request(columns, rows_of(columns, max_rows), parameters, event_time(parameters, headers))

    def encode(self, version: ModelVersion, request: Request, outputs: Columns, ids: list[str]) -> Encoded:  # noqa: ARG002 - the port's
        body = {"predictions": predictions(version, outputs), "prediction_ids": ids}
        return Encoded(to_json(body), [JSON, *model_headers(version, ids)])

    def refusal(self, error: TidegateError, status: int) -> bytes:  # noqa: ARG002 - the port's
        return orjson.dumps({"error": told(error)})


def model_list(names: list[str]) -> dict[str, Any]:
    """The answer to ``GET /v1/models``."""
    return {"models": names}
