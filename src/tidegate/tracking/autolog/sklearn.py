"""scikit-learn: every outermost fit of something that predicts."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from importlib import import_module
from types import ModuleType
from typing import Any

import numpy as np

from tidegate import digest as digests
from tidegate.records.run import RunInput
from tidegate.tracking.autolog.fitting import Fit, Recorder, timed
from tidegate.tracking.autolog.patching import Patches

_MOST_ROWS = 100_000
"""Rows up to which the training score is worked out: it costs a prediction of each."""
_FOLDS = ("_fit_and_score", "_fit_and_predict", "_incremental_fit_estimator", "_permutation_test_score")


def patch_estimators(module: ModuleType, patches: Patches, recorder: Recorder) -> None:
    """Wraps ``fit`` of all estimator classes, and of those that are defined later."""
    root: Any = module.BaseEstimator

    def around(original: Any, estimator: Any, *args: Any, **kwargs: Any) -> Any:
        return _fit(recorder, original, estimator, *args, **kwargs)

    def wrap(kind: type) -> None:
        if "fit" in vars(kind):
            patches.wrap(kind, "fit", around)

    def later(kind: type, **kwargs: Any) -> None:
        super(root, kind).__init_subclass__(**kwargs)
        if patches.active:
            wrap(kind)

    for kind in set(_below(root)):
        wrap(kind)
    if "__init_subclass__" not in vars(root):
        patches.put(root, "__init_subclass__", classmethod(later))  # pyright: ignore[reportArgumentType] - it takes the class


def patch_folds(module: ModuleType, patches: Patches, recorder: Recorder) -> None:
    """Keeps the fits of a cross-validation from being runs."""

    def around(original: Any, *args: Any, **kwargs: Any) -> Any:
        with recorder.nothing():
            return original(*args, **kwargs)

    for name in _FOLDS:
        patches.wrap(module, name, around)


PATCHERS = {"sklearn.base": patch_estimators, "sklearn.model_selection._validation": patch_folds}


def _below(kind: type) -> Iterator[type]:
    for child in kind.__subclasses__():
        yield child
        yield from _below(child)


def _fit(recorder: Recorder, original: Any, estimator: Any, *args: Any, **kwargs: Any) -> Any:
    if not _predicts(estimator):
        return original(estimator, *args, **kwargs)
    framework = type(estimator).__module__.partition(".")[0]
    with recorder.fit(framework) as fit, timed() as seconds:
        if fit is None:
            return original(estimator, *args, **kwargs)
        recorder.safely(lambda: _before(fit, estimator, args, kwargs))
        result = original(estimator, *args, **kwargs)
        recorder.safely(lambda: fit.log({"fit_seconds": seconds()}))
        recorder.safely(lambda: _search(fit, estimator))
        recorder.safely(lambda: _score(fit, estimator, args, kwargs))
        return result


def _predicts(estimator: Any) -> bool:
    # Asking a search or a pipeline for predict before it is fitted may raise whatever its parts raise.
    try:
        return hasattr(estimator, "predict") or hasattr(estimator, "fit_predict")
    except Exception:  # noqa: BLE001
        return False


def _before(fit: Fit, estimator: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    kind = type(estimator)
    fit.tag({"autolog": fit.framework, "estimator": kind.__name__, "estimator.class": f"{kind.__module__}.{kind.__name__}"})
    rows, labels = _data(args, kwargs)
    for name, data in (("X", rows), ("y", labels)):
        if data is not None:
            fit.run.input(_input(fit.prefix + name, data))
    fit.params({name: _described(value) for name, value in estimator.get_params(deep=True).items()})


def _described(value: Any) -> Any:
    """A part of a pipeline by its class alone: its own parameters follow."""
    if hasattr(value, "get_params"):
        return type(value).__name__
    if isinstance(value, list) and value and all(isinstance(item, tuple) and len(item) > 1 for item in value):
        return ", ".join(f"{item[0]}={_described(item[1])}" for item in value)
    return value


def _data(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[Any, Any]:
    rows = args[0] if args else kwargs.get("X")
    labels = args[1] if len(args) > 1 else kwargs.get("y")
    return rows, labels


def _input(name: str, data: Any) -> RunInput:
    """Training data as an input: shape, types and digest of the values."""
    if hasattr(data, "tocsr"):
        sparse: Any = data.tocsr()
        parts = [np.ascontiguousarray(part).tobytes() for part in (sparse.data, sparse.indices, sparse.indptr)]
        shape, schema = sparse.shape, f"sparse {sparse.dtype}"
    else:
        array = np.asarray(data)
        columns: Any = getattr(data, "columns", None)
        schema = f"{array.dtype}" if columns is None else ", ".join(map(str, columns))
        shape = array.shape
        parts = [
            repr(array.tolist()).encode("utf-8", "replace") if array.dtype.kind == "O" else np.ascontiguousarray(array).tobytes()
        ]
    digest = digests.of_bytes("\n".join([schema, str(shape), *map(digests.of_bytes, parts)]).encode())
    size = " x ".join(map(str, shape))
    return RunInput(
        name=name,
        digest=digest,
        source_type=type(data).__name__,
        schema=f"{size}: {schema}",
        profile=json.dumps({"rows": shape[0] if shape else 0, "shape": list(shape)}),
        tags={"mlflow.data.context": "training"},
    )


def _search(fit: Fit, estimator: Any) -> None:
    """What a search over parameters found."""
    results = getattr(estimator, "cv_results_", None)
    if results is None:
        return
    table = {name: np.asarray(values).tolist() for name, values in results.items() if not name.startswith("param_")}
    fit.artifact(json.dumps(table, default=repr, indent=1).encode(), "cv_results.json")
    if hasattr(estimator, "best_params_"):
        fit.params({f"best.{name}": _described(value) for name, value in estimator.best_params_.items()})
    if hasattr(estimator, "best_score_"):
        fit.log({"best_cv_score": estimator.best_score_})


def _score(fit: Fit, estimator: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    rows, labels = _data(args, kwargs)
    if labels is None or not hasattr(estimator, "predict") or _length(rows) > _MOST_ROWS:
        return
    metrics: Any = import_module("sklearn.metrics")
    kinds: Any = import_module("sklearn.base")

    answers = estimator.predict(rows)
    if kinds.is_classifier(estimator):
        found = {
            "training/accuracy": metrics.accuracy_score(labels, answers),
            "training/f1_weighted": metrics.f1_score(labels, answers, average="weighted", zero_division=0),
        }
    elif kinds.is_regressor(estimator):
        found = {
            "training/r2": metrics.r2_score(labels, answers) if _length(rows) > 1 else float("nan"),
            "training/rmse": float(np.sqrt(metrics.mean_squared_error(labels, answers))),
            "training/mae": metrics.mean_absolute_error(labels, answers),
        }
    else:
        found = {"training/score": estimator.score(rows, labels)} if hasattr(estimator, "score") else {}
    fit.log(found)


def _length(rows: Any) -> int:
    shape = getattr(rows, "shape", None)
    return int(shape[0]) if shape else len(rows)
