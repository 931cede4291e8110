"""CatBoost: a model in the library's binary format. Categories may be text.

Source: https://catboost.ai/docs/en/concepts/python-reference_catboost_save_model, format ``cbm``.
"""

from __future__ import annotations

import tempfile
from importlib import import_module
from pathlib import Path
from typing import Any

from tidegate.errors import missing_extra
from tidegate.models.formats.boosted import BoostedFormat


class CatboostFormat(BoostedFormat):
    """See ``Format``."""

    def __init__(self) -> None:
        super().__init__(_Catboost())


class _Catboost:
    """See ``Library``. Its estimators are boosters themselves."""

    name = "catboost"
    file = "model.cbm"

    def booster(self, estimator: Any) -> Any:
        return estimator if type(estimator).__module__.partition(".")[0] in {"catboost", "_catboost"} else None

    def features(self, booster: Any) -> list[str]:
        return list(booster.feature_names_ or [])

    def dump(self, booster: Any) -> bytes:
        with tempfile.TemporaryDirectory(prefix="tidegate-") as folder:  # the library writes files only
            path = Path(folder) / self.file
            booster.save_model(str(path), format="cbm")
            return path.read_bytes()

    def load(self, data: bytes) -> Any:
        try:
            library: Any = import_module("catboost")
        except ImportError:
            raise missing_extra("boosting", "catboost", "a model of CatBoost") from None
        booster = library.CatBoost()
        booster.load_model(blob=data)
        return booster

    def predict(self, booster: Any, rows: Any, *, classifies: bool) -> Any:
        return booster.predict(rows, prediction_type="Probability" if classifies else "RawFormulaVal", thread_count=1)
