"""``POST /invocations``: what MLflow's scoring server and a SageMaker container both answer, at the same path. No I/O.

MLflow sends JSON with exactly one of dataframe_split, dataframe_records, instances and inputs, or CSV with a header, or Parquet, and
reads ``{"predictions": ...}``. SageMaker sends what a caller sends, by habit CSV without a header, and hands the answer back in the
type that Accept names.

Source: https://mlflow.org/docs/latest/ml/deployment/deploy-model-locally (inference server specification);
https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-inference-code.html and cdf-inference.html.
"""

from __future__ import annotations

from typing import Any

import orjson

from tidegate.errors import TidegateError, UsageError
from tidegate.frames import Columns
from tidegate.records.model import ModelVersion, Signature
from tidegate.serving.protocols.port import JSON, Encoded, Headers, content_type, told, wrong_content_type
from tidegate.serving.protocols.request import Request, check_rows, rows_of
from tidegate.serving.protocols.table import (
    as_csv,
    checked_parameters,
    event_time,
    from_columns,
    from_csv,
    from_parquet,
    from_rows,
    from_table,
    model_headers,
    parsed,
    predictions,
    table_request,
    to_json,
)

_FORMS = ("dataframe_split", "dataframe_records", "instances", "inputs")
_JSON = {b"", b"application/json"}
_CSV = b"text/csv"
_PARQUET = frozenset({b"application/vnd.apache.parquet", b"application/x-parquet"})
_MLFLOW = {400: "BAD_REQUEST", 404: "RESOURCE_DOES_NOT_EXIST", 500: "INTERNAL_ERROR", 503: "TEMPORARILY_UNAVAILABLE"}


class InvocationsProtocol:
    """See ``HttpProtocol``."""

    slow_types = _PARQUET

    def decode(self, body: bytes, headers: Headers, signature: Signature, max_rows: int) -> Request:
        kind = content_type(headers)
        parameters: dict[str, Any] = {}
        if kind in _JSON:
            document = parsed(body)
            parameters = checked_parameters(document.pop("params", None))
            columns = _columns(document, signature, max_rows)
        elif kind == _CSV:
            columns = from_csv(body, signature, header=_header(headers), max_rows=max_rows)
        elif kind in _PARQUET:
            columns = from_parquet(body, signature, max_rows)
        else:
            raise wrong_content_type(kind, "application/json, text/csv or application/vnd.apache.parquet")
        at = event_time(parameters, headers)
        wanted = headers.get(b"accept", b"").lower().startswith(_CSV)
        return table_request(columns, rows_of(columns, max_rows), parameters, at, as_csv=wanted)

    def encode(self, version: ModelVersion, request: Request, outputs: Columns, ids: list[str]) -> Encoded:
        named = model_headers(version, ids)
        if request.as_csv:
            return Encoded(as_csv(version, outputs), [(b"content-type", b"text/csv; charset=utf-8"), *named])
        body = {"predictions": predictions(version, outputs), "prediction_ids": ids}
        return Encoded(to_json(body), [JSON, *named])

    def refusal(self, error: TidegateError, status: int) -> bytes:
        code = _MLFLOW.get(status, "BAD_REQUEST" if status < 500 else "INTERNAL_ERROR")
        return orjson.dumps({"error_code": code, "message": told(error)})


def _columns(document: dict[str, Any], signature: Signature, max_rows: int) -> Columns:
    if len(document) != 1 or (form := next(iter(document))) not in _FORMS:
        raise UsageError(
            "bad-request",
            f"the body has {', '.join(sorted(document)[:5])[:200] or 'nothing'}",
            why=f"it must have exactly one of {', '.join(_FORMS)}, and params if there are any",
            fix='send {"dataframe_split": {"columns": [...], "data": [[...]]}}',
        )
    given = document[form]
    if form == "dataframe_split":
        if not isinstance(given, dict) or not isinstance(given.get("columns"), list) or not isinstance(given.get("data"), list):
            raise UsageError("bad-request", "dataframe_split has no columns and data", fix="send what pandas' to_dict gives")
        check_rows(len(given["data"]), max_rows)
        return from_table([str(name) for name in given["columns"]], given["data"], signature, form)
    if form == "dataframe_records" and not (isinstance(given, list) and given and isinstance(given[0], dict)):
        raise UsageError("bad-request", "dataframe_records is no list of objects", fix="send an object for each row")
    if form == "dataframe_records" and len(signature.inputs) == 1 and len(given) <= max_rows and len(given[0]) > 1:
        names = list(given[0])
        if all(isinstance(row, dict) and list(row) == names for row in given):
            return from_table(names, [list(row.values()) for row in given], signature, form)
    if isinstance(given, dict):
        return from_columns(given, signature, form, max_rows)
    return from_rows(given, signature, form, max_rows)


def _header(headers: Headers) -> bool | None:
    """Whether CSV has a header, where its content type says so (RFC 4180)."""
    given = headers.get(b"content-type", b"").lower().replace(b" ", b"")
    return True if b";header=present" in given else False if b";header=absent" in given else None
