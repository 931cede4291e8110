"""Every row of a portion is either answered or refused, whichever rows are bad, and as few questions are asked as needed."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.errors import BadInputError
from tidegate.models.estimator import refuse_nan
from tidegate.models.scoring.rows import NAMED, Portion, answer
from tidegate.models.signature import conform
from tidegate.records.model import Allowed, Signature, Tensor

SIGNATURE = Signature(
    inputs=[Tensor(name="wind", dtype="float64", shape=[-1, 1]), Tensor(name="seats", dtype="int32", shape=[-1, 1])],
    outputs=[Tensor(name="prediction", dtype="float64", shape=[-1])],
)


class Root:
    """A model with opinions: the square root of wind times seats; it refuses seat 13."""

    signature = SIGNATURE

    def __init__(self):
        self.asked = 0

    def predict(self, columns):
        self.asked += 1
        rows = conform(SIGNATURE, columns)
        if (rows["seats"] == 13).any():
            raise BadInputError("model-refused-input", "the model refused these rows", why="13")
        with np.errstate(invalid="ignore"):
            return refuse_nan({"prediction": np.sqrt(rows["wind"] * rows["seats"])})


def portion(wind, seats, problems=None):
    return Portion(0, 0, 0, {"wind": np.array(wind, dtype=np.float64), "seats": np.array(seats)}, problems or {})


ROWS = st.lists(
    st.tuples(
        st.sampled_from([1.0, 4.0, 9.0, -1.0, float("nan"), float("inf")]),
        st.sampled_from([1.0, 2.0, 13.0, 1.5, 2.0**40, float("nan")]),
    ),
    min_size=1,
    max_size=60,
)


def fits(wind, seats):
    return np.isfinite(wind) and wind > 0 and seats in {1.0, 2.0}


@given(ROWS)
def test_every_row_is_answered_or_refused(rows):
    wind, seats = zip(*rows, strict=True)
    found = answer(Root(), portion(wind, seats), skip=True)
    good = [place for place, row in enumerate(rows) if fits(*row)]
    assert found.places.tolist() == good
    assert found.outputs["prediction"].tolist() == [np.sqrt(wind[place] * seats[place]) for place in good]
    assert sum(refusal.rows for refusal in found.refused) == len(rows) - len(good)
    for refusal in found.refused:
        assert len(refusal.first) == min(refusal.rows, NAMED)
        assert not set(refusal.first) & set(good)


@given(ROWS)
def test_without_skipping_the_first_bad_row_is_named(rows):
    wind, seats = zip(*rows, strict=True)
    found = answer(Root(), portion(wind, seats), skip=False)
    bad = [place for place, row in enumerate(rows) if not fits(*row)]
    named = [place for refusal in found.refused for place in refusal.first]
    assert bool(named) == bool(bad)
    assert set(named) <= set(bad)


def test_a_good_portion_is_one_question():
    model = Root()
    answer(model, portion([1.0] * 1000, [1] * 1000), skip=True)
    assert model.asked == 1


def test_one_bad_row_costs_the_logarithm_of_all():
    model = Root()
    found = answer(model, portion([1.0] * 1024, [13 if row == 700 else 1 for row in range(1024)]), skip=True)
    assert [(each.code, each.first) for each in found.refused] == [("model-refused-input", [700])]
    assert model.asked <= 2 * 10 + 2


def test_what_was_found_while_reading_is_a_refusal():
    found = answer(Root(), portion([1.0, 4.0], [1, 1], {0: ("wrong-type", "'wind' is no float64")}), skip=True)
    assert [(each.code, each.rows, each.first) for each in found.refused] == [("wrong-type", 1, [0])]
    assert found.outputs["prediction"].tolist() == [2.0]


def test_values_that_the_author_does_not_allow_are_one_reason():
    limited = Signature(
        inputs=[msgspec.structs.replace(SIGNATURE.inputs[0], allowed=Allowed(minimum=0.0, maximum=60.0))],
        outputs=SIGNATURE.outputs,
    )

    class Limited:
        signature = limited

        def predict(self, columns):
            return {"prediction": conform(limited, columns)["wind"]}

    found = answer(Limited(), Portion(0, 0, 0, {"wind": np.array([1.0, 70.0, 2.0, -1.0])}, {}), skip=True)
    assert found.places.tolist() == [0, 2]
    assert [(each.code, each.what, each.first) for each in found.refused] == [
        ("value-not-allowed", "'wind' holds what it may not be: the model's author allows 0 to 60", [1, 3])
    ]


def test_columns_that_are_not_the_models_are_no_matter_of_rows():
    wrong = Portion(0, 0, 0, {"wind": np.ones(3), "chairs": np.ones(3)}, {})
    with pytest.raises(BadInputError, match="no input 'chairs'"):
        answer(Root(), wrong, skip=True)
