from __future__ import annotations

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.errors import BadInputError
from tidegate.models.outputs import outputs_of
from tidegate.models.signature import MATRIX, conform, example_columns, infer_inputs, synthetic_row
from tidegate.records.model import Signature, Tensor

TABLE = {"delay": [1.5, None, 3.0], "seats": [1, 2, 3], "carrier": ["AA", None, "UA"], "weekend": [True, False, True]}
TYPES = {"delay": "float64", "seats": "int64", "carrier": "string", "weekend": "bool"}


def signature(**types):
    nullable = {"float32", "float64", "string"}
    return Signature(
        inputs=[Tensor(name=name, dtype=kind, shape=[-1, 1], nullable=kind in nullable) for name, kind in types.items()],
        outputs=[],
    )


def code_of(call, *arguments):
    with pytest.raises(BadInputError) as caught:
        call(*arguments)
    return caught.value.code


@pytest.mark.parametrize("library", ["pandas", "polars", "duckdb", "arrow"])
def test_every_frame_library_gives_the_same_signature(library):
    frames = {"pandas": pd.DataFrame, "polars": pl.DataFrame, "arrow": lambda table: pl.DataFrame(table).to_arrow()}
    if library == "duckdb":
        with duckdb.connect() as con:
            con.execute(
                "CREATE TABLE t AS SELECT * FROM (VALUES (1.5::DOUBLE, 1::BIGINT, 'AA', true), (NULL, 2, NULL, false), (3.0, 3, 'UA', true)) "
                "v(delay, seats, carrier, weekend)"
            )
            columns = example_columns(con.table("t"))
    else:
        columns = example_columns(frames[library](TABLE))
    assert {tensor.name: tensor.dtype for tensor in infer_inputs(columns)} == TYPES
    assert columns["carrier"].tolist() == ["AA", None, "UA"]
    assert np.isnan(columns["delay"][1])


def test_a_matrix_is_one_tensor():
    tensors = infer_inputs(example_columns(np.zeros((3, 20), dtype=np.float32)))
    assert tensors == [Tensor(name=MATRIX, dtype="float32", shape=[-1, 20])]


@pytest.mark.parametrize(
    "example",
    [
        np.zeros(3),
        np.zeros((0, 3)),
        pd.DataFrame({"at": pd.to_datetime(["2013-01-01"])}),
        {"odd": np.array([{"a": 1}], dtype=object)},
    ],
)
def test_an_example_that_is_none_is_refused(example):
    with pytest.raises(BadInputError):
        infer_inputs(example_columns(example))


def test_inputs_become_the_exact_types():
    ready = conform(
        signature(**TYPES),
        {
            "delay": np.array([1, 2], dtype=np.int32),
            "seats": np.array([[3.0], [4.0]]),
            "carrier": np.array(["AA", None], dtype=object),
            "weekend": [True, False],
        },
    )
    assert {name: str(values.dtype) for name, values in ready.items()} == {
        "delay": "float64", "seats": "int64", "carrier": "object", "weekend": "bool"
    }  # fmt: skip
    assert all(values.shape == (2,) for values in ready.values())


ROW = {"delay": np.array([1.0]), "seats": np.array([1]), "carrier": np.array(["AA"]), "weekend": np.array([True])}


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"delay": None}, "missing-feature"),
        ({"carier": np.array(["AA"]), "carrier": None}, "unknown-feature"),
        ({"extra": np.array([1.0])}, "unknown-feature"),
        ({"delay": np.array(["1.5"])}, "wrong-type"),
        ({"carrier": np.array([1.0])}, "wrong-type"),
        ({"carrier": np.array([1], dtype=object)}, "wrong-type"),
        ({"weekend": np.array([1])}, "wrong-type"),
        ({"seats": np.array([1.5])}, "wrong-type"),
        ({"seats": np.array([1e30])}, "wrong-type"),
        ({"seats": np.array([np.nan])}, "missing-value"),
        ({"delay": np.array([1.0, 2.0])}, "wrong-shape"),
        ({"delay": np.array([[1.0, 2.0]])}, "wrong-shape"),
        ({"delay": np.array([[[1.0]]])}, "wrong-shape"),
    ],
)
def test_what_would_lose_something_is_refused(change, code):
    given_columns = {name: values for name, values in (ROW | change).items() if values is not None}
    assert code_of(conform, signature(**TYPES), given_columns) == code


def test_the_nearest_feature_is_named():
    with pytest.raises(BadInputError) as caught:
        conform(
            signature(**TYPES),
            {**{name: values for name, values in ROW.items() if name != "carrier"}, "carier": np.array(["AA"])},
        )
    assert "'carrier'" in caught.value.fix


def test_a_value_may_only_be_missing_where_the_model_knows_what_then():
    refusing = Signature(
        inputs=[Tensor(name="delay", dtype="float64", shape=[-1, 1]), Tensor(name="who", dtype="string", shape=[-1, 1])],
        outputs=[],
    )
    good = {"delay": np.array([1.0, 2.0, 3.0]), "who": np.array(["a", "b", "c"])}
    assert len(conform(refusing, good)["who"]) == 3
    assert code_of(conform, refusing, good | {"delay": np.array([1.0, np.nan, 2.0])}) == "missing-value"
    assert code_of(conform, refusing, good | {"who": np.array(["a", None, "c"], dtype=object)}) == "missing-value"


@given(st.lists(st.integers(-(2**53), 2**53), min_size=1), st.sampled_from([np.int64, np.float64, object]))
def test_whole_numbers_arrive_unchanged_however_they_are_written(values, kind):
    ready = conform(signature(seats="int64"), {"seats": np.array(values, dtype=kind)})
    assert ready["seats"].tolist() == values


@given(st.lists(st.none() | st.floats(allow_nan=False), min_size=1))
def test_floats_and_gaps_arrive_unchanged(values):
    ready = conform(signature(delay="float64"), {"delay": np.array(values, dtype=object)})["delay"]
    assert [None if np.isnan(value) else value for value in ready] == values


def test_outputs_are_the_same_for_every_format():
    assert [(tensor.name, tensor.dtype, tensor.shape) for tensor in outputs_of("binary", 2)] == [
        ("probability", "float32", [-1]),
        ("label", "int64", [-1]),
    ]
    assert outputs_of("multiclass", 5)[0].shape == [-1, 5]
    assert outputs_of("regression", 0)[0].name == "prediction"
    assert [tensor.name for tensor in outputs_of("ranking", 0)] == ["score"]
    assert [tensor.shape for tensor in outputs_of("multilabel", 3)] == [[-1, 3], [-1, 3]]


def test_a_synthetic_row_fits_its_signature():
    wide = Signature(inputs=[Tensor(name=MATRIX, dtype="float32", shape=[-1, 7])], outputs=[])
    for each in (wide, signature(**TYPES)):
        assert set(conform(each, synthetic_row(each))) == set(each.input_names)
