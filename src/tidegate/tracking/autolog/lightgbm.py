"""LightGBM: metrics of every round, parameters, the best round, what each feature gained."""

from __future__ import annotations

import json
from collections.abc import Callable
from types import ModuleType
from typing import Any

from tidegate.tracking.active import ActiveRun
from tidegate.tracking.autolog.fitting import Fit, Recorder
from tidegate.tracking.autolog.patching import Patches


def round_logger(run: ActiveRun) -> Callable[[Any], None]:
    """A callback for ``lightgbm.train(..., callbacks=[...])`` that logs what is evaluated after each round."""
    return _callback(Recorder(lambda: run), Fit(run, "lightgbm", ""))


def patch(module: ModuleType, patches: Patches, recorder: Recorder) -> None:
    """Wraps ``train`` wherever the package has it by name."""

    def around(original: Any, params: Any, *args: Any, **kwargs: Any) -> Any:
        outer = recorder.outer
        if outer is not None and outer.framework == "lightgbm" and not outer.claimed:
            outer.claimed = True
            return _train(recorder, outer, original, params, *args, **kwargs)
        with recorder.fit("lightgbm") as fit:
            if fit is None:
                return original(params, *args, **kwargs)
            recorder.safely(lambda: _before(fit, params, args, kwargs))
            return _train(recorder, fit, original, params, *args, **kwargs)

    for owner in (module, module.engine, getattr(module, "sklearn", None)):
        if owner is not None:
            patches.wrap(owner, "train", around)


PATCHERS = {"lightgbm": patch}


def _before(fit: Fit, params: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    fit.tag({"autolog": "lightgbm"})
    rounds = args[1] if len(args) > 1 else kwargs.get("num_boost_round", 100)
    fit.params({**dict(params), "num_boost_round": rounds})


def _train(recorder: Recorder, fit: Fit, original: Any, params: Any, *args: Any, **kwargs: Any) -> Any:
    recorder.safely(lambda: kwargs.update(callbacks=[*(kwargs.get("callbacks") or ()), _callback(recorder, fit)]))
    booster = original(params, *args, **kwargs)
    recorder.safely(lambda: _after(fit, booster))
    return booster


def _after(fit: Fit, booster: Any) -> None:
    gains = dict(zip(booster.feature_name(), booster.feature_importance("gain").tolist(), strict=True))
    fit.artifact(json.dumps(gains, indent=1).encode(), "feature_importance.json")
    if booster.best_iteration > 0:
        fit.log({"best_iteration": booster.best_iteration})
    fit.log({f"best/{data}/{name}": value for data, found in booster.best_score.items() for name, value in found.items()})


def _callback(recorder: Recorder, fit: Fit) -> Callable[[Any], None]:
    def log_round(env: Any) -> None:
        # Each result is (data, metric, value, is higher better), from cv with a standard deviation behind.
        values = {f"{found[0]}/{found[1]}": found[2] for found in env.evaluation_result_list or ()}
        recorder.safely(lambda: fit.log(values, step=env.iteration))

    return log_round
