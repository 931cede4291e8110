"""Results of steps as content-addressed objects: each kind of value in an open format, read back as the kind it was.

Frames become Parquet (pandas through its own writer, and only where the copy equals the original), NumPy arrays npy, what
JSON holds exactly JSON, and anything else a pickle. Unpickling runs code, so a pickle is loaded only after its digest was
checked: the cache is as trustworthy as your own store, and must not be pointed at somebody else's.
"""

from __future__ import annotations

import io
import json
import math
import pickle
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import numpy as np

from tidegate import frames
from tidegate.errors import BadInputError, IntegrityError, UnavailableError
from tidegate.records.pipeline import StepOutput
from tidegate.store.objects import fetch_object, object_key, put_object
from tidegate.store.ports import Bucket


def store_value(bucket: Bucket, value: Any) -> StepOutput:
    """Stores a step's result and says how to read it back.

    Raises:
        BadInputError: the value cannot be stored (an open file, a generator, a connection).
    """
    kind, data = _encoded(value)
    return StepOutput(kind=kind, digest=_publish(bucket, data))


def load_value(bucket: Bucket, output: StepOutput) -> Any:
    """Reads a result back, after checking its bytes.

    Raises:
        NotFoundError: the object is missing.
        IntegrityError: its bytes were changed.
        UnavailableError: what reads this kind is not installed here.
    """
    path = fetch_object(bucket, output.digest)
    try:
        return _DECODERS[output.kind](path)
    except ImportError as error:
        raise UnavailableError(
            "result-unreadable",
            f"a stored {output.kind} result cannot be read here",
            why=str(error),
            fix="install the package that it needs",
        ) from error


def check_output(bucket: Bucket, output: StepOutput) -> None:
    """Makes sure that a stored result is there and unchanged, without loading it.

    Raises:
        NotFoundError: the object is missing.
        IntegrityError: its bytes were changed.
    """
    fetch_object(bucket, output.digest)


def _publish(bucket: Bucket, data: bytes) -> str:
    digest = put_object(bucket, data)
    try:
        fetch_object(bucket, digest)
    except IntegrityError:  # an object that was damaged earlier: these are the bytes that it should have
        bucket.delete(object_key(digest))
        put_object(bucket, data)
    return digest


def _encoded(value: Any) -> tuple[str, bytes]:
    encoder = _encoder_of_frame(value)
    if encoder:
        kind, encode = encoder
        try:
            return kind, encode(value)
        except Exception:  # noqa: BLE001 - whatever Parquet cannot hold exactly is pickled
            return "pickle", _pickled(value)
    if type(value) is np.ndarray and not value.dtype.hasobject:
        return "numpy", _npy(value)
    if _is_json(value):
        return "json", json.dumps(value).encode()
    return "pickle", _pickled(value)


def _encoder_of_frame(value: Any) -> tuple[str, Callable[[Any], bytes]] | None:
    """How to write a frame. A value can be a pandas frame only where pandas is loaded: nothing is imported for it."""
    if isinstance(value, duckdb.DuckDBPyRelation):
        return "duckdb", _relation_bytes
    pandas: Any = sys.modules.get("pandas")
    if pandas and type(value) is pandas.DataFrame:
        return "pandas", _pandas_bytes
    polars: Any = sys.modules.get("polars")
    if polars and type(value) is polars.DataFrame:
        return "polars", _polars_bytes
    if polars and type(value) is polars.LazyFrame:
        return "polars-lazy", lambda lazy: _polars_bytes(lazy.collect())
    arrow: Any = sys.modules.get("pyarrow")
    return ("arrow", _arrow_bytes) if arrow and type(value) is arrow.Table else None


def _relation_bytes(relation: Any) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "frame.parquet")
        frames.write_parquet(relation, path)
        return path.read_bytes()


def _pandas_bytes(frame: Any) -> bytes:
    import pandas as pd

    buffer = io.BytesIO()
    frame.to_parquet(buffer, compression="zstd")
    pd.testing.assert_frame_equal(pd.read_parquet(buffer), frame, check_exact=True, check_freq=False)
    return buffer.getvalue()


def _polars_bytes(frame: Any) -> bytes:
    buffer = io.BytesIO()
    frame.write_parquet(buffer, compression="zstd")
    return buffer.getvalue()


def _arrow_bytes(table: Any) -> bytes:
    import pyarrow.parquet as pq

    buffer = io.BytesIO()
    write: Any = pq.write_table
    write(table, buffer, compression="zstd")
    return buffer.getvalue()


def _npy(array: np.ndarray[Any, Any]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def _is_json(value: Any) -> bool:
    """Whether JSON gives back exactly this value: tuples, subclasses and keys that are no text do not survive it."""
    kind = type(value)
    if kind is float:
        return math.isfinite(value)
    if kind is list:
        return all(map(_is_json, value))
    if kind is dict:
        return all(type(key) is str and _is_json(item) for key, item in value.items())
    return kind in {bool, int, str, type(None)}


def _pickled(value: Any) -> bytes:
    try:
        return pickle.dumps(value, protocol=5)
    except Exception as error:
        raise BadInputError(
            "result-not-storable",
            f"a result of type {type(value).__module__}.{type(value).__qualname__} cannot be stored",
            why=f"{type(error).__name__}: {error}"[:200],
            fix="return data (a frame, an array, numbers, a fitted model), not something open or half done",
        ) from error


def _read_pandas(path: Path) -> Any:
    import pandas as pd

    return pd.read_parquet(path)


def _read_polars(path: Path) -> Any:
    import polars as pl

    return pl.read_parquet(path)


def _read_arrow(path: Path) -> Any:
    import pyarrow.parquet as pq

    read: Any = pq.ParquetFile
    return read(path).read()


def _read_relation(path: Path) -> Any:
    # The relation keeps its connection alive, and both end together.
    return frames.connect().read_parquet(str(path))


def _unpickle(path: Path) -> Any:
    return pickle.loads(path.read_bytes())  # noqa: S301 - fetch_object compared the bytes with the recorded digest


_DECODERS: dict[str, Callable[[Path], Any]] = {
    "duckdb": _read_relation,
    "pandas": _read_pandas,
    "polars": _read_polars,
    "polars-lazy": lambda path: _read_polars(path).lazy(),
    "arrow": _read_arrow,
    "numpy": lambda path: np.load(path, allow_pickle=False),
    "json": lambda path: json.loads(path.read_bytes()),
    "pickle": _unpickle,
}
