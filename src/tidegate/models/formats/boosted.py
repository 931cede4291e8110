"""What the formats of the boosting libraries share: a booster in its library's own file, behind steps of scikit-learn.

A candidate may be the library's booster, its estimator with scikit-learn's interface, or a pipeline of scikit-learn that ends in such
an estimator: the steps before it are kept as skops, so what prepares the rows travels with the model. No code runs when it is loaded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from tidegate.errors import BadInputError, IntegrityError, TidegateError
from tidegate.frames import Columns
from tidegate.models.candidate import Candidate
from tidegate.models.estimator import NativeModel
from tidegate.models.formats.port import OTHER_LIBRARY, CannotPackError, Native, Packed, Probe, task_of
from tidegate.models.formats.skops import dump, modules_in, restore
from tidegate.models.outputs import VALUES, refuse_nan
from tidegate.models.signature import conform, example_columns
from tidegate.records.model import Manifest, Signature, Tensor

_STEPS = "steps.skops"


class Library(Protocol):
    """One boosting library. Stateless; boosters are its own objects."""

    name: str
    file: str
    """Name of the booster's file in a package."""

    def booster(self, estimator: Any) -> Any:
        """The booster in the library's own object, wrapped or not; None if it is another library's."""
        ...

    def features(self, booster: Any) -> list[str]:
        """Names of the columns that it was trained on, in order; empty if it does not know them."""
        ...

    def dump(self, booster: Any) -> bytes:
        """The library's own file format; the same booster gives the same bytes."""
        ...

    def load(self, data: bytes) -> Any:
        """The booster. Whatever it raises means that these are not its bytes."""
        ...

    def predict(self, booster: Any, rows: Any, *, classifies: bool) -> Any:
        """Probabilities ([n] of the second class, or [n, classes]) or values [n], on one thread."""
        ...


class Boosted:
    """A booster, and the steps that prepare its rows, behind scikit-learn's interface."""

    def __init__(self, library: Library, booster: Any, classes: Sequence[Any], before: Any = None) -> None:
        self.classes_ = list(classes)
        self.booster = booster
        self._library = library
        self._before = before
        if hasattr(before, "feature_names_in_"):  # then the steps choose columns by name
            self.feature_names_in_ = before.feature_names_in_

    def predict(self, rows: Any) -> Any:
        """Values, or the likelier classes."""
        if not self.classes_:
            return self._answers(rows)
        return np.array(self.classes_)[self.predict_proba(rows).argmax(axis=1)]

    def predict_proba(self, rows: Any) -> Any:
        """[n, classes] probabilities."""
        shares = self._answers(rows)
        return np.column_stack([1 - shares, shares]) if shares.ndim == 1 else shares

    def _answers(self, rows: Any) -> Any:
        prepared = rows if self._before is None else self._before.transform(rows)
        return np.asarray(self._library.predict(self.booster, prepared, classifies=bool(self.classes_)))


class BoostedFormat:
    """See ``Format``."""

    loads_code = False
    preference = 50

    def __init__(self, library: Library) -> None:
        self.name = library.name
        self._library = library

    def adopt(self, candidate: Candidate, inputs: list[Tensor]) -> Native | None:
        booster = None if hasattr(candidate.estimator, "get_params") else self._library.booster(candidate.estimator)
        if booster is None:  # another library's, or one that is asked through scikit-learn's interface
            return None
        names: list[Any] = [] if candidate.task in VALUES else list(candidate.classes) or [0, 1]
        order = self._library.features(booster)
        if sorted(order) == sorted(tensor.name for tensor in inputs):
            inputs = sorted(inputs, key=lambda tensor: order.index(tensor.name))
        native = NativeModel(Boosted(self._library, booster, names), candidate.task, inputs, names)
        width = native.estimator.predict_proba(native.rows(first_rows(candidate.example))).shape[1] if names else 0
        if candidate.task == "multilabel" or width != len(names):
            raise BadInputError(
                "classes-missing",
                f"this booster of {self.name} does not fit the task {candidate.task}",
                why=f"it gives {width} probabilities, the candidate names {len(names)} classes",
                fix="name the classes: Candidate(classes=[...]) in the order of the booster's outputs",
            )
        return native

    def pack(self, native: Native, probe: Probe) -> Packed:
        estimator, before = native.estimator, None
        steps: Any = getattr(estimator, "steps", None)
        if steps:
            estimator, before = steps[-1][1], estimator[:-1]
        booster = self._library.booster(estimator.booster if isinstance(estimator, Boosted) else estimator)
        if booster is None:
            raise CannotPackError(OTHER_LIBRARY, f"this is no model of {self.name}")
        files = {self._library.file: self._library.dump(booster)} | ({_STEPS: dump(before)} if before is not None else {})
        again = NativeModel(
            Boosted(self._library, self._library.load(files[self._library.file]), range(len(native.class_names)), before),
            native.task,
            native.inputs,
            list(range(len(native.class_names))),
        )
        answers = again.predict(probe.rows)
        for name, values in probe.expected.items():
            if not np.allclose(answers[name], values, rtol=1e-5, atol=1e-6):
                raise CannotPackError(
                    f"not-{self.name}",
                    f"the booster of {self.name} does not answer as its estimator",
                    why=f"the {name} of {self.name}'s booster differs from the estimator's: an objective of its own, most likely",
                    fix="use one of the library's own objectives",
                )
        needed = modules_in(files[_STEPS]) | {"skops", "sklearn"} if _STEPS in files else frozenset[str]()
        return Packed(files, None, frozenset(probe.missing), needed | {self.name})

    def load(self, files: Mapping[str, bytes], manifest: Manifest) -> BoostedPredictor:
        path = self._library.file
        if path not in files:
            raise IntegrityError("broken-package", f"{manifest.ref} holds no {path}", fix="register the model again")
        before = restore(files[_STEPS], _STEPS, manifest) if _STEPS in files else None
        try:
            booster = self._library.load(files[path])
        except TidegateError:
            raise
        except Exception as error:  # noqa: BLE001 - libraries raise whatever they like at bytes that are not theirs
            raise IntegrityError(
                "broken-package",
                f"{path} of {manifest.ref} is no model that this {self.name} reads",
                why=(str(error).strip().splitlines() or [type(error).__name__])[0][:200],
                fix="register the model again, or install the version in its lineage",
            ) from None
        places = list(range(len(manifest.classes)))
        estimator = Boosted(self._library, booster, places, before)
        return BoostedPredictor(manifest.signature, NativeModel(estimator, task_of(manifest), manifest.signature.inputs, places))


class BoostedPredictor:
    """See ``Predictor``."""

    def __init__(self, signature: Signature, native: NativeModel) -> None:
        self.signature = signature
        self._native = native

    def predict(self, columns: Mapping[str, object]) -> Columns:
        return refuse_nan(self._native.predict(conform(self.signature, columns)))


def first_rows(example: Any) -> Columns:
    """The first row of the example, as arrays."""
    return {name: values[:1] for name, values in example_columns(example).items()}
