"""The rows of a portion that a model answers, and those that it refuses, each with its number and the reason.

A portion is asked in one call. Only if that call is refused, its rows are looked at: missing values and numbers that do not fit
by column, the rest by halving, which asks about as many times as there are bad rows times the logarithm of all.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tidegate.errors import BadInputError
from tidegate.frames import Columns
from tidegate.models.formats import Predictor
from tidegate.models.signature import NUMPY
from tidegate.records.model import Signature, Tensor

NAMED = 5
"""How many rows of a portion are named for each reason."""

_OF_ROWS = {"missing-value", "model-refused-input", "out-of-range", "prediction-not-finite", "value-not-allowed", "wrong-type"}
"""Codes of refusals that may be about some rows only. Any other is about the columns, and so about all of them."""

Problem = tuple[str, str]
"""An error's code and what happened."""


class Portion(NamedTuple):
    """Some rows of a file in their order: the model's inputs by name. ``first`` is the number of the first one in its file."""

    number: int
    file: int
    first: int
    columns: Columns
    problems: dict[int, Problem]
    """By place in the portion: what was found to be wrong while the rows were read."""

    @property
    def rows(self) -> int:
        """How many there are."""
        return len(next(iter(self.columns.values())))


class Refusal(NamedTuple):
    """Rows of a portion that are refused for one reason; ``first`` are places of some of them."""

    code: str
    what: str
    rows: int
    first: list[int]


class Answer(NamedTuple):
    """What came of a portion: the places of the rows that were answered, their outputs in that order, and who was refused."""

    number: int
    places: NDArray[np.int64]
    outputs: Columns
    refused: list[Refusal]
    where: str = ""
    """The process or node that called the model."""


def answer(predictor: Predictor, portion: Portion, *, skip: bool) -> Answer:
    """Asks the model about a portion. Without ``skip`` it stops looking for bad rows after the first few.

    Raises:
        BadInputError: the columns themselves are not those of the signature.
    """
    found = _Found(portion.rows)
    for place, (code, what) in portion.problems.items():
        found.refuse(code, what, np.array([place]))
    if not found.left.all() and not skip:
        return _answered(predictor, portion, found, [])
    pieces: list[Columns] = []
    try:
        if found.left.any():
            pieces = [predictor.predict(_some(portion.columns, np.flatnonzero(found.left)))]
    except BadInputError as error:
        if error.code not in _OF_ROWS:
            raise
        for tensor in predictor.signature.inputs:
            for code, what, wrong in _misfits(tensor, portion.columns[tensor.name]):
                found.refuse(code, what, np.flatnonzero(wrong & found.left))
        pieces = list(_halved(predictor, portion.columns, found, most=None if skip else NAMED))
    return _answered(predictor, portion, found, pieces)


class _Found:
    """Which rows are left, and why the others are not."""

    def __init__(self, rows: int) -> None:
        self.left = np.ones(rows, dtype=np.bool_)
        self.refused: dict[str, Refusal] = {}

    def refuse(self, code: str, what: str, places: NDArray[Any]) -> None:
        if not len(places):
            return
        self.left[places] = False
        before = self.refused.get(f"{code} {what}", Refusal(code, what, 0, []))
        first = (before.first + places[:NAMED].tolist())[:NAMED]
        self.refused[f"{code} {what}"] = before._replace(rows=before.rows + len(places), first=first)


def _halved(predictor: Predictor, columns: Columns, found: _Found, *, most: int | None) -> Iterator[Columns]:
    """Outputs of the rows that the model takes, piece by piece in their order."""
    waiting = [np.flatnonzero(found.left)]
    alone = 0
    while waiting and (most is None or alone < most):
        places = waiting.pop()
        if not len(places):
            continue
        try:
            yield predictor.predict(_some(columns, places))
        except BadInputError as error:
            if error.code not in _OF_ROWS:
                raise
            if len(places) == 1:
                found.refuse(error.code, _without_counts(error, predictor.signature), places)
                alone += 1
            else:
                half = len(places) // 2
                waiting += [places[half:], places[:half]]


def _without_counts(error: BadInputError, signature: Signature) -> str:
    """What is wrong with the one row that was asked about: its reason, where the sentence only counts rows."""
    if error.code == "prediction-not-finite":
        return f"the model gives no number ({', '.join(tensor.name for tensor in signature.outputs)})"
    what = error.what.partition(" in 1 of 1 rows")[0]
    return f"{what}: {error.why}" if error.why and error.code != "missing-value" else what


def _misfits(tensor: Tensor, values: NDArray[Any]) -> Iterator[tuple[str, str, NDArray[np.bool_]]]:
    """What ``conform`` refuses about single values: told for all rows at once."""
    flat = values.reshape(len(values), -1)
    missing = _any(np.frompyfunc(_is_none, 1, 1)(flat) if flat.dtype.kind == "O" else flat != flat)  # noqa: PLR0124 - NaN
    whole = tensor.dtype.startswith("int")
    if whole or not tensor.nullable:
        yield "missing-value", f"{tensor.name!r} is missing", missing
    if not whole or flat.dtype.kind not in "iuf":
        return
    bounds = np.iinfo(NUMPY[tensor.dtype])
    known = np.where(missing[:, None], 0, flat)
    outside = _any((known < bounds.min) | (known > bounds.max))
    yield "wrong-type", f"{tensor.name!r} does not fit into {tensor.dtype}", outside
    if flat.dtype.kind == "f":
        yield "wrong-type", f"{tensor.name!r} has a fraction, the model takes {tensor.dtype}", _any(known % 1 != 0)


def _any(found: Any) -> NDArray[np.bool_]:
    return np.logical_or.reduce(np.asarray(found, dtype=np.bool_), axis=1)


def _is_none(value: object) -> bool:
    return value is None


def _answered(predictor: Predictor, portion: Portion, found: _Found, pieces: list[Columns]) -> Answer:
    if not pieces:
        outputs = {
            tensor.name: np.empty((0, *tensor.shape[1:]), dtype=NUMPY[tensor.dtype]) for tensor in predictor.signature.outputs
        }
        return Answer(portion.number, np.empty(0, dtype=np.int64), outputs, list(found.refused.values()))
    outputs = pieces[0] if len(pieces) == 1 else {name: np.concatenate([each[name] for each in pieces]) for name in pieces[0]}
    return Answer(portion.number, np.flatnonzero(found.left), outputs, list(found.refused.values()))


def _some(columns: Columns, places: NDArray[Any]) -> Columns:
    return {name: values if len(places) == len(values) else values[places] for name, values in columns.items()}
