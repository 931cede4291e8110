"""Every kind of result comes back as what it was."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate import frames
from tidegate.errors import BadInputError, IntegrityError, NotFoundError
from tidegate.pipelines.outputs import check_output, load_value, store_value
from tidegate.store.bucket.folder import FolderBucket
from tidegate.store.objects import object_key


@dataclass
class Fitted:
    weights: list[float]


def back(bucket, value):
    output = store_value(bucket, value)
    return output.kind, load_value(bucket, output)


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (None, "json"), ({"a": [1, 2.5, "x", None, True]}, "json"), ("text", "json"), (10**30, "json"), ((1, 2), "pickle"), ({1: 2}, "pickle"),
        ({"a": (1,)}, "pickle"), (b"bytes", "pickle"), (dt.date(2013, 1, 1), "pickle"), (Fitted([0.1]), "pickle"), ({1, 2}, "pickle"),
        (np.float32(0.5), "pickle"), (float("inf"), "pickle"),
    ],
)  # fmt: skip
def test_plain_values(bucket, value, kind):
    found_kind, found = back(bucket, value)
    assert (found_kind, found, type(found)) == (kind, value, type(value))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(json_values)
def test_whatever_json_holds_comes_back(tmp_path_factory, value):
    bucket = FolderBucket(tmp_path_factory.mktemp("bucket"))
    _, found = back(bucket, value)
    assert repr(found) == repr(value)


def test_arrays(bucket):
    for array in (
        np.arange(6).reshape(2, 3),
        np.array(["2013-01-01"], "datetime64[us]"),
        np.array([np.nan]),
        np.zeros((0, 3), "f4"),
    ):
        kind, found = back(bucket, array)
        assert kind == "numpy"
        assert found.dtype == array.dtype
        np.testing.assert_array_equal(found, array)
    kind, found = back(bucket, np.array(["a", None], object))
    assert (kind, found.tolist()) == ("pickle", ["a", None])


@pytest.mark.parametrize(
    "frame",
    [
        pd.DataFrame({"a": [1, 2], "b": ["x", None], "c": pd.to_datetime(["2013-01-01", None])}),
        pd.DataFrame({"a": [1.5, np.nan]}, index=pd.Index(["p", "q"], name="key")),
        pd.DataFrame({"a": pd.Categorical(["x", "y"], ["y", "x", "z"], ordered=True), "b": pd.array([1, None], "Int32")}),
        pd.DataFrame({"a": []}),
    ],
)
def test_pandas_frames(bucket, frame):
    kind, found = back(bucket, frame)
    assert kind == "pandas"
    pd.testing.assert_frame_equal(found, frame)


@pytest.mark.parametrize(
    "frame",
    [pd.DataFrame({"a": [1, "mixed"]}), pd.DataFrame({"a": [(1, 2), (3,)]}), pd.DataFrame({"a": [{1}, None]})],
)
def test_a_pandas_frame_that_parquet_would_change_is_pickled(bucket, frame):
    kind, found = back(bucket, frame)
    assert kind == "pickle"
    pd.testing.assert_frame_equal(found, frame)


def test_polars_frames(bucket):
    frame = pl.DataFrame(
        {"a": [1, None], "b": ["x", "y"], "c": [[1], [2, 3]], "d": pl.Series(["u", "v"], dtype=pl.Enum(["u", "v"]))}
    )
    kind, found = back(bucket, frame)
    assert kind == "polars"
    assert found.equals(frame)
    assert found.schema == frame.schema
    kind, found = back(bucket, frame.lazy())
    assert kind == "polars-lazy"
    assert isinstance(found, pl.LazyFrame)
    assert found.collect().equals(frame)


def test_arrow_tables(bucket):
    table = pa.table({"a": pa.array([1, 2], pa.int8()), "b": pa.array(["x", "y"]).dictionary_encode()})
    kind, found = back(bucket, table)
    assert kind == "arrow"
    assert found.equals(table)


def test_duckdb_relations_outlive_their_connection(bucket):
    with frames.connect() as con:
        output = store_value(bucket, con.sql("SELECT 1::SMALLINT AS a, 'x' AS b UNION ALL SELECT 2::SMALLINT, NULL ORDER BY a"))
    found = load_value(bucket, output)
    assert output.kind == "duckdb"
    assert found.fetchall() == [(1, "x"), (2, None)]
    assert [str(kind) for kind in found.types] == ["SMALLINT", "VARCHAR"]


def test_equal_results_are_stored_once(bucket):
    assert store_value(bucket, [1, 2]) == store_value(bucket, [1, 2])
    assert len(list(bucket.keys("objects/"))) == 1


@pytest.mark.parametrize("value", [(item for item in []), lambda: 1])
def test_what_cannot_be_stored_is_told(bucket, value):
    with pytest.raises(BadInputError) as caught:
        store_value(bucket, value)
    assert caught.value.code == "result-not-storable"


def test_a_changed_object_is_never_loaded_and_is_mended_by_the_right_bytes(bucket):
    output = store_value(bucket, {1: "pickled"})
    path = bucket.local(object_key(output.digest))
    path.chmod(0o644)
    path.write_bytes(b"cos\nsystem\n(S'echo owned'\ntR.")
    for read in (load_value, check_output):
        with pytest.raises(IntegrityError):
            read(bucket, output)
    assert store_value(bucket, {1: "pickled"}) == output
    assert load_value(bucket, output) == {1: "pickled"}
    bucket.delete(object_key(output.digest))
    with pytest.raises(NotFoundError):
        load_value(bucket, output)
