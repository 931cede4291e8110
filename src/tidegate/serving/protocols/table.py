"""Requests that are tables or lists of rows: plain values, CSV or Parquet, to the columns of a signature; and answers by row. No I/O
but a temporary file, which Parquet needs.
"""

from __future__ import annotations

import csv
import io
import json
import re
import tempfile
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import duckdb
import msgspec
import numpy as np
import orjson
from numpy.typing import NDArray

from tidegate import frames
from tidegate.errors import BadInputError, TidegateError, UsageError
from tidegate.frames import Columns
from tidegate.models.signature import names_error
from tidegate.records.model import ModelVersion, Signature, Tensor
from tidegate.serving.protocols.port import Headers
from tidegate.serving.protocols.request import Request, check_rows, read_event_time
from tidegate.serving.protocols.tensors import from_cells

_NUMBER = re.compile(r"\s*[+-]?(\d+(\.\d*)?([eE][+-]?\d+)?|\.\d+([eE][+-]?\d+)?|nan|inf(inity)?)\s*|\s*", re.IGNORECASE)
_PARQUET_MEMORY = "256MB"
_PARQUET_BYTES = 64 * 1024 * 1024
_SIZED = frozenset({"varchar", "blob", "bit"})
_NESTED = frozenset({"list", "array", "struct", "map", "union"})
_BOOLS = {"true": True, "false": False, "1": True, "0": False}


def parsed(body: bytes) -> dict[str, Any]:
    """A JSON object. NaN and Infinity, which Python's own encoder writes, are taken for what they mean.

    Raises:
        UsageError: it is none.
    """
    try:
        found = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        try:
            found = json.loads(body) if b"NaN" in body or b"Infinity" in body else None
            json.dumps(found, ensure_ascii=False).encode()  # half of a surrogate pair is no text, whatever Python says
        except (ValueError, RecursionError):
            found = None
        if found is None:
            raise UsageError("bad-json", f"the body is not valid JSON: {error}", fix="send one JSON object") from None
    except RecursionError:
        raise UsageError("bad-json", "the JSON is nested too deeply", fix="send rows of plain values") from None
    if not isinstance(found, dict):
        raise UsageError("bad-request", "the body is no JSON object", fix="see docs/reference/serving-http.md for the body")
    return found


def event_time(parameters: Any, headers: Headers) -> int:
    """The event time of a request's parameters, or of its header X-Event-Time.

    Raises:
        UsageError: it is no time, or the parameters are no object.
    """
    given = checked_parameters(parameters).get("event_time")
    return read_event_time(headers.get(b"x-event-time", b"").decode("latin-1") or None if given is None else given)


def checked_parameters(parameters: Any) -> dict[str, Any]:
    """A request's parameters; none are an empty object.

    Raises:
        UsageError: they are no object.
    """
    if parameters is None:
        return {}
    if not isinstance(parameters, dict):
        raise UsageError("bad-request", "the parameters are no JSON object", fix='write them like {"event_time": "2013-06-01"}')
    return parameters


def from_rows(rows: Any, signature: Signature, what: str, max_rows: int) -> Columns:
    """Columns of a list of rows: objects by name, lists in the signature's order, or bare values where the model takes just one.

    Raises:
        UsageError: it is no list of rows.
        BadInputError: the rows do not fit the signature, or are too many.
    """
    if not isinstance(rows, list) or not rows:
        raise UsageError("bad-request", f"{what} is no list of rows", fix="send one row or more")
    check_rows(len(rows), max_rows)
    tensors = signature.inputs
    if isinstance(rows[0], dict):
        names = set(signature.input_names)
        for row in rows:
            if not isinstance(row, dict):
                raise _uneven(what)
            if row.keys() != names:
                raise names_error(signature.input_names, list(row))
        return {tensor.name: from_cells([row[tensor.name] for row in rows], tensor) for tensor in tensors}
    if len(tensors) == 1:
        return {tensors[0].name: from_cells(rows, tensors[0])}
    for row in rows:
        if not isinstance(row, list):
            raise _uneven(what)
        if len(row) != len(tensors):
            raise BadInputError(
                "wrong-shape",
                f"a row of {what} has {len(row)} values, the model takes {len(tensors)}: {', '.join(signature.input_names)[:300]}",
                fix="send the values in this order, or rows as objects",
            )
    return {tensor.name: from_cells([row[place] for row in rows], tensor) for place, tensor in enumerate(tensors)}


def from_columns(given: dict[str, Any], signature: Signature, what: str, max_rows: int) -> Columns:
    """Columns of an object of lists.

    Raises:
        UsageError: a value is no list.
        BadInputError: the columns do not fit the signature, have not the same rows, or too many.
    """
    if len(given) != len(signature.inputs) or any(name not in given for name in signature.input_names):
        raise names_error(signature.input_names, list(given))
    for name, values in given.items():
        if not isinstance(values, list) or not values:
            raise UsageError("bad-request", f"{what}.{name[:100]} is no list of values", fix="send a value for each row")
        check_rows(len(values), max_rows)
    columns = {tensor.name: from_cells(given[tensor.name], tensor) for tensor in signature.inputs}
    return _even(columns)


