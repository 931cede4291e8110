"""XGBoost: a booster in the library's binary JSON (UBJSON).

Source: https://xgboost.readthedocs.io/en/stable/tutorials/saving_model.html.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from tidegate.errors import missing_extra
from tidegate.models.formats.boosted import BoostedFormat


class XgboostFormat(BoostedFormat):
    """See ``Format``."""

    def __init__(self) -> None:
        super().__init__(_Xgboost())


class _Xgboost:
    """See ``Library``."""

    name = "xgboost"
    file = "model.ubj"

    def booster(self, estimator: Any) -> Any:
        if type(estimator).__module__.partition(".")[0] != "xgboost":
            return None
        return estimator.get_booster() if hasattr(estimator, "get_booster") else estimator

    def features(self, booster: Any) -> list[str]:
        return list(booster.feature_names or [])

    def dump(self, booster: Any) -> bytes:
        return bytes(booster.save_raw("ubj"))

    def load(self, data: bytes) -> Any:
        try:
            library: Any = import_module("xgboost")
        except ImportError:
            raise missing_extra("boosting", "xgboost", "a model of XGBoost") from None
        booster = library.Booster({"nthread": 1})
        booster.load_model(bytearray(data))
        booster.set_param({"nthread": 1})
        return booster

    def predict(self, booster: Any, rows: Any, *, classifies: bool) -> Any:  # noqa: ARG002 - the objective says it
        best = booster.attr("best_iteration")  # where training stopped early: the trees after it do not count
        trees = (0, int(best) + 1 if best is not None else 0)
        return booster.inplace_predict(rows, iteration_range=trees, validate_features=False)
