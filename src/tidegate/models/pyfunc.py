"""How MLflow loads a package that ``tidegate model export`` wrote: the loader module of its ``python_function`` flavor.

Source: https://mlflow.org/docs/latest/ml/traditional-ml/tutorials/creating-custom-pyfunc/ (``_load_pyfunc(data_path, model_config)``).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tidegate import frames
from tidegate.frames import Columns
from tidegate.models.estimator import dataframe
from tidegate.models.folder import read_folder
from tidegate.models.formats import Predictor
from tidegate.models.package import built
from tidegate.records.model import Manifest


class PackagedModel:
    """What ``mlflow.pyfunc.load_model`` gives access to. It answers with a dataframe: one column per output, or per class."""

    def __init__(self, manifest: Manifest, predictor: Predictor) -> None:
        self.manifest = manifest
        self._predictor = predictor

    def predict(self, model_input: Any, params: Mapping[str, Any] | None = None) -> Any:  # noqa: ARG002 - MLflow's signature
        """A dataframe's columns by name, a mapping of arrays, or the matrix that the model takes.

        Raises:
            BadInputError: an input is missing, unknown, of the wrong type or shape, or not allowed.
        """
        outputs = self._predictor.predict(self._columns(model_input))
        flat: Columns = {}
        for name, values in outputs.items():
            if values.ndim == 1:
                flat[name] = values
            else:
                flat |= {f"{name}_{label}": values[:, place] for place, label in enumerate(self.manifest.classes)}
        return dataframe(flat)

    def _columns(self, given: Any) -> dict[str, Any]:
        inputs = self.manifest.signature.inputs
        if isinstance(given, Mapping):
            return {str(name): np.asarray(values) for name, values in given.items()}
        if len(inputs) == 1 and inputs[0].shape[1] > 1:
            return {inputs[0].name: np.asarray(given)}
        if isinstance(given, np.ndarray):
            return {tensor.name: given[:, place] for place, tensor in enumerate(inputs)}
        with frames.connect() as con:
            return dict(frames.to_columns(frames.relation(con, given)))


def _load_pyfunc(data_path: str, model_config: Mapping[str, Any] | None = None) -> PackagedModel:  # pyright: ignore[reportUnusedFunction] - MLflow calls it
    """Every file is held against its digest first. A package that runs code needs ``model_config={"allow_code": True}``."""
    version, files = read_folder(Path(data_path))
    predictor = built(version, files, allow_code=bool((model_config or {}).get("allow_code")))
    return PackagedModel(version.manifest, predictor)
