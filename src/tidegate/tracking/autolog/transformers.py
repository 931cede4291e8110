"""Hugging Face Transformers: the arguments of a training and what its trainer logs."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType
from typing import Any

from tidegate.tracking.active import ActiveRun
from tidegate.tracking.autolog.fitting import Fit, Recorder
from tidegate.tracking.autolog.patching import Patches


def trainer_callback(run: ActiveRun) -> Any:
    """A callback for ``Trainer(callbacks=[...])`` that logs into ``run``."""
    return _callback(Recorder(lambda: run), Fit(run, "transformers", ""))


def patch(module: ModuleType, patches: Patches, recorder: Recorder) -> None:
    """Wraps ``Trainer.train``: the process of rank 0 records."""

    def around(original: Any, trainer: Any, *args: Any, **kwargs: Any) -> Any:
        if not trainer.is_world_process_zero():
            return original(trainer, *args, **kwargs)
        with recorder.fit("transformers") as fit:
            if fit is None:
                return original(trainer, *args, **kwargs)
            ours: list[Any] = []
            recorder.safely(lambda: ours.append(_callback(recorder, fit)))
            for callback in ours:
                trainer.add_callback(callback)
            try:
                return original(trainer, *args, **kwargs)
            finally:
                for callback in ours:
                    trainer.remove_callback(callback)

    patches.wrap(module.Trainer, "train", around)


PATCHERS = {"transformers.trainer": patch}


def _callback(recorder: Recorder, fit: Fit) -> Any:
    transformers: Any = import_module("transformers")

    class RunCallback(transformers.TrainerCallback):
        """Passes what a trainer logs on to a run."""

        def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            """Adds the arguments as parameters."""
            del state, control
            model: Any = kwargs.get("model")
            recorder.safely(lambda: fit.tag({"autolog": "transformers", "model": type(model).__name__}))
            recorder.safely(lambda: fit.params(_plain(args.to_dict())))

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
            """Logs the numbers at the trainer's step."""
            del args, control, kwargs
            recorder.safely(lambda: fit.log(logs or {}, step=state.global_step))

        def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            """Tags the best checkpoint."""
            del args, control, kwargs
            best = {"checkpoint.best": state.best_model_checkpoint}
            recorder.safely(lambda: fit.tag({name: path for name, path in best.items() if path}))

    return RunCallback()


def _plain(arguments: dict[str, Any]) -> dict[str, Any]:
    """The arguments without tokens, which ``to_dict`` masks, and without those that are not set."""
    return {name: value for name, value in arguments.items() if value is not None and not name.endswith("_token")}
