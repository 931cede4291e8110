"""LightGBM: metrics of every round, parameters, the best round, what each feature gained."""

from __future__ import annotations

import json
from collections.abc import Callable
from types import ModuleType
from typing import Any

from tidegate.tracking.active import ActiveRun
from tidegate.tracking.autolog.boosting import wrap_train
from tidegate.tracking.autolog.fitting import Fit, Recorder
from tidegate.tracking.autolog.patching import Patches


def round_logger(run: ActiveRun) -> Callable[[Any], None]:
    """A callback for ``lightgbm.train(..., callbacks=[...])`` that logs what is evaluated after each round."""
    return _library.callback(Recorder(lambda: run), Fit(run, "lightgbm", ""))


def patch(module: ModuleType, patches: Patches, recorder: Recorder) -> None:
    """Wraps ``train`` wherever the package has it by name."""
    owners = [module, module.engine, getattr(module, "sklearn", None)]
    wrap_train([owner for owner in owners if owner is not None], patches, recorder, _library)


PATCHERS = {"lightgbm": patch}


class _LightGBM:
    name = "lightgbm"

    def before(self, fit: Fit, params: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Its parameters and how much it is given."""
        fit.tag({"autolog": "lightgbm"})
        rounds = args[1] if len(args) > 1 else kwargs.get("num_boost_round", 100)
        fit.params({**dict(params), "num_boost_round": rounds})

    def callback(self, recorder: Recorder, fit: Fit) -> Callable[[Any], None]:
        """Logs what is evaluated after each round."""

        def log_round(env: Any) -> None:
            # Each result is (data, metric, value, is higher better), from cv with a standard deviation behind.
            values = {f"{found[0]}/{found[1]}": found[2] for found in env.evaluation_result_list or ()}
            recorder.safely(lambda: fit.log(values, step=env.iteration))

        return log_round

    def after(self, fit: Fit, booster: Any) -> None:
        """What each feature gained, and the best round."""
        gains = dict(zip(booster.feature_name(), booster.feature_importance("gain").tolist(), strict=True))
        fit.artifact(json.dumps(gains, indent=1).encode(), "feature_importance.json")
        if booster.best_iteration > 0:
            fit.log({"best_iteration": booster.best_iteration})
        fit.log({f"best/{data}/{name}": value for data, found in booster.best_score.items() for name, value in found.items()})


_library = _LightGBM()
