"""Runs of other trackers, read from the folders that they leave, and put into the store."""

from tidegate.tracking.importing.mlflow import open_mlflow
from tidegate.tracking.importing.records import ImportedExperiment, ImportedRun, Problem, Source
from tidegate.tracking.importing.tensorboard import open_tensorboard
from tidegate.tracking.importing.wandb import open_wandb
from tidegate.tracking.importing.writer import Count, ImportReport, import_source

__all__ = [
    "Count",
    "ImportReport",
    "ImportedExperiment",
    "ImportedRun",
    "Problem",
    "Source",
    "import_source",
    "open_mlflow",
    "open_tensorboard",
    "open_wandb",
]
