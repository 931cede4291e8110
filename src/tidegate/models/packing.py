"""From a candidate to the contents of a package: signature, files, and the proof that they answer like the estimator.

The estimator is asked how it takes what production will send: a missing value in each column, text that it has never
seen. What it answers becomes part of the comparison with the compiled model; what it refuses, the package refuses too.
"""

from __future__ import annotations

import warnings
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, get_args

import msgspec
import numpy as np
from numpy.typing import NDArray

from tidegate.errors import BadInputError
from tidegate.frames import Columns
from tidegate.models.candidate import Candidate
from tidegate.models.declared import check_allowed, declared
from tidegate.models.disguise import pickle_in
from tidegate.models.estimator import NativeModel, native_model, side_by_side
from tidegate.models.formats import OTHER_LIBRARY, CannotPackError, Format, Native, Packed, Probe
from tidegate.models.outputs import VALUES, outputs_of
from tidegate.models.signature import example_columns, has_missing, infer_inputs
from tidegate.records.model import Parity, Signature, Tensor
from tidegate.records.names import nearest
from tidegate.records.policy import Task

MAX_ROWS = 10_000
"""Example rows that the comparison uses."""

_PROBED = 8
_UNSEEN = "tidegate: a text that no training row had"


class Contents(NamedTuple):
    """Everything of a manifest that the model itself decides."""

    format: str
    loads_code: bool
    files: dict[str, bytes]
    signature: Signature
    parity: Parity
    requires: frozenset[str]
    """Modules that loading it imports."""
    classes: list[str]
    probe: Probe


def pack(candidate: Candidate, formats: list[Format]) -> Contents:
    """Packs a candidate in the first format that holds it with the same answers.

    Raises:
        BadInputError: the estimator and its example do not fit each other, or no format can hold it.
    """
    # On one thread: the probe predicts many times few rows, where a pool of threads costs a hundred times what it gives.
    with warnings.catch_warnings(), _one_thread():
        warnings.simplefilter("ignore")  # the probe asks for unknown text and missing values on purpose
        return _packed(candidate, formats)


@contextmanager
def _one_thread() -> Generator[None]:
    try:
        from threadpoolctl import threadpool_limits
    except ImportError:  # it comes with scikit-learn; an estimator without scikit-learn has no such pools
        yield
        return
    with threadpool_limits(limits=1):
        yield


def _packed(candidate: Candidate, formats: list[Format]) -> Contents:
    if candidate.task not in get_args(Task):
        raise BadInputError(
            "task-not-packed",
            f"a model for the task {candidate.task!r} cannot be packed",
            why=f"packages hold models for {', '.join(get_args(Task))}",
            fix=nearest(str(candidate.task), list(get_args(Task))),
        )
    columns = {name: values[:MAX_ROWS] for name, values in example_columns(candidate.example).items()}
    inputs = declared(infer_inputs(columns), candidate.units, candidate.ranges)
    for tensor in inputs:
        if tensor.allowed is not None:
            check_allowed(tensor, tensor.allowed, columns[tensor.name])
    native = _adopted(candidate, inputs, formats)
    probe = probed(native, columns)
    outputs = outputs_of(candidate.task, len(native.class_names))
    kind, packed, declined = _first_that_holds(native, probe, formats)
    inputs = [msgspec.structs.replace(tensor, nullable=tensor.name in packed.nullable) for tensor in native.inputs]
    signature = Signature(inputs=inputs, outputs=outputs)
    parity = packed.parity or Parity(rows=0, largest_difference=0.0, tolerance=0.0, holds=False, reason="; ".join(declined))
    return Contents(kind.name, kind.loads_code, packed.files, signature, parity, packed.requires, native.class_names, probe)


def _adopted(candidate: Candidate, inputs: list[Tensor], formats: list[Format]) -> Native:
    """The model as the first format takes it that knows its library; else as an estimator of scikit-learn's interface."""
    found = next((native for kind in formats if (native := kind.adopt(candidate, inputs)) is not None), None)
    if found is not None:
        return found
    if isinstance(candidate.estimator, str | Path):
        raise _strange_file(Path(candidate.estimator))
    native = native_model(candidate.estimator, candidate.task, inputs, candidate.classes)
    _refuse_lost_types(native, candidate)
    return replace(native, allow_code=candidate.allow_code)


