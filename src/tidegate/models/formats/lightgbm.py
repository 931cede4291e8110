"""LightGBM: a booster in the library's text format.

Source: https://lightgbm.readthedocs.io/en/stable/pythonapi/lightgbm.Booster.html, ``model_to_string``.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from tidegate.errors import missing_extra
from tidegate.models.formats.boosted import BoostedFormat


class LightgbmFormat(BoostedFormat):
    """See ``Format``."""

    def __init__(self) -> None:
        super().__init__(_Lightgbm())


class _Lightgbm:
    """See ``Library``."""

    name = "lightgbm"
    file = "model.txt"

    def booster(self, estimator: Any) -> Any:
        if type(estimator).__module__.partition(".")[0] != "lightgbm":
            return None
        return estimator.booster_ if hasattr(estimator, "booster_") else estimator

    def features(self, booster: Any) -> list[str]:
        return list(booster.feature_name())

    def dump(self, booster: Any) -> bytes:
        return str(booster.model_to_string()).encode()

    def load(self, data: bytes) -> Any:
        try:
            library: Any = import_module("lightgbm")
        except ImportError:
            raise missing_extra("boosting", "lightgbm", "a model of LightGBM") from None
        return library.Booster(model_str=data.decode())

    def predict(self, booster: Any, rows: Any, *, classifies: bool) -> Any:  # noqa: ARG002 - the objective says it
        return booster.predict(rows, num_threads=1)
