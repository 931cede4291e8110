"""Vertex AI's contract for containers: instances in, predictions out. No I/O.

Vertex hands on nothing of an answer but ``predictions``, so each carries its id: ``{"prediction": 3.1, "prediction_id": "..."}``.

Source: https://cloud.google.com/vertex-ai/docs/predictions/custom-container-requirements.
"""

from __future__ import annotations

from tidegate.frames import Columns
from tidegate.records.model import ModelVersion
from tidegate.serving.protocols.kserve import KserveProtocol
from tidegate.serving.protocols.port import JSON, Encoded
from tidegate.serving.protocols.request import Request
from tidegate.serving.protocols.table import model_headers, predictions, to_json


class VertexProtocol(KserveProtocol):
    """See ``HttpProtocol``: requests are those of KServe's version 1."""

    def encode(self, version: ModelVersion, request: Request, outputs: Columns, ids: list[str]) -> Encoded:  # noqa: ARG002 - the port's
        signature = version.manifest.signature.outputs
        rows = predictions(version, outputs)
        named = rows if len(signature) > 1 else [{signature[0].name: row} for row in rows]
        told = [{**row, "prediction_id": row_id} for row, row_id in zip(named, ids, strict=True)]
        return Encoded(to_json({"predictions": told}), [JSON, *model_headers(version, ids)])
