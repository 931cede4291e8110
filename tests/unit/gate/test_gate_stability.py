"""Models that answer by chance or by their neighbours are found; those that only round are not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tidegate.errors import BadInputError
from tidegate.frames import Columns
from tidegate.gate import stability
from tidegate.gate.stability import refuse_unstable

X: Columns = {"x": np.linspace(0, 1, 500)}
RNG = np.random.default_rng(0)


def _column(values: Any) -> Any:
    return np.asarray(values).reshape(len(values), -1)


def _steady(columns: Columns) -> Any:
    return _column(columns["x"] ** 2)


def _rounding(columns: Columns) -> Any:
    return _column((columns["x"] ** 2 + 3e-8 * RNG.normal(size=len(columns["x"]))).astype(np.float32))


def _nothing(columns: Columns) -> Any:
    return _column(np.full(len(columns["x"]), np.nan))


def _words(columns: Columns) -> Any:
    return _column(np.where(columns["x"] > 0.5, "late", "fair").astype(object))


def _by_chance(columns: Columns) -> Any:
    return _column(RNG.random(len(columns["x"])))


def _by_the_batch(columns: Columns) -> Any:
    return _column(columns["x"] - columns["x"].mean())


def _by_the_place(columns: Columns) -> Any:
    return _column(np.arange(len(columns["x"])) + 0.0)


def _better_in_company(columns: Columns) -> Any:
    return _column(columns["x"] if len(columns["x"]) > 1 else 1 - columns["x"])


def _chance_words(columns: Columns) -> Any:
    return _column(RNG.choice(["late", "fair"], len(columns["x"])).astype(object))


def _asked_of(model: stability.Asks, inputs: Columns, answers: Any) -> list[int]:
    """About how many rows a model was asked again, call by call."""
    asked: list[int] = []

    def counted(columns: Columns) -> Any:
        asked.append(len(columns["x"]))
        return model(columns)

    refuse_unstable("delay@2", counted, inputs, answers)
    return asked


@pytest.mark.parametrize("model", [_steady, _rounding, _nothing, _words])
def test_what_answers_the_same_again_is_left_alone(model: stability.Asks) -> None:
    assert _asked_of(model, X, model(X)) == [stability.ROWS, *[1] * stability.ROWS]


@pytest.mark.parametrize("model", [_by_chance, _by_the_batch, _by_the_place, _better_in_company, _chance_words])
def test_what_answers_otherwise_is_refused_with_the_row(model: stability.Asks) -> None:
    with pytest.raises(BadInputError) as refused:
        refuse_unstable("delay@2", model, X, model(X))
    assert refused.value.code == "prediction-unstable"
    assert refused.value.what.startswith("delay@2 answers ")
    assert ("alone" in refused.value.what) == (model is _better_in_company)


def test_one_class_of_several_is_enough() -> None:
    def model(columns: Columns) -> Any:
        x = columns["x"]
        return np.column_stack([x, np.full(len(x), 0.3 if len(x) > 1 else 0.2)])

    with pytest.raises(BadInputError, match=r"answers 0\.3 for row 500 among all rows, and 0\.2 when"):
        refuse_unstable("delay@2", model, X, model(X))


def test_few_rows_and_none_are_asked_about_as_they_are() -> None:
    one = {"x": np.array([0.5])}
    assert _asked_of(_steady, one, _steady(one)) == [1, 1]
    assert _asked_of(_by_chance, {"x": np.empty(0)}, np.empty((0, 1))) == []


def test_a_slow_model_is_asked_about_few_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stability, "SECONDS", 0.0)
    assert _asked_of(_steady, X, _steady(X)) == [stability.ROWS, 1, 1, 1]
