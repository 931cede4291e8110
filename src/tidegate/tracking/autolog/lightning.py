"""PyTorch Lightning: hyperparameters, metrics as its loggers get them, checkpoint paths."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType
from typing import Any

from tidegate.tracking.active import ActiveRun
from tidegate.tracking.autolog.fitting import Fit, Recorder
from tidegate.tracking.autolog.patching import Patches


def run_logger(run: ActiveRun) -> Any:
    """A logger for ``Trainer(logger=[...])`` that logs into ``run``."""
    return _logger(Recorder(lambda: run), Fit(run, "lightning", ""), "lightning.pytorch")


def patch(module: ModuleType, patches: Patches, recorder: Recorder) -> None:
    """Wraps ``Trainer.fit``: the process of rank 0 records."""

    def around(original: Any, trainer: Any, *args: Any, **kwargs: Any) -> Any:
        if not trainer.is_global_zero:
            return original(trainer, *args, **kwargs)
        with recorder.fit("lightning") as fit:
            if fit is None:
                return original(trainer, *args, **kwargs)
            callbacks, loggers = list(trainer.callbacks), list(trainer.loggers)
            recorder.safely(lambda: _begin(recorder, fit, trainer, module.__name__))
            try:
                return original(trainer, *args, **kwargs)
            finally:
                trainer.callbacks, trainer.loggers = callbacks, loggers
                recorder.safely(lambda: _checkpoints(fit, trainer))

    patches.wrap(module.Trainer, "fit", around)


PATCHERS = {"lightning.pytorch": patch, "pytorch_lightning": patch}


def _begin(recorder: Recorder, fit: Fit, trainer: Any, package: str) -> None:
    fit.tag({"autolog": "lightning"})
    fit.params({"max_epochs": trainer.max_epochs, "max_steps": trainer.max_steps, "precision": trainer.precision})
    package_module: Any = import_module(package)

    class AddLogger(package_module.Callback):
        """Adds the logger when the checkpoint callback has chosen its folder, which a logger would change."""

        def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
            """Called before training."""
            del pl_module, stage
            recorder.safely(lambda: setattr(trainer, "loggers", [*trainer.loggers, _logger(recorder, fit, package)]))

    trainer.callbacks = [*trainer.callbacks, AddLogger()]


def _checkpoints(fit: Fit, trainer: Any) -> None:
    found = trainer.checkpoint_callback
    paths = {"checkpoint.best": getattr(found, "best_model_path", ""), "checkpoint.last": getattr(found, "last_model_path", "")}
    fit.tag({name: path for name, path in paths.items() if path})


def _logger(recorder: Recorder, fit: Fit, package: str) -> Any:
    loggers: Any = import_module(f"{package}.loggers")

    class RunLogger(loggers.Logger):
        """Passes what Lightning logs on to a run."""

        @property
        def name(self) -> str:
            """The run's experiment."""
            return fit.run.experiment

        @property
        def version(self) -> str:
            """The run's id."""
            return fit.run.id

        @property
        def experiment(self) -> ActiveRun:
            """The run."""
            return fit.run

        def log_metrics(self, metrics: Any, step: int | None = None) -> None:
            """Logs what is a number."""
            recorder.safely(lambda: fit.log(metrics, step=step))

        def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
            """Adds parameters."""
            del args, kwargs
            values: Any = params if hasattr(params, "items") else vars(params)
            recorder.safely(lambda: fit.params(dict(values.items())))

    return RunLogger()
