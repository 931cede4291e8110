"""XGBoost: metrics of every round, parameters, the best round, what each feature gained."""

from __future__ import annotations

import json
from importlib import import_module
from types import ModuleType
from typing import Any

from tidegate.tracking.active import ActiveRun
from tidegate.tracking.autolog.boosting import wrap_train
from tidegate.tracking.autolog.fitting import Fit, Recorder
from tidegate.tracking.autolog.patching import Patches


def round_logger(run: ActiveRun) -> Any:
    """A callback for ``xgboost.train(..., callbacks=[...])`` that logs what is evaluated after each round."""
    return _library.callback(Recorder(lambda: run), Fit(run, "xgboost", ""))


def patch(module: ModuleType, patches: Patches, recorder: Recorder) -> None:
    """Wraps ``train`` wherever the package has it by name."""
    owners = [module, module.training, getattr(module, "sklearn", None)]
    wrap_train([owner for owner in owners if owner is not None], patches, recorder, _library)


PATCHERS = {"xgboost": patch}


def _last(history: Any) -> Any:
    last = history[-1]
    return last[0] if isinstance(last, tuple) else last


class _XGBoost:
    name = "xgboost"

    def before(self, fit: Fit, params: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Its parameters and how much it is given."""
        fit.tag({"autolog": "xgboost"})
        data = args[0] if args else kwargs.get("dtrain")
        rounds = args[1] if len(args) > 1 else kwargs.get("num_boost_round", 10)
        given = {name: kwargs[name] for name in ("early_stopping_rounds", "maximize") if kwargs.get(name) is not None}
        fit.params({**dict(params), "num_boost_round": rounds, **given})
        if data is not None:
            fit.params({"train_rows": data.num_row(), "train_columns": data.num_col()})

    def callback(self, recorder: Recorder, fit: Fit) -> Any:
        """Logs what is evaluated after each round."""
        callbacks: Any = import_module("xgboost.callback")

        class RoundLogger(callbacks.TrainingCallback):
            """Logs the last value of each metric of each data set."""

            def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
                """Called after each round; never stops the training."""
                del model
                values = {
                    f"{data}/{name}": _last(history) for data, found in evals_log.items() for name, history in found.items()
                }
                recorder.safely(lambda: fit.log(values, step=epoch))
                return False

        return RoundLogger()

    def after(self, fit: Fit, booster: Any) -> None:
        """What each feature gained, and the best round."""
        gains = booster.get_score(importance_type="gain")
        fit.artifact(json.dumps(gains, indent=1, default=float).encode(), "feature_importance.json")
        best = booster.attr("best_iteration")
        if best is not None:
            fit.log({"best_iteration": int(best), "best_score": float(booster.attr("best_score"))})


_library = _XGBoost()