def from_table(names: Sequence[str], rows: list[list[Any]], signature: Signature, what: str) -> Columns:
    """Columns of named columns and rows as lists. A model of one matrix takes them in their order, whatever their names.

    Raises:
        UsageError: a row has other columns.
        BadInputError: the columns do not fit the signature.
    """
    if any(not isinstance(row, list) or len(row) != len(names) for row in rows) or not rows:  # pyright: ignore[reportUnnecessaryIsInstance]
        raise UsageError(
            "bad-request", f"a row of {what} has not {len(names)} values, or there is none", fix="send a value for each column"
        )
    only = signature.inputs[0]
    if len(signature.inputs) == 1 and len(names) > 1:
        return {only.name: from_cells(rows, only)}
    if set(names) != set(signature.input_names) or len(names) != len(signature.inputs):
        raise names_error(signature.input_names, list(names))
    places = {name: place for place, name in enumerate(names)}
    return {tensor.name: from_cells([row[places[tensor.name]] for row in rows], tensor) for tensor in signature.inputs}


def from_csv(body: bytes, signature: Signature, *, header: bool | None, max_rows: int) -> Columns:
    """Columns of CSV. Without ``header`` the columns stand in the signature's order; None looks at the first line.

    An empty cell is a missing value.

    Raises:
        UsageError: it is no CSV in UTF-8.
        BadInputError: the columns do not fit the signature, or there are too many rows.
    """
    try:
        reader = csv.reader(io.StringIO(str(body, "utf-8-sig"), newline=""), strict=True)
        lines = list(islice((line for line in reader if line), max_rows + 2))
    except (csv.Error, UnicodeDecodeError) as error:
        raise UsageError("bad-csv", f"the body is no CSV: {error}", fix="separate by commas, quote texts, write UTF-8") from None
    if len(lines) > max_rows + 1:
        raise BadInputError("too-many-rows", f"the request has more than {max_rows} rows", fix="send several requests")
    kinds = [tensor for tensor in signature.inputs for _ in range(tensor.shape[1])]
    headed = _has_header(lines[0], kinds) if header is None and lines else bool(header)
    names = lines[0] if headed and lines else [tensor.name for tensor in kinds]
    single = len(signature.inputs) == 1
    if not single and set(names) != set(signature.input_names):
        raise names_error(signature.input_names, names)
    rows = lines[1:] if headed else lines
    if not rows or any(len(row) != len(kinds) for row in rows) or len(names) != len(kinds):
        raise BadInputError(
            "wrong-shape", f"not every line has the model's {len(kinds)} columns, or there is none", fix="send a row a line"
        )
    places = {name: place for place, name in enumerate(names)}
    if single:
        only = signature.inputs[0]
        return {only.name: from_cells([[_read(cell, only) for cell in row] for row in rows], only)}
    return {
        tensor.name: from_cells([_read(row[places[tensor.name]], tensor) for row in rows], tensor) for tensor in signature.inputs
    }


def from_parquet(body: bytes, signature: Signature, max_rows: int) -> Columns:
    """Columns of a Parquet file.

    Raises:
        BadInputError: it is none, or its columns do not fit the signature.
        UsageError: what it holds is too large.
    """
    with tempfile.TemporaryDirectory(prefix="tidegate-") as folder, frames.connect() as con:
        path = Path(folder, "body.parquet")
        path.write_bytes(body)
        try:
            con.execute(f"SET memory_limit = '{_PARQUET_MEMORY}'")
            relation = frames.relation(con, path)
            _check_columns(relation, signature)
            rows = relation.limit(max_rows + 1)
            _check_size(rows)
            found = frames.to_columns(rows)
        except (duckdb.Error, RuntimeError) as error:  # RuntimeError: a name or a text in it is no UTF-8
            why = str(error).split("\n")[0][:200]
            raise BadInputError("bad-parquet", "the body is no Parquet file that can be read", why=why) from None
        except TidegateError as error:
            if error.code not in {"unreadable-file", "empty-file"}:
                raise
            raise BadInputError(
                "bad-parquet", "the body is no Parquet file that can be read", fix="check what wrote it"
            ) from None
    plain = {name: _plain(frames.plain(values)) for name, values in found.items()}
    if len(signature.inputs) == 1 and set(plain) != {signature.inputs[0].name}:
        return from_table(list(plain), [list(row) for row in zip(*plain.values(), strict=True)], signature, "the file")
    return from_columns(plain, signature, "the file", max_rows)


def _check_columns(relation: frames.Relation, signature: Signature) -> None:
    """Refuses columns that the model has no input for, before any of them is read."""
    if len(signature.inputs) > 1 and set(relation.columns) != set(signature.input_names):
        raise names_error(signature.input_names, relation.columns)
    width = signature.inputs[0].shape[1]
    if len(signature.inputs) == 1 and len(relation.columns) not in {1, width}:
        raise BadInputError(
            "wrong-shape", f"the file has {len(relation.columns)} columns, the model takes {width}", fix="send those"
        )
    for name, kind in zip(relation.columns, relation.types, strict=True):
        if kind.id in _NESTED and not _holds_numbers(kind):
            raise BadInputError(
                "wrong-type", f"the column {name[:100]!r} is {str(kind)[:60]}", fix="send plain values, or lists of numbers"
            )


