"""Estimators to ONNX: pipelines of scikit-learn by skl2onnx, the boosting libraries inside them by onnxmltools."""

from __future__ import annotations

import warnings
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from importlib import import_module
from itertools import product
from typing import Any, NamedTuple, Protocol, runtime_checkable

from tidegate.models.formats.port import CannotPackError, Native
from tidegate.models.outputs import VALUES

MATRIX = "matrix"
"""The one input of a graph that takes all columns side by side."""


@runtime_checkable
class WritesOnnx(Protocol):
    """A model whose own library writes it as ONNX, with one input named ``matrix``."""

    def as_onnx(self) -> bytes:
        """The graph; the same model gives the same bytes. Whatever it raises means that it cannot be converted."""
        ...


class _Foreign(NamedTuple):
    """An estimator that skl2onnx does not know by itself: its module and class, and who converts it."""

    module: str
    name: str
    converter: str
    function: str
    classifies: bool


_XGBOOST = ("onnxmltools.convert.xgboost.operator_converters.XGBoost", "convert_xgboost")
_LIGHTGBM = ("onnxmltools.convert.lightgbm.operator_converters.LightGbm", "convert_lightgbm")
_FOREIGN = [
    _Foreign("xgboost", "XGBClassifier", *_XGBOOST, True),
    _Foreign("xgboost", "XGBRFClassifier", *_XGBOOST, True),
    _Foreign("xgboost", "XGBRegressor", *_XGBOOST, False),
    _Foreign("xgboost", "XGBRFRegressor", *_XGBOOST, False),
    _Foreign("xgboost", "XGBRanker", *_XGBOOST, False),
    _Foreign("lightgbm", "LGBMClassifier", *_LIGHTGBM, True),
    _Foreign("lightgbm", "LGBMRegressor", *_LIGHTGBM, False),
    _Foreign("lightgbm", "LGBMRanker", *_LIGHTGBM, False),
]
_OPSETS = {"": 18, "ai.onnx.ml": 3}
"""The newest that the converters of the boosting libraries write."""


def attempts(native: Native) -> Iterator[tuple[str, str]]:
    """Layouts (``matrix``, ``columns``) and precisions to try, the fastest to serve first."""
    if isinstance(native, WritesOnnx):
        return iter([(MATRIX, "float32")])
    numeric = all(tensor.dtype != "string" for tensor in native.inputs)
    return product([MATRIX, "columns"] if numeric else ["columns"], ["float32", "float64"])


def compiled(native: Native, *, layout: str, precision: str) -> bytes:
    """The estimator as an ONNX graph; the same one gives the same bytes.

    Raises:
        CannotPackError: a converter is not installed. Whatever else the converters raise means that they cannot convert it.
    """
    if isinstance(native, WritesOnnx):
        return native.as_onnx()
    try:
        from skl2onnx import convert_sklearn
        from skl2onnx.common import data_types
    except ImportError:
        raise CannotPackError(
            "not-onnx", "skl2onnx is not installed", why="skl2onnx is not installed", fix='pip install "tidegate[sklearn]"'
        ) from None
    foreign = _registered(_last_step(native.estimator))
    kinds: Any = data_types
    number = kinds.FloatTensorType if precision == "float32" else kinds.DoubleTensorType
    if layout == MATRIX:
        types = [(MATRIX, number([None, sum(tensor.shape[1] for tensor in native.inputs)]))]
    else:
        types = [
            (tensor.name, (kinds.StringTensorType if tensor.dtype == "string" else number)([None, 1])) for tensor in native.inputs
        ]
    options = {} if native.task in VALUES else {id(native.estimator): {"zipmap": False}}
    with warnings.catch_warnings(), _numbered_features(native.estimator):
        warnings.simplefilter("ignore")  # converters warn about what the parity check finds out anyway
        graph: Any = convert_sklearn(
            native.estimator, name="model", initial_types=types, options=options, target_opset=_OPSETS if foreign else None
        )
    opsets = sorted(graph.opset_import, key=lambda opset: opset.domain)  # the converter keeps them in a set
    del graph.opset_import[:]
    graph.opset_import.extend(opsets)
    return bytes(graph.SerializeToString(deterministic=True))


def _last_step(estimator: Any) -> Any:
    steps: Any = getattr(estimator, "steps", None)
    return steps[-1][1] if steps else estimator


@contextmanager
def _numbered_features(estimator: Any) -> Generator[None]:
    """The converter of XGBoost knows features by their place only: their names are put aside for so long."""
    last = _last_step(estimator)
    booster: Any = last.get_booster() if type(last).__module__.startswith("xgboost.") else None
    names: Any = getattr(booster, "feature_names", None)
    if not names:
        yield
        return
    booster.feature_names = [f"f{place}" for place in range(len(names))]
    try:
        yield
    finally:
        booster.feature_names = names


def _registered(last: Any) -> bool:
    """Tells skl2onnx who converts the boosting libraries' estimators, if this is one."""
    found = next((known for known in _FOREIGN if _is(last, known)), None)
    if found is None:
        return False
    try:
        convert: Any = getattr(import_module(found.converter), found.function)
    except ImportError:
        raise CannotPackError(
            "not-onnx", "onnxmltools is not installed", why="onnxmltools is not installed", fix="pip install onnxmltools"
        ) from None
    skl2onnx: Any = import_module("skl2onnx")
    shapes: Any = import_module("skl2onnx.common.shape_calculator")
    kind = "classifier" if found.classifies else "regressor"
    skl2onnx.update_registered_converter(
        type(last),
        f"Tidegate{found.name}",
        getattr(shapes, f"calculate_linear_{kind}_output_shapes"),
        convert,
        options={"nocl": [True, False], "zipmap": [True, False, "columns"]} if found.classifies else {"split": None},
    )
    return True


def _is(estimator: Any, known: _Foreign) -> bool:
    return type(estimator).__name__ == known.name and type(estimator).__module__.partition(".")[0] == known.module
