"""MLflow models: a folder of files kept as it came, loaded by the package mlflow, which runs the code that the folder brings.

Source: the format of ``MLmodel`` files, https://mlflow.org/docs/latest/ml/model/ (flavors, signature).
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from tidegate.errors import BadInputError, IntegrityError, UnavailableError
from tidegate.frames import Columns
from tidegate.models.candidate import Candidate
from tidegate.models.estimator import dataframe
from tidegate.models.formats.port import OTHER_LIBRARY, CannotPackError, Native, Packed, Probe
from tidegate.models.paths import check_path, write_files
from tidegate.models.signature import conform
from tidegate.records.model import DType, Manifest, Signature, Tensor

FORMAT = "mlflow"
DESCRIPTION = "MLmodel"
"""The file that makes a folder an MLflow model."""

_COLUMNS: dict[str, DType] = {
    "boolean": "bool",
    "integer": "int32",
    "long": "int64",
    "float": "float32",
    "double": "float64",
    "string": "string",
}
_DTYPES: dict[str, DType] = {
    "bool": "bool",
    "int32": "int32",
    "int64": "int64",
    "float32": "float32",
    "float64": "float64",
    "object": "string",
    "str": "string",
}
_NOTHING = Signature(inputs=[], outputs=[])


class MlflowFormat:
    """See ``Format``. It packs nothing: what it loads came from an MLflow client."""

    name = FORMAT
    loads_code = True
    preference = 1000

    def adopt(self, candidate: Candidate, inputs: list[Tensor]) -> Native | None:  # noqa: ARG002 - the port's signature
        return None

    def pack(self, native: Native, probe: Probe) -> Packed:  # noqa: ARG002 - the port's signature
        raise CannotPackError(OTHER_LIBRARY, "Tidegate only keeps MLflow models that MLflow clients log")

    def load(self, files: Mapping[str, bytes], manifest: Manifest) -> MlflowPredictor:
        if DESCRIPTION not in files:
            raise IntegrityError(
                "not-a-model",
                f"{manifest.ref} is no model: it holds no {DESCRIPTION}",
                why=f"it was registered with {len(files)} files of another kind",
                fix="register a folder that an MLflow client logged as a model",
            )
        try:
            pyfunc: Any = import_module("mlflow.pyfunc")  # untyped, heavy, and needed by nobody but who serves such packages
        except ImportError:
            raise UnavailableError(
                "mlflow-missing",
                f"loading {manifest.ref} needs the package 'mlflow', which is not installed",
                why="an MLflow model is loaded by MLflow itself",
                fix="pip install mlflow, in the version that the model names in its requirements.txt",
            ) from None
        with tempfile.TemporaryDirectory(prefix="tidegate-mlflow-") as folder:
            try:
                write_files(Path(folder), {check_path(path): data for path, data in files.items()})
            except (BadInputError, FileExistsError, NotADirectoryError):
                raise IntegrityError(
                    "broken-package",
                    f"{manifest.ref} names a file outside itself, or as a folder too",
                    fix="register the model again",
                ) from None
            return MlflowPredictor(manifest.signature, pyfunc.load_model(folder))


class MlflowPredictor:
    """See ``Predictor``. The answer is the model's first column, as ``prediction``."""

    def __init__(self, signature: Signature, model: Any) -> None:
        self.signature = signature
        self._model = model

    def predict(self, columns: Mapping[str, object]) -> Columns:
        if not self.signature.inputs:
            raise BadInputError(
                "signature-missing",
                "this MLflow model does not say what it takes",
                why="it was logged without a signature, or with one that has no plain columns",
                fix="log it with an input_example",
            )
        answers = np.asarray(self._model.predict(dataframe(conform(self.signature, columns))))
        return {"prediction": answers if answers.ndim == 1 else answers[:, 0]}


def read_signature(description: bytes) -> Signature:
    """The signature in an ``MLmodel`` file; empty where there is none, or it holds more than plain columns."""
    try:
        read: Any = yaml.safe_load(description)
        found: Any = read.get("signature") or {}
        inputs, outputs = (_tensors(found.get(side), side) for side in ("inputs", "outputs"))
    except (yaml.YAMLError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return _NOTHING
    return Signature(inputs=inputs, outputs=outputs)


def _tensors(written: Any, side: str) -> list[Tensor]:
    columns: list[Any] = json.loads(written) if written else []
    tensors: list[Tensor] = []
    for place, column in enumerate(columns):
        name = str(column.get("name") or (f"{side[:-1]}{place}" if len(columns) > 1 else side[:-1]))
        if column["type"] == "tensor":
            spec = column["tensor-spec"]
            dtype, shape = _DTYPES.get(spec["dtype"]), [int(size) for size in spec["shape"]]
        else:
            dtype, shape = _COLUMNS.get(column["type"]), [-1, 1]
        if dtype is None or len(shape) not in {1, 2} or shape[0] != -1:
            return []
        tensors.append(
            Tensor(name=name, dtype=dtype, shape=shape if len(shape) == 2 else [-1, 1], nullable=not column.get("required", True))
        )
    return tensors