def _first_that_holds(native: Native, probe: Probe, formats: list[Format]) -> tuple[Format, Packed, list[str]]:
    declined: list[str] = []
    for kind in formats:
        try:
            return kind, kind.pack(native, probe), declined
        except CannotPackError as error:
            declined += [f"{kind.name}: {error.why}"] if error.code != OTHER_LIBRARY else []
    raise BadInputError(
        "cannot-package",
        f"no package format can hold this {type(native.estimator).__name__}",
        why="; ".join(declined),
        fix="build it from transformers and estimators of scikit-learn and the boosting libraries, or bring its source: see docs/how-to",
    )


def _strange_file(path: Path) -> BadInputError:
    found = pickle_in(path.read_bytes()) if path.is_file() else ""
    if found:
        return BadInputError(
            "pickle-in-disguise" if path.suffix in {".onnx", ".safetensors", ".skops"} else "pickled-model",
            f"{path.name} is not opened: {found}",
            why="opening a pickle runs whatever code it brings",
            fix="give the model itself, as an object, or a file of weights as safetensors; a module of PyTorch is packed as it is",
        )
    return BadInputError(
        "unknown-model-file",
        f"nobody knows what kind of model {path.name} is",
        why="it is no file" if not path.exists() else "a path names an .onnx file, or a folder of Transformers as pathlib.Path",
        fix="give the model itself, as an object, or such a path",
    )


def probed(native: Native, columns: Columns) -> Probe:
    """Asks the native model about real rows, missing values and unseen text.

    Raises:
        BadInputError: the model refuses its own example.
    """
    answered, expected = [columns], [native.predict(columns)]
    missing: dict[str, tuple[Columns, Columns]] = {}
    refused: list[tuple[str, Columns]] = []
    head = {name: values[:_PROBED] for name, values in columns.items()}
    for tensor in native.inputs:
        values = head[tensor.name]
        if tensor.dtype in {"float32", "float64", "string"}:
            rows = head | {tensor.name: _without(values)} if values.ndim == 1 else {tensor.name: _holes(values)}
            answer = _answer(native, rows)
            if answer is not None:
                missing[tensor.name] = (rows, answer)
        if tensor.dtype == "string" and tensor.allowed is None:
            rows = head | {tensor.name: np.full(values.shape, _UNSEEN, dtype=object)}
            answer = _answer(native, rows)
            if answer is None:
                refused.append((f"text in {tensor.name!r} that it was not trained on", rows))
            else:
                answered.append(rows)
                expected.append(answer)
    needed = frozenset(name for name, values in columns.items() if has_missing(values))
    return Probe(_stacked(answered), _stacked(expected), missing, needed, refused)


def _without(values: NDArray[Any]) -> NDArray[Any]:
    return np.full(values.shape, None if values.dtype.kind == "O" else np.nan, dtype=values.dtype)


def _holes(matrix: NDArray[Any]) -> NDArray[Any]:
    """One row per column of a matrix, with that column missing."""
    width = matrix.shape[1]
    rows = matrix[np.arange(width) % len(matrix)]
    rows[np.arange(width), np.arange(width)] = np.nan
    return rows


def _answer(native: Native, rows: Columns) -> Columns | None:
    try:
        return native.predict(rows)
    except BadInputError:
        return None


def _stacked(parts: list[Columns]) -> Columns:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _refuse_lost_types(native: NativeModel, candidate: Candidate) -> None:
    """A model that needs more than names and plain types (pandas categories, say) would answer otherwise when served."""
    wanted = "predict" if candidate.task in VALUES else "predict_proba"
    try:
        direct: Any = getattr(candidate.estimator, wanted)(candidate.example)
        given = np.asarray(side_by_side(direct) if candidate.task == "multilabel" else direct, dtype=np.float64)[:MAX_ROWS]
    except Exception:  # noqa: BLE001 - the estimator cannot take this kind of frame directly: there is nothing to compare
        return
    first = given[:, 1] if candidate.task == "binary" else given
    columns = {name: values[:MAX_ROWS] for name, values in example_columns(candidate.example).items()}
    answers = next(iter(native.predict(columns).values()))
    if not np.allclose(first.reshape(answers.shape), answers, rtol=1e-5, atol=1e-6):
        raise BadInputError(
            "example-types",
            "the estimator answers otherwise when its example passes through plain columns",
            why="it depends on column types (categories, for example) that a request cannot carry",
            fix="encode them inside the estimator, with OrdinalEncoder or OneHotEncoder",
        )
