"""Units and allowed values: declared by the author, kept in the signature, held against every request."""

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from tidegate import digest
from tidegate.errors import BadInputError
from tidegate.models import Candidate
from tidegate.models.declared import allowed_text, check_allowed, declared
from tidegate.models.signature import conform, synthetic_row
from tidegate.records.model import Allowed, Manifest, Signature, Tensor


def tensor(dtype="float64", **more):
    return Tensor(name="wind", dtype=dtype, shape=[-1, 1], **more)


def ranged(dtype, given_range):
    return declared([tensor(dtype)], {}, {"wind": given_range})[0]


@given(st.lists(st.floats(-100, 100), min_size=1, max_size=20), st.floats(-50, 0), st.floats(0, 50))
def test_a_range_takes_exactly_what_lies_between_its_ends(values, low, high):
    found = ranged("float64", (low, high))
    outside = [place for place, value in enumerate(values) if not low <= value <= high]
    if not outside:
        check_allowed(found, found.allowed, np.array(values))
        return
    with pytest.raises(BadInputError, match=f"in row {outside[0]} ") as caught:
        check_allowed(found, found.allowed, np.array(values))
    assert f"{len(outside)} of {len(values)} rows" in caught.value.what


def test_missing_values_and_open_ends_are_no_question_of_the_range():
    found = ranged("float32", (0, None))
    check_allowed(found, found.allowed, np.array([np.nan, 0, 9e9], dtype=np.float32))
    texts = ranged("string", ["UA", "AA"])
    check_allowed(texts, texts.allowed, np.array(["UA", None], dtype=object))
    with pytest.raises(BadInputError, match="value-not-allowed") as caught:
        check_allowed(texts, texts.allowed, np.array(["UA", "ua", ""], dtype=object))
    assert "2 of 3" in caught.value.what
    assert caught.value.why.endswith("AA, UA")


def test_numbers_may_be_a_list_too():
    found = ranged("int64", [3, 1, 2])
    assert found.allowed == Allowed(choices=[1.0, 2.0, 3.0])
    with pytest.raises(BadInputError, match="row 1"):
        check_allowed(found, found.allowed, np.array([1, 7]))


@pytest.mark.parametrize(
    ("dtype", "wrong"),
    [("float64", (3, 1)), ("float64", (None, None)), ("float64", (1,)), ("float64", (0, float("nan"))), ("float64", ["a"]),
     ("float64", []), ("string", (0, 1)), ("string", "AA"), ("string", []), ("bool", [True]), ("float64", 3)],
)  # fmt: skip
def test_what_is_no_range_is_refused(dtype, wrong):
    with pytest.raises(BadInputError, match="bad-range"):
        ranged(dtype, wrong)


def test_names_that_are_no_inputs_are_refused():
    for units, ranges in (({"wnd": "knots"}, {}), ({}, {"wnd": (0, 1)})):
        with pytest.raises(BadInputError, match="unknown-feature") as caught:
            declared([tensor()], units, ranges)
        assert "wind" in caught.value.fix


def test_a_made_up_row_is_allowed():
    inputs = [
        ranged("float64", (3, 5)),
        Tensor(name="c", dtype="string", shape=[-1, 1], allowed=Allowed(choices=["b"])),
    ]
    signature = Signature(inputs=inputs, outputs=[])
    assert conform(signature, synthetic_row(signature)) == {"wind": np.array([3.0]), "c": np.array(["b"], dtype=object)}
    low = Signature(inputs=[ranged("float64", (None, -2))], outputs=[])
    assert conform(low, synthetic_row(low))["wind"].tolist() == [-2.0]


def test_a_request_out_of_range_is_refused_by_the_loaded_package(models, flights, late):
    table = flights[["wind", "seats"]]
    fitted = LogisticRegression().fit(table, late)
    version = models.register(Candidate("delay", fitted, table, "binary", units={"wind": "knots"}, ranges={"wind": (-20, 60)}))
    kept = version.manifest.signature.inputs[0]
    assert (kept.unit, allowed_text(kept)) == ("knots", "-20 to 60")
    predictor = models.load(version)
    predictor.predict({"wind": [60.0], "seats": [100]})
    with pytest.raises(BadInputError, match="value-not-allowed"):
        predictor.predict({"wind": [60.5], "seats": [100]})
    with pytest.raises(BadInputError, match="value-not-allowed"):  # an example that breaks its own range
        models.register(Candidate("delay", fitted, table, "binary", ranges={"seats": (0, 10)}))
    assert models.register(Candidate("delay", fitted, table, "binary")).version == 2  # what it takes is part of what it is


def test_old_manifests_stay_readable_and_new_ones_keep_their_digest():
    old = b"""{"name":"d","version":1,"task":"binary","format":"onnx","loads_code":false,"signature":{"inputs":[{"name":"x",
        "dtype":"float64","shape":[-1,1]}],"outputs":[]},"files":[],"lineage":{},"created_at":1}"""
    manifest = digest.parsed(old, Manifest)
    assert (manifest.requirements, manifest.signature.inputs[0].allowed, manifest.lineage.code_tree) == ([], None, "")
    ranged_input = msgspec.structs.replace(manifest.signature.inputs[0], allowed=Allowed(choices=[1.0, 2.5]))
    new = msgspec.structs.replace(manifest, signature=Signature(inputs=[ranged_input], outputs=[]))
    assert digest.parsed(digest.canonical(new), Manifest) == new
    assert digest.of_json(digest.parsed(digest.canonical(new), Manifest)) == digest.of_json(new)
