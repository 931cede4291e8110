"""XGBoost: metrics of every round, parameters, the best round, what each feature gained."""

from __future__ import annotations

import json
from importlib import import_module
from types import ModuleType
from typing import Any

from tidegate.tracking.active import ActiveRun
from tidegate.tracking.autolog.fitting import Fit, Recorder
from tidegate.tracking.autolog.patching import Patches


def round_logger(run: ActiveRun) -> Any:
    """A callback for ``xgboost.train(..., callbacks=[...])`` that logs what is evaluated after each round."""
    return _callback(Recorder(lambda: run), Fit(run, "xgboost", ""))


def patch(module: ModuleType, patches: Patches, recorder: Recorder) -> None:
    """Wraps ``train`` wherever the package has it by name."""

    def around(original: Any, params: Any, *args: Any, **kwargs: Any) -> Any:
        outer = recorder.outer
        if outer is not None and outer.framework == "xgboost" and not outer.claimed:
            outer.claimed = True
            return _train(recorder, outer, original, params, *args, **kwargs)
        with recorder.fit("xgboost") as fit:
            if fit is None:
                return original(params, *args, **kwargs)
            recorder.safely(lambda: _before(fit, params, args, kwargs))
            return _train(recorder, fit, original, params, *args, **kwargs)

    for owner in (module, module.training, getattr(module, "sklearn", None)):
        if owner is not None:
            patches.wrap(owner, "train", around)


PATCHERS = {"xgboost": patch}


def _before(fit: Fit, params: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    fit.tag({"autolog": "xgboost"})
    data = args[0] if args else kwargs.get("dtrain")
    rounds = args[1] if len(args) > 1 else kwargs.get("num_boost_round", 10)
    given = {name: kwargs[name] for name in ("early_stopping_rounds", "maximize") if kwargs.get(name) is not None}
    fit.params({**dict(params), "num_boost_round": rounds, **given})
    if data is not None:
        fit.params({"train_rows": data.num_row(), "train_columns": data.num_col()})


def _train(recorder: Recorder, fit: Fit, original: Any, params: Any, *args: Any, **kwargs: Any) -> Any:
    recorder.safely(lambda: kwargs.update(callbacks=[*(kwargs.get("callbacks") or ()), _callback(recorder, fit)]))
    booster = original(params, *args, **kwargs)
    recorder.safely(lambda: _after(fit, booster))
    return booster


def _after(fit: Fit, booster: Any) -> None:
    gains = booster.get_score(importance_type="gain")
    fit.artifact(json.dumps(gains, indent=1, default=float).encode(), "feature_importance.json")
    best = booster.attr("best_iteration")
    if best is not None:
        fit.log({"best_iteration": int(best), "best_score": float(booster.attr("best_score"))})


def _callback(recorder: Recorder, fit: Fit) -> Any:
    callbacks: Any = import_module("xgboost.callback")

    class RoundLogger(callbacks.TrainingCallback):
        """Logs the last value of each metric of each data set."""

        def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
            """Called after each round; never stops the training."""
            del model
            values = {f"{data}/{name}": _last(history) for data, found in evals_log.items() for name, history in found.items()}
            recorder.safely(lambda: fit.log(values, step=epoch))
            return False

    return RoundLogger()


def _last(history: Any) -> Any:
    last = history[-1]
    return last[0] if isinstance(last, tuple) else last