def _holds_numbers(kind: Any) -> bool:
    return kind.id in {"list", "array"} and kind.children[0][1].id not in _SIZED | _NESTED


def _check_size(rows: frames.Relation) -> None:
    """Refuses what would not fit into memory: a kilobyte of Parquet can hold a text a million times."""
    sizes = [
        f"coalesce(sum({'strlen' if kind.id in _SIZED else '8 * len'}({frames.quote(name)}{'' if kind.id != 'blob' else '::VARCHAR'})), 0)"
        for name, kind in zip(rows.columns, rows.types, strict=True)
        if kind.id in {"list", "array"} | _SIZED
    ]
    if sizes and int(rows.aggregate(" + ".join(sizes)).fetchall()[0][0]) > _PARQUET_BYTES:
        raise UsageError(
            "body-too-large", f"the file holds more than {_PARQUET_BYTES} bytes of text", fix="send several requests"
        )


def _plain(values: NDArray[Any]) -> list[Any]:
    return [value.tolist() if isinstance(value, np.ndarray) else value for value in values.tolist()]


def predictions(version: ModelVersion, outputs: Columns) -> list[Any]:
    """An answer by row: bare values where the model has one output, objects by the outputs' names where it has several."""
    lists = {tensor.name: _listed(outputs[tensor.name]) for tensor in version.manifest.signature.outputs}
    if len(lists) == 1:
        return next(iter(lists.values()))
    names = list(lists)
    return [dict(zip(names, row, strict=True)) for row in zip(*lists.values(), strict=True)]


def to_json(document: dict[str, Any]) -> bytes:
    """An answer with predictions as JSON; a number that is none is null."""
    return orjson.dumps(document, np.ndarray.tolist, orjson.OPT_SERIALIZE_NUMPY)


def model_headers(version: ModelVersion, ids: list[str]) -> list[tuple[bytes, bytes]]:
    """What protocols without a place for it say in headers: who answered, and the predictions' ids.

    A request of several rows has one id, ``ID``, and its rows are ``ID-0``, ``ID-1`` and so on: a header must stay short.
    """
    prediction = ids[0] if len(ids) == 1 else ids[0].removesuffix("-0")
    return [(b"x-model", version.ref.encode()), (b"x-prediction-id", prediction.encode())]


def table_request(columns: Columns, rows: int, parameters: dict[str, Any], at: int, *, as_csv: bool = False) -> Request:
    """A request of a protocol that has neither ids nor a choice of outputs."""
    return Request("", columns, rows, at, [], parameters, as_csv=as_csv)


def _has_header(line: list[str], kinds: list[Tensor]) -> bool:
    """Whether a first line holds names: those of the signature, or text where the model takes numbers."""
    names = {tensor.name for tensor in kinds}
    if names & set(line):
        return True
    numeric = [cell for cell, tensor in zip(line, kinds, strict=False) if tensor.dtype != "string"]
    return any(not _NUMBER.fullmatch(cell) and cell.lower() not in _BOOLS for cell in numeric)


def _read(cell: str, tensor: Tensor) -> Any:
    """A cell's value; what is none stays text, and is refused as such."""
    if tensor.dtype == "string":
        return cell or None
    if tensor.dtype == "bool":
        return _BOOLS.get(cell.strip().lower(), cell)
    if not _NUMBER.fullmatch(cell):
        return cell
    if tensor.dtype in {"int32", "int64"} and cell.strip().lstrip("+-").isdigit():
        return int(cell) if len(cell) < 30 else cell
    return float(cell) if cell.strip() else None


def _even(columns: Columns) -> Columns:
    sizes = {name: len(values) for name, values in columns.items()}
    if len(set(sizes.values())) > 1:
        raise BadInputError("wrong-shape", f"the columns have {sorted(set(sizes.values()))} rows", fix="send as many of each")
    return columns


def _uneven(what: str) -> UsageError:
    return UsageError(
        "bad-request", f"the rows of {what} are not all of a kind", fix="send all as objects, or all as lists of values"
    )


def as_csv(version: ModelVersion, outputs: Columns) -> bytes:
    """An answer as CSV without a header: a line for each row, the outputs in the signature's order."""
    columns: list[list[Any]] = []
    for tensor in version.manifest.signature.outputs:
        values: NDArray[Any] = outputs[tensor.name]
        columns += [_listed(column) for column in values.reshape(len(values), -1).T]
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows(zip(*columns, strict=True))
    return text.getvalue().encode()


def _listed(values: NDArray[Any]) -> list[Any]:
    # A float of 32 bits keeps its type, and so its short text: as a double it would show digits that mean nothing.
    return list(values) if values.dtype == np.float32 else values.tolist()
